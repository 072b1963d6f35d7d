import EaselImages
import EaselTestSupport
import Foundation
import Testing

/// Pictures with EXIF data that say how to rotate them, and wrong EXIF data.
@Suite struct ImageOrientationTests {
  /// Levels of 2 rows of 3, and the result for each value of the tag.
  private static let stored: [[UInt8]] = [[10, 20, 30], [40, 50, 60]]
  static let turned: [(value: Int, rows: [[UInt8]])] = [
    (1, [[10, 20, 30], [40, 50, 60]]), (2, [[30, 20, 10], [60, 50, 40]]), (3, [[60, 50, 40], [30, 20, 10]]),
    (4, [[40, 50, 60], [10, 20, 30]]), (5, [[10, 40], [20, 50], [30, 60]]), (6, [[40, 10], [50, 20], [60, 30]]),
    (7, [[60, 30], [50, 20], [40, 10]]), (8, [[30, 60], [20, 50], [10, 40]]),
  ]

  /// A TIFF structure with a width and the orientation.
  private func exif(_ orientation: Int, bigEndian: Bool, entries: Int = 2, directory: Int = 8) -> [UInt8] {
    func bytes(_ value: Int, _ count: Int) -> [UInt8] {
      let little = (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
      return bigEndian ? little.reversed() : little
    }
    func entry(_ tag: Int, _ value: Int) -> [UInt8] {
      [bytes(tag, 2), bytes(3, 2), bytes(1, 4), bytes(value, 2), [0, 0]].flatMap(\.self)
    }
    let byteOrder = Array((bigEndian ? "MM" : "II").utf8)
    let parts = [
      byteOrder, bytes(42, 2), bytes(directory, 4), bytes(entries, 2), entry(0x0100, 3), entry(0x0112, orientation),
      bytes(0, 4),
    ]
    return parts.flatMap(\.self)
  }

  private func png(_ exif: [UInt8]) throws -> [UInt8] {
    let image = Image(width: 3, height: 2, channels: 1, pixels: Self.stored.flatMap(\.self))
    let header = 33
    return try image.pngData().inserting(pngChunk("eXIf", exif), at: header)
  }

  private func jpeg(_ exif: [UInt8], of picture: [UInt8]) -> [UInt8] {
    let data = bytes(Array("Exif".utf8), [0, 0], exif)
    let length = data.count + 2
    // A comment and a padding byte come first, which is allowed.
    let comment: [UInt8] = [0xFF, 0xFE, 0, 3, 7, 0xFF]
    return picture.inserting(bytes(comment, [0xFF, 0xE1, UInt8(length >> 8), UInt8(length & 0xFF)], data), at: 2)
  }

  private func read(_ bytes: [UInt8]) throws -> Image {
    var image: Image?
    try withScratchFile(bytes) { image = try Image.read($0) }
    return try #require(image)
  }

  @Test(arguments: turned) func pngs(_ value: Int, _ rows: [[UInt8]]) throws {
    for bigEndian in [false, true] {
      let image = try read(png(exif(value, bigEndian: bigEndian)))
      #expect(image == Image(width: rows[0].count, height: rows.count, channels: 1, pixels: rows.flatMap(\.self)))
    }
  }

  @Test(.enabled(if: Image.readsJPEG, "this build has no libjpeg"), arguments: turned)
  func jpegs(_ value: Int, _ rows: [[UInt8]]) throws {
    let picture = try Fixtures.bytes("rgb.jpg")
    let plain = try read(picture)
    // Where the table above takes each pixel from, for a picture of any size: by its corners and edges.
    let (right, bottom) = (plain.width - 1, plain.height - 1)
    let isOnItsSide = value > 4
    for bigEndian in [false, true] {
      let image = try read(jpeg(exif(value, bigEndian: bigEndian), of: picture))
      #expect(image.width == (isOnItsSide ? plain.height : plain.width))
      #expect(image.height == (isOnItsSide ? plain.width : plain.height))
      func color(_ image: Image, _ x: Int, _ y: Int) -> [UInt8] {
        Array(image.pixels[(y * image.width + x) * 3..<(y * image.width + x) * 3 + 3])
      }
      var wrong = 0
      for y in 0..<image.height {
        for x in 0..<image.width {
          let (along, down) = isOnItsSide ? (y, x) : (x, y)
          let source = (
            [2, 3, 7, 8].contains(value) ? right - along : along, [3, 4, 6, 7].contains(value) ? bottom - down : down
          )
          if color(image, x, y) != color(plain, source.0, source.1) { wrong += 1 }
        }
      }
      #expect(wrong == 0)
    }
  }

  @Test func hostileDataAreAsNone() throws {
    let upright = Image(width: 3, height: 2, channels: 1, pixels: Self.stored.flatMap(\.self))
    let good = exif(6, bigEndian: true)
    var bad: [[UInt8]] = (0..<good.count).filter { $0 < 32 }.map { Array(good[..<$0]) }
    bad += [0, 9, 255, 65535].map { exif($0, bigEndian: false) }
    bad += [1, 7, 40, 0x7FFF_FFFF, 0xFFFF_FFFF].map { exif(6, bigEndian: true, directory: $0) }
    bad += [exif(6, bigEndian: true, entries: 0), Array("MM".utf8), [0xFF]]
    for (index, data) in bad.enumerated() { #expect(try read(png(data)) == upright, "\(index)") }
    // The tag is found although more entries are announced than exist.
    #expect(try read(png(exif(3, bigEndian: true, entries: 65535))).pixels == [60, 50, 40, 30, 20, 10])
    guard Image.readsJPEG else { return }
    let picture = try Fixtures.bytes("rgb.jpg")
    for data in bad { #expect(try read(jpeg(data, of: picture)).size == read(picture).size) }
  }
}

extension [UInt8] {
  fileprivate func inserting(_ bytes: [UInt8], at place: Int) -> [UInt8] {
    Array(self[..<place]) + bytes + Array(self[place...])
  }
}
