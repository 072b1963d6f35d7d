import Foundation
import Tensors

/// Whole files in and out, with errors that name the path and the reason.
package enum FileIO {
  /// The bytes of a file (or of a pipe).
  ///
  /// Throws ``UserError``: `missingInput` when there is none, `badData` when it is a folder or holds more than
  /// `maximumSize` bytes, `inputOutput` when it cannot be read.
  package static func read(_ path: String, maximumSize: Int) throws -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      if errno == ENOENT || errno == ENOTDIR { throw UserError(.missingInput, "\(path): no such file") }
      throw UserError(.inputOutput, "\(path): cannot be opened (\(reason()))")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw UserError(.inputOutput, "\(path): cannot be examined (\(reason()))")
    }
    guard status.st_mode & S_IFMT != S_IFDIR else {
      throw UserError(.badData, "\(path): expected a file, found a folder")
    }
    var bytes: [UInt8] = []
    // One byte more than the file has tells its end without another reading.
    var room = max(Int(status.st_size) + 1, 1 << 16)
    while true {
      guard bytes.count <= maximumSize, Int(status.st_size) <= maximumSize else {
        let size = max(Int(status.st_size), bytes.count)
        throw UserError(.badData, "\(path): expected at most \(maximumSize) bytes, found \(size)")
      }
      let piece = try [UInt8](unsafeUninitializedCapacity: room) { target, count in
        while count < target.count {
          let got = Foundation.read(descriptor, target.baseAddress.map { $0 + count }, target.count - count)
          if got < 0, errno == EINTR { continue }
          guard got >= 0 else { throw UserError(.inputOutput, "\(path): cannot be read (\(reason()))") }
          if got == 0 { break }
          count += got
        }
      }
      if bytes.isEmpty { bytes = piece } else { bytes += piece }
      if piece.count < room { return bytes }
      room = 1 << 20
    }
  }

  /// Writes a file that appears whole or not at all: a temporary sibling is written and then renamed.
  ///
  /// A symbolic link keeps pointing where it did. What is no regular file (a pipe, a terminal) is written directly.
  ///
  /// Throws ``UserError``: `cannotCreate` when the file cannot be made there, `inputOutput` when writing fails. Nothing is
  /// left behind then.
  package static func write(_ bytes: [UInt8], to path: String) throws {
    var status = stat()
    let exists = stat(path, &status) == 0
    if exists, status.st_mode & S_IFMT == S_IFDIR {
      throw UserError(.cannotCreate, "\(path): cannot be written, it is a folder", hint: "Name a file.")
    }
    if exists, status.st_mode & S_IFMT != S_IFREG {
      let descriptor = open(path, O_WRONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw UserError(.cannotCreate, "\(path): cannot be written (\(reason()))") }
      defer { close(descriptor) }
      return try writeAll(bytes, to: descriptor, path: path)
    }
    let target = exists ? URL(fileURLWithPath: path).resolvingSymlinksInPath().path : path
    try writeRegularFile(bytes, to: target)
  }

  private static func writeRegularFile(_ bytes: [UInt8], to path: String) throws {
    let folder = (path as NSString).deletingLastPathComponent
    let token = String(UInt64.random(in: 0...UInt64.max), radix: 16)
    let temporary = (folder as NSString).appendingPathComponent(".easel-\(token).partial")
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else {
      let hint = errno == ENOENT ? "Create the folder first." : nil
      throw UserError(.cannotCreate, "\(path): cannot be created (\(reason()))", hint: hint)
    }
    do {
      defer { close(descriptor) }
      try writeAll(bytes, to: descriptor, path: path)
    } catch {
      unlink(temporary)
      throw error
    }
    guard rename(temporary, path) == 0 else {
      let reason = reason()
      unlink(temporary)
      throw UserError(.cannotCreate, "\(path): cannot be put in place (\(reason))")
    }
  }

  private static func writeAll(_ bytes: [UInt8], to descriptor: Int32, path: String) throws {
    try bytes.withUnsafeBytes { source in
      var written = 0
      while written < source.count {
        let count = Foundation.write(descriptor, source.baseAddress.map { $0 + written }, source.count - written)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw UserError(.inputOutput, "\(path): cannot be written (\(reason()))") }
        written += count
      }
    }
  }

  private static func reason() -> String { String(cString: strerror(errno)) }
}
