import EaselSupport
import EaselTensors
import Foundation

/// An open file, closed when it goes out of scope. Every failure throws a `UserError` with the path and the reason.
struct OpenFile: ~Copyable, Sendable {
  enum Purpose {
    /// A plain file. Anything without an end or that blocks (a pipe, a device) is refused before it is opened.
    case reading
    /// A folder, to lock it or to write its names to the disk.
    case folder
    /// A new file, or an old one that is emptied.
    case writing
    case appending
  }

  let path: String
  let descriptor: Int32

  init(_ path: String, for purpose: Purpose) throws {
    if purpose == .reading { try FileSystem.requirePlainFile(path) }
    let flags =
      switch purpose {
      // A file that has become a pipe in the meantime does not block either.
      case .reading: O_RDONLY | O_NONBLOCK
      case .folder: O_RDONLY | O_DIRECTORY
      case .writing: O_WRONLY | O_CREAT | O_TRUNC
      case .appending: O_RDWR | O_CREAT | O_APPEND
      }
    let opened = retryingInterrupted { open(path, flags | O_CLOEXEC, 0o644) }
    guard opened >= 0 else {
      let isMissing = errno == ENOENT || errno == ENOTDIR
      switch purpose {
      case .reading, .folder: throw FileSystem.failure("open", path, kind: isMissing ? .missingInput : .inputOutput)
      case .writing, .appending: throw FileSystem.failure("create", path, kind: .cannotCreate)
      }
    }
    self.path = path
    descriptor = opened
  }

  deinit { close(descriptor) }

  /// The file's length in bytes; refuses anything but a plain file (a folder, a pipe).
  func size() throws -> Int {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileSystem.failure("read", path) }
    try FileSystem.requirePlain(status, path)
    return Int(status.st_size)
  }

  /// Whether a path leads to this very file or folder.
  func isOpen(at path: String) -> Bool {
    var status = stat()
    return fstat(descriptor, &status) == 0 && FileSystem.identity(of: path) == .init(status)
  }

  /// The file's present path; nil if it was deleted.
  var presentPath: String? {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let length = readlink("/proc/self/fd/\(descriptor)", &buffer, buffer.count - 1)
    guard length > 0 else { return nil }
    let path = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return isOpen(at: path) ? path : nil
  }

  /// Fills a buffer from a position. It is an error if the file ends before the buffer is full.
  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws {
    var done = 0
    while done < buffer.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      let count = retryingInterrupted { pread(descriptor, rest.baseAddress, rest.count, off_t(offset + done)) }
      guard count >= 0 else { throw FileSystem.failure("read", path) }
      guard count > 0 else {
        throw UserError(
          .badData, "\(path): expected \(offset + buffer.count) bytes, found \(offset + done)",
          hint: "The file was cut while it was being read.")
      }
      done += count
    }
  }

  /// The bytes in a range of positions.
  func bytes(_ range: Range<Int>) throws -> [UInt8] {
    try [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
      let target = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<range.count])
      try read(into: target, at: range.lowerBound)
      count = range.count
    }
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws {
    var rest = bytes
    while !rest.isEmpty {
      let count = retryingInterrupted { Glibc.write(descriptor, rest.baseAddress, rest.count) }
      guard count >= 0 else { throw FileSystem.failure("write", path) }
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  func write(_ text: String) throws {
    try Array(text.utf8).withUnsafeBytes { try write($0) }
  }

  /// Waits until everything written is on the disk.
  func sync() throws {
    guard retryingInterrupted({ fsync(descriptor) }) == 0 else { throw FileSystem.failure("write", path) }
  }
}

/// The file-system calls that checkpoints need, with errors that name the path and the reason.
enum FileSystem {
  /// The error for a call that has just failed, such as `cannot write /path: No space left on device`.
  static func failure(_ action: String, _ path: String, kind: UserError.Kind = .inputOutput) -> UserError {
    let code = errno
    let hint: String? =
      switch code {
      case ENOSPC, EDQUOT: "Free some space on that disk, or choose another place with \(field: "workspace")."
      case EFBIG: "Raise the limit on the size of files: ulimit -f."
      case EACCES, EPERM, EROFS: "Check the folder's permissions, or choose another place with \(field: "workspace")."
      default: nil
      }
    return UserError(kind, "cannot \(action) \(path): \(String(cString: strerror(code)))", hint: hint)
  }

  static func isFolder(_ path: String) -> Bool { mode(of: path) == S_IFDIR }

  /// Whether a path is itself a plain file, not a link to one.
  static func isPlainFile(_ path: String) -> Bool {
    var status = stat()
    return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
  }

  /// Refuses anything that exists and is not a plain file, without opening it.
  static func requirePlainFile(_ path: String) throws {
    var status = stat()
    if stat(path, &status) == 0 { try requirePlain(status, path) }
  }

  fileprivate static func requirePlain(_ status: stat, _ path: String) throws {
    let found =
      switch status.st_mode & S_IFMT {
      case S_IFREG: nil as String?
      case S_IFDIR: "a folder"
      case S_IFIFO: "a pipe"
      case S_IFSOCK: "a socket"
      default: "a device"
      }
    if let found { throw UserError(.badData, "\(path): expected a file, found \(found)") }
  }

  /// Identifies a file or a folder on the machine, whatever its name.
  struct Identity: Equatable {
    let device: dev_t
    let number: ino_t

    init(_ status: stat) { (device, number) = (status.st_dev, status.st_ino) }
  }

  /// What a path leads to; nil if nothing is there.
  static func identity(of path: String) -> Identity? {
    var status = stat()
    return stat(path, &status) == 0 ? Identity(status) : nil
  }

  static func exists(_ path: String) -> Bool { mode(of: path) != nil }

  private static func mode(of path: String) -> mode_t? {
    var status = stat()
    return stat(path, &status) == 0 ? status.st_mode & S_IFMT : nil
  }

  /// The path with every symbolic link resolved, or nil if nothing exists there.
  static func resolved(_ path: String) -> String? {
    guard let resolved = realpath(path, nil) else { return nil }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  /// The names in a folder, sorted, without `.` and `..`.
  static func list(_ folder: String) throws -> [String] {
    guard let stream = opendir(folder) else { throw failure("list", folder) }
    defer { closedir(stream) }
    var names: [String] = []
    while true {
      errno = 0
      guard let entry = readdir(stream) else { break }
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if name != ".", name != ".." { names.append(name) }
    }
    guard errno == 0 else { throw failure("list", folder) }
    return names.sorted()
  }

  /// Creates a folder and those above it. Returns those that did not exist before, outermost first.
  @discardableResult
  static func makeFolders(_ path: String) throws -> [String] {
    if isFolder(path) { return [] }
    let parent = parent(of: path)
    var created = parent == path ? [] : try makeFolders(parent)
    if mkdir(path, 0o755) == 0 {
      created.append(path)
    } else if !(errno == EEXIST && isFolder(path)) {
      // For a path that should be a folder, "File exists" would be the least helpful half of the message.
      if errno == EEXIST { errno = ENOTDIR }
      let error = failure("create", path, kind: .cannotCreate)
      for folder in created.reversed() { rmdir(folder) }
      throw error
    }
    return created
  }

  /// The bytes of all files below a path, as far as they can be read.
  static func size(of path: String) -> Int {
    var status = stat()
    guard lstat(path, &status) == 0 else { return 0 }
    guard status.st_mode & S_IFMT == S_IFDIR else { return Int(status.st_size) }
    return ((try? list(path)) ?? []).reduce(0) { $0 + size(of: "\(path)/\($1)") }
  }

  static func rename(_ source: String, to target: String) throws {
    guard Glibc.rename(source, target) == 0 else { throw failure("rename \(source) to", target) }
  }

  /// Removes a file or a folder with everything in it, without following links. It is no error if nothing is there.
  static func remove(_ path: String) throws {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    if status.st_mode & S_IFMT == S_IFDIR {
      for name in try list(path) { try remove("\(path)/\(name)") }
      guard rmdir(path) == 0 else { throw failure("remove", path) }
    } else {
      guard unlink(path) == 0 else { throw failure("remove", path) }
    }
  }

  /// Waits until a file's content, or a folder's list of names, is on the disk.
  static func sync(_ path: String) throws { try OpenFile(path, for: isFolder(path) ? .folder : .reading).sync() }

  static func read(_ path: String, limit: Int = .max) throws -> Data {
    let file = try OpenFile(path, for: .reading)
    let size = try file.size()
    guard size <= limit else { throw UserError(.badData, "\(path): expected at most \(limit) bytes, found \(size)") }
    return Data(try file.bytes(0..<size))
  }

  /// A file's length in bytes and the SHA-256 of its content in hexadecimal.
  static func digest(_ path: String) throws -> (size: Int, sha256: String) {
    let file = try OpenFile(path, for: .reading)
    let size = try file.size()
    let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: min(max(size, 1), 1 << 20), alignment: 64)
    defer { chunk.deallocate() }
    let hash = SHA256()
    var offset = 0
    while offset < size {
      let part = UnsafeMutableRawBufferPointer(rebasing: chunk[..<min(chunk.count, size - offset)])
      try file.read(into: part, at: offset)
      hash.update(UnsafeRawBufferPointer(part))
      offset += part.count
    }
    return (size, hash.hexadecimal())
  }

  /// Replaces a file's content at once: a reader sees the old or the new one, whatever happens in between.
  static func replace(_ path: String, with bytes: [UInt8]) throws {
    // The prefix marks the file for removal at the run's next start.
    try FileOutput.write(to: path, temporaryPrefix: RunFolder.temporaryPrefix, isDurable: true) { sink in
      try bytes.withUnsafeBytes(sink)
    }
  }

  static func replace(_ path: String, with text: String) throws { try replace(path, with: Array(text.utf8)) }

  static func parent(of path: String) -> String {
    let parent = path.deletingLastPathComponent
    return parent.isEmpty ? "." : parent
  }
}

private func retryingInterrupted<Result: SignedInteger>(_ call: () -> Result) -> Result {
  while true {
    let result = call()
    if result >= 0 || errno != EINTR { return result }
  }
}
