import ArgumentParser
import EaselKit
import Foundation

struct Sample: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Draw new images as a grid.")

  @OptionGroup var source: CheckpointOptions

  @Option(parsing: .unconditional, help: "How many images.")
  var count = 64

  @Option(parsing: .unconditional, help: "Images in a row of the grid.")
  var columns = 8

  @OptionGroup var sampling: SamplingArguments

  @Option(help: "The picture (default: Samples/<run>-samples.png).")
  var output: String?

  @Option(help: "Also write the images as a NumPy array [N, H, W, C], float32, 0 to 1.")
  var array: String?

  @Option(help: "Also write each image into a folder.")
  var individual: String?

  @OptionGroup var common: CommonOptions

  func run() throws {
    try check(count, "--count", 1...100_000)
    try check(columns, "--columns", 1...1000)
    let start = Date()
    let workspace = try Workspace(common.workspace)
    let loaded = try source.load(from: workspace)
    let model = try require((any Sampling).self, of: loaded, for: "sample")
    let options = sampling.options
    try model.validate(options)
    let path = workspace.picturePath(output, run: loaded.state.runName(source.checkpoint), "samples")
    for path in [path, array, individual.map { "\($0)/0.png" }].compactMap({ $0 }) { try prepareOutput(path) }

    let bar = ProgressBar("sampling")
    let images = try model.sample(0..<count, options) { bar.show($0) }
    let pictures = images.images()
    let recipe = Recipe(
      verb: "sample", loaded: loaded,
      settings: [
        (key: "Count", value: String(count)), (key: "Columns", value: String(columns)),
        (key: "Seed", value: String(options.seed)),
      ]
        + model.description(of: options))
    try ImageGrid.compose(pictures, columns: columns).write(to: path, text: recipe.text)
    if let array { try NPYArray(shape: images.shape.sizes, values: .float32(images.values())).write(to: array) }
    if let individual {
      for (index, picture) in pictures.enumerated() {
        try picture.write(to: String(format: "%@/%05d.png", individual, index), text: recipe.text)
      }
    }
    try report(path, loaded, count: count, since: start, json: common.json)
  }
}

/// Options of a sampler.
struct SamplingArguments: ParsableArguments {
  @Option(parsing: .unconditional, help: "Steps from noise to image.")
  var steps: Int?

  @Option(help: "ddim or ddpm.")
  var sampler: String?

  @Option(parsing: .unconditional, help: "DDIM's noise, 0 to 1.")
  var eta: Double?

  @Option(parsing: .unconditional, help: "The class to draw, for models trained with labels.")
  var label: Int?

  @Option(parsing: .unconditional, help: "How strongly the label counts; 1 is as trained.")
  var guidance: Float?

  @Option(parsing: .unconditional, help: "Names the series of images.")
  var seed: UInt64 = 0

  var options: SamplingOptions {
    SamplingOptions(seed: seed, steps: steps, sampler: sampler, label: label, guidance: guidance, eta: eta)
  }
}

/// Says what was written, as a path or as JSON.
func report(
  _ path: String, _ loaded: LoadedModel, count: Int, since start: Date, figures: [String: Double] = [:], json: Bool
) throws {
  guard json else { return Console.print(path) }
  try Console.print(
    json: PictureReport(
      output: path, checkpoint: loaded.checkpoint.path, hash: loaded.checkpoint.hash, count: count,
      seconds: Date().timeIntervalSince(start), figures: figures))
}

extension RunState {
  /// A short name for pictures: the last part of what the user called the checkpoint, with the step of a step's folder.
  func runName(_ argument: String) -> String {
    let url = URL(fileURLWithPath: argument)
    let name = url.lastPathComponent
    return name.hasPrefix("step-") ? "\(url.deletingLastPathComponent().lastPathComponent)-\(name)" : name
  }
}
