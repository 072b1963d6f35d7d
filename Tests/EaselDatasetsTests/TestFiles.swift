import EaselDatasets
import EaselImages
import EaselTestSupport
import Foundation
import Testing

/// Writes a file, and the folders that contain it.
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

/// Labelled images of 3×2 pixels; every byte of image `i` is `i`, and its label is `i % 3`.
func numberedDataset(count: Int, labelled: Bool = true) -> ImageDataset {
  ImageDataset(
    name: "numbered", source: "a test", width: 3, height: 2, channels: 1,
    pixels: (0..<count).flatMap { [UInt8](repeating: UInt8($0), count: 6) },
    annotations: Annotations(labels: labelled ? (0..<count).map { Int32($0 % 3) } : nil),
    classNames: labelled ? ["a", "b", "c"] : [])
}

func flatImage(_ level: UInt8, width: Int = 4, height: Int = 4) -> Image {
  Image(width: width, height: height, channels: 1, pixels: Array(repeating: level, count: width * height))
}
