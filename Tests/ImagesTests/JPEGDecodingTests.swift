import Foundation
import Images
import Tensors
import TestSupport
import Testing

@Suite(.enabled(if: Image.readsJPEG, "this build has no libjpeg"))
struct JPEGDecodingTests {
  /// Decoders may round their inverse transforms differently by a level or two.
  @Test(arguments: ["rgb.jpg", "grey.jpg", "progressive.jpg", "cmyk.jpg", "cmyk-plain.jpg"])
  func decodesAsPillowDoes(name: String) throws {
    let image = try Image.read(Fixtures.path(name))
    let expected = try Fixtures.expected(name)
    #expect(image.size == expected.size)
    #expect(image.channels == expected.channels)
    let largest = zip(image.pixels, expected.pixels).map { abs(Int($0) - Int($1)) }.max() ?? .max
    #expect(largest <= 2)
  }

  @Test func contentDecidesAndNotTheName() throws {
    try withScratchFolder { folder in
      let path = "\(folder)/photo.png"
      try FileManager.default.copyItem(atPath: Fixtures.path("rgb.jpg"), toPath: path)
      #expect(try Image.read(path) == Image.read(Fixtures.path("rgb.jpg")))
    }
  }

  @Test func hundredsOfScansAreRefused() throws {
    let whole = try Fixtures.bytes("progressive.jpg")
    let starts = whole.indices.dropLast().filter { whole[$0] == 0xFF && whole[$0 + 1] == 0xDA }
    // The last scan refines what is there: it may come again and again.
    let last = whole[try #require(starts.last)..<whole.count - 2]
    for (count, isRead) in [(32, true), (33, false), (400, false)] {
      let more = [[UInt8]](repeating: Array(last), count: count - starts.count).flatMap(\.self)
      try withScratchFile(Array(whole.dropLast(2)) + more + [0xFF, 0xD9]) { path in
        if isRead {
          let image = try Image.read(path)
          #expect(image.channels == 3)
        } else {
          expectUserError(.badData, "has more than 32 scans") { try Image.read(path) }
        }
      }
    }
  }

  @Test(arguments: ["rgb.jpg", "progressive.jpg"])
  func truncationIsAnError(name: String) throws {
    let whole = try Fixtures.bytes(name)
    try withScratchFolder { folder in
      // The last two bytes are the end marker; without them alone every pixel would still be there.
      for length in stride(from: 10, to: whole.count - 2, by: 41) {
        let path = "\(folder)/cut.jpg"
        try Data(whole[..<length]).write(to: URL(fileURLWithPath: path))
        #expect(throws: UserError.self, "cut at byte \(length)") { try Image.read(path) }
      }
    }
  }
}
