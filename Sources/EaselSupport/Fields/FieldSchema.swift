import Foundation

/// A field's description for forms, in the words of JSON Schema (draft 2020-12).
public struct FieldSchema: Sendable, Encodable {
  public let key: String
  public let type: FieldType
  public let bounds: FieldBounds?
  public let explanation: String
  /// The condition under which the field has an effect; nil for none.
  public let need: String?
  /// Whether the value must stay the same once something was begun with it.
  public let isFixed: Bool
  /// The present value, or the default.
  public let value: FieldContent

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: FieldKey.self)
    try encode(type, into: &container)
    try container.encode(explanation, forKey: .init("description"))
    try container.encode(value, forKey: .init("default"))
    try container.encodeIfPresent(need, forKey: .init("needs"))
    if isFixed { try container.encode(true, forKey: .init("readOnlyInRun")) }
  }

  /// - Parameter isOptional: whether null is accepted too.
  private func encode(
    _ type: FieldType, isOptional: Bool = false, into container: inout KeyedEncodingContainer<FieldKey>
  ) throws {
    func write(_ name: String) throws {
      try isOptional
        ? container.encode([name, "null"], forKey: .init("type")) : container.encode(name, forKey: .init("type"))
    }
    switch type {
    case .flag: try write("boolean")
    case .integer, .number:
      try write(type == .integer ? "integer" : "number")
      guard let bounds else { return }
      try container.encodeIfPresent(
        bounds.minimum, forKey: .init(bounds.excludesMinimum ? "exclusiveMinimum" : "minimum"))
      try container.encodeIfPresent(
        bounds.maximum, forKey: .init(bounds.excludesMaximum ? "exclusiveMaximum" : "maximum"))
    case .text: try write("string")
    case .choice(let words):
      try write("string")
      try container.encode(words.map(FieldContent.text) + (isOptional ? [.null] : []), forKey: .init("enum"))
    case .list(let element):
      try write("array")
      var items = container.nestedContainer(keyedBy: FieldKey.self, forKey: .init("items"))
      try encode(element, into: &items)
    case .optional(let wrapped): try encode(wrapped, isOptional: true, into: &container)
    }
  }
}

extension FieldContent: Codable {
  /// - Throws: `DecodingError` for an object, since no field holds one.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let flag = try? container.decode(Bool.self) {
      self = .flag(flag)
    } else if let text = try? container.decode(String.self) {
      self = .text(text)
    } else if let whole = try? container.decode(UInt64.self) {
      self = .number(String(whole))
    } else if let number = try? container.decode(Double.self) {
      self = .number(Int(exactly: number).map(String.init) ?? String(number))
    } else {
      self = .list(try container.decode([FieldContent].self))
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .flag(let flag): try container.encode(flag)
    case .text(let text): try container.encode(text)
    case .list(let elements): try container.encode(elements)
    case .number(let digits):
      if let whole = UInt64(digits) { return try container.encode(whole) }
      if let whole = Int64(digits) { return try container.encode(whole) }
      // As a decimal number: a 32-bit number would otherwise be written with the digits of a 64-bit one.
      if let decimal = Decimal(string: digits), Double(digits)?.isFinite == true {
        return try container.encode(decimal)
      }
      try container.encode(digits)
    }
  }
}
