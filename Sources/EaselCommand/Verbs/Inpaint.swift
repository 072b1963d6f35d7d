import ArgumentParser
import EaselKit
import Foundation

struct Inpaint: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Hide a part of images and let the model fill it in: original, masked and completed rows.",
    discussion: """
      Also prints how far the made-up pixels are from the true ones, beside the error of the plainest completion there is, \
      the mean of each image's known pixels.
      """)

  @OptionGroup var picture: PictureOptions
  @OptionGroup var input: ImageOptions

  @Option(parsing: .unconditional, help: "How many images.")
  var count = 8

  @Option(parsing: .unconditional, help: "Images in a row.")
  var columns = 8

  @Option(
    help:
      "\(InpaintingMask.Pattern.names), or a picture's path: bright pixels are missing, dark and transparent ones are kept; it comes to the model's size as --fit says."
  )
  var mask = InpaintingMask.Pattern.randomPatches.rawValue

  @Option(
    parsing: .unconditional,
    help: "The share that is missing (default: 0.75 of random patches, 0.25 at the center, else 0.5).")
  var masked: Double?

  @Option(parsing: .unconditional, help: "Pixels of a random patch's side (default: the model's own patches', or 4).")
  var patch: Int?

  @Option(parsing: .unconditional, help: "Which random patches, and which completion.")
  var seed: UInt64 = 0

  func run() throws {
    try check(count, "--count", 1...100_000)
    try check(columns, "--columns", 1...1000)
    if let masked, !(masked > 0 && masked < 1) {
      throw UserError(.usage, "--masked: expected a share above 0 and below 1, found \(masked)")
    }
    if let patch { try check(patch, "--patch", 1...1000) }
    let job = try picture.begin((any Inpainting).self, "inpaint")
    let model = job.model
    let hole = try InpaintingMask(
      mask, share: masked, patch: patch ?? model.inpaintingPatch ?? 4, seed: seed, fit: input.fit(for: job.loaded),
      in: model.context.data)
    if let size = hole.cutFrom {
      Console.note(
        "--mask: the picture of \(size) has other proportions than the images: cropped to its middle; --fit pad or stretch "
          + "keeps all of it.")
    }
    let (originals, name) = try input.load(count, for: job.loaded, from: job.workspace)
    let clean = tensor(originals, for: model)
    let missing = originals.indices.map { hole.missing($0) }
    let flags = hole.mask(originals.count, on: model.context.backend)
    let bar = ProgressBar("inpainting")
    let completed = try model.inpaint(clean, missing: flags, seed: seed) { bar.show($0) }

    let pictures = completed.images()
    let figures = [
      "mse-missing": meanSquaredError(completed, clean, where: missing),
      "mse-missing-trivial": meanSquaredError(meansOfKnown(clean, missing), clean, where: missing),
      "psnr": meanSignalToNoise(pictures, originals),
    ]
    Console.note(
      "mean squared error \(figures["mse-missing", default: 0].formatted(5)) of missing pixels "
        + "(\(figures["mse-missing-trivial", default: 0].formatted(5)) with the mean of the known ones), "
        + "mean PSNR \(figures["psnr", default: 0].formatted(2)) dB, over \(originals.count) images of \(name)")
    let recipe = job.recipe([
      "Images": name, "Count": String(originals.count), "Mask": mask, "Missing": hole.description, "Seed": String(seed),
    ])
    let shown = hole.shown(in: originals)
    try job.finish(
      ImageGrid.alternatingRows([originals, shown, pictures], columns: columns), columns: min(columns, originals.count),
      recipe,
      count: originals.count, figures: figures)
  }

  /// The mean squared error of missing pixels.
  private func meanSquaredError(_ images: Tensor, _ originals: Tensor, where missing: [[Bool]]) -> Double {
    let channels = originals.shape[3]
    let flags = missing.flatMap { $0 }
    var (sum, count) = (0.0, 0)
    for (place, pair) in zip(images.values(), originals.values()).enumerated() where flags[place / channels] {
      sum += Double((pair.0 - pair.1) * (pair.0 - pair.1))
      count += 1
    }
    return sum / Double(max(1, count))
  }

  /// Images of one colour, the mean of an image's known pixels.
  private func meansOfKnown(_ images: Tensor, _ missing: [[Bool]]) -> Tensor {
    let channels = images.shape[3]
    let values = images.values()
    let means = missing.enumerated().flatMap { image, missing -> [Float] in
      let known = missing.indices.filter { !missing[$0] }
      let color = (0..<channels).map { channel in
        known.reduce(Float(0)) { $0 + values[(image * missing.count + $1) * channels + channel] } / Float(known.count)
      }
      return [[Float]](repeating: color, count: missing.count).flatMap { $0 }
    }
    return Tensor(means, shape: images.shape, on: images.backend)
  }
}
