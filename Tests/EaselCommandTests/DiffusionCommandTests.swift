import EaselKit
import Foundation
import Testing

/// Settings of diffusion models, with the built program.
@Suite(.serialized) struct DiffusionCommandTests {
  @Test func classesStandInColumns() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "labels", steps: 2, ["--set", "conditional=true"])
    func sample(_ arguments: String...) throws -> Image {
      let result = try program.run(["sample", "labels", "--output", "picture.png"] + arguments)
      #expect(result.status == 0, "\(result.errors)")
      return try Image.read(program.path("picture.png"))
    }
    // Two classes, eight rows of 12 × 12 with 2 pixels between.
    let all = try sample()
    #expect(all.width == 2 * 14 + 2 && all.height == 8 * 14 + 2)
    let recipe = try program.run("inspect", "picture.png").output
    #expect(recipe.contains("Label: all in turn") && recipe.contains("Guidance: 1.5"))
    let odd = try sample("--label", "1", "--count", "2", "--columns", "2")
    /// The grid's second image.
    func second(_ image: Image) -> [UInt8] {
      (2..<14).flatMap { row in (16..<28).map { image.pixels[row * image.width + $0] } }
    }
    #expect(second(all) == second(odd))
    #expect(try second(all) != second(sample("--guidance", "0")))
    let refused = try program.run("sample", "labels", "--guidance", "-1")
    #expect(refused.status == 64 && refused.errors.contains("--guidance"))
  }

  @Test func anEDMModelInColourDoesWhatTheOthersDo() throws {
    let program = try Program()
    try program.writeImages("images", side: 20, channels: 3)
    let training = try program.trainTinyDiffusion(
      run: "edm", steps: 3,
      [
        "--image-size", "18x14", "--set", "noise-schedule=edm", "--set", "prediction=velocity", "--set",
        "sampler=heun", "--set", "augment=0.3",
      ])
    #expect(training.status == 0, "\(training.errors)")
    for (arguments, images, columns) in [
      (["sample", "edm", "--count", "4", "--columns", "4"], 4, 4),
      (["sample", "edm", "--count", "4", "--columns", "4", "--sampler", "dpm++", "--steps", "3"], 4, 4),
      (["sample", "edm", "--count", "4", "--columns", "4", "--sampler", "ddpm", "--steps", "3"], 4, 4),
      (["interpolate", "edm", "--frames", "4", "--rows", "1"], 4, 4),
      (["reconstruct", "edm", "--count", "4"], 8, 4), (["denoise", "edm", "--count", "3"], 9, 3),
    ] {
      let result = try program.run(arguments + ["--output", "picture.png"])
      #expect(result.status == 0, "\(arguments): \(result.errors)")
      let picture = try Image.read(program.path("picture.png"))
      #expect(picture.channels == 3 && picture.width == columns * 20 + 2, "\(arguments)")
      #expect(picture.height == images / columns * 16 + 2, "\(arguments)")
    }
    // A run with the same augmentation builds on it; its checkpoint has the embedding in addition.
    let resumed = try program.run("resume", "edm", "--steps", "4")
    #expect(resumed.status == 0, "\(resumed.errors)")
    #expect(try program.run("inspect", "edm", "--json").output.contains("\"step\""))
  }

  @Test func aLearnedVarianceSamplesAndResumes() throws {
    let program = try Program()
    try program.writeImages("images")
    let options = ["--set", "variance=learned-range", "--set", "learning-rate-decay=constant"]
    try program.trainTinyDiffusion(run: "whole", steps: 4, options)
    try program.trainTinyDiffusion(run: "parts", steps: 2, options)
    #expect(try program.run("resume", "parts", "--steps", "4").status == 0)
    let weights = "step-00000004/weights.safetensors"
    #expect(try program.bytes("Checkpoints/whole/\(weights)") == program.bytes("Checkpoints/parts/\(weights)"))
    let log = try String(contentsOfFile: program.path("Checkpoints/whole/metrics.jsonl"), encoding: .utf8)
    #expect(log.contains("\"bound\"") && log.contains("\"simple\""))
    let result = try program.run("sample", "whole", "--sampler", "ddpm", "--count", "2", "--output", "picture.png")
    #expect(result.status == 0, "\(result.errors)")
  }

  @Test(arguments: [
    (["noise-schedule=edm"], "prediction: expected velocity"),
    (["noise-schedule=edm", "prediction=velocity", "variance=learned-range"], "variance: expected fixed-small"),
    (["augment=2"], "augment: expected 0 to 1"), (["conditional=true"], "conditional: expected data with labels"),
  ])
  func settingsThatDoNotFitAreNamed(_ settings: [String], _ message: String) throws {
    let program = try Program()
    try program.writeImages("images")
    let result = try program.trainTinyDiffusion(
      run: "none", steps: 1, ["--data", "images/even"] + settings.flatMap { ["--set", $0] })
    #expect(result.status == 64 && result.errors.contains(message), "\(result.errors)")
    #expect(!program.contents.contains { $0.hasPrefix("Checkpoints") })
  }
}
