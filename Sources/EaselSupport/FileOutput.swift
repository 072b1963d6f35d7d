import Foundation

/// Files that are written whole or not at all.
package enum FileOutput {
  /// Takes a file's next bytes.
  package typealias Sink = (UnsafeRawBufferPointer) throws -> Void

  /// Writes a temporary file in the same folder and then renames it. Whatever fails, an existing file stays as it was,
  /// and nothing is left behind.
  ///
  /// A symbolic link keeps pointing to the same place. Anything but a regular file (a pipe, a terminal) is written
  /// directly.
  ///
  /// - Parameters:
  ///   - temporaryPrefix: the beginning of the file's name until it is complete.
  ///   - isDurable: whether to wait until the content and the name are on the disk.
  ///   - content: hands bytes to the sink, in one piece or in several.
  /// - Throws: ``UserError``: `cannotCreate` if the file cannot be made there, `inputOutput` if writing fails; and what
  ///   `content` throws.
  package static func write(
    to path: String, temporaryPrefix: String = ".easel-", isDurable: Bool = false, _ content: (Sink) throws -> Void
  ) throws {
    var status = stat()
    let exists = stat(path, &status) == 0
    if exists, status.st_mode & S_IFMT == S_IFDIR {
      throw UserError(.cannotCreate, "\(path): cannot be written, it is a folder", hint: "Name a file.")
    }
    if exists, status.st_mode & S_IFMT != S_IFREG {
      let descriptor = open(path, O_WRONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw failure(path, "cannot be written", .cannotCreate) }
      defer { close(descriptor) }
      return try content { try append($0, to: descriptor, path: path) }
    }
    let target = exists ? resolvingLinks(path) : path
    let folder = target.deletingLastPathComponent
    let token = String(UInt64.random(in: 0...UInt64.max), radix: 16)
    let temporary = folder.appendingPathComponent("\(temporaryPrefix)\(token).partial")
    do {
      try fill(temporary, for: path, isDurable: isDurable, content)
      guard rename(temporary, target) == 0 else { throw failure(path, "cannot be put in place", .cannotCreate) }
    } catch {
      unlink(temporary)
      throw error
    }
    if isDurable { try syncFolder(folder.isEmpty ? "." : folder) }
  }

  private static func fill(
    _ temporary: String, for path: String, isDurable: Bool, _ content: (Sink) throws -> Void
  ) throws {
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw failure(path, "cannot be created", .cannotCreate) }
    do {
      try content { try append($0, to: descriptor, path: path) }
      guard !isDurable || fsync(descriptor) == 0 else { throw failure(path, "cannot be written") }
    } catch {
      close(descriptor)
      throw error
    }
    // Some file systems report only here that there is no room.
    guard close(descriptor) == 0 else { throw failure(path, "cannot be written") }
  }

  private static func append(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, path: String) throws {
    var rest = bytes
    while !rest.isEmpty {
      let count = Foundation.write(descriptor, rest.baseAddress, rest.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw failure(path, "cannot be written") }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  private static func syncFolder(_ folder: String) throws {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure(folder, "cannot be opened") }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw failure(folder, "cannot be written") }
  }

  private static func resolvingLinks(_ path: String) -> String {
    guard let resolved = realpath(path, nil) else { return path }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  /// The error for a call that has just failed.
  private static func failure(_ path: String, _ problem: String, _ kind: UserError.Kind = .inputOutput) -> UserError {
    let code = errno
    let hint: String? =
      switch code {
      case ENOSPC, EDQUOT: "Free some space on that disk, or choose another place."
      case EACCES, EPERM, EROFS: "Check the folder's permissions, or choose another place."
      case ENOENT: "Create the folder first."
      default: nil
      }
    return UserError(kind, "\(path): \(problem) (\(String(cString: strerror(code))))", hint: hint)
  }
}
