import ArgumentParser
import EaselKit
import Foundation

struct Reconstruct: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Send images through the latent space and back: originals above, reconstructions below.")

  @OptionGroup var picture: PictureOptions
  @OptionGroup var input: ImageOptions

  @Option(parsing: .unconditional, help: "How many images.")
  var count = 16

  @Option(parsing: .unconditional, help: "Images in a row.")
  var columns = 8

  func run() throws {
    try check(count, "--count", 1...100_000)
    try check(columns, "--columns", 1...1000)
    let job = try picture.begin((any ImageEncoding).self, "reconstruct")
    let model = job.model
    let (originals, name) = try input.load(count, for: job.loaded, from: job.workspace)
    let reconstructions = model.decode(model.encode(tensor(originals, for: model))).images()
    let ratio = meanSignalToNoise(reconstructions, originals)
    let recipe = job.recipe([
      "Images": name, "Count": String(originals.count), "PSNR": "\(ratio.formatted(2)) dB",
    ])
    Console.note("mean PSNR \(ratio.formatted(2)) dB over \(originals.count) images of \(name)")
    try job.finish(
      ImageGrid.alternatingRows([originals, reconstructions], columns: columns), columns: min(columns, originals.count),
      recipe,
      count: originals.count, figures: ["psnr": ratio])
  }
}
