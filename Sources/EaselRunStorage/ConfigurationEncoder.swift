import Yams

/// Encodes a configuration into YAML nodes, keys in order of declaration.
///
/// `YAMLEncoder` leaves out optionals that are nil, so that a file would not show that a key exists, and writes 0.999 as
/// `9.99e-1`. This one writes `null`, and numbers in the shortest form that reads back the same.
final class ConfigurationEncoder: Encoder {
  /// What the type of a key's value says about the texts it accepts.
  struct Expectation {
    /// The values of an enumeration of strings; nil for other types.
    var choices: [String]?
    var isList = false
  }

  let codingPath: [any CodingKey]
  var userInfo: [CodingUserInfoKey: Any] { [:] }
  fileprivate var content = Content.empty
  private(set) var expectations: [String: Expectation] = [:]

  fileprivate enum Content {
    case empty
    case value(Node)
    case list([Content])
    case mapping([(key: String, value: Content)])
    /// Filled in later by whoever was given a nested container.
    case nested(ConfigurationEncoder)
  }

  fileprivate init(codingPath: [any CodingKey] = []) { self.codingPath = codingPath }

  /// The fields of a configuration, in order.
  ///
  /// - Throws: `EncodingError` where the value does not encode into fields.
  static func fields(
    of configuration: some Encodable
  ) throws -> (values: [(key: String, value: Node)], expectations: [String: Expectation]) {
    let encoder = ConfigurationEncoder()
    try configuration.encode(to: encoder)
    guard case .mapping(let fields) = encoder.content else {
      throw EncodingError.invalidValue(
        configuration, .init(codingPath: [], debugDescription: "A configuration has to encode into fields."))
    }
    return (fields.map { ($0.key, node($0.value)) }, encoder.expectations)
  }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    if case .empty = content { content = .mapping([]) }
    return KeyedEncodingContainer(KeyedContainer<Key>(encoder: self))
  }

  func unkeyedContainer() -> any UnkeyedEncodingContainer {
    if case .empty = content { content = .list([]) }
    return UnkeyedContainer(encoder: self)
  }

  func singleValueContainer() -> any SingleValueEncodingContainer { SingleValueContainer(encoder: self) }

  fileprivate func append(_ value: Content, forKey key: any CodingKey) {
    guard case .mapping(var fields) = content else { return }
    fields.append((key.stringValue, value))
    content = .mapping(fields)
  }

  fileprivate func append(_ value: Content) {
    guard case .list(var elements) = content else { return }
    elements.append(value)
    content = .list(elements)
  }

  fileprivate func note<Value>(_ type: Value.Type, forKey key: any CodingKey) {
    var expectation = Expectation()
    if let type = type as? any CaseIterable.Type { expectation.choices = rawValues(of: type) }
    expectation.isList = type is any RangeReplaceableCollection.Type && type != String.self
    expectations[key.stringValue] = expectation
  }

  private func rawValues<Value: CaseIterable>(of type: Value.Type) -> [String]? {
    let names = type.allCases.compactMap { ($0 as? any RawRepresentable)?.rawValue as? String }
    return names.isEmpty ? nil : names
  }

  fileprivate func encoded(_ value: some Encodable) throws -> Content {
    switch value {
    case let text as String: return .value(Self.node(text))
    case let flag as Bool: return .value(Node(flag ? "true" : "false"))
    case let number as Double: return .value(Node(Self.text(number)))
    case let number as Float: return .value(Node(Self.text(number)))
    case let number as any BinaryInteger: return .value(Node(String(describing: number)))
    default:
      let encoder = ConfigurationEncoder(codingPath: codingPath)
      try value.encode(to: encoder)
      return encoder.content
    }
  }

  /// Plain, because readers take a quoted null for a text.
  fileprivate static var null: Content { .value(Node("null", .implicit, .plain)) }

  private static func node(_ content: Content) -> Node {
    switch content {
    case .empty: Node([(Node, Node)](), .implicit, .flow)
    case .value(let node): node
    case .list(let elements): Node(elements.map(node), .implicit, .flow)
    case .mapping(let fields): Node(fields.map { (node($0.key), node($0.value)) }, .implicit, .flow)
    case .nested(let encoder): node(encoder.content)
    }
  }

  /// Quotes a text that a reader would take for a number, a truth value or null.
  private static func node(_ text: String) -> Node {
    let plain = Node(text)
    let isText = !text.isEmpty && Resolver.default.resolveTag(of: plain) == .str
    return isText ? plain : Node(text, .implicit, .doubleQuoted)
  }

  private static func text<Number: BinaryFloatingPoint & LosslessStringConvertible>(_ number: Number) -> String {
    if number.isNaN { return ".nan" }
    if number.isInfinite { return number < 0 ? "-.inf" : ".inf" }
    // YAML 1.1 readers (PyYAML) take `1e-05` for a text and `1.0e-05` for a number.
    let text = String(number)
    guard let exponent = text.firstIndex(of: "e"), !text.contains(".") else { return text }
    return text[..<exponent] + ".0" + text[exponent...]
  }
}

private struct KeyedContainer<Key: CodingKey>: KeyedEncodingContainerProtocol {
  let encoder: ConfigurationEncoder
  var codingPath: [any CodingKey] { encoder.codingPath }

  func encodeNil(forKey key: Key) { encoder.append(ConfigurationEncoder.null, forKey: key) }

  func encode<Value: Encodable>(_ value: Value, forKey key: Key) throws {
    encoder.note(Value.self, forKey: key)
    encoder.append(try encoder.encoded(value), forKey: key)
  }

  private func encodeOptional<Value: Encodable>(_ value: Value?, forKey key: Key) throws {
    if let value { return try encode(value, forKey: key) }
    encoder.note(Value.self, forKey: key)
    encodeNil(forKey: key)
  }

  // The protocol's own versions of these leave nil out; each type that it has one for needs its own here.
  func encodeIfPresent<Value: Encodable>(_ value: Value?, forKey key: Key) throws {
    try encodeOptional(value, forKey: key)
  }
  func encodeIfPresent(_ value: Bool?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }
  func encodeIfPresent(_ value: String?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }
  func encodeIfPresent(_ value: Double?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }
  func encodeIfPresent(_ value: Float?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }
  func encodeIfPresent(_ value: Int?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }
  func encodeIfPresent(_ value: Int8?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }
  func encodeIfPresent(_ value: Int16?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }
  func encodeIfPresent(_ value: Int32?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }
  func encodeIfPresent(_ value: Int64?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }
  func encodeIfPresent(_ value: UInt?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }
  func encodeIfPresent(_ value: UInt8?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }
  func encodeIfPresent(_ value: UInt16?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }
  func encodeIfPresent(_ value: UInt32?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }
  func encodeIfPresent(_ value: UInt64?, forKey key: Key) throws { try encodeOptional(value, forKey: key) }

  func nestedContainer<NestedKey: CodingKey>(
    keyedBy type: NestedKey.Type, forKey key: Key
  ) -> KeyedEncodingContainer<NestedKey> {
    nested(key).container(keyedBy: type)
  }
  func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer { nested(key).unkeyedContainer() }
  func superEncoder() -> any Encoder { encoder }
  func superEncoder(forKey key: Key) -> any Encoder { nested(key) }

  private func nested(_ key: Key) -> ConfigurationEncoder {
    let nested = ConfigurationEncoder(codingPath: codingPath + [key])
    encoder.append(.nested(nested), forKey: key)
    return nested
  }
}

private struct UnkeyedContainer: UnkeyedEncodingContainer {
  let encoder: ConfigurationEncoder
  var codingPath: [any CodingKey] { encoder.codingPath }
  var count: Int {
    if case .list(let elements) = encoder.content { elements.count } else { 0 }
  }

  func encodeNil() { encoder.append(ConfigurationEncoder.null) }
  func encode(_ value: some Encodable) throws { encoder.append(try encoder.encoded(value)) }
  func nestedContainer<NestedKey: CodingKey>(keyedBy type: NestedKey.Type) -> KeyedEncodingContainer<NestedKey> {
    nested().container(keyedBy: type)
  }
  func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { nested().unkeyedContainer() }
  func superEncoder() -> any Encoder { nested() }

  private func nested() -> ConfigurationEncoder {
    let nested = ConfigurationEncoder(codingPath: codingPath)
    encoder.append(.nested(nested))
    return nested
  }
}

private struct SingleValueContainer: SingleValueEncodingContainer {
  let encoder: ConfigurationEncoder
  var codingPath: [any CodingKey] { encoder.codingPath }

  func encodeNil() { encoder.content = ConfigurationEncoder.null }
  func encode(_ value: some Encodable) throws { encoder.content = try encoder.encoded(value) }
}
