import EaselImages
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
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

  @Test func moreScansThanAnyEncoderWritesAreRefused() throws {
    try withScratchFile(jpegOfScans(side: 40, count: 32)) { path in
      let image = try Image.read(path)
      #expect(image.size == ImageSize(width: 40, height: 40))
    }
    for count in [33, 400] {
      try withScratchFile(jpegOfScans(side: 40, count: count)) { path in
        expectUserError(.badData, "has more than 32 scans") { try Image.read(path) }
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
