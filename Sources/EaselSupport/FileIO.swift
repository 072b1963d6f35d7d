import Foundation

/// Reads and writes whole files, with errors that name the path and the reason.
package enum FileIO {
  /// The bytes of a file.
  ///
  /// - Throws: `UserError`: `missingInput` if there is no file, `badData` if it is a folder, a pipe, a socket or a
  ///   device, or has more than `maximumSize` bytes, `inputOutput` if it cannot be read.
  package static func read(_ path: String, maximumSize: Int) throws -> [UInt8] {
    let (descriptor, status) = try openFile(path)
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    // Room for one byte more than the file has, so that its end shows without another read.
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

  /// The first bytes of a file, at most `count`; throws like ``read(_:maximumSize:)``.
  package static func head(_ path: String, count: Int) throws -> [UInt8] {
    let (descriptor, _) = try openFile(path)
    defer { close(descriptor) }
    return [UInt8](unsafeUninitializedCapacity: count) { target, got in
      got = max(0, pread(descriptor, target.baseAddress, count, 0))
    }
  }

  /// Opens files only: a pipe would wait for its writer, and a device may do anything.
  private static func openFile(_ path: String) throws -> (descriptor: Int32, status: stat) {
    try requireRegularFile(path) { status in path.withFileSystemPath { stat($0, &status) } }
    // Without waiting, since the file may have become a pipe in the meantime.
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

  /// Writes a file completely or not at all; throws like ``FileOutput/write(to:temporaryPrefix:isDurable:_:)``.
  package static func write(_ bytes: [UInt8], to path: String) throws {
    try FileOutput.write(to: path) { sink in try bytes.withUnsafeBytes(sink) }
  }

  private static func reason() -> String { String(cString: strerror(errno)) }
}
