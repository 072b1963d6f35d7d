import Foundation

/// Splits text as CLIP does: one form of characters (NFC), lower case, and words of letters, single digits, runs of other
/// signs, and the English endings behind an apostrophe. White space separates words and belongs to none.
enum TextSplitting {
  private enum Kind { case letter, number, space, sign }

  private static let endings = ["s", "t", "re", "ve", "m", "ll", "d"].map { Array($0.unicodeScalars) }

  /// The words of a text.
  static func words(of text: String) -> [String] {
    // Scalar by scalar: a final sigma is no special case.
    let scalars = text.precomposedStringWithCanonicalMapping.unicodeScalars
      .flatMap { Array($0.properties.lowercaseMapping.unicodeScalars) }
    var words: [String] = []
    var start = 0
    while start < scalars.count {
      let kind = kind(scalars[start])
      var end = start + 1
      switch kind {
      case .space:
        start = end
        continue
      case .number: break
      case .letter, .sign:
        if scalars[start] == "'", let ending = endings.first(where: { scalars[(start + 1)...].starts(with: $0) }) {
          end += ending.count
        } else {
          while end < scalars.count, self.kind(scalars[end]) == kind { end += 1 }
        }
      }
      var word = String.UnicodeScalarView()
      word.append(contentsOf: scalars[start..<end])
      words.append(String(word))
      start = end
    }
    return words
  }

  private static func kind(_ scalar: Unicode.Scalar) -> Kind {
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: .letter
    case .decimalNumber, .letterNumber, .otherNumber: .number
    default: scalar.properties.isWhitespace ? .space : .sign
    }
  }
}
