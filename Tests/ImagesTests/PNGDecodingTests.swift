import Foundation
import Images
import Tensors
import TestSupport
import Testing

@Suite struct PNGDecodingTests {
  static let kinds = [
    "grey1", "grey2", "grey4", "grey8", "grey16", "grey1-interlaced", "grey2-interlaced", "grey4-interlaced",
    "grey8-interlaced", "grey16-interlaced", "grey-alpha8", "grey-alpha16", "grey2-transparent", "gamma",
    "rgb8", "rgb16", "rgb8-interlaced", "rgb16-interlaced", "rgb8-transparent", "rgb16-transparent",
    "rgba8", "rgba16", "rgba8-interlaced", "rgba16-interlaced",
    "palette1", "palette2", "palette4", "palette8",
    "palette1-transparent", "palette2-transparent", "palette4-transparent", "palette8-transparent",
  ]

  @Test(arguments: kinds)
  func everyKindDecodesExactly(kind: String) throws {
    let expected = try Fixtures.expected("\(kind).png")
    #expect(try Image(png: Fixtures.bytes("\(kind).png")) == expected)
    #expect(try Image.read(Fixtures.path("\(kind).png")) == expected)
  }

  @Test(arguments: [8, 16])
  func alphaIsComposedOverTheStatedBackground(depth: Int) throws {
    let image = try Image(png: Fixtures.bytes("rgba\(depth).png"), background: 40)
    #expect(try image == Fixtures.expected("rgba\(depth).png over 40"))
    #expect(try image != Fixtures.expected("rgba\(depth).png"))
  }

  @Test(arguments: ["grey8.png", "rgba16-interlaced.png"])
  func everyTruncationIsAnError(name: String) throws {
    let whole = try Fixtures.bytes(name)
    for length in 0..<whole.count {
      #expect(throws: UserError.self, "cut at byte \(length)") { try Image(png: Array(whole[..<length])) }
    }
  }

  @Test(arguments: ["grey8.png", "palette4-transparent.png", "text.png"])
  func everyFlippedByteOfAChunkIsAnError(name: String) throws {
    let whole = try Fixtures.bytes(name)
    for position in 8..<whole.count {
      var damaged = whole
      damaged[position] ^= 0x10
      #expect(throws: UserError.self, "byte \(position) is damaged") { try Image(png: damaged) }
    }
  }

  @Test func aTextFileNamedPNGIsNamedInTheError() throws {
    try withScratchFolder { folder in
      let path = "\(folder)/holiday.png"
      try Data("not a picture".utf8).write(to: URL(fileURLWithPath: path))
      let error = #expect(throws: UserError.self) { try Image.read(path) }
      #expect(error?.kind == .badData)
      #expect(error?.message.hasPrefix(path) == true)
      #expect(error?.message.contains("6e 6f 74 20 61") == true)
    }
  }

  @Test func aDamagedFileIsNamedInTheError() throws {
    try withScratchFolder { folder in
      let path = "\(folder)/cut.png"
      try Data(try Fixtures.bytes("rgb8.png").dropLast(20)).write(to: URL(fileURLWithPath: path))
      let error = #expect(throws: UserError.self) { try Image.read(path) }
      #expect(error?.kind == .badData)
      #expect(error?.message.hasPrefix(path) == true)
    }
  }

  @Test func aMissingFileAndAFolderAreToldApart() throws {
    try withScratchFolder { folder in
      #expect(throws: UserError(.missingInput, "\(folder)/none.png: no such file")) {
        try Image.read("\(folder)/none.png")
      }
      #expect(throws: UserError(.badData, "\(folder): expected a file, found a folder")) { try Image.read(folder) }
    }
  }

  @Test func announcedSizesAreBoundedBeforeAnythingIsAllocated() throws {
    // A header of 65536 × 65536 pixels with its right checksum, and no pixels.
    let header: [UInt8] = [0x49, 0x48, 0x44, 0x52, 0, 1, 0, 0, 0, 1, 0, 0, 8, 2, 0, 0, 0]
    let small = try Fixtures.bytes("grey8.png")
    let checksum: [UInt8] = [0xE3, 0xE6, 0xA7, 0xB4]
    let png = Array(small[..<12]) + header + checksum + Array(small[33...])
    let error = #expect(throws: UserError.self) { try Image(png: png) }
    #expect(error?.message.contains("65536 x 65536") == true, "\(error?.message ?? "")")
  }
}
