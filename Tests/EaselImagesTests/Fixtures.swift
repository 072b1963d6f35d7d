import EaselImages
import EaselTestSupport
import Foundation
import Testing

/// The pictures beside this file and what they must decode to; `Fixtures/make_fixtures.py` makes both.
enum Fixtures {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Fixtures").path

  static func path(_ name: String) -> String { "\(folder)/\(name)" }

  static func bytes(_ name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(fileURLWithPath: path(name))))
  }

  private struct Expected: Decodable {
    let width: Int
    let height: Int
    let channels: Int
    let pixels: Data
  }

  static func expected(_ name: String) throws -> Image {
    let all = try JSONDecoder().decode([String: Expected].self, from: Data(try bytes("expected.json")))
    let entry = try #require(all[name])
    return Image(width: entry.width, height: entry.height, channels: entry.channels, pixels: Array(entry.pixels))
  }
}

/// A picture in which every byte differs from its neighbours.
func patternedImage(width: Int, height: Int, channels: Int, offset: Int = 0) -> Image {
  let pixels = (0..<width * height * channels).map { UInt8(($0 * 37 + offset) % 251) }
  return Image(width: width, height: height, channels: channels, pixels: pixels)
}

/// Runs with the path of a temporary file.
func withScratchFile(_ bytes: [UInt8], _ body: (String) throws -> Void) throws {
  try withScratchFolder { folder in
    try Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/file"))
    try body("\(folder)/file")
  }
}
