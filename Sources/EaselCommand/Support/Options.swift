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
  var checkpoint: String?

  @OptionGroup var loading: LoadingOptions

  var runName: String { checkpoint.map(shortName) ?? "" }

  func load(from workspace: Workspace) throws -> LoadedModel {
    guard let checkpoint else {
      throw UserError(.usage, "expected a checkpoint: a run's name, a run's folder or a checkpoint's folder")
    }
    return try loading.load(checkpoint, from: workspace)
  }

  /// Takes the checkpoint, the weights and the arithmetic that a picture's recipe tells, unless they are given.
  ///
  /// - Throws: `UserError` where there is no such checkpoint, or the given one is another.
  mutating func find(_ recipe: [String: String], named picture: String, in workspace: Workspace) throws {
    let hash = recipe["checkpoint"] ?? ""
    if let checkpoint {
      let found = try workspace.checkpoints.resolve(checkpoint).checkpoint
      guard found.isMeant(by: hash) else {
        let present = try found.modelHash
        throw UserError(
          .badData, "\(picture): made from checkpoint \(hash.prefix(16)), found \(present.prefix(16)) in \(checkpoint)",
          hint: "Leave out the checkpoint to have it searched for.")
      }
    } else {
      guard let found = try workspace.checkpoints.find({ $0.isMeant(by: hash) }) else {
        throw UserError(
          .missingInput,
          "\(picture): made from checkpoint \(hash.prefix(16)) (\(recipe["model"] ?? "")), which is not here",
          hint: "It was deleted, or lies in another --workspace.")
      }
      checkpoint = found.path
    }
    loading.weights = loading.weights ?? recipe["weights"].flatMap(LoadedModel.Weights.init)
    loading.compute.precision = loading.compute.precision ?? recipe["precision"].flatMap(Precision.init)
    let backend = loading.compute.backend
    loading.compute.backend.backend = backend.backend ?? recipe["backend"].flatMap(BackendKind.init)
    loading.compute.backend.threads = backend.threads ?? recipe["threads"].flatMap { Int($0) }
  }
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

extension DataDescription {
  /// The numbers of classes that a person names by number or name, with commas between.
  ///
  /// - Throws: `UserError` (usage) for a name that there is not; numbers are the model's to check.
  func labels(_ text: String) throws -> [Int] {
    // A name may hold a comma.
    if Int(text) == nil, let label = classNames.firstIndex(of: text) { return [label] }
    return try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
      let name = part.trimmingCharacters(in: .whitespaces)
      if let label = Int(name) ?? classNames.firstIndex(of: name) { return label }
      let nearest = nearestName(to: name, among: classNames).map { "Did you mean \($0)? " } ?? ""
      throw UserError(
        .usage, "--label: there is no class \(name.debugDescription)",
        hint: classNames.isEmpty ? "Its data have none." : "\(nearest)Known: \(numberedClasses).")
    }
  }

  /// `0 cat, 1 dog`.
  var numberedClasses: String { classNames.enumerated().map { "\($0) \($1)" }.joined(separator: ", ") }
}

/// Images that a verb works on: held-out ones of a data set, or files.
struct ImageOptions: ParsableArguments {
  @Option(help: "A data set whose held-out images are taken (default: the run's own).")
  var data: String?

  @Option(parsing: .upToNextOption, help: "Image files instead, or folders of them.")
  var images: [String] = []

  /// - Returns: `count` images at most, of the size and channels that the model takes, and what they are.
  func load(_ count: Int, for loaded: LoadedModel, from workspace: Workspace) throws -> (
    images: [Image], source: String
  ) {
    let chosen = try load(from: workspace, for: loaded, limit: count)
    return (chosen.images, chosen.source)
  }

  /// Images of the size and channels that a model takes.
  struct Chosen {
    var images: [Image]
    /// What each is called, without extension; those of folders with their sub-folders.
    var names: [String]
    /// What they are, for people.
    var source: String
    /// The files that they were read from; empty for those of a data set.
    var files: [String] = []
  }

  /// - Parameters:
  ///   - domain: which of the run's data sets, 0 for the first, where none is named.
  ///   - limit: of held-out images; files are all taken.
  func load(from workspace: Workspace, for loaded: LoadedModel, domain: Int = 0, limit: Int? = nil) throws -> Chosen {
    let description = loaded.state.data.description
    let size = ImageSize(width: description.width, height: description.height)
    guard !images.isEmpty else {
      let name = try data ?? workspace.data(named: ownData(of: loaded, domain: domain, workspace), or: description)
      let held = try workspace.datasets.resolve(name, imageSize: size).validation
      let range = 0..<min(limit ?? held.count, held.count)
      return Chosen(
        images: held.images(range).map { $0.converted(channels: description.channels) },
        names: range.map { held.names.isEmpty ? String(format: "%05d", $0) : held.names[$0] },
        source: "\(held.name), held-out")
    }
    let files = try images.flatMap { path -> [(path: String, name: String)] in
      let root = URL(fileURLWithPath: path).standardizedFileURL
      func name(_ url: URL, after folder: URL) -> String {
        String(url.deletingPathExtension().path.dropFirst(folder.path.count + 1))
      }
      var isFolder: ObjCBool = false
      guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
        return [(path, name(root, after: root.deletingLastPathComponent()))]
      }
      return try Image.files(below: root.path).map { ($0, name(URL(fileURLWithPath: $0), after: root)) }
    }
    let pictures = try files.map { file in
      try Image.read(file.path).fitted(width: size.width, height: size.height)
        .converted(channels: description.channels)
    }
    return Chosen(images: pictures, names: files.map(\.name), source: "files", files: files.map(\.path))
  }

  /// The name or path of a data set that the run was trained on, as its configuration has it.
  private func ownData(of loaded: LoadedModel, domain: Int, _ workspace: Workspace) throws -> String {
    let run = try loaded.configuration.decode(RunDescription.self)
    let (name, key) = domain > 0 ? (run.dataB ?? run.data, "data-b") : (run.data, "data")
    return workspace.place(of: name, key, of: loaded.checkpoint)
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
