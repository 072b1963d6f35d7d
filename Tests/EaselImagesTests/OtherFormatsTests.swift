import EaselImages
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

/// WebP and GIF, and the formats that are recognised but not read.
@Suite struct OtherFormatsTests {
  private static let backgrounds: [(name: String, background: UInt8, expected: String)] = [
    ("lossless-alpha.webp", 255, "lossless-alpha.webp"), ("lossless-alpha.webp", 0, "lossless-alpha.webp over 0"),
    ("interlaced.gif", 255, "interlaced.gif"), ("frames.gif", 255, "frames.gif"),
    ("frames.gif", 0, "frames.gif over 0"),
  ]

  private func isRead(_ name: String) -> Bool { name.hasSuffix(".gif") ? Image.readsGIF : Image.readsWebP }

  @Test func whatLosesNothingIsAsItWas() throws {
    for (name, background, expected) in Self.backgrounds where isRead(name) {
      #expect(try Image.read(Fixtures.path(name), background: background) == Fixtures.expected(expected), "\(name)")
    }
  }

  @Test(.enabled(if: Image.readsWebP, "this build has no libwebp"))
  func lossyWebPIsReadAsPillowDoes() throws {
    let (image, expected) = (try Image.read(Fixtures.path("lossy.webp")), try Fixtures.expected("lossy.webp"))
    #expect(image.size == expected.size && image.channels == 3)
    #expect(zip(image.pixels, expected.pixels).allSatisfy { abs(Int($0) - Int($1)) <= 2 })
  }

  @Test func truncationIsAnError() throws {
    for name in ["lossy.webp", "lossless-alpha.webp", "interlaced.gif", "frames.gif"] {
      let whole = try Fixtures.bytes(name)
      // The first frame of a GIF is enough; here it is less than half of the file.
      let end = name == "frames.gif" ? whole.count / 3 : whole.count - 2
      for length in stride(from: 12, to: end, by: 23) {
        try withScratchFile(Array(whole[..<length])) { path in
          #expect(throws: UserError.self, "\(name) cut at byte \(length)") { try Image.read(path) }
        }
      }
    }
  }

  @Test(arguments: [
    ("BMP", Array("BM".utf8)), ("TIFF", [0x49, 0x49, 42, 0]), ("TIFF", [0x4D, 0x4D, 0, 42]),
    ("PPM", Array("P6\n".utf8)),
    ("HEIC or AVIF", [0, 0, 0, 24] + Array("ftypavif".utf8)), ("JPEG XL", [0xFF, 0x0A]),
    ("JPEG 2000", [0, 0, 0, 12] + Array("jP  ".utf8)), ("PSD", Array("8BPS".utf8)),
  ])
  func otherFormatsAreNamedWithTheCure(_ format: String, _ signature: [UInt8]) throws {
    try withScratchFile(signature + [UInt8](repeating: 0, count: 40)) { path in
      expectUserError(.badData, path, "is a \(format) picture", "mogrify -format png") { try Image.read(path) }
    }
  }

  @Test func whatIsMissingInThisBuildIsNamed() throws {
    for (name, library) in [("rgb.jpg", "libjpeg-dev"), ("lossy.webp", "libwebp-dev"), ("frames.gif", "libgif-dev")] {
      let isThere = name == "rgb.jpg" ? Image.readsJPEG : isRead(name)
      if !isThere { expectUserError(.badData, name, library) { try Image.read(Fixtures.path(name)) } }
    }
  }
}
