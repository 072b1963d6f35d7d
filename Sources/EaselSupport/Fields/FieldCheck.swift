/// The bounds of a field's numbers.
public struct FieldBounds: Sendable, Equatable {
  public let minimum, maximum: Double?
  /// Whether the bound itself is excluded.
  public let excludesMinimum, excludesMaximum: Bool

  private init(_ minimum: Double?, _ maximum: Double?, excludesMinimum: Bool = false, excludesMaximum: Bool = false) {
    (self.minimum, self.maximum) = (minimum, maximum)
    (self.excludesMinimum, self.excludesMaximum) = (excludesMinimum, excludesMaximum)
  }

  public static func from(_ minimum: Double, to maximum: Double) -> FieldBounds { .init(minimum, maximum) }

  public static func from(_ minimum: Double, below maximum: Double) -> FieldBounds {
    .init(minimum, maximum, excludesMaximum: true)
  }

  public static func above(_ minimum: Double) -> FieldBounds { .init(minimum, nil, excludesMinimum: true) }

  public static func above(_ minimum: Double, below maximum: Double) -> FieldBounds {
    .init(minimum, maximum, excludesMinimum: true, excludesMaximum: true)
  }

  public static func atLeast(_ minimum: Double) -> FieldBounds { .init(minimum, nil) }

  /// Whether a number is within the bounds. Infinities never are.
  public func contains(_ number: Double) -> Bool {
    guard number.isFinite else { return false }
    let isAbove = minimum.map { excludesMinimum ? number > $0 : number >= $0 } ?? true
    let isBelow = maximum.map { excludesMaximum ? number < $0 : number <= $0 } ?? true
    return isAbove && isBelow
  }

  /// `1 to 8`, `a number above 0`.
  var text: String {
    switch (minimum, maximum) {
    case (let minimum?, let maximum?) where !excludesMinimum && !excludesMaximum:
      "\(minimum.short) to \(maximum.short)"
    case (let minimum?, let maximum?):
      "a number \(excludesMinimum ? "above" : "from") \(minimum.short) \(excludesMinimum ? "and" : "to") "
        + "below \(maximum.short)"
    case (let minimum?, nil): "a number \(excludesMinimum ? "above" : "of at least") \(minimum.short)"
    default: "a number"
    }
  }
}

/// Gathers problems with the values of fields, in the words of the person who wrote them.
public struct FieldCheck {
  private var problem: String?
  private let names: Bool

  /// - Parameter names: whether keys are field names that a program may show in another way. Those of requests are,
  ///   those of settings are not.
  public init(namingFields names: Bool = false) { self.names = names }

  /// Checks a number against bounds.
  public mutating func callAsFunction(_ value: Double, _ key: String, _ bounds: FieldBounds) {
    let key = names ? String(field: key) : key
    require(bounds.contains(value), "\(key): expected \(bounds.text), found \(value.short)")
  }

  public mutating func callAsFunction(_ value: Int, _ key: String, _ range: ClosedRange<Int>) {
    self(Double(value), key, .from(Double(range.lowerBound), to: Double(range.upperBound)))
  }

  /// Checks any other condition; the message is for when it does not hold.
  public mutating func require(_ holds: Bool, _ message: @autoclosure () -> String) {
    if problem == nil, !holds { problem = message() }
  }

  /// - Throws: `UserError` (usage) with the first problem.
  public func finish() throws {
    if let problem { throw UserError(.usage, problem) }
  }
}

extension Double {
  /// The number as people write it: `1` for 1, and no digits beyond those of a 32-bit number.
  var short: String {
    if let whole = Int(exactly: self) { return String(whole) }
    return Double(Float(self)) == self ? "\(Float(self))" : "\(self)"
  }
}
