import EaselSupport
import Testing

/// SHA-256 against the examples of FIPS 180-4 (NIST, "Secure Hash Standard: example values").
@Suite struct SHA256Tests {
  static let examples = [
    ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    (
      "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
    (
      "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
      "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"
    ),
    (
      String(repeating: "a", count: 1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    ),
  ]

  @Test("Texts have the standard's hashes", arguments: examples)
  func texts(_ text: String, _ expected: String) {
    #expect(SHA256.hexadecimal(of: text) == expected)
  }

  @Test("Bytes may come in pieces of any size", arguments: [1, 63, 64, 65, 1000])
  func pieces(of size: Int) {
    let bytes = [UInt8](repeating: UInt8(ascii: "a"), count: 1_000_000)
    let hash = SHA256()
    bytes.withUnsafeBytes { all in
      for start in stride(from: 0, to: all.count, by: size) {
        hash.update(UnsafeRawBufferPointer(rebasing: all[start..<min(all.count, start + size)]))
      }
    }
    #expect(hash.hexadecimal() == Self.examples[4].1)
  }
}
