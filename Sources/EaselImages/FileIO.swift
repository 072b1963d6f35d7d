import EaselSupport
import Foundation

/// Whole files in and out, with errors that name the path and the reason.
package enum FileIO {
  /// The bytes of a file.
  ///
  /// - Throws: `UserError`: `missingInput` when there is none, `badData` when it is a folder, a pipe, a socket or a
  ///   device, or holds more than `maximumSize` bytes, `inputOutput` when it cannot be read.
  package static func read(_ path: String, maximumSize: Int) throws -> [UInt8] {
    let (descriptor, status) = try openFile(path)
    defer { close(descriptor) }
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

  /// The first bytes of a file, as many as there are up to `count`; throws as ``read(_:maximumSize:)`` does.
  package static func head(_ path: String, count: Int) throws -> [UInt8] {
    let (descriptor, _) = try openFile(path)
    defer { close(descriptor) }
    return [UInt8](unsafeUninitializedCapacity: count) { target, got in
      got = max(0, pread(descriptor, target.baseAddress, count, 0))
    }
  }

  /// Whatever else a path leads to is not opened: a pipe would wait for its writer, a device may do anything.
  private static func openFile(_ path: String) throws -> (descriptor: Int32, status: stat) {
    try requireRegularFile(path) { status in path.withFileSystemPath { stat($0, &status) } }
    // Without waiting: what is there may have become a pipe meanwhile.
    let descriptor = path.withFileSystemPath { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) }
    guard descriptor >= 0 else { throw UserError(.inputOutput, "\(path): cannot be opened (\(reason()))") }
    do {
      return (descriptor, try requireRegularFile(path) { fstat(descriptor, &$0) })
    } catch {
      close(descriptor)
      throw error
    }
  }

  @discardableResult
  private static func requireRegularFile(_ path: String, _ examine: (inout stat) -> Int32) throws -> stat {
    var status = stat()
    guard examine(&status) == 0 else {
      if errno == ENOENT || errno == ENOTDIR { throw UserError(.missingInput, "\(path): no such file") }
      throw UserError(.inputOutput, "\(path): cannot be opened (\(reason()))")
    }
    let kind: String
    switch status.st_mode & S_IFMT {
    case S_IFREG: return status
    case S_IFDIR: kind = "a folder"
    case S_IFIFO: kind = "a pipe"
    case S_IFSOCK: kind = "a socket"
    default: kind = "a device"
    }
    throw UserError(.badData, "\(path): expected a file, found \(kind)")
  }

  /// Writes a file that appears whole or not at all; throws as ``FileOutput/write(to:temporaryPrefix:isDurable:_:)`` does.
  package static func write(_ bytes: [UInt8], to path: String) throws {
    try FileOutput.write(to: path) { sink in try bytes.withUnsafeBytes(sink) }
  }

  private static func reason() -> String { String(cString: strerror(errno)) }
}
