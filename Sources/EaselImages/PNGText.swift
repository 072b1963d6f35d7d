import EaselSupport

/// The text of a PNG file: keys and values in order, such as a picture's recipe.
public struct PNGText: Sendable, Equatable, ExpressibleByDictionaryLiteral {
  /// One key with its value.
  public struct Entry: Sendable, Equatable {
    public let key: String
    public let value: String
  }

  /// The entries in the file's order; a key may occur more than once.
  public private(set) var entries: [Entry]

  public init(_ entries: [(key: String, value: String)]) {
    self.entries = entries.map { Entry(key: $0.key, value: $0.value) }
  }

  public init(dictionaryLiteral elements: (String, String)...) {
    self.init(elements.map { (key: $0.0, value: $0.1) })
  }

  /// The value of the first entry with this key.
  public subscript(key: String) -> String? {
    entries.first { $0.key == key }?.value
  }

  /// Adds an entry at the end.
  public mutating func append(key: String, value: String) {
    entries.append(Entry(key: key, value: value))
  }
}

extension PNGText {
  /// Reads the text chunks of a PNG file (`tEXt`, `zTXt` and `iTXt`).
  ///
  /// - Throws: `UserError`: `missingInput` if there is no such file, `badData` if it is no PNG or a damaged one.
  public static func read(_ path: String) throws -> PNGText {
    try PNGText(png: FileIO.read(path, maximumSize: Image.maximumFileSize), name: path)
  }

  /// The text chunks of a PNG in memory. Errors (`UserError`, `badData`) begin with `name`.
  public init(png bytes: [UInt8], name: String = "the picture") throws {
    // The limit for all compressed texts together: a small file may contain very many.
    var room = Self.maximumInflatedCount
    func inflated(_ bytes: ArraySlice<UInt8>) throws -> [UInt8] {
      let inflater = Inflater(Array(bytes), name: "\(name): compressed text")
      let text = try inflater.read(upToCount: room)
      guard try inflater.read(upToCount: 1).isEmpty else {
        throw UserError(.badData, "\(name): compressed text of more than \(Self.maximumInflatedCount) bytes")
      }
      room -= text.count
      return text
    }
    entries = try PNGChunk.parse(bytes, name: name).compactMap { chunk in
      switch chunk.type {
      case "tEXt": Self.plainEntry(chunk.data)
      case "zTXt": try Self.compressedEntry(chunk.data, inflated)
      case "iTXt": try Self.internationalEntry(chunk.data, inflated)
      default: nil
      }
    }
  }

  private static let maximumInflatedCount = 4 << 20
  private typealias Inflation = (ArraySlice<UInt8>) throws -> [UInt8]

  // tEXt: key, 0, Latin-1.
  private static func plainEntry(_ data: ArraySlice<UInt8>) -> Entry? {
    guard let (key, text) = splitAtZero(data) else { return nil }
    return Entry(key: latin1(key), value: latin1(text))
  }

  // zTXt: key, 0, method (0), zlib stream of Latin-1.
  private static func compressedEntry(_ data: ArraySlice<UInt8>, _ inflated: Inflation) throws -> Entry? {
    guard let (key, rest) = splitAtZero(data), rest.first == 0 else { return nil }
    return Entry(key: latin1(key), value: latin1(try inflated(rest.dropFirst())[...]))
  }

  // iTXt: key, 0, compressed flag, method (0), language, 0, translated key, 0, UTF-8.
  private static func internationalEntry(_ data: ArraySlice<UInt8>, _ inflated: Inflation) throws -> Entry? {
    guard let (key, rest) = splitAtZero(data), let flag = rest.first,
      let (_, translated) = splitAtZero(rest.dropFirst(2)), let (_, text) = splitAtZero(translated)
    else { return nil }
    let bytes = flag == 1 ? try inflated(text)[...] : text
    return Entry(key: latin1(key), value: String(decoding: bytes, as: UTF8.self))
  }

  private static func splitAtZero(_ data: ArraySlice<UInt8>) -> (ArraySlice<UInt8>, ArraySlice<UInt8>)? {
    data.firstIndex(of: 0).map { (data[..<$0], data[($0 + 1)...]) }
  }

  private static func latin1(_ bytes: ArraySlice<UInt8>) -> String {
    String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) }))
  }
}

extension PNGText {
  /// The entries as chunks: `tEXt` if Latin-1 can express key and value, otherwise `iTXt`.
  ///
  /// - Throws: `UserError` (`usage`) for a key that is not 1 to 79 printable Latin-1 characters without outer spaces,
  ///   and for a zero character in a value.
  func chunks() throws -> [UInt8] {
    try entries.flatMap { entry in
      let key = try Self.encodedKey(entry.key)
      guard !entry.value.unicodeScalars.contains("\0") else {
        throw UserError(.usage, "PNG text “\(entry.key)” holds a zero character")
      }
      if let value = Self.latin1Bytes(entry.value) {
        return PNGChunk(type: "tEXt", data: key + [0] + value).encoded
      }
      let uncompressedWithoutLanguage: [UInt8] = [0, 0, 0, 0, 0]
      return PNGChunk(type: "iTXt", data: key + uncompressedWithoutLanguage + Array(entry.value.utf8)).encoded
    }
  }

  private static func encodedKey(_ key: String) throws -> [UInt8] {
    guard let bytes = latin1Bytes(key), 1...79 ~= bytes.count, bytes.first != 0x20, bytes.last != 0x20,
      bytes.allSatisfy({ 0x20...0x7E ~= $0 || $0 >= 0xA1 })
    else {
      throw UserError(.usage, "PNG text key “\(key)”: expected 1 to 79 printable Latin-1 characters")
    }
    return bytes
  }

  private static func latin1Bytes(_ text: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    for scalar in text.unicodeScalars {
      guard let byte = UInt8(exactly: scalar.value) else { return nil }
      bytes.append(byte)
    }
    return bytes
  }
}
