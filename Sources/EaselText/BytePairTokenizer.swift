import EaselSupport
import Foundation

/// CLIP's byte-pair tokenizer (Sennrich et al. 2016; Radford et al. 2021): a text becomes numbers of tokens, from bytes that are
/// merged pair by pair. The same files and the same numbers as transformers' `CLIPTokenizer`.
///
/// A text may hold any characters: what no merge knows is written in bytes. The names of the two special tokens in a text
/// are text.
public struct BytePairTokenizer: Sendable {
  /// The files of a tokenizer's folder.
  public static let vocabularyFile = "vocab.json"
  public static let mergesFile = "merges.txt"
  /// The file that newer versions of transformers write instead.
  private static let wholeFile = "tokenizer.json"

  private static let startName = "<|startoftext|>"
  private static let endName = "<|endoftext|>"
  /// Behind the last byte of a word.
  static let wordEnd = "</w>"
  /// What files may have at most.
  private static let maximumCount = 1 << 20

  /// The tokens by number.
  public let tokens: [String]
  /// The number of the token that begins a text.
  public let start: Int32
  /// The number of the token that ends a text, which usually also fills it up, and stands for bytes that the vocabulary lacks.
  public let end: Int32

  /// The number of the token that a pair becomes, and the merge's place in the order in which pairs are merged.
  private let merges: [UInt64: (rank: Int, token: Int32)]
  /// The merges as `merges.txt` has them.
  private let mergeLines: [String]
  /// The numbers of single bytes, and of bytes that end a word.
  private let bytes, lastBytes: [Int32]

  /// A text as a network reads it.
  public struct Encoding: Sendable, Equatable {
    /// As many as were asked for: the start, the text, the end, and ends to fill up.
    public var tokens: [Int32]
    /// The place of the first end.
    public var end: Int
    /// Tokens of the text that there was no room for.
    public var cut: Int

    public init(tokens: [Int32], end: Int, cut: Int) { (self.tokens, self.end, self.cut) = (tokens, end, cut) }
  }

  /// Reads a tokenizer.
  ///
  /// - Parameter folder: has `vocab.json` and `merges.txt`, or else `tokenizer.json`.
  /// - Throws: `UserError`: missing input for a file that is not there, bad data for files that do not fit together.
  public init(folder: String) throws {
    func has(_ name: String) -> Bool { FileManager.default.fileExists(atPath: "\(folder)/\(name)") }
    if !has(Self.vocabularyFile), has(Self.wholeFile) {
      try self.init(whole: "\(folder)/\(Self.wholeFile)")
      return
    }
    let (vocabularyPath, mergesPath) = ("\(folder)/\(Self.vocabularyFile)", "\(folder)/\(Self.mergesFile)")
    let data = try Data(FileIO.read(vocabularyPath, maximumSize: 1 << 26))
    guard let numbers = try? JSONDecoder().decode([String: Int].self, from: data) else {
      throw UserError(.badData, "\(vocabularyPath): expected a JSON object of tokens and their numbers")
    }
    guard let text = String(validating: try FileIO.read(mergesPath, maximumSize: 1 << 26), as: UTF8.self) else {
      throw UserError(.badData, "\(mergesPath): expected UTF-8 text, found other bytes")
    }
    let lines = text.split(whereSeparator: \.isNewline).map(String.init).filter { !$0.hasPrefix("#version") }
    try self.init(Self.tokens(numbers, vocabularyPath), merges: lines, from: folder)
  }

  /// Reads the file of the tokenizers library.
  private init(whole path: String) throws {
    struct Whole: Decodable {
      struct Model: Decodable {
        let type: String
        let vocab: [String: Int]
        let merges: [Merge]
      }
      /// A pair, or in older files a text with a space between.
      struct Merge: Decodable {
        let line: String
        init(from decoder: any Decoder) throws {
          let value = try decoder.singleValueContainer()
          if let line = try? value.decode(String.self) {
            self.line = line
          } else {
            line = try value.decode([String].self).joined(separator: " ")
          }
        }
      }
      struct Added: Decodable {
        let id: Int
        let content: String
      }
      let model: Model
      let addedTokens: [Added]
      enum CodingKeys: String, CodingKey {
        case model
        case addedTokens = "added_tokens"
      }
    }
    let whole: Whole
    do {
      whole = try JSONDecoder().decode(Whole.self, from: Data(FileIO.read(path, maximumSize: 1 << 27)))
    } catch let error as DecodingError {
      throw UserError(.badData, "\(path): not a tokenizer of byte pairs: \(error.reason)")
    }
    guard whole.model.type == "BPE" else {
      throw UserError(.badData, "\(path): model.type: expected BPE, found \(whole.model.type)")
    }
    let added = whole.addedTokens.map { ($0.content, $0.id) }
    let numbers = whole.model.vocab.merging(added) { first, _ in first }
    try self.init(Self.tokens(numbers, path), merges: whole.model.merges.map(\.line), from: path)
  }

  /// Tokens by number.
  private static func tokens(_ numbers: [String: Int], _ path: String) throws -> [String] {
    var tokens = [String?](repeating: nil, count: min(numbers.count, maximumCount))
    for (token, number) in numbers {
      guard tokens.indices.contains(number), tokens[number] == nil else {
        throw UserError(
          .badData,
          "\(path): expected the numbers 0 to \(numbers.count - 1), each once, found \(number) for "
            + token.debugDescription)
      }
      tokens[number] = token
    }
    return tokens.compactMap(\.self)
  }

  /// - Parameters:
  ///   - tokens: by number.
  ///   - merges: pairs of tokens, in the order in which they are merged, with a space between.
  ///   - place: for messages.
  /// - Throws: `UserError` (bad data) for a merge of or into tokens that there are not, and without the special tokens.
  init(_ tokens: [String], merges lines: [String], from place: String) throws {
    let numbers = Dictionary(tokens.enumerated().map { ($1, Int32($0)) }, uniquingKeysWith: { first, _ in first })
    func number(_ token: some StringProtocol, in file: String = "") throws -> Int32 {
      guard let number = numbers[String(token)] else {
        throw UserError(
          .badData,
          "\(place): \(Self.vocabularyFile): expected the token \(String(token).debugDescription)\(file.isEmpty ? "" : " of \(file)")"
        )
      }
      return number
    }
    (self.tokens, mergeLines) = (tokens, lines)
    let end = try number(Self.endName)
    (start, self.end) = (try number(Self.startName), end)
    bytes = ByteAlphabet.characters.map { numbers[String($0)] ?? end }
    lastBytes = ByteAlphabet.characters.map { numbers[String($0) + Self.wordEnd] ?? end }
    var merges: [UInt64: (rank: Int, token: Int32)] = [:]
    merges.reserveCapacity(lines.count)
    for (rank, line) in lines.enumerated() {
      let parts = line.split(separator: " ", omittingEmptySubsequences: false)
      guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
        throw UserError(
          .badData,
          "\(place): \(Self.mergesFile): expected two tokens with a space between, found \(line.debugDescription)")
      }
      let pair = Self.pair(try number(parts[0], in: Self.mergesFile), try number(parts[1], in: Self.mergesFile))
      let merged = try number(parts[0] + parts[1], in: Self.mergesFile)
      if merges[pair] == nil { merges[pair] = (rank, merged) }
    }
    self.merges = merges
  }

  private static func pair(_ a: Int32, _ b: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: a)) << 32 | UInt64(UInt32(bitPattern: b))
  }

  // MARK: Texts to tokens

  /// The tokens of a text, without start and end.
  public func encode(_ text: String) -> [Int32] { TextSplitting.words(of: text).flatMap(encode(word:)) }

  /// A text of a fixed number of tokens.
  ///
  /// - Parameters:
  ///   - text: what does not fit is left out at its end.
  ///   - length: at least 2, start and end counted.
  ///   - filler: the number of the token that fills up; nil for the end.
  public func encode(_ text: String, length: Int, filler: Int32? = nil) -> Encoding {
    let all = encode(text)
    let kept = all.prefix(length - 2)
    let filling = [Int32](repeating: filler ?? end, count: length - 2 - kept.count)
    return Encoding(tokens: [start] + kept + [end] + filling, end: kept.count + 1, cut: all.count - kept.count)
  }

  private func encode(word: String) -> [Int32] {
    let utf8 = Array(word.utf8)
    var parts = utf8.dropLast().map { bytes[Int($0)] } + utf8.suffix(1).map { lastBytes[Int($0)] }
    while parts.count > 1 {
      // The merge that comes first of those that there are, wherever its pair stands.
      var best: (rank: Int, token: Int32, pair: UInt64)?
      for (a, b) in zip(parts, parts.dropFirst()) {
        let pair = Self.pair(a, b)
        if let merge = merges[pair], merge.rank < best?.rank ?? .max { best = (merge.rank, merge.token, pair) }
      }
      guard let best else { break }
      var (merged, place) = ([Int32](), 0)
      merged.reserveCapacity(parts.count)
      while place < parts.count {
        if place + 1 < parts.count, Self.pair(parts[place], parts[place + 1]) == best.pair {
          merged.append(best.token)
          place += 2
        } else {
          merged.append(parts[place])
          place += 1
        }
      }
      parts = merged
    }
    return parts
  }

  // MARK: Tokens to texts

  /// The text of tokens, in lower case and with a space behind each word; start and end are left out. Bytes that are no
  /// UTF-8 become U+FFFD.
  public func decode(_ numbers: some Sequence<Int32>) -> String {
    var bytes: [UInt8] = []
    for number in numbers where number != start && number != end && tokens.indices.contains(Int(number)) {
      let token = tokens[Int(number)]
      let isLast = token.hasSuffix(Self.wordEnd)
      bytes += ByteAlphabet.bytes(of: isLast ? token.dropLast(Self.wordEnd.count) : token[...]) ?? []
      if isLast { bytes.append(UInt8(ascii: " ")) }
    }
    let text = String(decoding: bytes, as: UTF8.self)
    return text.hasSuffix(" ") ? String(text.dropLast()) : text
  }

  // MARK: Files

  /// Writes `vocab.json` and `merges.txt`, as ``init(folder:)`` and transformers' `CLIPTokenizer` read them.
  ///
  /// - Throws: `UserError` (`cannotCreate`, `inputOutput`) with the path and the reason.
  public func write(to folder: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes]
    let entries = try tokens.enumerated().map { number, token in
      "\(String(decoding: try encoder.encode(token), as: UTF8.self)): \(number)"
    }
    let vocabulary = "{\(entries.joined(separator: ", "))}\n"
    try FileIO.write(Array(vocabulary.utf8), to: "\(folder)/\(Self.vocabularyFile)")
    let merges = "#version: 0.2\n" + mergeLines.map { $0 + "\n" }.joined()
    try FileIO.write(Array(merges.utf8), to: "\(folder)/\(Self.mergesFile)")
  }

  /// A tokenizer of single bytes and of merges that were found.
  init(merging merges: [(String, String)]) throws {
    let singles = ByteAlphabet.order.map { String(ByteAlphabet.characters[Int($0)]) }
    try self.init(
      singles + singles.map { $0 + Self.wordEnd } + merges.map { $0.0 + $0.1 } + [Self.startName, Self.endName],
      merges: merges.map { "\($0.0) \($0.1)" }, from: "the new tokenizer")
  }
}
