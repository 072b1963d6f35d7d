/// A flat struct whose fields are declared once, in a table: settings and requests.
///
/// The table decides how the struct is coded, which values it takes, what settings files say about each field, and the
/// schema that a form is made from. Such a struct has properties with defaults, and the table:
///
///     struct Drawing: DeclaredFields {
///       var count = 16
///       var guidance: Float = 1
///       init() {}
///
///       static let fields: [Field<Drawing>] = [
///         Field("count", \.count, .from(1, to: 1000), "how many images"),
///         Field("guidance", \.guidance, .atLeast(0), "how much the label counts"),
///       ]
///     }
public protocol DeclaredFields: Codable, Sendable {
  /// Makes the defaults.
  init()

  /// Every field, in the order of files and forms.
  static var fields: [Field<Self>] { get }

  /// Checks what the table cannot say: whether values fit together. All are within their bounds by then.
  func check(_ check: inout FieldCheck)
}

extension DeclaredFields {
  public func check(_ check: inout FieldCheck) {}

  /// Makes the defaults and changes them.
  public init(_ change: (inout Self) -> Void) {
    self.init()
    change(&self)
  }

  /// Decodes the fields; missing ones keep their defaults.
  public init(from decoder: any Decoder) throws {
    self.init()
    let container = try decoder.container(keyedBy: FieldKey.self)
    for field in Self.fields { try field.decode(&self, container) }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: FieldKey.self)
    for field in Self.fields { try field.encode(self, &container) }
  }

  /// The name of a property in files, on the command line and in JSON.
  public static func key(_ path: PartialKeyPath<Self>) -> String {
    field(path).key
  }

  /// What a property means.
  public static func explanation(_ path: PartialKeyPath<Self>) -> String { field(path).explanation }

  private static func field(_ path: PartialKeyPath<Self>) -> Field<Self> {
    guard let field = fields.first(where: { $0.path == path }) else { fatalError("\(path) is not declared as a field") }
    return field
  }

  /// Checks the value of every field, and whether they fit together.
  ///
  /// - Parameter check: gathers the problems.
  /// - Throws: `UserError` (usage) with the first problem.
  public func validate(_ check: FieldCheck = FieldCheck()) throws {
    var check = check
    for field in Self.fields { field.check(self, &check) }
    try check.finish()
    self.check(&check)
    try check.finish()
  }

  /// The fields that have no effect given the others' values.
  public var idle: [IdleField] {
    Self.fields.compactMap { field in
      guard let need = field.need, !need.isMet(self) else { return nil }
      return IdleField(key: field.key, need: need.text)
    }
  }

  /// A description of every field, with this struct's values.
  public var schema: [FieldSchema] { Self.fields.map { $0.schema(self) } }
}

/// A field that has no effect given the other values.
public struct IdleField: Sendable {
  public let key: String
  /// What would give it an effect, as one would set it: `optimizer=sgd`.
  public let need: String
}

/// The key of a declared field.
struct FieldKey: CodingKey {
  let stringValue: String
  var intValue: Int? { nil }

  init(_ key: String) { stringValue = key }
  init?(stringValue: String) { self.init(stringValue) }
  init?(intValue: Int) { nil }
}
