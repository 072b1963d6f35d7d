import ArgumentParser
import EaselKit
import Foundation

struct Denoise: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Add noise to images and take it away again: clean, noisy and restored rows.")

  @OptionGroup var picture: PictureOptions
  @OptionGroup var input: ImageOptions

  @Option(parsing: .unconditional, help: "How many images.")
  var count = 8

  @Option(parsing: .unconditional, help: "Images in a row.")
  var columns = 8

  @Option(help: "gaussian, salt-and-pepper or squares (default: what the model was trained for).")
  var corruption: Corruption.Kind?

  @Option(
    name: [.long, .customLong("strength")], parsing: .unconditional,
    help: "The noise's deviation, where 1 is from black to white, or the share of pixels (default: the model's).")
  var noise: Float?

  @Option(parsing: .unconditional, help: "Which noise.")
  var seed: UInt64 = 0

  func run() throws {
    try check(count, "--count", 1...100_000)
    try check(columns, "--columns", 1...1000)
    let job = try picture.begin((any Restoring).self, "denoise") {
      try requestedDamage(for: $0).validate(strengthName: "--noise")
    }
    let model = job.model
    let damage = requestedDamage(for: model)
    let (originals, name) = try input.load(count, for: job.loaded, from: job.workspace)
    let clean = tensor(originals, for: model)
    // Draw 1 000 000: away from those that a sampler's own steps use.
    let noisy = damage.apply(to: clean, RandomDraw(seed: seed, stream: .sampling, draw: 1_000_000))
    let restored = try model.restore(noisy, from: damage, seed: seed).images()
    let noisyImages = noisy.images()
    let figures = [
      "psnr-noisy": meanSignalToNoise(noisyImages, originals), "psnr-restored": meanSignalToNoise(restored, originals),
    ]
    let recipe = job.recipe([
      "Images": name, "Count": String(originals.count), "Corruption": damage.kind.rawValue,
      "Noise": String(damage.strength), "Seed": String(seed),
    ])
    Console.note(
      "mean PSNR \(figures["psnr-noisy", default: 0].formatted(2)) dB noisy, "
        + "\(figures["psnr-restored", default: 0].formatted(2)) dB restored, over \(originals.count) images of \(name)")
    try job.finish(
      alternatingRows([originals, noisyImages, restored], columns: columns), columns: min(columns, originals.count),
      recipe, count: originals.count, figures: figures)
  }

  private func requestedDamage(for model: any Restoring) -> Corruption {
    var damage = model.corruption
    if let corruption { damage.kind = corruption }
    if let noise { damage.strength = noise }
    return damage
  }
}

extension Corruption.Kind: ExpressibleByArgument {}
