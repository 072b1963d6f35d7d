import CEaselZlib
import EaselSupport

/// One chunk of a PNG file: u32 length, four letters, data, CRC-32 of letters and data; big-endian.
struct PNGChunk {
  /// Where the chunks after IHDR begin: after the signature (8), and IHDR's length (4), type (4), data (13) and CRC
  /// (4).
  static let endOfHeader = 33

  let type: String
  let data: ArraySlice<UInt8>

  init(type: String, data: some Sequence<UInt8>) {
    self.type = type
    self.data = ArraySlice(data)
  }

  /// The chunk's bytes in a file.
  var encoded: [UInt8] {
    let body = Array(type.utf8) + data
    return bigEndian(UInt32(data.count)) + body + bigEndian(Self.checksum(body[...]))
  }

  /// The chunks of a file, up to IEND.
  ///
  /// - Throws: `UserError` (`badData`, beginning with `name`) if the file is no PNG, is cut short or fails a checksum.
  static func parse(_ bytes: [UInt8], name: String) throws -> [PNGChunk] {
    guard ImageFormat(signatureOf: bytes) == .png else {
      throw UserError(.badData, "\(name): expected a PNG file, found another kind")
    }
    var chunks: [PNGChunk] = []
    var offset = ImageFormat.pngSignature.count
    while chunks.last?.type != "IEND" {
      guard bytes.count - offset >= 12 else {
        throw UserError(.badData, "\(name): PNG ends at byte \(bytes.count) without an IEND chunk")
      }
      let length = Int(readBigEndian(bytes[offset...]))
      let end = offset + 12 + length
      guard end <= bytes.count else {
        throw UserError(.badData, "\(name): chunk at byte \(offset) needs \(end) bytes, the file has \(bytes.count)")
      }
      let body = bytes[offset + 4..<end - 4]
      guard readBigEndian(bytes[(end - 4)...]) == checksum(body) else {
        throw UserError(.badData, "\(name): chunk at byte \(offset) fails its checksum")
      }
      chunks.append(PNGChunk(type: String(decoding: body.prefix(4), as: UTF8.self), data: body.dropFirst(4)))
      offset = end
    }
    return chunks
  }

  private static func checksum(_ body: ArraySlice<UInt8>) -> UInt32 {
    UInt32(body.withUnsafeBufferPointer { crc32_z(0, $0.baseAddress, $0.count) })
  }
}

/// The four bytes of a number, highest first.
func bigEndian(_ value: UInt32) -> [UInt8] {
  [UInt8(value >> 24), UInt8(value >> 16 & 0xFF), UInt8(value >> 8 & 0xFF), UInt8(value & 0xFF)]
}

/// The two bytes of a number, higher first.
func bigEndian(_ value: UInt16) -> [UInt8] {
  [UInt8(value >> 8), UInt8(value & 0xFF)]
}

/// The number in the first four bytes.
func readBigEndian(_ bytes: ArraySlice<UInt8>) -> UInt32 {
  bytes.prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
}
