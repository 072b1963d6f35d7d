import EaselSupport
import EaselTensors
import Foundation

/// The JSON header of a safetensors file, read and checked: entries cover the buffer without overlap or hole.
struct SafetensorsHeader {
  /// The length limit of a header in bytes, enough for a hundred thousand tensors. (The reference reader allows ten
  /// times as much.)
  static let maximumLength = 10_000_000

  /// A tensor, and the range of its bytes counted from the end of the header.
  struct Entry {
    let tensor: TensorEntry
    let range: Range<Int>
  }

  var metadata: [String: String] = [:]
  var entries: [String: Entry] = [:]

  /// - Parameters:
  ///   - json: the header's bytes, padding included.
  ///   - bufferSize: the number of bytes that follow the header.
  ///   - path: the file, for error messages.
  /// - Throws: `UserError(.badData)` with the path and the field.
  init(json: [UInt8], bufferSize: Int, path: String) throws {
    guard json.first == UInt8(ascii: "{") else {
      let found = json.first.map { "byte \($0)" } ?? "nothing"
      throw UserError(.badData, "\(path): header: expected `{` as its first byte, found \(found)")
    }
    // Foundation guesses UTF-16 from zero bytes; the format is UTF-8 only.
    guard String(validating: json, as: UTF8.self) != nil, !json.contains(0) else {
      throw UserError(.badData, "\(path): header: expected UTF-8 text, found other bytes")
    }
    let document: Document
    do {
      document = try JSONDecoder().decode(Document.self, from: Data(json))
    } catch let error as DecodingError {
      throw UserError(.badData, "\(path): header: \(error.reason)")
    }
    if let key = firstDuplicateKey(inJSON: json) {
      throw UserError(.badData, "\(path): header: \(key) occurs more than once; two readers would see two tensors")
    }
    metadata = document.metadata
    for (name, raw) in document.entries {
      entries[name] = try Self.entry(raw, name: name, path: path)
    }
    try checkCoverage(of: bufferSize, path: path)
  }

  private static func entry(_ raw: RawEntry, name: String, path: String) throws -> Entry {
    func refusal(_ field: String, _ problem: String) -> UserError {
      UserError(.badData, "\(path): \(name).\(field): \(problem)")
    }
    guard let type = ElementType(rawValue: raw.dtype) else {
      let known = ElementType.allCases.map(\.rawValue).joined(separator: " ")
      throw refusal("dtype", "expected one of \(known), found \(raw.dtype)")
    }
    guard raw.offsets.count == 2 else {
      throw refusal("data_offsets", "expected two numbers, found \(raw.offsets.count)")
    }
    let (begin, end) = (raw.offsets[0], raw.offsets[1])
    guard begin >= 0, begin <= end else {
      throw refusal("data_offsets", "expected 0 ≤ begin ≤ end, found [\(begin), \(end)]")
    }
    guard let byteCount = type.byteCount(shape: raw.shape) else {
      throw refusal("shape", "expected extents of 0 or more whose product fits 64 bits, found \(raw.shape)")
    }
    guard byteCount == end - begin else {
      throw refusal(
        "data_offsets", "expected \(byteCount) bytes for \(type.rawValue) \(raw.shape), found \(end - begin)")
    }
    return Entry(tensor: TensorEntry(type: type, shape: raw.shape), range: begin..<end)
  }

  private func checkCoverage(of bufferSize: Int, path: String) throws {
    let sorted = entries.sorted {
      ($0.value.range.lowerBound, $0.value.range.upperBound) < ($1.value.range.lowerBound, $1.value.range.upperBound)
    }
    var end = 0
    for (name, entry) in sorted {
      guard entry.range.lowerBound == end else {
        let kind = entry.range.lowerBound < end ? "an overlap" : "a hole"
        throw UserError(
          .badData,
          "\(path): \(name).data_offsets: expected to begin at \(end), found \(entry.range.lowerBound) (\(kind))")
      }
      end = entry.range.upperBound
    }
    guard end == bufferSize else {
      throw UserError(
        .badData, "\(path): expected \(end) bytes of data, found \(bufferSize)",
        hint: end > bufferSize ? "The file has been cut: copy or download it again." : nil)
    }
  }
}

/// An entry as in the JSON, unchecked.
private struct RawEntry: Decodable {
  let dtype: String
  let shape: [Int]
  let offsets: [Int]

  enum CodingKeys: String, CodingKey {
    case dtype, shape
    case offsets = "data_offsets"
  }

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    // For a number that does not fit an Int, Foundation's own error does not say where it is.
    func integers(_ key: CodingKeys) throws -> [Int] {
      do {
        return try container.decode([Int].self, forKey: key)
      } catch let error where !(error is DecodingError) {
        throw DecodingError.dataCorruptedError(
          forKey: key, in: container, debugDescription: "expected whole numbers of at most 63 bits")
      }
    }
    dtype = try container.decode(String.self, forKey: .dtype)
    shape = try integers(.shape)
    offsets = try integers(.offsets)
  }
}

/// The whole header as in the JSON: one key has another type than all the others.
private struct Document: Decodable {
  var metadata: [String: String] = [:]
  var entries: [String: RawEntry] = [:]

  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    for key in container.allKeys {
      if key.stringValue == "__metadata__" {
        metadata = try container.decode([String: String].self, forKey: key)
      } else {
        entries[key.stringValue] = try container.decode(RawEntry.self, forKey: key)
      }
    }
  }
}

/// The first key that occurs twice in one object of a valid JSON text. JSON libraries keep one of the two without a
/// word.
///
/// Keys are compared as Swift strings, so two spellings of one character count as the same key too: in a dictionary
/// they would coincide.
func firstDuplicateKey(inJSON json: [UInt8]) -> String? {
  /// The keys of each open object, innermost last; nil stands for an array.
  var open: [Set<String>?] = []
  var expectsKey = false
  var position = 0
  while position < json.count {
    switch json[position] {
    case UInt8(ascii: "{"):
      open.append([])
      expectsKey = true
    case UInt8(ascii: "["):
      open.append(nil)
      expectsKey = false
    case UInt8(ascii: "}"), UInt8(ascii: "]"):
      _ = open.popLast()
      expectsKey = false
    case UInt8(ascii: ","):
      expectsKey = open.last.map { $0 != nil } ?? false
    case UInt8(ascii: "\""):
      let start = position
      position += 1
      while position < json.count, json[position] != UInt8(ascii: "\"") {
        position += json[position] == UInt8(ascii: "\\") ? 2 : 1
      }
      guard expectsKey, position < json.count else { break }
      expectsKey = false
      let literal = json[start...position]
      let key =
        literal.contains(UInt8(ascii: "\\"))
        ? (try? JSONDecoder().decode(String.self, from: Data(literal)))
        : String(decoding: literal.dropFirst().dropLast(), as: UTF8.self)
      if let key, open[open.count - 1]?.insert(key).inserted == false { return key }
    default:
      break
    }
    position += 1
  }
  return nil
}
