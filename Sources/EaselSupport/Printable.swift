extension String {
  /// The text as one line that shows its content and has no effect on a terminal, for names and messages of others.
  /// Characters that would move the cursor, begin another line, start an escape sequence or turn the direction of
  /// writing appear as `\u{1B}`.
  public var printable: String { escaping { "\\u{\(String($0.value, radix: 16, uppercase: true))}" } }

  /// The same for each line of a longer text.
  public var printableLines: String {
    split(separator: "\n", omittingEmptySubsequences: false).map { String($0).printable }.joined(separator: "\n")
  }

  /// JSON with the same texts, in which whatever a terminal obeys appears as `\u001B`.
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
  /// Whether terminals act on the character instead of showing it: controls, ends of lines and paragraphs, and
  /// directions of writing.
  fileprivate var isObeyed: Bool {
    switch properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator: true
    default: properties.isBidiControl
    }
  }
}
