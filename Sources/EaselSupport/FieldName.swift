// A field's name in a message. The library writes `count`; a program that shows the message may write it in another
// way, such as `--count`. To find it again, a character that occurs in no text precedes each name.

extension String {
  /// A character of the last private plane, below those that stand for bytes of file names.
  private static let fieldMark: Character = "\u{10FE00}"

  /// A field's name for use in a message.
  package init(field name: String) { self = String(Self.fieldMark) + name }

  /// The text with field names as the reader knows them.
  ///
  /// - Parameter prefix: precedes each field's name, such as `--` on a command line.
  public func namingFields(_ prefix: String) -> String {
    contains(Self.fieldMark)
      ? split(separator: Self.fieldMark, omittingEmptySubsequences: false).joined(separator: prefix) : self
  }
}

extension DefaultStringInterpolation {
  /// A field's name in a message: see ``UserError/named(_:)``.
  package mutating func appendInterpolation(field name: String) { appendInterpolation(String(field: name)) }
}
