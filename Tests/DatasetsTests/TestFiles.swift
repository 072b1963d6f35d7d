import CZlib
import Datasets
import Foundation
import Images
import Testing

/// Runs with a folder of its own that is removed afterwards.
func withTemporaryFolder(_ body: (String) throws -> Void) throws {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("easel-\(UUID().uuidString)").path
  try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: folder) }
  try body(folder)
}

/// Writes a file, and the folders it lies in.
func write(_ bytes: [UInt8], to path: String) throws {
  let url = URL(fileURLWithPath: path)
  try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
  try Data(bytes).write(to: url)
}

func write(_ text: String, to path: String) throws { try write(Array(text.utf8), to: path) }

func writeImage(_ image: Image, to path: String) throws { try write(image.pngData(), to: path) }

/// An IDX file of unsigned bytes.
func idx(_ dimensions: [Int], _ values: [UInt8]) -> [UInt8] {
  let sizes = dimensions.flatMap { size in (0..<4).map { UInt8(size >> (24 - 8 * $0) & 0xFF) } }
  return [0, 0, 8, UInt8(dimensions.count)] + sizes + values
}

/// One member of a gzip file.
func gzip(_ bytes: [UInt8]) throws -> [UInt8] {
  var stream = z_stream()
  let status = deflateInit2_(
    &stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
    Int32(MemoryLayout<z_stream>.size))
  try #require(status == Z_OK)
  defer { deflateEnd(&stream) }
  var input = bytes
  var output = [UInt8](repeating: 0, count: Int(deflateBound(&stream, UInt(bytes.count))))
  let produced = input.withUnsafeMutableBufferPointer { source in
    output.withUnsafeMutableBufferPointer { target in
      stream.next_in = source.baseAddress
      stream.avail_in = UInt32(source.count)
      stream.next_out = target.baseAddress
      stream.avail_out = UInt32(target.count)
      return deflate(&stream, Z_FINISH) == Z_STREAM_END ? target.count - Int(stream.avail_out) : nil
    }
  }
  return Array(output.prefix(try #require(produced)))
}

/// Labelled images of 3×2 pixels; every byte of image `i` is `i`, and its label is `i % 3`.
func numberedDataset(count: Int, labelled: Bool = true) -> ImageDataset {
  ImageDataset(
    name: "numbered", source: "a test", width: 3, height: 2, channels: 1,
    pixels: (0..<count).flatMap { [UInt8](repeating: UInt8($0), count: 6) },
    labels: labelled ? (0..<count).map { Int32($0 % 3) } : nil, classNames: labelled ? ["a", "b", "c"] : [])
}

func flatImage(_ level: UInt8, width: Int = 4, height: Int = 4) -> Image {
  Image(width: width, height: height, channels: 1, pixels: Array(repeating: level, count: width * height))
}
