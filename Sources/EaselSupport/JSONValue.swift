import Foundation

/// A value of a JSON document, written as Python's `json.dumps(…, indent=2, sort_keys=True)` does.
public indirect enum JSONValue: Sendable, Equatable {
  case null
  case flag(Bool)
  /// In digits.
  case number(String)
  case text(String)
  case list([JSONValue])
  case object([String: JSONValue])

  /// A number in the digits of its own type, so that 1e-5 is not written as a `Double` near to it.
  public init(_ number: some BinaryFloatingPoint & LosslessStringConvertible) { self = .number(number.description) }
  public init(_ number: Int) { self = .number(String(number)) }
  public init(_ list: [Int]) { self = .list(list.map { JSONValue($0) }) }
  public init(_ list: [String]) { self = .list(list.map { .text($0) }) }

  /// The document, with a line break at its end.
  ///
  /// - Throws: `EncodingError` for a text that is no text.
  public func document() throws -> String { try written(indentation: "") + "\n" }

  private func written(indentation: String) throws -> String {
    let inner = indentation + "  "
    func block(_ lines: [String], _ begin: String, _ end: String) -> String {
      lines.isEmpty ? begin + end : "\(begin)\n\(inner)\(lines.joined(separator: ",\n\(inner)"))\n\(indentation)\(end)"
    }
    switch self {
    case .null: return "null"
    case .flag(let value): return value ? "true" : "false"
    case .number(let digits): return digits
    case .text(let text): return try Self.quoted(text)
    case .list(let values): return block(try values.map { try $0.written(indentation: inner) }, "[", "]")
    case .object(let fields):
      return block(
        try fields.sorted { $0.key < $1.key }.map { key, value in
          "\(try Self.quoted(key)): \(try value.written(indentation: inner))"
        }, "{", "}")
    }
  }

  private static func quoted(_ text: String) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    return String(decoding: try encoder.encode(text), as: UTF8.self)
  }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByBooleanLiteral, ExpressibleByNilLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  public init(stringLiteral value: String) { self = .text(value) }
  public init(integerLiteral value: Int) { self.init(value) }
  public init(floatLiteral value: Double) { self.init(value) }
  public init(booleanLiteral value: Bool) { self = .flag(value) }
  public init(nilLiteral: ()) { self = .null }
  public init(arrayLiteral elements: JSONValue...) { self = .list(elements) }
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    self = .object(Dictionary(elements, uniquingKeysWith: { $1 }))
  }
}

extension JSONValue: Decodable {
  public init(from decoder: any Decoder) throws {
    let value = try decoder.singleValueContainer()
    if value.decodeNil() {
      self = .null
    } else if let flag = try? value.decode(Bool.self) {
      self = .flag(flag)
    } else if let number = try? value.decode(Int.self) {
      self.init(number)
    } else if let number = try? value.decode(Double.self) {
      self.init(number)
    } else if let text = try? value.decode(String.self) {
      self = .text(text)
    } else if let list = try? value.decode([JSONValue].self) {
      self = .list(list)
    } else {
      self = .object(try value.decode([String: JSONValue].self))
    }
  }

  /// A field of an object; nil if there is none.
  public subscript(key: String) -> JSONValue? { if case .object(let fields) = self { fields[key] } else { nil } }
  /// The text; nil for another value.
  public var text: String? { if case .text(let text) = self { text } else { nil } }
  /// The list; nil for another value.
  public var list: [JSONValue]? { if case .list(let values) = self { values } else { nil } }
}
