import EaselSupport
import Foundation

/// How a picture was made, as text in its file.
public struct Recipe: Sendable {
  private let name: String
  private let request: [String: FieldContent]
  /// The settings for people, in order.
  private var settings: [(key: String, value: String)]
  private let identity: [String: String]

  /// - Parameters:
  ///   - loaded: the model that made it; nil for none.
  ///   - settings: the request's settings, for people; paths among them lose what belongs to this machine.
  init(
    _ request: some Request, _ loaded: LoadedModel?, _ settings: [(key: String, value: String)],
    in workspace: Workspace
  ) {
    let handedOn = HandedOn(workspace: workspace.path)
    name = type(of: request).name
    let local = type(of: request).local
    self.request = Dictionary(
      uniqueKeysWithValues: request.given.filter { !local.contains($0.key) }
        .map { ($0.key, $0.value.handed(handedOn)) })
    self.settings = settings.map { (key: $0.key, value: handedOn.path($0.value)) }
    guard let loaded else {
      identity = [:]
      return
    }
    self.settings += [
      (key: "Model", value: loaded.state.preset), (key: "Model hash", value: String(loaded.modelHash.prefix(16))),
      (key: "Step", value: String(loaded.state.step)), (key: "Weights", value: loaded.weights.rawValue),
    ]
    let context = loaded.model.context
    identity = [
      "checkpoint": loaded.modelHash, "backend": context.backend.kind.rawValue, "precision": context.type.rawValue,
    ]
  }

  /// The hash of the model in the checkpoint; nil if there is no model.
  public var modelHash: String? { identity["checkpoint"] }

  /// The setting under a key, for people.
  public subscript(key: String) -> String? { settings.first { $0.key == key }?.value }

  /// The recipe of a film of these pictures.
  func film(_ subject: String) -> Recipe {
    var film = self
    film.settings.append((key: "Film", value: subject))
    return film
  }

  /// `parameters`, in the form that the field's image galleries read, and `easel`, JSON with the same, the model's
  /// hash, and the request.
  public var text: PNGText {
    let all = settings + [(key: "Version", value: "easel \(easelVersion)")]
    let line = all.map { "\($0.key): \($0.value)" }.joined(separator: ", ")
    var entries: [String: RecipeEntry] = ["verb": .text(name), "request": .fields(request)]
    for (key, value) in all { entries[key.lowercased()] = .text(value) }
    for (key, value) in identity { entries[key] = .text(value) }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let json = (try? encoder.encode(entries)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    return ["parameters": "easel \(name)\n\(line)", "easel": json]
  }
}

/// The recipe that a picture's file carries.
public struct RecordedRecipe {
  public let picture: String
  /// The settings for people, by key in lower case, and what the picture was made with.
  public let settings: [String: String]
  private let fields: [String: FieldContent]?

  /// - Throws: `UserError`; bad data if there is no recipe in the file.
  public init(_ picture: String) throws {
    self.picture = picture
    let json = try PNGText.read(picture)["easel"] ?? ""
    guard let entries = try? JSONDecoder().decode([String: RecipeEntry].self, from: Data(json.utf8)) else {
      throw UserError(
        .badData, "\(picture): expected a picture with Easel's recipe in it, found none",
        hint: "Easel did not make it, or a program removed the recipe.")
    }
    settings = entries.compactMapValues { if case .text(let text) = $0 { text } else { nil } }
    if case .fields(let fields)? = entries["request"] { self.fields = fields } else { fields = nil }
  }

  /// - Throws: `UserError`; bad data if another request made the picture, or if the recipe says too little.
  func request<Asked: RecordedRequest>(_ type: Asked.Type) throws -> Asked {
    let verb = settings["verb"] ?? ""
    guard verb == Asked.name else {
      throw UserError(.badData, "\(picture): expected a picture by easel \(Asked.name), found one by easel \(verb)")
    }
    guard var fields else { return try Asked(settings: settings, of: picture) }
    if settings["film"] != nil { fields["animate"] = .flag(true) }
    do {
      return try Asked(fields: fields)
    } catch let error as UserError {
      throw UserError(.badData, "\(picture): \(error.message)", hint: error.hint)
    }
  }
}

/// A value in a recipe.
private enum RecipeEntry: Codable {
  case text(String)
  case fields([String: FieldContent])

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let text = try? container.decode(String.self) {
      self = .text(text)
    } else {
      self = .fields(try container.decode([String: FieldContent].self))
    }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .text(let text): try container.encode(text)
    case .fields(let fields): try container.encode(fields)
    }
  }
}

extension FieldContent {
  /// The value without those parts of paths that belong to this machine.
  fileprivate func handed(_ handedOn: HandedOn) -> FieldContent {
    switch self {
    case .text(let text): .text(handedOn.path(text))
    case .list(let elements): .list(elements.map { $0.handed(handedOn) })
    default: self
    }
  }
}
