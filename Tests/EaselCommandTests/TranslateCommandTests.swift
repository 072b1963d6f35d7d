import EaselKit
import Foundation
import Testing

/// Learning from two data sets and translating between them, with the built program.
@Suite(.serialized) struct TranslateCommandTests {
  private static let tinyCycleGAN = [
    "--set", "generator-width=4", "--set", "residual-blocks=1", "--set", "discriminator-width=4", "--set",
    "pool-size=3", "--set", "shift=1", "--batch-size", "2",
  ]
  private static let tinyPix2Pix = [
    "--set", "generator-width=4", "--set", "discriminator-width=4", "--batch-size", "2",
  ]

  /// Grey pictures and fewer, larger ones in colour.
  private func twoKinds() throws -> Program {
    let program = try Program()
    try program.writeImages("grey", count: 40)
    try program.writeImages("colour", count: 30, side: 16, channels: 3)
    return program
  }

  private func train(_ program: Program, _ run: String, steps: Int, _ more: [String] = []) throws {
    let result = try program.run(
      [
        "train", "cyclegan", "--data", "grey", "--data-b", "colour", "--image-size", "12", "--run", run, "--steps",
        String(steps),
      ] + Self.tinyCycleGAN + more)
    #expect(result.status == 0, "\(result.errors)")
    #expect(result.errors.contains("grey, 36 images 12×12×3, 4 held out; colour, 27 images 12×12×3, 3 held out"))
  }

  @Test func aResumedCycleGANIsTheOneThatWasNeverStopped() throws {
    let program = try twoKinds()
    for (run, steps) in [("whole", 5), ("parts", 3)] {
      try train(program, run, steps: steps, ["--set", "learning-rate-decay=constant"])
    }
    let resumed = try program.run("resume", "parts", "--steps", "5")
    #expect(resumed.status == 0, "\(resumed.errors)")
    // Including the pools, which were full and had begun to exchange.
    for file in ["weights", "optimizer"] {
      let name = "step-00000005/\(file).safetensors"
      #expect(try program.bytes("Checkpoints/whole/\(name)") == program.bytes("Checkpoints/parts/\(name)"), "\(file)")
    }
    let optimizer = try SafetensorsReader(path: program.path("Checkpoints/whole/step-00000005/optimizer.safetensors"))
    #expect(try optimizer.floats("training.discriminators.pool-b.count") == [3])
    #expect(optimizer.entries["training.discriminators.pool-a.images"]?.shape == [3, 12, 12, 3])

    // A run also depends on the second data set.
    let changed = program.path("colour/even/0.png")
    try Image(width: 16, height: 16, channels: 3, pixels: [UInt8](repeating: 9, count: 768)).write(to: changed)
    let refused = try program.run("resume", "parts", "--steps", "6")
    #expect(refused.status == 65 && refused.errors.contains("colour are not those that the run was trained on"))
  }

  @Test func sheetsAndFoldersInBothDirections() throws {
    let program = try twoKinds()
    try train(program, "both", steps: 2, ["--set", "ema-decay=0.9"])
    for (arguments, images, source) in [
      ([], 4, "grey, held-out"), (["--direction", "b-to-a"], 3, "colour, held-out"),
      (["--direction", "b-to-a", "--data", "grey", "--count", "2"], 2, "grey, held-out"),
    ] {
      let result = try program.run(["translate", "both", "--columns", "2", "--output", "sheet.png"] + arguments)
      #expect(result.status == 0 && result.output == "sheet.png\n", "\(result.errors)")
      let sheet = try Image.read(program.path("sheet.png"))
      // Original, translated and cycled rows of two.
      #expect(sheet.width == 2 * 14 + 2 && sheet.height == (images + 1) / 2 * 3 * 14 + 2, "\(arguments)")
      let recipe = try program.run("inspect", "sheet.png").output
      #expect(recipe.contains("Images: \(source)") && recipe.contains("Weights: ema"), "\(recipe)")
    }

    // Every picture of a folder, under its name; a single one gives the same result.
    let all = try program.run("translate", "both", "--images", "grey", "--folder", "out", "--json")
    let report = try JSONSerialization.jsonObject(with: Data(all.output.utf8)) as? [String: Any]
    #expect(report?["count"] as? Int == 40 && report?["output"] as? String == "out", "\(all.errors)")
    #expect(program.contents.filter { $0.hasPrefix("out/") && $0.hasSuffix(".png") }.count == 40)
    let one = try program.run("translate", "both", "--images", "grey/odd/39.png", "--folder", "one")
    #expect(one.status == 0 && one.output == "one\n", "\(one.errors)")
    #expect(try Image.read(program.path("out/odd/39.png")) == Image.read(program.path("one/39.png")))
    #expect(try Image.read(program.path("one/39.png")).size == ImageSize(width: 12, height: 12))
    // Held-out images have the names of their files.
    #expect(try program.run("translate", "both", "--folder", "held", "--direction", "b-to-a").status == 0)
    let held = program.contents.filter { $0.hasPrefix("held/") && $0.hasSuffix(".png") }
    #expect(held.count == 3, "\(held)")
    #expect(held.allSatisfy { program.contents.contains("colour/\($0.dropFirst(5))") }, "\(held)")

    for (arguments, status, message) in [
      (["--direction", "up"], 64, "expected a-to-b or b-to-a"), (["--strength", "0.5"], 64, "--strength"),
      (["--label", "1"], 64, "--label"), (["--count", "0"], 64, "--count: expected"),
      (["--folder", "out", "--output", "x.png"], 64, "there is no sheet"),
      (["--folder", "out", "--pairs"], 64, "there is no sheet"),
      (["--pairs", "--data", "grey"], 64, "the run's own data"),
      (["--pairs"], 65, "has no partner in colour"),
      (["--images", "grey", "--folder", "grey"], 73, "is one of the images"),
      (["--images", "grey/even/0.png", "colour/even/0.png", "--folder", "new"], 64, "would be written twice"),
      (["--images", "nowhere.png"], 66, "nowhere.png"),
      (["--images", "Checkpoints/both/events", "--folder", "new"], 65, "no pictures"),
      (["--folder", "grey/even/0.png"], 64, "Write --folder grey/even/0"),
    ] {
      let result = try program.run(["translate", "both"] + arguments)
      #expect(result.status == Int32(status) && result.errors.contains(message), "\(arguments): \(result.errors)")
    }
    #expect(try Image.read(program.path("grey/even/0.png")).channels == 1)
  }

  @Test("A folder with CycleGAN's layout gives both data sets")
  func oneFolderOfTwoDomains() throws {
    let program = try Program()
    for (part, count) in [("trainA", 6), ("trainB", 4), ("testA", 2), ("testB", 3)] {
      try program.writeImages("both/\(part)", count: count)
    }
    let training = try program.run(
      ["train", "cyclegan", "--data", "both", "--run", "r", "--steps", "1"] + Self.tinyCycleGAN)
    #expect(training.status == 0, "\(training.errors)")
    #expect(training.errors.contains("both holds two data sets: taking both/A and both/B."))
    #expect(training.errors.contains("both/A, 6 images 12×12×1, 2 held out; both/B, 4 images 12×12×1, 3 held out"))
    #expect(try program.run("resume", "r", "--steps", "2").status == 0)
    #expect(try program.run("translate", "r", "--direction", "b-to-a", "--folder", "out").status == 0)
    #expect(program.contents.filter { $0.hasPrefix("out/") && $0.hasSuffix(".png") }.count == 3)
    let one = try program.run("train", "autoencoder", "--data", "both")
    #expect(one.status == 64 && one.errors.contains("easel train cyclegan --data both"), "\(one.errors)")
  }

  @Test("Pairs have the same name: numbers written in two ways do not match")
  func pairsOfOtherNamesAreRefused() throws {
    let program = try Program()
    try program.writeImages("plain", count: 12)
    try program.writeImages("bright", count: 12, channels: 3)
    func move(_ from: String, _ to: String) throws {
      try FileManager.default.moveItem(atPath: program.path(from), toPath: program.path(to))
    }
    try move("bright/odd/1.png", "bright/odd/01.png")
    let arguments = ["train", "pix2pix", "--data", "plain", "--data-b", "bright", "--run", "r", "--steps", "1"]
    let refused = try program.run(arguments + Self.tinyPix2Pix)
    #expect(refused.status == 65 && refused.errors.contains("odd/1 of plain"), "\(refused.errors)")
    #expect(refused.errors.contains("has no partner in bright"), "\(refused.errors)")
    try move("bright/odd/01.png", "bright/odd/1.png")
    #expect(try program.run(arguments + Self.tinyPix2Pix).status == 0)
    #expect(try program.run("translate", "r", "--pairs", "--output", "sheet.png").status == 0)
    try move("bright", "other")
    try program.writeImages("bright", count: 10, channels: 3)
    let changed = try program.run("translate", "r", "--pairs", "--output", "sheet.png")
    #expect(changed.status == 65 && changed.errors.contains("has no partner"), "\(changed.errors)")
  }

  @Test func pairsAreLearnedFromAndJudgedBy() throws {
    let program = try Program()
    try program.writeImages("plain")
    try program.writeImages("bright", channels: 3)
    let training = try program.run(
      ["train", "pix2pix", "--data", "plain", "--data-b", "bright", "--run", "pairs", "--steps", "2"] + Self.tinyPix2Pix
    )
    #expect(training.status == 0, "\(training.errors)")
    let result = try program.run("translate", "pairs", "--pairs", "--json", "--output", "sheet.png")
    let report = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
    let figures = report?["figures"] as? [String: Double] ?? [:]
    // 16 of 144 pixels are darker by 40 and 80 of 255 in two of three channels.
    let difference = Double(16 * 120) / Double(3 * 144 * 255)
    #expect(abs((figures["a-to-b.l1-untouched"] ?? .nan) - difference) < 1e-9, "\(figures)")
    #expect(figures["pairs"] == 4 && figures["a-to-b.rank-1-untouched"] == 1 && figures.count == 7)
    #expect((figures["a-to-b.ssim-untouched"] ?? 0) > (figures["a-to-b.ssim"] ?? 1), "\(figures)")
    #expect(result.errors.contains("untouched") && result.errors.contains("100.0 %"), "\(result.errors)")
    // There is no inverse direction: originals, translations and true counterparts of four.
    #expect(try Image.read(program.path("sheet.png")).height == 3 * 14 + 2)
    let sheet = try program.run("translate", "pairs", "--output", "sheet.png")
    #expect(sheet.status == 0)
    #expect(try Image.read(program.path("sheet.png")).height == 2 * 14 + 2)
    // Another seed gives other dropout.
    func picture(_ seed: String) throws -> Image {
      let result = try program.run(
        "translate", "pairs", "--seed", seed, "--images", "plain/odd/1.png", "--folder", "out")
      #expect(result.status == 0, "\(result.errors)")
      return try Image.read(program.path("out/1.png"))
    }
    let (first, again, other) = (try picture("0"), try picture("0"), try picture("1"))
    #expect(first == again && first != other)
  }

  @Test(
    arguments: [
      (["cyclegan", "--data", "grey"], 64, "expected --data and --data-b"),
      (["cyclegan", "--data-b", "grey"], 64, "expected --data and --data-b"),
      (["cyclegan"], 64, "expected --data and --data-b"),
      (["autoencoder", "--data", "grey", "--data-b", "colour"], 64, "autoencoder learns from one data set"),
      (["autoencoder", "--data", "grey", "--set", "data-b=colour"], 64, "no setting data-b"),
      (["cyclegan", "--data", "grey", "--data-b", "colour"], 65, "grey is 12×12, colour is 16×16"),
      (["cyclegan", "--data", "grey", "--data-b", "nowhere"], 66, "nowhere"),
      (["cyclegan", "--data", "grey", "--data-b", "grey", "--image-size", "5"], 64, "at least 6×6"),
      (["pix2pix", "--data", "grey", "--data-b", "colour", "--image-size", "12"], 65, "has no partner in colour"),
      (["pix2pix", "--data", "grey", "--data-b", "grey", "--set", "depth=4"], 64, "depth: expected 2 to 3"),
    ] as [([String], Int32, String)])
  func mistakesWithTwoDataSets(_ arguments: [String], _ status: Int32, _ message: String) throws {
    let program = try twoKinds()
    let before = program.contents
    let result = try program.run(["train"] + arguments)
    #expect(result.status == status && result.errors.contains(message), "\(result.errors)")
    #expect(result.errors.split(separator: "\n").count <= 4 && program.contents == before)
  }
}
