import ArgumentParser
import EaselKit
import Foundation

struct Interpolate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Walk from image to image through the latent space, a row for each walk.",
    discussion: """
      Between two noises where the model draws from noise, else between held-out images; or between two images given.
      """)

  @OptionGroup var picture: PictureOptions

  @Option(parsing: .unconditional, help: "Images in a row, both ends included.")
  var frames = 8

  @Option(parsing: .unconditional, help: "Walks.")
  var rows = 4

  @Option(parsing: .upToNextOption, help: "Two image files to walk between.")
  var images: [String] = []

  @Option(help: "The data set whose held-out images are walked between (default: the run's own).")
  var data: String?

  @Option(parsing: .unconditional, help: "Which noises, or which held-out images.")
  var seed: UInt64 = 0

  func run() throws {
    try check(frames, "--frames", 2...1000)
    try check(rows, "--rows", 1...1000)
    if !images.isEmpty, images.count != 2 {
      throw UserError(.usage, "--images: expected two files, found \(images.count)")
    }
    let job = try picture.begin((any LatentSpace).self, "interpolate")
    let model = job.model

    let (codes, ends) = try ends(job)
    let size = codes.shape[0] == 0 ? 0 : codes.count / codes.shape[0]
    let values = codes.values()
    func code(_ index: Int) -> [Float] { Array(values[index * size..<(index + 1) * size]) }
    let walks = codes.shape[0] / 2
    let stops = (0..<walks).flatMap { row in
      model.interpolation.path(from: code(2 * row), to: code(2 * row + 1), frames: frames).flatMap { $0 }
    }
    let shape = Shape([walks * frames] + codes.shape.sizes.dropFirst())
    let pictures = model.decode(Tensor(stops, shape: shape, on: model.context.backend)).images()
    let recipe = job.recipe([
      "Frames": String(frames), "Rows": String(walks), "Seed": String(seed), "Between": ends,
      "Interpolation": model.interpolation.rawValue,
    ])
    try job.finish(pictures, columns: frames, recipe, count: pictures.count)
  }

  /// Codes of both ends of every walk, one after the other, and what they are.
  private func ends(_ job: PictureJob<any LatentSpace>) throws -> (Tensor, String) {
    let model = job.model
    if images.isEmpty, data == nil, let codes = model.randomCodes(0..<2 * rows, seed: seed) { return (codes, "noises") }
    var options = ImageOptions()
    (options.images, options.data) = (images, data)
    let wanted = images.isEmpty ? 2 * rows : 2
    // Held-out images from a place that the seed chooses.
    let skipped = images.isEmpty ? Int(seed % 1000) * wanted : 0
    let (pictures, name) = try options.load(skipped + wanted, for: job.loaded, from: job.workspace)
    guard pictures.count >= skipped + wanted else {
      throw UserError(
        .usage, "--rows and --seed ask for held-out images \(skipped) to \(skipped + wanted), found \(pictures.count)")
    }
    return (model.encode(tensor(Array(pictures[skipped...]), for: model)), name)
  }
}
