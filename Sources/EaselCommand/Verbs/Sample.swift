import ArgumentParser
import EaselKit
import Foundation

struct Sample: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Draw new images as a grid.")

  @OptionGroup var picture: PictureOptions

  @Option(parsing: .unconditional, help: "How many images (default: eight rows).")
  var count: Int?

  @Option(
    parsing: .unconditional, help: "Images in a row of the grid (default: 8; one for each class where all are drawn).")
  var columns: Int?

  @OptionGroup var sampling: SamplingArguments

  @Option(help: "Also write the images as a NumPy array [N, H, W, C], float32, 0 to 1.")
  var array: String?

  @Option(help: "Also write each image into a folder.")
  var individual: String?

  func run() throws {
    if let count { try check(count, "--count", 1...100_000) }
    if let columns { try check(columns, "--columns", 1...1000) }
    let options = sampling.options
    let job = try picture.begin((any Sampling).self, "sample") { try $0.validate(options) }
    // A column for each class, unless there are too many to be looked at side by side.
    let columns = columns ?? job.model.columns(options).flatMap { $0 <= 20 ? $0 : nil } ?? 8
    let count = count ?? 8 * columns
    if let array { try checkOutput(array, option: "--array") }
    if let individual { try checkOutput("\(individual)/0.png", option: "--individual") }

    let bar = ProgressBar("sampling")
    let images = try job.model.sample(0..<count, options) { bar.show($0) }
    let pictures = images.images()
    var recipe = job.recipe(["Count": String(count), "Columns": String(columns), "Seed": String(options.seed)])
    recipe.settings += job.model.description(of: options)
    if let array {
      try makeFolder(for: array)
      try NPYArray(shape: images.shape.sizes, values: .float32(images.values())).write(to: array)
    }
    if let individual {
      try makeFolder(for: "\(individual)/0.png")
      for (index, picture) in pictures.enumerated() {
        try picture.write(to: String(format: "%@/%05d.png", individual, index), text: recipe.text)
      }
    }
    try job.finish(pictures, columns: columns, recipe, count: count)
  }
}

/// Options of a sampler.
struct SamplingArguments: ParsableArguments {
  @Option(parsing: .unconditional, help: "Steps from noise to image.")
  var steps: Int?

  @Option(help: "ddim, ddpm, dpm++, or heun, which takes two passes a step.")
  var sampler: String?

  @Option(parsing: .unconditional, help: "The noise of ddim's and dpm++'s steps, 0 to 1.")
  var eta: Double?

  @Option(
    parsing: .unconditional, help: "The class to draw, for models trained with labels (default: all in turn).")
  var label: Int?

  @Option(parsing: .unconditional, help: "How strongly labels count: 1 is as trained, 0 not at all.")
  var guidance: Float?

  @Option(parsing: .unconditional, help: "Names the series of images.")
  var seed: UInt64 = 0

  var options: SamplingOptions {
    SamplingOptions(seed: seed, steps: steps, sampler: sampler, label: label, guidance: guidance, eta: eta)
  }
}
