import EaselSupport
import EaselTensors
import Foundation
import Yams

/// Where a setting's value comes from, for messages.
public enum SettingOrigin: Sendable, CustomStringConvertible {
  /// A field of a request; an option on the command line.
  case field(String)
  /// A line of a file, or another place that a message can name.
  case place(String)

  public var description: String {
    switch self {
    case .field(let name): String(field: name)
    case .place(let place): place
    }
  }
}

/// The settings of a run: one flat list of keys with their defaults, which files and command-line options override.
///
/// Settings are structs of declared fields. Several of them (the trainer's, the model's) share one document, and each
/// is decoded from it by its type:
///
///     var document = try ConfigurationDocument(defaults: TrainingSettings(), DiffusionSettings())
///     try document.overlay(yamlFile: "mine.yaml")
///     try document.set("channels=32,64,128")
///     let settings = try document.decode(TrainingSettings.self)
public struct ConfigurationDocument {
  private struct Field {
    var value: Node
    let type: FieldType
    let explanation: String
    /// Where the value comes from, for error messages; nil for a default.
    var origin: SettingOrigin?
  }

  /// The size limit of a settings file: ten times what all settings take with their explanations.
  private static let maximumFileSize = 1 << 16

  /// Every key, in order of declaration.
  public private(set) var keys: [String] = []
  private var fields: [String: Field] = [:]

  /// - Parameters:
  ///   - defaults: structs of settings with the document's initial values.
  ///   - absent: fields that the document leaves out.
  /// - Throws: `UserError(.internalFailure)` if two of the structs declare the same key.
  public init(defaults: any DeclaredFields..., leavingOut absent: Set<String> = []) throws {
    for settings in defaults { try add(settings, leavingOut: absent) }
  }

  private mutating func add<Settings: DeclaredFields>(_ settings: Settings, leavingOut absent: Set<String>) throws {
    for field in Settings.fields where !absent.contains(field.key) {
      guard fields[field.key] == nil else {
        throw UserError(.internalFailure, "the configuration key \(field.key) is declared twice")
      }
      keys.append(field.key)
      fields[field.key] = Field(
        value: Node(field.content(of: settings)), type: field.type, explanation: field.explanation)
    }
  }

  /// Overrides the document's values with those of a YAML file.
  ///
  /// - Throws: `UserError(.usage)` with path, line and the nearest key for an unknown key; `.badData` for anything but
  ///   YAML, for duplicate keys and for anchors; `.missingInput` if there is no file. ``decode(_:)`` checks the values.
  public mutating func overlay(yamlFile path: String) throws {
    let data = try FileSystem.read(path, limit: Self.maximumFileSize)
    guard let text = String(validating: data, as: UTF8.self) else {
      throw UserError(.badData, "\(path): expected UTF-8 text, found other bytes")
    }
    let root = try YAMLSource(text: text, place: path, isFile: true).parse()
    guard let mapping = root.mapping else {
      throw UserError(.badData, "\(path): expected `key: value` lines, found \(Self.description(of: root))")
    }
    for (key, value) in mapping {
      let line = key.mark.map { " line \($0.line)" } ?? ""
      try replace(key.scalar?.string ?? Self.description(of: key), by: value, origin: .place(path + line))
    }
  }

  /// Replaces one value, given as `key=value`. A list may be written `32,64,128` or `[32, 64, 128]`.
  ///
  /// - Throws: `UserError(.usage)` with the nearest key for an unknown key, or if there is no `=`.
  public mutating func set(_ assignment: String) throws {
    guard let separator = assignment.firstIndex(of: "=") else {
      throw UserError(.usage, "\(field: "set"): expected KEY=VALUE, found \(assignment.debugDescription)")
    }
    try set(
      String(assignment[..<separator]), to: String(assignment[assignment.index(after: separator)...]),
      origin: .field("set"))
  }

  /// Replaces one value by a text; error messages name `origin` as its source.
  ///
  /// - Throws: `UserError(.usage)` if the key does not exist or the text is not a YAML value.
  public mutating func set(_ key: String, to text: String, origin: SettingOrigin) throws {
    guard !text.isEmpty else { return try replace(key, by: Node("", .implicit, .doubleQuoted), origin: origin) }
    let isList = fields[key]?.type.isList ?? false
    let isBareList = isList && !text.hasPrefix("[") && Node(text, .implicit, .plain).null == nil
    do {
      let value = try YAMLSource(text: isBareList ? "[\(text)]" : text, place: "\(origin) \(key)", isFile: false)
        .parse()
      try replace(key, by: value, origin: origin)
    } catch let error as UserError {
      throw UserError(.usage, error.message, hint: error.hint)
    }
  }

  /// Replaces one value; error messages name `origin` as its source.
  ///
  /// - Throws: `UserError(.usage)` with the nearest key if the key does not exist.
  public mutating func set(_ key: String, to content: FieldContent, origin: SettingOrigin) throws {
    try replace(key, by: Node(content), origin: origin)
  }

  private mutating func replace(_ key: String, by value: Node, origin: SettingOrigin) throws {
    guard fields[key] != nil else {
      let nearest = nearestName(to: key, among: keys).map { "Did you mean \($0)?" }
      throw UserError(
        .usage, "\(origin): there is no setting \(key)", hint: nearest ?? "Settings: \(keys.joined(separator: ", ")).")
    }
    fields[key]?.value = value
    fields[key]?.origin = origin
  }

  /// Whether a file or an option has set a key.
  public func isSet(_ key: String) -> Bool { fields[key]?.origin != nil }

  /// What a key is set to, as one would write it; nil for a key that there is not.
  public func text(of key: String) -> String? { fields[key].map { Self.text(of: $0.value) } }

  /// The settings that files and options gave, in order of declaration, numbers written in one way.
  public var given: [(key: String, value: String)] {
    keys.compactMap { key in
      guard let field = fields[key], field.origin != nil else { return nil }
      return (key, Self.text(of: field.value) { Double($0)?.description ?? $0 })
    }
  }

  /// The keys that a file or an option has set to a value other than another document's, with the file's path and line
  /// or the option.
  public func changes(
    from other: ConfigurationDocument
  ) -> [(key: String, value: String, other: String, origin: SettingOrigin)] {
    keys.compactMap { key in
      guard let field = fields[key], let origin = field.origin, let old = other.fields[key]?.value else { return nil }
      if Self.isSame(field.value, old) { return nil }
      return (key, Self.text(of: field.value), Self.text(of: old), origin)
    }
  }

  private static func isSame(_ a: Node, _ b: Node) -> Bool {
    switch (a, b) {
    case (.scalar(let a), .scalar(let b)):
      // 1e-3 is 0.001.
      if let a = Double(a.string), let b = Double(b.string) { return a == b }
      return a.string == b.string
    case (.sequence(let a), .sequence(let b)): return a.count == b.count && zip(a, b).allSatisfy(isSame)
    default: return a == b
    }
  }

  private static func text(of node: Node, _ change: (String) -> String = { $0 }) -> String {
    if let elements = node.sequence { return "[\(elements.map { text(of: $0, change) }.joined(separator: ", "))]" }
    return node.scalar.map { change($0.string) } ?? description(of: node)
  }

  /// Decodes one of the document's structs; keys of the others are passed over.
  ///
  /// - Throws: `UserError(.usage)` with key, expected type, found value and where it comes from.
  public func decode<Settings: DeclaredFields>(_ type: Settings.Type) throws -> Settings {
    do {
      return try YAMLDecoder().decode(type, from: root)
    } catch let error as DecodingError {
      throw userError(for: error)
    }
  }

  /// The whole document: every key with its value, in order of declaration. Applied over the same defaults, it gives
  /// the same values.
  ///
  /// - Throws: `UserError(.internalFailure)` if YAML cannot express a text.
  public func yaml() throws -> String { try yaml(keys) }

  /// ``yaml()`` with a comment above each key that says what it means and which values it takes: a file to start from.
  ///
  /// - Throws: the same as ``yaml()``.
  public func commentedYAML() throws -> String {
    try keys.map { key in
      let field = fields[key]
      let choices = field?.type.choices.map { "one of \($0.joined(separator: ", "))" }
      return "# \([field?.explanation, choices].compactMap { $0 }.joined(separator: "; "))\n" + (try yaml([key]))
    }.joined(separator: "\n")
  }

  private func yaml(_ keys: [String]) throws -> String {
    do {
      return try serialize(node: node(keys), width: -1, allowUnicode: true)
    } catch {
      throw UserError(.internalFailure, "the configuration holds what YAML cannot express")
    }
  }

  private var root: Node { node(keys) }

  private func node(_ keys: [String]) -> Node {
    Node(keys.compactMap { key in fields[key].map { (Node(key), $0.value) } }, .implicit, .block)
  }

  private func userError(for error: DecodingError) -> UserError {
    let context: DecodingError.Context
    var expected: String?
    switch error {
    case .typeMismatch(let type, let found), .valueNotFound(let type, let found):
      context = found
      expected = Self.description(of: type)
    case .keyNotFound(let key, let found):
      context = .init(codingPath: found.codingPath + [key], debugDescription: "")
      expected = "a value"
    case .dataCorrupted(let found):
      context = found
    @unknown default:
      return UserError(.usage, "configuration: expected other values")
    }
    guard let key = context.codingPath.first?.stringValue, let field = fields[key] else {
      return UserError(.usage, "configuration: \(context.debugDescription)")
    }
    var place = key
    var value: Node? = field.value
    for component in context.codingPath.dropFirst() {
      place += component.intValue.map { "[\($0)]" } ?? ".\(component.stringValue)"
      value = component.intValue.map { value?.sequence?[$0] } ?? value?[component.stringValue]
    }
    let origin = field.origin.map { " (\($0))" } ?? ""
    let found = Self.description(of: value)
    if let choices = field.type.choices {
      return UserError(.usage, "\(place): expected one of \(choices.joined(separator: ", ")), found \(found)\(origin)")
    }
    // A type that checks its own values describes best what is wrong with them.
    let problem = expected.map { "expected \($0), found \(found)" } ?? "\(context.debugDescription), found \(found)"
    return UserError(.usage, "\(place): \(problem)\(origin)")
  }

  private static func description(of type: any Any.Type) -> String {
    switch type {
    case is any UnsignedInteger.Type: "a whole number of 0 or more"
    case is any BinaryInteger.Type: "a whole number"
    case is any BinaryFloatingPoint.Type: "a number"
    case is Bool.Type: "true or false"
    case is String.Type, is Node.Scalar.Type: "a single value"
    case is Node.Sequence.Type: "a list"
    case is Node.Mapping.Type: "a mapping"
    default: "a value of type \(type)"
    }
  }

  private static func description(of node: Node?) -> String {
    switch node {
    case .scalar(let scalar)?: node?.null == nil ? scalar.string.debugDescription : "null"
    case .sequence?: "a list"
    case .mapping?: "a mapping"
    case .alias?, nil: "nothing"
    }
  }
}
