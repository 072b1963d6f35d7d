/// A type of value that a declared field can hold.
public protocol FieldValue: Codable, Sendable {
  static var fieldType: FieldType { get }
  /// The value in the form that files have.
  var content: FieldContent { get }
  /// The numbers that bounds apply to: the value itself, or the elements of a list.
  var numbers: [Double] { get }
}

extension FieldValue {
  public var numbers: [Double] { [] }

  /// Encodes the value; only nil is left out.
  func encodeField(into container: inout KeyedEncodingContainer<FieldKey>, _ key: FieldKey) throws {
    if case .null = content { return }
    try container.encode(self, forKey: key)
  }
}

/// The type of a field's value, as far as a form needs to know it.
public indirect enum FieldType: Sendable, Equatable {
  case flag, integer, number, text
  /// One of several words.
  case choice([String])
  case list(of: FieldType)
  /// A value that may be left out.
  case optional(FieldType)

  /// The words to choose from, for the value or for each element of a list.
  public var choices: [String]? {
    switch self {
    case .choice(let words): words
    case .list(let type), .optional(let type): type.choices
    default: nil
    }
  }

  public var isList: Bool {
    switch self {
    case .list: true
    case .optional(let type): type.isList
    default: false
    }
  }
}

/// A field's value in the form that files have.
public enum FieldContent: Sendable, Equatable {
  case null
  case flag(Bool)
  /// In digits that read back to the same number.
  case number(String)
  case text(String)
  case list([FieldContent])
}

/// One of several words: an enumeration of strings.
public protocol FieldChoice: FieldValue, CaseIterable, RawRepresentable where RawValue == String {}

extension FieldChoice {
  public static var fieldType: FieldType { .choice(allCases.map(\.rawValue)) }
  public var content: FieldContent { .text(rawValue) }
}

extension Bool: FieldValue {
  public static var fieldType: FieldType { .flag }
  public var content: FieldContent { .flag(self) }
}

extension String: FieldValue {
  public static var fieldType: FieldType { .text }
  public var content: FieldContent { .text(self) }
}

extension FieldValue where Self: BinaryInteger {
  public static var fieldType: FieldType { .integer }
  public var content: FieldContent { .number(String(describing: self)) }
  public var numbers: [Double] { [Double(self)] }
}

extension FieldValue where Self: BinaryFloatingPoint & LosslessStringConvertible {
  public static var fieldType: FieldType { .number }
  public var content: FieldContent { .number(String(self)) }
  public var numbers: [Double] { [Double(self)] }
}

extension Int: FieldValue {}
extension UInt64: FieldValue {}
extension Float: FieldValue {}
extension Double: FieldValue {}

extension Array: FieldValue where Element: FieldValue {
  public static var fieldType: FieldType { .list(of: Element.fieldType) }
  public var content: FieldContent { .list(map(\.content)) }
  public var numbers: [Double] { flatMap(\.numbers) }
}

extension Optional: FieldValue where Wrapped: FieldValue {
  public static var fieldType: FieldType { .optional(Wrapped.fieldType) }
  public var content: FieldContent { self?.content ?? .null }
  public var numbers: [Double] { self?.numbers ?? [] }
}
