import EaselKit
import Foundation
import Testing

/// Every family with the built program: trained on a folder of pictures, resumed, and used to draw.
@Suite(.serialized) struct FamilyCommandTests {
  struct Family: Sendable, CustomTestStringConvertible {
    let preset: String
    let settings: [String]
    /// Verbs with their options, and the number of images in their pictures.
    let pictures: [(arguments: [String], images: Int)]
    var testDescription: String { preset }

    static let all = [
      Family(
        preset: "denoising-autoencoder", settings: ["base-channels=8", "corruption=squares", "strength=0.2"],
        pictures: [
          (["denoise", "--count", "3"], 9), (["reconstruct", "--count", "4"], 8),
          (["denoise", "--count", "2", "--corruption", "salt-and-pepper", "--strength", "0.1"], 6),
        ]),
      Family(
        preset: "vae", settings: ["base-channels=8", "latent=2", "likelihood=discretized-logistic"],
        pictures: [
          (["sample", "--count", "6"], 6), (["reconstruct", "--count", "3"], 6),
          (["interpolate", "--frames", "4", "--rows", "2"], 8),
          (["interpolate", "--along", "plane", "--frames", "5"], 25),
          (["interpolate", "--along", "dimensions", "--frames", "3"], 6),
        ]),
      Family(
        preset: "autoencoder-kl",
        settings: ["channels=[8, 16]", "latent-channels=2", "adversarial-weight=0.1", "adversarial-start=0"],
        pictures: [
          (["reconstruct", "--count", "3"], 6), (["interpolate", "--frames", "4", "--rows", "2"], 8),
        ]),
      Family(
        preset: "autoencoder-kl", settings: ["kind=vq", "channels=[8, 16, 16]", "codes=8"],
        pictures: [(["reconstruct", "--count", "3"], 6)]),
      Family(
        preset: "gan", settings: ["base-channels=8", "latent=3", "conditional=projection", "spectral-norm=true"],
        pictures: [
          (["sample", "--count", "6"], 6), (["sample", "--count", "2", "--label", "1"], 2),
          (["interpolate", "--frames", "4", "--rows", "2"], 8),
          (["interpolate", "--along", "dimensions", "--frames", "3", "--rows", "2"], 6),
        ]),
    ]
  }

  @Test("Trains, draws, and goes on as if it had never stopped", arguments: Family.all)
  func endToEnd(_ family: Family) throws {
    let program = try Program()
    try program.writeImages("images", channels: 3)
    // A rate that falls towards the training's end would be different for the shorter one.
    let settings =
      (family.settings + ["learning-rate-decay=constant"]).flatMap { ["--set", $0] }
      + ["--batch-size", "8", "--seed", "3"]
    for (run, steps) in [("whole", "4"), ("parts", "2")] {
      let training = try program.run(
        ["train", family.preset, "--data", "images", "--image-size", "14x10", "--run", run, "--steps", steps] + settings
      )
      #expect(training.status == 0, "\(training.errors)")
    }
    #expect(try program.run("resume", "parts", "--steps", "4").status == 0)
    for file in ["weights", "optimizer"] {
      let name = "step-00000004/\(file).safetensors"
      #expect(try program.bytes("Checkpoints/whole/\(name)") == program.bytes("Checkpoints/parts/\(name)"))
    }
    for (arguments, images) in family.pictures {
      let result = try program.run(
        [arguments[0], "whole"] + arguments.dropFirst() + ["--output", "picture.png", "--json"])
      #expect(result.status == 0, "\(arguments): \(result.errors)")
      let picture = try Image.read(program.path("picture.png"))
      let (columns, rows) = ((picture.width - 2) / 16, (picture.height - 2) / 12)
      #expect(picture.channels == 3 && columns * rows == images, "\(arguments): \(columns) by \(rows)")
    }
  }

  @Test("An autoencoder of small latents uses a classifier for its perceptual loss, and keeps it")
  func perceptual() throws {
    let program = try Program()
    try program.writeImages("images")
    for (preset, settings) in [
      ("classifier", ["base-channels=8", "features=8"]), ("autoencoder", ["base-channels=8"]),
    ] {
      let training = try program.run(
        ["train", preset, "--data", "images", "--run", preset, "--steps", "1", "--batch-size", "4"]
          + settings.flatMap { ["--set", $0] })
      #expect(training.status == 0, "\(training.errors)")
    }
    func train(_ part: String, _ run: String) throws -> Program.Result {
      try program.run(
        "train", "autoencoder-kl", "--data", "images", "--run", run, "--steps", "2", "--batch-size", "4", "--set",
        "channels=[8, 16]", "--set", "perceptual=\(part)")
    }
    let refused = try train("autoencoder", "other")
    #expect(
      refused.status == 64 && refused.errors.contains("perceptual: expected a checkpoint for features of images"),
      "\(refused.errors)")
    let training = try train("classifier", "latents")
    #expect(training.status == 0, "\(training.errors)")
    // What it needs is in its own folder.
    try FileManager.default.removeItem(atPath: program.path("Checkpoints/classifier"))
    #expect(try program.run("resume", "latents", "--steps", "3").status == 0)
    #expect(try program.run("reconstruct", "latents", "--count", "2").status == 0)
    let metrics = try String(contentsOfFile: program.path("Checkpoints/latents/metrics.jsonl"), encoding: .utf8)
    #expect(metrics.contains(#""perceptual""#) && metrics.contains(#""scaling-factor""#))
    let inspected = try program.run("inspect", "latents")
    let line = inspected.output.split(separator: "\n").first { $0.hasPrefix("autoencoder.scaling_factor") }
    let factor = try #require(line?.split(separator: " ").last.flatMap { Float($0) })
    #expect(factor > 0 && factor != 1, "\(line ?? "")")
  }

  @Test("denoise measures what it restores beside the noise, a blur and another model")
  func denoiseFigures() throws {
    let program = try Program()
    try program.writeImages("images")
    for (preset, run, steps) in [("denoising-autoencoder", "d", "60"), ("autoencoder", "a", "60")] {
      let training = try program.run(
        "train", preset, "--data", "images", "--run", run, "--steps", steps, "--set", "base-channels=16",
        "--batch-size",
        "16", "--learning-rate", "3e-3")
      #expect(training.status == 0, "\(training.errors)")
    }
    let result = try program.run("denoise", "d", "--beside", "a", "--count", "4", "--noise", "0.4", "--json")
    let report = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
    let figures = report?["figures"] as? [String: Double] ?? [:]
    #expect(result.errors.contains("SSIM") && result.errors.contains("blurred"), "\(result.errors)")
    for name in ["psnr", "ssim"] {
      let values = ["noisy", "blurred", "beside", "restored"].map { figures["\(name)-\($0)"] ?? .nan }
      #expect(values[0] < values[1] && values[1] < values[3] && values[0] < values[2], "\(name): \(values)")
    }
  }

  @Test("Something that a family cannot do is refused in one line")
  func refusals() throws {
    let program = try Program()
    try program.writeImages("images")
    let training = try program.run(
      "train", "gan", "--data", "images", "--run", "g", "--steps", "1", "--set", "base-channels=8", "--batch-size", "4")
    #expect(training.status == 0, "\(training.errors)")
    for (arguments, status, message) in [
      (["reconstruct", "g"], 69, "It can: sample, interpolate"),
      (["interpolate", "g", "--data", "images"], 69, "no codes of given images"),
      (["interpolate", "g", "--along", "plane"], 64, "two"),
      (["sample", "g", "--steps", "3"], 64, "--steps"), (["sample", "g", "--label", "1"], 64, "--label"),
    ] {
      let result = try program.run(arguments)
      #expect(result.status == Int32(status) && result.errors.contains(message), "\(arguments): \(result.errors)")
    }
    let refused = try program.run("train", "gan", "--data", "images", "--set", "loss=wgan-gp", "--set", "norm=batch")
    #expect(refused.status == 64 && refused.errors.contains("BatchNorm"))
  }
}
