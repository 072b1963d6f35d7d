extension String {
  /// The text as one line that shows what it holds and does nothing else, for names and messages of others: what would move
  /// the cursor, begin another line, start an escape sequence or turn the direction of writing stands as `\u{1B}`.
  public var printable: String { escaping { "\\u{\(String($0.value, radix: 16, uppercase: true))}" } }

  /// The same of each line of a text of several.
  public var printableLines: String {
    split(separator: "\n", omittingEmptySubsequences: false).map { String($0).printable }.joined(separator: "\n")
  }

  /// JSON that holds the same texts with what terminals obey written as `\u001B`.
  public var printableJSON: String {
    escaping {
      let digits = String($0.value, radix: 16, uppercase: true)
      return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    }
  }

  private func escaping(_ escape: (Unicode.Scalar) -> String) -> String {
    guard unicodeScalars.contains(where: \.isObeyed) else { return self }
    return unicodeScalars.reduce(into: "") { text, scalar in
      if scalar.isObeyed { text += escape(scalar) } else { text.unicodeScalars.append(scalar) }
    }
  }
}

extension Unicode.Scalar {
  /// Whether terminals act on it instead of showing it: controls, ends of lines and paragraphs, and directions of writing.
  fileprivate var isObeyed: Bool {
    switch properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator: true
    default: properties.isBidiControl
    }
  }
}
