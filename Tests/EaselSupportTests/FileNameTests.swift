import EaselSupport
import Testing

/// Names of files as text: any bytes, in both directions.
@Suite struct FileNameTests {
  @Test(
    arguments: [
      Array("plain/ñ.png".utf8), [0x63, 0x61, 0x66, 0xE9], [0xFF, 0x80, 0x41, 0xC3], [0xE2, 0x82, 0x2F, 0xF0, 0x9F],
      // A character that stands for a byte, and one beside it, as a file's own.
      Array("\u{10FFE9}a\u{10FF7F}".utf8), [],
    ] as [[UInt8]])
  func everyNameComesBack(_ bytes: [UInt8]) {
    let name = String(fileSystemBytes: bytes)
    #expect(name.fileSystemBytes == bytes)
    #expect(name.withFileSystemPath { String(fileSystemPath: $0) }.hasSameBytes(as: name))
  }

  @Test func namesThatDifferInAByteDiffer() {
    let (composed, decomposed) = ("\u{F1}", "n\u{303}")
    #expect(composed == decomposed && !composed.hasSameBytes(as: decomposed))
    let (latin, other) = (String(fileSystemBytes: [0xE9]), String(fileSystemBytes: [0xE8]))
    #expect(!latin.hasSameBytes(as: other) && latin != other)
  }

  @Test func peopleSeeWhatIsNoText() {
    let path = String(fileSystemBytes: Array("caf".utf8) + [0xE9] + Array("/1.png".utf8))
    #expect(path.escapingStrayBytes == #"caf\xE9/1.png"#)
    #expect("ñ/1.png".escapingStrayBytes == "ñ/1.png")
    #expect(UserError(.badData, "\(path): no", hint: path).description == "caf\\xE9/1.png: no\ncaf\\xE9/1.png")
  }
}
