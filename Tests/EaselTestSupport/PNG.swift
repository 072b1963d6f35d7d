import CEaselZlib
import Testing

/// Parts of a file, one after the other.
package func bytes(_ parts: [UInt8]...) -> [UInt8] { Array(parts.joined()) }

/// A number as four bytes, highest first.
package func bigEndian(_ value: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }

/// A zlib stream.
package func deflated(_ bytes: [UInt8]) throws -> [UInt8] {
  var count = compressBound(UInt(bytes.count))
  var output = [UInt8](repeating: 0, count: Int(count))
  try #require(compress(&output, &count, bytes, UInt(bytes.count)) == Z_OK)
  return Array(output.prefix(Int(count)))
}

/// A chunk of a PNG file with its checksum.
package func pngChunk(_ type: String, _ data: [UInt8]) -> [UInt8] {
  let body = Array(type.utf8) + data
  return bytes(bigEndian(data.count), body, bigEndian(Int(crc32(0, body, UInt32(body.count)))))
}

/// A PNG file from stored rows, each with its filter byte.
///
/// - Parameters:
///   - color: PNG's number of the colour type.
///   - before: chunks before the pixels.
package func png(
  width: Int, height: Int, depth: UInt8 = 8, color: UInt8, isInterlaced: Bool = false, before: [UInt8] = [],
  rows: [UInt8]
) throws -> [UInt8] {
  let header = bytes(bigEndian(width), bigEndian(height), [depth, color, 0, 0, isInterlaced ? 1 : 0])
  return try bytes(
    [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A], pngChunk("IHDR", header), before,
    pngChunk("IDAT", deflated(rows)),
    pngChunk("IEND", []))
}

/// A PNG with alpha, which Easel does not write; four bytes per pixel.
package func transparentPNG(width: Int, height: Int, pixels: [UInt8]) throws -> [UInt8] {
  var rows: [UInt8] = []
  for y in 0..<height {
    let filter: UInt8 = 0
    rows.append(filter)
    rows += pixels[4 * width * y..<4 * width * (y + 1)]
  }
  return try png(width: width, height: height, color: 6, rows: rows)
}
