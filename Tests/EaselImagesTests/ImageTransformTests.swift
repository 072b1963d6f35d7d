import EaselImages
import EaselSupport
import EaselTensors
import Testing

/// Compared with Pillow (`Fixtures/make_fixtures.py`): 11, 12 and 13 agree on these sizes, but 13 not on all others.
@Suite struct ImageTransformTests {
  static let sizes = [(16, 16), (37, 7), (9, 29), (64, 50), (1, 1), (20, 29)].map(ImageSize.init)

  @Test(arguments: sizes)
  func resizingIsPillows(size: ImageSize) throws {
    let photo = try Image.read(Fixtures.path("photo.png"))
    let expected = try Fixtures.expected("resized \(size.width)x\(size.height)")
    #expect(photo.resized(width: size.width, height: size.height) == expected)
  }

  @Test(arguments: sizes)
  func fittingIsPillows(size: ImageSize) throws {
    let photo = try Image.read(Fixtures.path("photo.png"))
    let expected = try Fixtures.expected("fitted \(size.width)x\(size.height)")
    let fitted = photo.fitted(width: size.width, height: size.height)
    #expect(fitted.size == size)
    // Pillow computes the box in single precision; a weight may differ in its last bit.
    let largest = zip(fitted.pixels, expected.pixels).map { abs(Int($0) - Int($1)) }.max() ?? .max
    #expect(largest <= 1)
  }

  @Test(arguments: sizes)
  func paddingIsPillows(size: ImageSize) throws {
    let photo = try Image.read(Fixtures.path("photo.png"))
    let expected = try Fixtures.expected("padded \(size.width)x\(size.height)")
    #expect(photo.padded(width: size.width, height: size.height) == expected)
  }

  @Test func whatCroppingLosesIsAPixelOrMore() {
    let square = ImageSize(width: 32, height: 32)
    for (width, height, isCut) in [(64, 64, false), (100, 101, false), (33, 32, true), (20, 40, true), (1, 500, true)] {
      #expect(Image.isCut(ImageSize(width: width, height: height), to: square) == isCut, "\(width)×\(height)")
    }
    for fit in ImageFit.allCases {
      #expect(patternedImage(width: 9, height: 500, channels: 3).brought(to: square, by: fit).size == square)
    }
  }

  @Test func greyIsResizedLikeColour() throws {
    let luma = try Image.read(Fixtures.path("photo.png")).converted(channels: 1)
    #expect(try luma.resized(width: 10, height: 12) == Fixtures.expected("resized grey 10x12"))
  }

  @Test func fittingAStripKeepsOnlyItsMiddle() {
    var levels = [UInt8](repeating: 0, count: 200_000)
    levels[99_999] = 100
    levels[100_000] = 200
    let fitted = Image(width: 200_000, height: 1, channels: 1, pixels: levels).fitted(width: 64, height: 64)
    #expect(fitted.size == ImageSize(width: 64, height: 64))
    let firstRow = Array(fitted.pixels[..<64])
    #expect(firstRow == firstRow.sorted())
    #expect(100...102 ~= firstRow[0])
    #expect(198...200 ~= firstRow[63])
  }

  @Test func lumaIsPillows() throws {
    let photo = try Image.read(Fixtures.path("photo.png"))
    #expect(try photo.converted(channels: 1) == Fixtures.expected("luma"))
    #expect(photo.converted(channels: 3) == photo)
  }

  @Test func greyBecomesThreeEqualChannels() {
    let grey = Image(width: 2, height: 1, channels: 1, pixels: [10, 200])
    #expect(grey.converted(channels: 3).pixels == [10, 10, 10, 200, 200, 200])
  }

  @Test func croppingKeepsTheMiddle() {
    let image = Image(width: 4, height: 3, channels: 1, pixels: Array(0..<12))
    #expect(image.centerCropped(width: 2, height: 1).pixels == [5, 6])
    #expect(image.centerCropped(width: 3, height: 3).pixels == [0, 1, 2, 4, 5, 6, 8, 9, 10])
  }

  @Test func sizesAreParsed() throws {
    #expect(try ImageSize(parsing: "32") == ImageSize(width: 32, height: 32))
    #expect(try ImageSize(parsing: "64x48") == ImageSize(width: 64, height: 48))
  }

  @Test(arguments: ["", "x", "0", "-3", "32x", "x32", "3x3x3", "32 ", "20000", "99999999999999999999"])
  func impossibleSizesAreRefused(text: String) {
    let error = #expect(throws: UserError.self) { try ImageSize(parsing: text) }
    #expect(error?.kind == .usage)
  }
}
