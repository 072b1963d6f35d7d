import EaselKit
import Foundation
import Testing

@Suite(.serialized) struct AttackCommandTests {
  @Test func imagesAreChangedAndNamedAndRecipesDrawThemAgain() throws {
    let program = try Program()
    let sheet = try program.run("attack", "classifier", "--count", "3", "--epsilon", "16", "--output", "a.png")
    #expect(sheet.status == 0 && sheet.errors.contains("misled in"), "\(sheet.errors)")
    let picture = try Image.read(program.path("a.png"))
    // Three columns and three rows of 28 × 28, each pixel four times as large, with a line of text.
    #expect(picture.width == 3 * 114 + 2 && picture.height == 3 * (112 + 19 + 2) + 2 && picture.channels == 3)
    let again = try program.run("attack", "--recipe", "a.png", "--output", "again.png")
    #expect(again.status == 0, "\(again.errors)")
    #expect(try program.bytes("a.png") == program.bytes("again.png"))
    let one = try program.run(
      "attack", "classifier", "--method", "fgsm", "--target", "Bag", "--count", "2", "--output", "b.png")
    #expect(one.status == 0 && one.errors.contains("misled in"), "\(one.errors)")
    #expect(try program.run("inspect", "b.png").output.contains("Target: Bag"))
    let image = try program.run("attack", "classifier", "--images", "a.png", "--fit", "stretch", "--output", "c.png")
    #expect(image.status == 0, "\(image.errors)")
  }

  @Test func accuracyFallsWithTheStrengthOfTheAttack() throws {
    let program = try Program()
    let result = try program.run(
      "attack", "classifier", "--curve", "--method", "fgsm", "--count", "100", "--epsilon", "40", "--output", "c.png")
    #expect(result.status == 0 && result.errors.contains("of the linear one"), "\(result.errors)")
    let picture = try Image.read(program.path("c.png"))
    #expect(picture.width == 960 && picture.height == 600)
    struct Report: Decodable { var figures: [String: Double] }
    let json = try program.run(
      "attack", "classifier", "--curve", "--method", "fgsm", "--count", "100", "--epsilon", "40", "--output", "c.png",
      "--json")
    let figures = try JSONDecoder().decode(Report.self, from: Data(json.output.utf8)).figures
    #expect(figures.count == 16)
    for name in ["network", "linear"] {
      let (clean, attacked) = (figures["\(name) at 0.00"] ?? 0, figures["\(name) at 40.00"] ?? 1)
      #expect(clean > 0.7 && attacked < clean - 0.3, "\(figures)")
    }
  }

  @Test func whatCannotBeAttackedIsRefused() throws {
    let program = try Program()
    for (arguments, status, message) in [
      (["vae"], 69, "vae cannot attack"), (["classifier", "--target", "hat"], 64, "there is no class"),
      (["classifier", "--target", "Bag,Coat"], 64, "--target: expected one class, found Bag,Coat"),
      (["classifier", "--target", "12"], 64, "12"), (["classifier", "--epsilon", "0"], 64, "--epsilon"),
      (["classifier", "--curve", "--target", "Bag"], 64, "--target does not go with --curve"),
      (["classifier", "--curve", "--data", "emoji-32"], 64, "are not labelled with the classifier's classes"),
      (["classifier", "--steps", "0"], 64, "--steps"), (["nobody"], 66, "nobody"),
    ] as [([String], Int32, String)] {
      let result = try program.run(["attack"] + arguments + ["--output", "p.png"])
      #expect(result.status == status && result.errors.contains(message), "\(arguments): \(result.errors)")
    }
    #expect(!program.contents.contains("p.png"))
  }
}
