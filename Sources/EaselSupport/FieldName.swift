// The name of a field in a message. The library says `count`, and whoever shows the message may say it in another way, as the
// program does with `--count`. A character that no text has stands before each name.

extension String {
  /// Of the last private plane, below those that stand for bytes of file names.
  private static let fieldMark: Character = "\u{10FE00}"

  /// A field's name, to stand in a message.
  package init(field name: String) { self = String(Self.fieldMark) + name }

  /// The text with what a reader calls its fields.
  ///
  /// - Parameter prefix: what stands before each field's name: `--` on a command line.
  public func namingFields(_ prefix: String) -> String {
    contains(Self.fieldMark)
      ? split(separator: Self.fieldMark, omittingEmptySubsequences: false).joined(separator: prefix) : self
  }
}

extension DefaultStringInterpolation {
  /// A field's name in a message: see ``UserError/named(_:)``.
  package mutating func appendInterpolation(field name: String) { appendInterpolation(String(field: name)) }
}
