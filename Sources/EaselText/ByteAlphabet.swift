/// A printable character for each byte, as GPT-2's and CLIP's files of tokens write them: printable bytes of Latin-1 stand for
/// themselves, the others for the characters from U+0100 on, in order.
enum ByteAlphabet {
  /// By byte.
  static let characters: [Unicode.Scalar] = {
    var next: UInt32 = 0x100
    return (0..<256).map { byte in
      if 0x21...0x7E ~= byte || 0xA1...0xAC ~= byte || 0xAE...0xFF ~= byte {
        return Unicode.Scalar(UInt8(byte))
      }
      defer { next += 1 }
      return Unicode.Scalar(next) ?? " "
    }
  }()

  private static let bytes = Dictionary(
    uniqueKeysWithValues: characters.enumerated().map { ($1, UInt8($0)) })

  /// The bytes in the order of CLIP's vocabulary: those that stand for themselves, then the others.
  static let order: [UInt8] = (0..<256).map(UInt8.init).sorted { characters[Int($0)].value < characters[Int($1)].value }

  /// A word's bytes as characters.
  static func text(of bytes: some Sequence<UInt8>) -> String {
    var text = String.UnicodeScalarView()
    for byte in bytes { text.append(characters[Int(byte)]) }
    return String(text)
  }

  /// The bytes that characters stand for; nil if one stands for none.
  static func bytes(of text: some StringProtocol) -> [UInt8]? {
    var found: [UInt8] = []
    for scalar in text.unicodeScalars {
      guard let byte = bytes[scalar] else { return nil }
      found.append(byte)
    }
    return found
  }
}
