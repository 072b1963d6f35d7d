import ArgumentParser
import EaselKit
import Foundation

/// How a picture was made: what its file carries as text.
struct Recipe {
  let verb: String
  /// The model that made it; nil for none.
  let loaded: LoadedModel?
  /// Verb-specific settings in order, such as seed and steps.
  var settings: [(key: String, value: String)]

  /// `parameters`, as image galleries of the field read it, and `easel`, the same as JSON.
  var text: PNGText {
    var all = settings
    if let loaded {
      all += [
        (key: "Model", value: loaded.state.preset),
        (key: "Model hash", value: String(loaded.modelHash.prefix(16))),
        (key: "Step", value: String(loaded.state.step)), (key: "Weights", value: loaded.weights.rawValue),
      ]
    }
    all.append((key: "Version", value: "easel \(easelVersion)"))
    let line = all.map { "\($0.key): \($0.value)" }.joined(separator: ", ")
    var fields = ["verb": verb]
    for (key, value) in all { fields[key.lowercased()] = value }
    if let loaded {
      fields["checkpoint"] = loaded.modelHash
      fields["backend"] = loaded.model.context.backend.kind.rawValue
      fields["precision"] = loaded.model.context.type.rawValue
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let json = (try? encoder.encode(fields)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    return ["parameters": "easel \(verb)\n\(line)", "easel": json]
  }

  /// What a picture's file tells of how a verb made it, by names in small letters.
  ///
  /// - Throws: `UserError`; bad data where Easel did not make it by that verb.
  static func fields(of picture: String, verb: String) throws -> [String: String] {
    let json = try PNGText.read(picture)["easel"] ?? ""
    guard let fields = try? JSONDecoder().decode([String: String].self, from: Data(json.utf8)) else {
      throw UserError(
        .badData, "\(picture): expected a picture with Easel's recipe in it, found none",
        hint: "Easel did not make it, or a program removed the recipe.")
    }
    guard fields["verb"] == verb else {
      throw UserError(
        .badData, "\(picture): expected a picture by easel \(verb), found one by easel \(fields["verb"] ?? "")")
    }
    return fields
  }
}

/// A grid of pictures as it changes, on its way to an animated PNG.
struct Film {
  private static let mostFrames = 60
  private static let delay = 80
  /// How often the last frame is shown, so that one can look at it.
  private static let rest = 20
  private var frames: [[Image]] = []

  /// Puts further pictures into a frame.
  mutating func add(_ images: [Image], to frame: Int) {
    while frames.count <= frame { frames.append([]) }
    frames[frame] += images
  }

  /// - Parameters:
  ///   - count: how many pictures of each frame are shown.
  ///   - isRoundTrip: whether the film runs back to its beginning instead of resting at its end.
  func write(to path: String, count: Int, columns: Int, text: PNGText, isRoundTrip: Bool = false) throws {
    let last = frames.count - 1
    let steps = min(frames.count, Film.mostFrames)
    let chosen = (0..<steps).map { $0 * last / max(1, steps - 1) }
    let grids = chosen.map { ImageGrid.compose(Array(frames[$0].prefix(count)), columns: columns) }
    let end =
      isRoundTrip
      ? Array(grids.dropFirst().dropLast().reversed()) : Array(repeating: grids[steps - 1], count: Film.rest)
    try makeFolder(for: path)
    try APNG.write(frames: grids + end, delayMilliseconds: Film.delay, text: text, to: path)
  }
}

/// What a verb wrote, for `--json`.
struct PictureReport: Encodable {
  var output: String
  var checkpoint: String
  var hash: String
  var count: Int
  var seconds: Double
  /// Verb-specific figures.
  var figures: [String: Double] = [:]
}

/// What every verb that makes a picture from a checkpoint takes.
struct PictureOptions: ParsableArguments {
  @OptionGroup var source: CheckpointOptions

  @Option(help: "The picture (default: in Samples/, named after the run and the verb).")
  var output: String?

  @OptionGroup var common: CommonOptions

  /// Loads the model and makes sure that the picture can be written, before anything is computed.
  ///
  /// - Parameters:
  ///   - capability: what the model must be able to do.
  ///   - verb: the command's name.
  ///   - folder: where many pictures go, instead of one.
  ///   - check: refuses other options that the model does not take.
  /// - Throws: `UserError`; where the capability is lacking, in one line that says what the model can do.
  func begin<Capability>(
    _ capability: Capability.Type, _ verb: String, folder: String? = nil,
    check: (Capability) throws -> Void = { _ in }
  ) throws -> PictureJob<Capability> {
    let start = Date()
    let workspace = try Workspace(common.workspace)
    let loaded = try source.load(from: workspace)
    guard let model = loaded.model as? Capability else {
      throw UserError(
        .unavailable, "\(loaded.state.preset) cannot \(verb)",
        hint: "It can: \(loaded.model.capabilities.joined(separator: ", ")).")
    }
    try check(model)
    let path = folder ?? output ?? "\(workspace.path)/Samples/\(source.runName)-\(verb).png"
    if let folder {
      try checkName(folder, option: "--folder", is: .folder)
      try checkOutput("\(folder)/picture.png", option: "--folder")
    } else {
      try checkOutput(path)
    }
    return PictureJob(
      verb: verb, workspace: workspace, loaded: loaded, model: model, path: path, json: common.json, start: start)
  }
}

/// A picture on its way: the model that makes it and the file it goes to.
struct PictureJob<Capability> {
  let verb: String
  let workspace: Workspace
  let loaded: LoadedModel
  let model: Capability
  let path: String
  let json: Bool
  let start: Date

  /// How the picture is made, with the verb's own settings.
  func recipe(_ settings: KeyValuePairs<String, String>) -> Recipe {
    let handedOn = HandedOn(workspace: workspace.path)
    return Recipe(verb: verb, loaded: loaded, settings: settings.map { (key: $0.key, value: handedOn.path($0.value)) })
  }

  /// Writes the images as a grid and says where it is, as a path or as JSON.
  ///
  /// - Parameters:
  ///   - count: how many images were made.
  ///   - figures: what was measured on the way.
  func finish(
    _ images: [Image], columns: Int, _ recipe: Recipe, count: Int, figures: [String: Double] = [:]
  ) throws {
    try makeFolder(for: path)
    try ImageGrid.compose(images, columns: columns).write(to: path, text: recipe.text)
    try report(count: count, figures: figures)
  }

  /// Says where the picture is, as a path or as JSON.
  func report(count: Int, figures: [String: Double] = [:]) throws {
    guard json else { return Console.print(path: path) }
    try Console.print(
      json: PictureReport(
        output: path, checkpoint: loaded.checkpoint.path, hash: loaded.modelHash, count: count,
        seconds: Date().timeIntervalSince(start), figures: figures))
  }
}

/// Pictures as the tensor a model works on.
func tensor(_ images: [Image], for model: any Model) -> Tensor {
  Batch(images).tensor(on: model.context.backend)
}

/// What is written.
enum OutputKind {
  case picture, array, folder

  /// What its name may end in.
  fileprivate var extensions: [String] {
    switch self {
    case .picture: ["png", "apng"]
    case .array: ["npy"]
    case .folder: []
    }
  }

  /// Extensions that say what a file is.
  fileprivate static let known = Image.fileExtensions.union([
    "npy", "npz", "pdf", "svg", "eps", "ico", "tga", "mp4", "webm", "mov", "avi", "mkv", "json", "csv", "txt", "zip",
  ])
}

/// - Throws: `UserError` (usage) where a name says that the file is of another kind than what is written.
func checkName(_ path: String, option: String, is kind: OutputKind) throws {
  let name = URL(fileURLWithPath: path).pathExtension.lowercased()
  guard OutputKind.known.contains(name), !kind.extensions.contains(name) else { return }
  let ending = kind.extensions.first.map { ".\($0)" }
  throw UserError(
    .usage, "\(option): expected a name \(ending.map { "that ends in \($0)" } ?? "of a folder"), found \(path)",
    hint: "Write \(option) \(path.deletingPathExtension)\(ending ?? "")")
}

/// Checks before any computing that a file can be written where it shall go, and leaves everything as it is.
///
/// - Parameters:
///   - option: the one that says where that is.
///   - kind: what the file is going to be.
/// - Throws: `UserError`; usage where its name says that it is something else, else cannot create.
func checkOutput(_ path: String, option: String = "--output", is kind: OutputKind = .picture) throws {
  try checkName(path, option: option, is: kind)
  let files = FileManager.default
  var isFolder: ObjCBool = false
  if files.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
    throw UserError(.cannotCreate, "\(path): expected a file's name, found a folder")
  }
  // The folders that are missing will be made in the first one that is there.
  var folder = URL(fileURLWithPath: path).standardizedFileURL.deletingLastPathComponent()
  while !files.fileExists(atPath: folder.path, isDirectory: &isFolder) { folder.deleteLastPathComponent() }
  let hint = "Choose another place with \(option)."
  guard isFolder.boolValue else {
    throw UserError(.cannotCreate, "\(path): expected a folder at \(folder.path), found a file", hint: hint)
  }
  if access(folder.path, W_OK) != 0 {
    throw UserError(.cannotCreate, "\(folder.path): \(String(cString: strerror(errno)))", hint: hint)
  }
}

/// Makes the folder that a file is about to be written to.
///
/// - Throws: `UserError` (cannot create).
func makeFolder(for path: String) throws {
  let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
  do {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  } catch {
    throw UserError(.cannotCreate, "\(folder): the folder cannot be made: \(error.reason)")
  }
}
