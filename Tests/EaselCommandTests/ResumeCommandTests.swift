import EaselKit
import EaselTestSupport
import Foundation
import Testing

/// A run that was stopped and resumed equals one that never stopped, bit for bit: every family, in the middle of an
/// epoch.
@Suite(.serialized) struct ResumeCommandTests {
  struct Family: Sendable, CustomTestStringConvertible {
    let preset: String
    var settings: [String] = ["base-channels=8"]
    var counterpart = false
    var options: [String] = []
    var testDescription: String { preset }

    static let all = [
      Family(preset: "autoencoder"), Family(preset: "denoising-autoencoder"), Family(preset: "vae"),
      Family(preset: "classifier"),
      Family(
        preset: "clip",
        settings: [
          "base-channels=8", "image-width=16", "text-width=16", "text-layers=1", "text-heads=2", "vocabulary-size=530",
          "embedding-width=16", "ema-decay=0.9", "accumulate=2",
        ], options: ["--caption-template", "an {} picture|{}|picture of {}"]),
      Family(
        preset: "gan", settings: ["base-channels=8", "latent=8", "discriminator-steps=2", "conditional=concatenation"]),
      Family(preset: "gan-color", settings: ["base-channels=8", "latent=8", "spectral-norm=true"]),
      Family(
        preset: "masked-autoencoder",
        settings: [
          "width=16", "depth=2", "heads=2", "decoder-width=16", "decoder-depth=1", "decoder-heads=2", "drop-path=0.5",
        ]),
      Family(
        preset: "autoencoder-kl",
        settings: [
          "channels=8,16", "groups=4", "adversarial-weight=0.1", "adversarial-start=0", "discriminator-width=4",
          "ema-decay=0.9",
        ]),
      Family(preset: "autoencoder-kl", settings: ["kind=vq", "codes=8", "channels=8,16", "groups=4"]),
      Family(
        preset: "cyclegan",
        settings: [
          "generator-width=4", "residual-blocks=1", "discriminator-width=4", "pool-size=6", "ema-decay=0.9",
          "augment=[color]",
        ], counterpart: true),
      Family(
        preset: "pix2pix", settings: ["generator-width=4", "discriminator-width=4", "depth=2", "dropout=0.5"],
        counterpart: true),
      Family(
        preset: "diffusion-small",
        settings: [
          "channels=8,16", "groups=4", "attention-levels=1", "sampler-steps=4", "dropout=0.2", "conditional=true",
        ]),
      Family(
        preset: "diffusion-edm",
        settings: ["channels=8,16", "groups=4", "attention-levels=1", "sampler-steps=4", "augment=0.5"]),
    ]

    /// Everything that draws random numbers is on, and the steps cross an epoch's end: 36 images in batches of 8.
    func arguments(_ run: String, steps: String, precision: String) -> [String] {
      let shared = [
        "batch-size=8", "flip=true", "shift=1", "warmup-steps=3", "seed=7", "checkpoint-every=2", "validate-every=2",
        // If the schedule ends with the training, another length gives another schedule.
        "schedule-steps=1000",
      ]
      return [
        "train", preset, "--data", "images", "--run", run, "--steps", steps, "--precision", precision,
      ] + options + (counterpart ? ["--data-b", "others"] : []) + (shared + settings).flatMap { ["--set", $0] }
    }
  }

  static let precisions: [String] = {
    let hasBFloat16 = (try? onTensors(.onednn) { _ = try Precision.bfloat16.scalarType(on: $0) }) != nil
    return hasBFloat16 ? ["float32", "bfloat16"] : ["float32"]
  }()

  private func program() throws -> Program {
    let program = try Program()
    try program.writeImages("images", channels: 3)
    try program.writeImages("others", channels: 3)
    return program
  }

  /// The hashes of a checkpoint's numbers, by file, and the best checkpoint at that time.
  private func numbers(_ program: Program, _ run: String, step: Int) throws -> [String: String] {
    let run = try RunFolder(workspace: program.workspace, name: run)
    let checkpoint = try CheckpointFolder.open(run.checkpointPath(step: step))
    let best = try CheckpointSummary.state(of: checkpoint).best
    return checkpoint.manifest.files.filter { $0.key.hasSuffix(".safetensors") }.mapValues(\.sha256)
      .merging(["best": "\(best.map { "\($0)" } ?? "none")"]) { $1 }
  }

  @Test("Stopped at a planned step", arguments: Family.all, precisions)
  func planned(_ family: Family, _ precision: String) throws {
    let program = try program()
    for (run, steps) in [("whole", "6"), ("parts", "3")] {
      let training = try program.run(family.arguments(run, steps: steps, precision: precision))
      #expect(training.status == 0, "\(training.errors)")
    }
    let resumed = try program.run("resume", "parts", "--steps", "6")
    #expect(resumed.status == 0, "\(resumed.errors)")
    let whole = try numbers(program, "whole", step: 6)
    #expect(whole.count >= 3 && whole["best"] != "none")
    #expect(try numbers(program, "parts", step: 6) == whole)
  }

  @Test("Stopped by a signal", arguments: Family.all)
  func interrupted(_ family: Family) throws {
    let program = try program()
    let running = try program.start(family.arguments("parts", steps: "100000", precision: "auto"))
    try program.wait(running, untilStep: 1, of: "parts")
    running.process.interrupt()
    let stopped = try program.finish(running)
    #expect(stopped.status == 130, "\(stopped.errors)")
    let run = try RunFolder(workspace: program.workspace, name: "parts")
    let last = try run.newestValid().checkpoint.step + 3
    let resumed = try program.run("resume", "parts", "--steps", String(last))
    #expect(resumed.status == 0, "\(resumed.errors)")
    let whole = try program.run(family.arguments("whole", steps: String(last), precision: "auto"))
    #expect(whole.status == 0, "\(whole.errors)")
    #expect(try numbers(program, "parts", step: last) == numbers(program, "whole", step: last))
  }
}
