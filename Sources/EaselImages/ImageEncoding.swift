import CEaselImageCodecs
import EaselSupport

extension Image {
  /// The picture as a PNG of 8 bits, grey or RGB, with text chunks. Equal pictures and texts give equal bytes.
  ///
  /// - Throws: `UserError`: `usage` if PNG does not allow the key of a text, `internalFailure` if memory runs out.
  public func pngData(text: PNGText = [:]) throws -> [UInt8] {
    let chunks = try text.chunks()
    var encoded = try encodedPixels()
    if !chunks.isEmpty { encoded.insert(contentsOf: chunks, at: PNGChunk.endOfHeader) }
    return encoded
  }

  /// Writes the picture as PNG, completely or not at all.
  ///
  /// - Throws: `UserError`: `cannotCreate` if the file cannot be made there, `inputOutput` if writing fails; also as
  ///   ``pngData(text:)``.
  public func write(to path: String, text: PNGText = [:]) throws {
    try FileIO.write(try pngData(text: text), to: path)
  }

  private func encodedPixels() throws -> [UInt8] {
    guard let width = UInt32(exactly: width), let height = UInt32(exactly: height) else {
      throw UserError(.usage, "a PNG cannot hold \(width)×\(height) pixels")
    }
    var info = easel_image_info(width: width, height: height, channels: UInt32(channels), memory: 0)
    var encoded: UnsafeMutablePointer<UInt8>?
    var count = 0
    try withCodecErrors(.internalFailure, name: "PNG encoder") { error in
      easel_png_encode(pixels, &info, &encoded, &count, error)
    }
    defer { easel_png_free(encoded) }
    return Array(UnsafeBufferPointer(start: encoded, count: count))
  }
}
