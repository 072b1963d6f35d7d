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

  @Option(parsing: .unconditional, help: "The noise's deviation, where 1 is from black to white.")
  var noise: Float = 0.3

  @Option(parsing: .unconditional, help: "Which noise.")
  var seed: UInt64 = 0

  func run() throws {
    try check(count, "--count", 1...100_000)
    try check(columns, "--columns", 1...1000)
    guard noise.isFinite, noise > 0, noise <= 50 else {
      throw UserError(.usage, "--noise: expected a number above 0, at most 50, found \(noise)")
    }
    let job = try picture.begin((any Restoring).self, "denoise")
    let model = job.model
    let (originals, name) = try input.load(count, for: job.loaded, from: job.workspace)
    let backend = model.context.backend
    let clean = tensor(originals, for: model)
    let grains = Tensor(uninitialized: clean.shape, on: backend)
    // Draw 1 000 000: away from those that a sampler's own steps use.
    backend.fillNormal(grains, RandomDraw(seed: seed, stream: .sampling, draw: 1_000_000))
    let noisy = backend.add(clean, grains, alpha: 1, beta: noise)
    let restored = model.denoise(noisy, noise: noise, seed: seed).images()
    let noisyImages = noisy.images()
    let figures = [
      "psnr-noisy": meanSignalToNoise(noisyImages, originals), "psnr-restored": meanSignalToNoise(restored, originals),
    ]
    let recipe = job.recipe([
      "Images": name, "Count": String(originals.count), "Noise": String(noise), "Seed": String(seed),
    ])
    Console.note(
      "mean PSNR \(figures["psnr-noisy", default: 0].formatted(2)) dB noisy, "
        + "\(figures["psnr-restored", default: 0].formatted(2)) dB restored, over \(originals.count) images of \(name)")
    try job.finish(
      alternatingRows([originals, noisyImages, restored], columns: columns), columns: min(columns, originals.count),
      recipe, count: originals.count, figures: figures)
  }
}
