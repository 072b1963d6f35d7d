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

  @Option(
    parsing: .unconditional,
    help: "Compute threads; they change no result (default: one for each processor that no other easel uses).")
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
  /// The numbers of the classes that a person names, with commas between: each by its name, or by its number from 0, which is
  /// taken for one only where no class is called by a number; `#2` is always a number, unless a class is called that.
  ///
  /// - Throws: `UserError` (usage) for a name that there is not; numbers are the model's to check.
  func labels(_ text: String) throws -> [Int] {
    let numbers = Dictionary(
      classNames.enumerated().map { (Array($1.utf8), $0) }, uniquingKeysWith: { first, _ in first })
    let isNumbered = classNames.contains { Int($0) != nil }
    func label(_ name: String) -> Int? {
      if let label = numbers[Array(name.utf8)] ?? classNames.firstIndex(of: name) { return label }
      if name.hasPrefix("#"), let number = Int(name.dropFirst()) { return number }
      guard !isNumbered, let number = Int(name), String(number) == name else { return nil }
      return number
    }
    var parts = text.split(separator: ",", omittingEmptySubsequences: false)[...]
    // A name may hold commas: the longest that there is is meant.
    let most = 1 + (classNames.map { name in name.utf8.count { $0 == UInt8(ascii: ",") } }.max() ?? 0)
    var labels: [Int] = []
    while let first = parts.first {
      let found = (1...min(most, parts.count)).reversed().lazy.compactMap { count -> (count: Int, label: Int)? in
        let name = parts.prefix(count).joined(separator: ",")
        return (label(name) ?? label(name.trimmingCharacters(in: .whitespaces))).map { (count, $0) }
      }.first
      guard let found else {
        let name = first.trimmingCharacters(in: .whitespaces)
        let nearest = nearestName(to: name, among: classNames).map { "Did you mean \($0)? " } ?? ""
        let known = isNumbered ? "Known, by name: \(list(Array(classNames.indices)))." : "Known: \(numberedClasses)."
        throw UserError(
          .usage, "--label: there is no class \(name.debugDescription)",
          hint: classNames.isEmpty ? "Its data have none." : nearest + known)
      }
      labels.append(found.label)
      parts = parts.dropFirst(found.count)
    }
    return labels
  }

  /// `0 cat, 1 dog`.
  var numberedClasses: String {
    var numbered = self
    numbered.classNames = classNames.enumerated().map { "\($0) \($1)" }
    return numbered.list(Array(classNames.indices))
  }
}

/// What to do with pictures that cannot be read.
struct SkippingOptions: ParsableArguments {
  @Flag(help: "Leave out pictures and folders that cannot be read, and list them.")
  var skipBroken = false
}

/// Images that a verb works on: held-out ones of a data set, or files.
struct ImageOptions: ParsableArguments {
  @Option(help: "A data set whose held-out images are taken (default: the run's own).")
  var data: String?

  @Option(parsing: .upToNextOption, help: "Image files instead, or folders of them.")
  var images: [String] = []

  @Option(help: "How images come to the model's proportions: crop, pad or stretch (default: as in training).")
  var fit: ImageFit?

  @OptionGroup var skipping: SkippingOptions

  /// How images come to a model's size.
  func fit(for loaded: LoadedModel) throws -> ImageFit {
    try fit ?? loaded.configuration.decode(RunDescription.self).fit
  }

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
    /// What each is called, without extension, with the sub-folders that it lies in.
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
    let fit = try fit(for: loaded)
    guard !images.isEmpty else {
      let held = try splits(of: loaded, domain: domain, from: workspace).validation
      return Chosen(held, 0..<min(limit ?? held.count, held.count))
    }
    var broken: [UserError] = []
    func skip(_ error: UserError) throws {
      guard skipping.skipBroken else { throw error }
      broken.append(error)
    }
    let files = try images.flatMap { path -> [(path: String, name: String, isOne: Bool)] in
      let name = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
      guard path.isFolder else { return [(path, name, true)] }
      return try Image.files(below: path) { try skip($0.advisingToSkip) }.map { ($0.path, $0.name, false) }
    }
    var chosen = Chosen(images: [], names: [], source: "files")
    var cropped = 0
    try Image.reading(files.map(\.path)) {
      for file in files {
        do {
          let picture = try Image.read(file.path)
          if fit == .crop, Image.isCut(picture.size, to: size) { cropped += 1 }
          chosen.images.append(picture.brought(to: size, by: fit).converted(channels: description.channels))
          chosen.names.append(file.name.escapingStrayBytes)
          chosen.files.append(file.path)
        } catch let error as UserError {
          try skip(file.isOne ? error : error.advisingToSkip)
        }
      }
    }
    Console.noteCropped(cropped, of: files.count, "--images", to: size)
    Workspace.list(skipped: broken, of: images.joined(separator: ", "))
    if chosen.images.isEmpty, let first = broken.first {
      throw UserError(.badData, "--images: none of the pictures can be read; the first: \(first.message)")
    }
    return chosen
  }

  /// The data set that was named or else that of the run, in the size and the channels that the model takes.
  ///
  /// - Parameter domain: which of the run's data sets, 0 for the first.
  func splits(of loaded: LoadedModel, domain: Int, from workspace: Workspace) throws -> DatasetSplits {
    let description = loaded.state.data.description
    let run = try loaded.configuration.decode(RunDescription.self)
    let (own, key) = domain > 0 ? (run.dataB ?? run.data, "data-b") : (run.data, "data")
    return try workspace.data(
      data, or: workspace.place(of: own, key, of: loaded.checkpoint), like: description, fit: fit ?? run.fit,
      skippingBroken: skipping.skipBroken || (data == nil && run.skipBroken)
    ).converted(channels: description.channels)
  }
}

extension ImageOptions.Chosen {
  /// Some held-out images.
  init(_ held: ImageDataset, _ range: Range<Int>) {
    self.init(
      images: held.images(range),
      names: range.map { held.names.isEmpty ? String(format: "%05d", $0) : held.names[$0] },
      source: "\(held.name), held-out")
  }
}

extension Precision: ExpressibleByArgument {}
extension BackendKind: ExpressibleByArgument {}
extension ImageFit: ExpressibleByArgument {}
extension LoadedModel.Weights: ExpressibleByArgument {}

/// - Throws: `UserError` (usage) unless a count lies in a range.
func check(_ value: Int, _ option: String, _ range: ClosedRange<Int>) throws {
  if !range.contains(value) {
    throw UserError(.usage, "\(option): expected \(range.lowerBound) to \(range.upperBound), found \(value)")
  }
}
