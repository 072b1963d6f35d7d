import EaselKit
import Foundation

/// How a picture was made: what its file carries as text.
struct Recipe {
  let verb: String
  let loaded: LoadedModel
  /// Verb-specific settings in order, such as seed and steps.
  let settings: [(key: String, value: String)]

  /// `parameters`, as image galleries of the field read it, and `easel`, the same as JSON.
  var text: PNGText {
    let common = [
      ("Model", loaded.state.preset), ("Model hash", String(loaded.checkpoint.hash.prefix(16))),
      ("Step", String(loaded.state.step)), ("Weights", loaded.weights.rawValue), ("Version", "easel \(easelVersion)"),
    ]
    let all = settings + common.map { (key: $0.0, value: $0.1) }
    let line = all.map { "\($0.key): \($0.value)" }.joined(separator: ", ")
    var fields = ["verb": verb, "checkpoint": loaded.checkpoint.hash]
    for (key, value) in all { fields[key.lowercased()] = value }
    let environment = loaded.state.environment
    fields["backend"] = environment.backend.rawValue
    fields["precision"] = loaded.model.context.type.rawValue
    fields["threads"] = String(loaded.model.context.backend.threads.count)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let json = (try? encoder.encode(fields)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    return ["parameters": "easel \(verb)\n\(line)", "easel": json]
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

/// Refuses a model without a capability, in one line that says what it can do.
func require<Capability>(_ capability: Capability.Type, of loaded: LoadedModel, for verb: String) throws -> Capability {
  guard let able = loaded.model as? Capability else {
    let abilities = loaded.model.capabilities
    throw UserError(
      .unavailable, "\(loaded.state.preset) cannot \(verb)",
      hint: "It can: \(abilities.joined(separator: ", ")).")
  }
  return able
}

/// Pictures as the tensor a model works on.
func tensor(_ images: [Image], for model: any Model) -> Tensor {
  Batch(images).tensor(on: model.context.backend)
}

/// Checks before any computing that a file can be written where it shall go, and makes its folder.
///
/// - Throws: `UserError` (cannot create).
func prepareOutput(_ path: String) throws {
  let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
  do {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  } catch {
    throw UserError(.cannotCreate, "\(folder): the folder cannot be made: \(error.localizedDescription)")
  }
  var isFolder: ObjCBool = false
  if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
    throw UserError(.cannotCreate, "\(path): expected a file's name, found a folder")
  }
  if access(folder, W_OK) != 0 {
    throw UserError(
      .cannotCreate, "\(folder): \(String(cString: strerror(errno)))", hint: "Choose another place with --output.")
  }
}
