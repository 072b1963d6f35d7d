import CZlib
import Datasets
import Foundation
import Images
import Testing

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

/// An executable script of the shell.
func writeProgram(_ script: String, to path: String) throws {
  try write("#!/bin/sh\n\(script)\n", to: path)
  try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
}

/// A PNG with alpha, which ``Image`` cannot express; four bytes a pixel.
func transparentPNG(width: Int, height: Int, pixels: [UInt8]) throws -> [UInt8] {
  func bigEndian(_ value: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }
  func chunk(_ type: String, _ data: [UInt8]) -> [UInt8] {
    let body = Array(type.utf8) + data
    let checksum = crc32(0, body, UInt32(body.count))
    return bigEndian(data.count) + body + bigEndian(Int(checksum))
  }
  var rows: [UInt8] = []
  for y in 0..<height {
    let filter: UInt8 = 0
    rows.append(filter)
    rows += pixels[4 * width * y..<4 * width * (y + 1)]
  }
  var compressed = [UInt8](repeating: 0, count: Int(compressBound(UInt(rows.count))))
  var count = UInt(compressed.count)
  try #require(compress(&compressed, &count, rows, UInt(rows.count)) == Z_OK)
  var png: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
  png += chunk("IHDR", bigEndian(width) + bigEndian(height) + [8, 6, 0, 0, 0])
  png += chunk("IDAT", Array(compressed.prefix(Int(count))))
  return png + chunk("IEND", [])
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
