import EaselImages
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
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

  @Test("Files from libpng, in every kind, size and filter, decode to the original pixels")
  func libpng() throws {
    let folder = try ScratchFolder()
    let suite = try compiledHarness("png_suite.c", "-lpng", in: folder)
    #expect(try run(suite, [folder.path]) == 0)
    // 26 kinds with and without transparency, in four sizes, six filters, interlaced and not.
    #expect(try checkSuite(folder.path) == 26 * 4 * 6 * 2)
  }

  @Test(
    "Files from Pillow decode to the original pixels",
    .enabled(if: Python.has("PIL, numpy"), "needs Python with Pillow and numpy"))
  func pillow() throws {
    let script = """
      import sys
      import numpy as np
      from PIL import Image

      folder, random = sys.argv[1], np.random.default_rng(7)

      def save(name, image, pixels, **options):
          image.save(f"{folder}/{name}.png", **options)
          pixels = np.asarray(pixels, np.uint8)
          with open(f"{folder}/{name}.expected", "wb") as file:
              file.write(bytes([1 if pixels.ndim == 2 else pixels.shape[2]]) + pixels.tobytes())

      def over_white(color, alpha):
          total = color.astype(int) * alpha + 255 * (255 - alpha.astype(int))
          return (2 * total + 255) // 510

      for height, width in (1, 1), (5, 3), (11, 13), (64, 48):
          for smooth in False, True:
              def plane(most=256):
                  values = random.integers(0, most, (height, width))
                  if smooth:
                      values = np.add.outer(3 * np.arange(height), 2 * np.arange(width)) % most
                  return values.astype(np.uint8)

              name = f"{width}x{height}-{'smooth' if smooth else 'rough'}"
              grey, alpha, color = plane(), plane(), np.stack([plane(), plane(), plane()], 2)
              save(f"1-{name}", Image.fromarray(grey > 127), 255 * (grey > 127))
              save(f"L-{name}", Image.fromarray(grey), grey)
              save(f"LA-{name}", Image.fromarray(np.stack([grey, alpha], 2)), over_white(grey, alpha))
              save(f"RGB-{name}", Image.fromarray(color), color)
              save(f"RGBA-{name}", Image.fromarray(np.concatenate([color, alpha[..., None]], 2)),
                   over_white(color, alpha[..., None]))
              save(f"L-hole-{name}", Image.fromarray(grey), np.where(grey == grey[0, 0], 255, grey),
                   transparency=int(grey[0, 0]))
              hole = (color == color[0, 0]).all(2, keepdims=True)
              save(f"RGB-hole-{name}", Image.fromarray(color), np.where(hole, 255, color),
                   transparency=tuple(int(value) for value in color[0, 0]))
              deep = random.integers(0, 65536, (height, width)).astype(np.uint16)
              save(f"I16-{name}", Image.fromarray(deep), (deep.astype(int) * 2 + 257) // 514)
              for bits in 1, 2, 4, 8:
                  index = plane(1 << bits)
                  palette, alphas = random.integers(0, 256, (256, 3)), random.integers(0, 256, 1 << bits)
                  image = Image.fromarray(index, "P")
                  image.putpalette(palette[: 1 << bits].astype(np.uint8).tobytes())
                  save(f"P{bits}-{name}", image, palette[index], bits=bits, optimize=smooth)
                  save(f"P{bits}-holes-{name}", image, over_white(palette[index], alphas[index][..., None]), bits=bits,
                       transparency=bytes(alphas.tolist()))
      """
    let folder = try ScratchFolder()
    _ = try Python.output(script, folder.path)
    #expect(try checkSuite(folder.path) == 16 * 8)
  }

  /// Decodes a folder's pictures. Beside each is a file with the channels and the pixels that it must decode to.
  ///
  /// - Returns: the number of pictures.
  private func checkSuite(_ folder: String) throws -> Int {
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".png") }
    for name in names {
      let expected = try contents("\(folder)/\(name.dropLast(4)).expected")
      let image = try Image.read("\(folder)/\(name)")
      let pixels = Data(image.pixels)
      #expect(image.channels == Int(expected[0]) && pixels == expected[1...], "\(name)")
    }
    return names.count
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

  @Test("A chunk that announces more than the file has takes no memory", .endsAtAll)
  func announcedChunks() async {
    // A separate process, so that its peak is that of this file.
    await #expect(processExitsWith: .success) {
      let small = try Fixtures.bytes("grey8.png")
      // A text of 1 GiB, of which only four bytes exist.
      let text: [UInt8] = [0x40, 0, 0, 0, 0x74, 0x45, 0x58, 0x74, 0x61, 0, 0x62, 0x63]
      #expect(throws: UserError.self) { try Image(png: Array(small[..<33]) + text) }
      let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
      let peak = try #require(status.firstMatch(of: /VmHWM:\s+(\d+) kB/).flatMap { Int($0.1) })
      #expect(peak < 512 << 10)
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
