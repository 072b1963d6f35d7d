import EaselSupport
import Foundation

/// The fields of a configuration of diffusers or transformers.
struct DiffusersFields {
  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  private struct Document: Decodable {
    let container: KeyedDecodingContainer<Key>
    init(from decoder: any Decoder) throws { container = try decoder.container(keyedBy: Key.self) }
  }

  private let container: KeyedDecodingContainer<Key>
  /// The file, and the field of it that holds these fields.
  private let file: String

  private init(_ container: KeyedDecodingContainer<Key>, of file: String) {
    (self.container, self.file) = (container, file)
  }

  /// - Parameters:
  ///   - json: the file's content; Python also writes infinities.
  ///   - file: the file's name.
  ///   - known: the fields that may be used; nil for any.
  /// - Throws: `UserError` (bad data) for anything but an object, and for a field that is not `known`, unless its value
  ///   says that it is not used: null or false.
  init(_ json: Data, of file: String = "config.json", known: Set<String>?) throws {
    self.file = file
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    do {
      container = try decoder.decode(Document.self, from: quotingNonNumbers(in: json)).container
    } catch {
      throw UserError(.badData, "\(file): expected a JSON object, found something else")
    }
    guard let known else { return }
    let unknown = container.allKeys.filter {
      !$0.stringValue.hasPrefix("_") && !known.contains($0.stringValue) && !isUnused($0)
    }
    if let key = unknown.map(\.stringValue).min() { throw refusal(key, "this field is not known here") }
  }

  private func isUnused(_ key: Key) -> Bool {
    (try? container.decodeNil(forKey: key)) == true || (try? container.decode(Bool.self, forKey: key)) == false
  }

  /// Whether a field is missing or null.
  func isNull(_ key: String) -> Bool { (try? container.decodeNil(forKey: Key(stringValue: key))) ?? true }

  /// Whether a field is there, even if it is null.
  func has(_ key: String) -> Bool { container.contains(Key(stringValue: key)) }

  /// The fields of an object within the object.
  ///
  /// - Throws: `UserError` (bad data) if there is none.
  func object(_ key: String) throws -> DiffusersFields {
    do {
      return DiffusersFields(
        try container.nestedContainer(keyedBy: Key.self, forKey: Key(stringValue: key)), of: "\(file): \(key)")
    } catch {
      throw refusal(key, "expected a JSON object")
    }
  }

  /// A size within bounds; the default if it is missing or null.
  func size(_ key: String, _ bounds: ClosedRange<Int>, default standard: Int) throws -> Int {
    let size = try value(key, default: standard)
    guard bounds.contains(size) else {
      throw refusal(key, "expected \(bounds.lowerBound) to \(bounds.upperBound), found \(size)")
    }
    return size
  }

  /// A field's value; the default if it is missing or null.
  func value<Value: Decodable>(_ key: String, default standard: Value) throws -> Value {
    do {
      return try container.decodeIfPresent(Value.self, forKey: Key(stringValue: key)) ?? standard
    } catch {
      throw refusal(key, "expected a value of type \(Value.self)")
    }
  }

  /// Refuses a field unless it is missing, null or one of the given values.
  func expect<Value: Decodable & Equatable>(_ key: String, among values: [Value]) throws {
    guard let found: Value = try value(key, default: nil), !values.contains(found) else { return }
    let expected = values.isEmpty ? "null" : values.map { "\($0)" }.joined(separator: " or ")
    throw refusal(key, "expected \(expected), found \(found)")
  }

  /// One number for each level, from a list or from one number for all; the default if the field is missing or null.
  func list(_ key: String, count: Int, default standard: Int) throws -> [Int] {
    if let one = try? container.decodeIfPresent(Int.self, forKey: Key(stringValue: key)) {
      return [Int](repeating: one, count: count)
    }
    let all = try value(key, default: [Int](repeating: standard, count: count))
    guard all.count == count else { throw refusal(key, "expected \(count) numbers, found \(all.count)") }
    return all
  }

  /// The levels whose blocks have attention, which must be the same on the way down and up.
  ///
  /// - Parameters:
  ///   - count: the number of levels.
  ///   - down: the names of a block without attention and of one with it, on the way down.
  ///   - up: the same on the way up.
  ///   - standard: which levels have attention if the file does not say so.
  func attentionLevels(
    count: Int, down: (String, String), up: (String, String), default standard: [Bool]
  ) throws -> Set<Int> {
    func levels(_ key: String, _ names: (plain: String, attention: String), default standard: [Bool]) throws -> [Bool] {
      let (plain, attention) = names
      let blocks = try value(key, default: standard.map { $0 ? attention : plain })
      guard blocks.count == count else { throw refusal(key, "expected \(count) blocks, found \(blocks.count)") }
      if let other = blocks.first(where: { $0 != plain && $0 != attention }) {
        throw refusal(key, "expected \(plain) or \(attention), found \(other)")
      }
      return blocks.map { $0 == attention }
    }
    let downward = try levels("down_block_types", down, default: standard)
    let upward = try levels("up_block_types", up, default: standard.reversed())
    guard downward == upward.reversed() else {
      throw refusal("up_block_types", "expected attention at the same levels as in down_block_types")
    }
    return Set(downward.indices.filter { downward[$0] })
  }

  func refusal(_ key: String, _ problem: String) -> UserError {
    UserError(.badData, "\(file): \(key): \(problem)")
  }
}

/// JSON with quotes around the infinities and NaN that Python writes, which JSON does not have.
///
/// Foundation would read them as JSON5, but traps on some texts that are not UTF-8.
private func quotingNonNumbers(in json: Data) -> Data {
  let words = ["-Infinity", "Infinity", "NaN"].map { Data($0.utf8) }
  var result = Data(capacity: json.count)
  var isInText = false
  var rest = json[...]
  while let byte = rest.first {
    var length = 1
    if isInText, byte == UInt8(ascii: "\\") { length = min(2, rest.count) }
    if byte == UInt8(ascii: "\"") { isInText.toggle() }
    if !isInText, let word = words.first(where: { rest.starts(with: $0) }) {
      result += [UInt8(ascii: "\"")] + word + [UInt8(ascii: "\"")]
      length = word.count
    } else {
      result += rest.prefix(length)
    }
    rest = rest.dropFirst(length)
  }
  return result
}
