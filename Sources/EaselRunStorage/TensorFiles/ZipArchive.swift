import EaselSupport

/// The directory of a zip file whose entries are stored as they are, as PyTorch writes them. The format: PKWARE's
/// APPNOTE.TXT, sections 4.3.7 to 4.5.3, with zip64.
struct ZipArchive {
  struct Entry {
    /// Where its local header begins in the file.
    fileprivate let header: Int
    let size: Int
    /// Why its bytes cannot be read, if they cannot.
    fileprivate let obstacle: String?
  }

  /// The length limit of the directory in bytes, enough for a hundred thousand entries.
  static let maximumDirectoryLength = 10_000_000

  private enum Signature {
    static let local = 0x0403_4b50
    static let directory = 0x0201_4b50
    static let end = 0x0605_4b50
    static let zip64End = 0x0606_4b50
    static let zip64Locator = 0x0706_4b50
  }

  private(set) var entries: [String: Entry] = [:]
  private let path: String
  private let fileSize: Int

  /// - Throws: `UserError(.badData)` if the directory is missing or malformed, or names an entry twice; `.inputOutput`
  ///   if the file cannot be read.
  init(_ file: borrowing OpenFile) throws {
    path = file.path
    fileSize = try file.size()
    let (count, range) = try Self.directory(file, size: fileSize)
    let directory = LittleEndian(try file.bytes(range))
    var place = 0
    for index in 0..<count {
      func malformed() -> UserError { UserError(.badData, "\(file.path): zip directory: entry \(index) is malformed") }
      guard directory.number(place, 4) == Signature.directory, let flags = directory.number(place + 8, 2),
        let method = directory.number(place + 10, 2), let packed = directory.number(place + 20, 4),
        let size = directory.number(place + 24, 4), let nameLength = directory.number(place + 28, 2),
        let extraLength = directory.number(place + 30, 2), let commentLength = directory.number(place + 32, 2),
        let header = directory.number(place + 42, 4), let nameBytes = directory.bytes(place + 46, nameLength),
        let extra = directory.bytes(place + 46 + nameLength, extraLength),
        let name = String(validating: nameBytes, as: UTF8.self)
      else { throw malformed() }
      guard let sizes = Self.sizes([size, packed, header], extra: LittleEndian(Array(extra))) else { throw malformed() }
      let obstacle: String? =
        if flags & 1 != 0 { "it is encrypted" } else if method != 0 {
          "it is compressed (method \(method)), which PyTorch's own files are not"
        } else if sizes[0] != sizes[1] { "it has two lengths, \(sizes[0]) and \(sizes[1])" } else { nil }
      let entry = Entry(header: sizes[2], size: sizes[0], obstacle: obstacle)
      guard entries.updateValue(entry, forKey: name) == nil else {
        throw UserError(.badData, "\(path): zip directory: \(name) occurs more than once")
      }
      place += 46 + nameLength + extraLength + commentLength
    }
  }

  /// The range of an entry's bytes in the file.
  ///
  /// - Throws: `UserError(.badData)` if the entry is missing, compressed or encrypted, or does not lie in the file.
  func range(of name: String, in file: borrowing OpenFile) throws -> Range<Int> {
    guard let entry = entries[name] else { throw UserError(.badData, "\(path): there is no entry \(name)") }
    if let obstacle = entry.obstacle { throw UserError(.badData, "\(path): \(name) cannot be read: \(obstacle)") }
    let outside = UserError(
      .badData, "\(path): \(name): expected \(entry.size) bytes in the file, found it ends before",
      hint: "The file has been cut: copy or download it again.")
    guard entry.header <= fileSize - 30 else { throw outside }
    let header = LittleEndian(try file.bytes(entry.header..<entry.header + 30))
    guard header.number(0, 4) == Signature.local, let nameLength = header.number(26, 2),
      let extraLength = header.number(28, 2)
    else { throw UserError(.badData, "\(path): \(name): its local header is malformed") }
    let start = entry.header + 30 + nameLength + extraLength
    guard start <= fileSize, entry.size <= fileSize - start else { throw outside }
    return start..<start + entry.size
  }

  /// The number of entries and where the directory is.
  private static func directory(_ file: borrowing OpenFile, size: Int) throws -> (count: Int, range: Range<Int>) {
    // A comment of at most 65,535 bytes may follow the end record.
    let tailStart = max(0, size - 65_557)
    let tail = LittleEndian(try file.bytes(tailStart..<size))
    let end = stride(from: size - tailStart - 22, through: 0, by: -1).first { place in
      tail.number(place, 4) == Signature.end && tail.number(place + 20, 2) == size - tailStart - 22 - place
    }
    guard let end, let shortCount = tail.number(end + 10, 2), let shortLength = tail.number(end + 12, 4),
      let shortOffset = tail.number(end + 16, 4)
    else {
      throw UserError(
        .badData, "\(file.path): expected a zip file's directory at its end, found none",
        hint: "The file has been cut: copy or download it again.")
    }
    var (count, length, offset) = (shortCount, shortLength, shortOffset)
    let locator = tailStart + end - 20
    if locator >= 0 {
      let found = LittleEndian(try file.bytes(locator..<locator + 20))
      if found.number(0, 4) == Signature.zip64Locator {
        guard let place = found.number(8, 8), place <= size - 56 else { throw malformed(file.path) }
        let record = LittleEndian(try file.bytes(place..<place + 56))
        guard record.number(0, 4) == Signature.zip64End, let longCount = record.number(32, 8),
          let longLength = record.number(40, 8), let longOffset = record.number(48, 8)
        else { throw malformed(file.path) }
        (count, length, offset) = (longCount, longLength, longOffset)
      }
    }
    guard length <= maximumDirectoryLength, count <= length / 46 else {
      throw UserError(
        .badData,
        "\(file.path): zip directory: expected at most \(maximumDirectoryLength) bytes, "
          + "and 46 or more for each entry, found \(length) bytes for \(count) entries")
    }
    guard offset <= size, length <= size - offset else { throw malformed(file.path) }
    return (count, offset..<offset + length)
  }

  private static func malformed(_ path: String) -> UserError {
    UserError(.badData, "\(path): zip directory: expected it to lie within the file")
  }

  /// An entry's sizes and offset, with those that 32 bits cannot hold from the zip64 part of its extra field, which has
  /// only these, in this order.
  private static func sizes(_ short: [Int], extra: LittleEndian) -> [Int]? {
    guard short.contains(0xFFFF_FFFF) else { return short }
    var place = 0
    while let kind = extra.number(place, 2), let length = extra.number(place + 2, 2) {
      if kind == 1 {
        var next = place + 4
        var sizes = short
        for index in sizes.indices where sizes[index] == 0xFFFF_FFFF {
          guard next + 8 <= place + 4 + length, let value = extra.number(next, 8) else { return nil }
          sizes[index] = value
          next += 8
        }
        return sizes
      }
      place += 4 + length
    }
    return nil
  }
}

/// Bytes with little-endian numbers in them.
struct LittleEndian {
  private let content: [UInt8]

  init(_ content: [UInt8]) { self.content = content }

  /// Bytes at a position; nil if they end before.
  func bytes(_ place: Int, _ count: Int) -> ArraySlice<UInt8>? {
    guard place >= 0, count >= 0, place <= content.count, count <= content.count - place else { return nil }
    return content[place..<place + count]
  }

  /// An unsigned number of up to 8 bytes; nil if the bytes end before, or if it does not fit an `Int`.
  func number(_ place: Int, _ count: Int) -> Int? {
    guard let bytes = bytes(place, count) else { return nil }
    return Int(exactly: bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
  }
}
