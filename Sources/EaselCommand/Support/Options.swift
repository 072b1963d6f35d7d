import ArgumentParser
import EaselKit
import Foundation

/// Options that every verb takes.
struct CommonOptions: ParsableArguments {
  @Option(help: "The folder with Data/, Checkpoints/ and Samples/ (default: the current one).")
  var workspace: String?

  @Flag(help: "Print one JSON object on standard output.")
  var json = false
}

/// Where to compute.
struct BackendOptions: ParsableArguments {
  @Option(help: "onednn or openblas.")
  var backend: BackendKind?

  @Option(parsing: .unconditional, help: "Compute threads (default: one for each processor).")
  var threads: Int?

  func make() throws -> any Backend {
    if let threads, !(1...1024).contains(threads) {
      throw UserError(.usage, "--threads: expected 1 to 1024, found \(threads)")
    }
    return try Backends.make(backend, threads: threads)
  }
}

/// Where and how precisely to compute.
struct ComputeOptions: ParsableArguments {
  @Option(help: "auto, float32 or bfloat16.")
  var precision: Precision?

  @OptionGroup var backend: BackendOptions
}

/// The checkpoint that a picture is made from.
struct CheckpointOptions: ParsableArguments {
  @Argument(help: "A run's name, a run's folder or a checkpoint's folder.")
  var checkpoint: String

  @OptionGroup var loading: LoadingOptions

  var runName: String { shortName(ofCheckpoint: checkpoint) }

  func load(from workspace: Workspace) throws -> LoadedModel { try loading.load(checkpoint, from: workspace) }
}

/// A short name for pictures: the run's, with the step where a step's folder was named.
func shortName(ofCheckpoint checkpoint: String) -> String {
  let url = URL(fileURLWithPath: checkpoint)
  let name = url.lastPathComponent
  return name.hasPrefix("step-") ? "\(url.deletingLastPathComponent().lastPathComponent)-\(name)" : name
}

/// How a checkpoint becomes a model.
struct LoadingOptions: ParsableArguments {
  @Option(help: "ema (the moving average, the default where there is one) or raw.")
  var weights: LoadedModel.Weights?

  @OptionGroup var compute: ComputeOptions

  /// Loads the model, saying what was passed over and what differs from the machine that trained it.
  func load(_ checkpoint: String, from workspace: Workspace) throws -> LoadedModel {
    let (folder, damaged) = try workspace.checkpoints.resolve(checkpoint)
    for one in damaged { Console.note("\(one.path): passed over: \(one.error.message)") }
    let loaded = try LoadedModel(
      folder, backend: compute.backend.make(), precision: compute.precision, weights: weights)
    if !loaded.differences.isEmpty {
      Console.note(
        "This differs from the training and may change last digits: \(loaded.differences.joined(separator: "; ")).")
    }
    return loaded
  }
}

/// Images that a verb works on: held-out ones of a data set, or files.
struct ImageOptions: ParsableArguments {
  @Option(help: "A data set whose held-out images are taken (default: the run's own).")
  var data: String?

  @Option(parsing: .upToNextOption, help: "Image files instead.")
  var images: [String] = []

  /// - Returns: `count` images at most, of the size and channels that the model takes, and what they are.
  func load(_ count: Int, for loaded: LoadedModel, from workspace: Workspace) throws -> (
    images: [Image], source: String
  ) {
    let description = loaded.state.data.description
    guard !images.isEmpty else {
      let name = data ?? loaded.state.data.name
      let size = ImageSize(width: description.width, height: description.height)
      let splits = try workspace.datasets.resolve(data ?? savedSource(loaded), imageSize: size)
      let held = splits.validation
      return (
        held.images(0..<min(count, held.count)).map { $0.converted(channels: description.channels) },
        "\(name), held-out"
      )
    }
    let pictures = try images.map { path in
      try Image.read(path).fitted(width: description.width, height: description.height)
        .converted(channels: description.channels)
    }
    return (pictures, "files")
  }

  /// The data that the run was trained on, by the name or path its configuration has.
  private func savedSource(_ loaded: LoadedModel) throws -> String {
    try loaded.configuration.decode(RunDescription.self).data
  }
}

extension Precision: ExpressibleByArgument {}
extension BackendKind: ExpressibleByArgument {}
extension LoadedModel.Weights: ExpressibleByArgument {}

/// - Throws: `UserError` (usage) unless a count lies in a range.
func check(_ value: Int, _ option: String, _ range: ClosedRange<Int>) throws {
  if !range.contains(value) {
    throw UserError(.usage, "\(option): expected \(range.lowerBound) to \(range.upperBound), found \(value)")
  }
}
