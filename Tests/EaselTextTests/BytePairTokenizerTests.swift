import EaselSupport
import EaselTestSupport
import EaselText
import Foundation
import Testing

/// The tokenizer beside transformers' `CLIPTokenizer`: Tests/Fixtures/make_tokenizer.py made the files and the numbers.
@Suite struct BytePairTokenizerTests {
  private struct Golden: Decodable {
    let texts: [String]
    /// How many of the texts the tokenizer was trained on.
    let corpus: Int
    let numbers: [[Int32]]
  }

  private static let folder = fixture("tokenizer")

  private static func golden() throws -> Golden {
    try JSONDecoder().decode(Golden.self, from: Data(contentsOf: URL(fileURLWithPath: "\(folder)/numbers.json")))
  }

  @Test("Texts of many kinds have the same numbers as in transformers")
  func numbers() throws {
    let (tokenizer, golden) = (try BytePairTokenizer(folder: Self.folder), try Self.golden())
    #expect(golden.texts.count > 30 && golden.texts.count == golden.numbers.count)
    for (text, numbers) in zip(golden.texts, golden.numbers) {
      #expect(tokenizer.encode(text) == numbers, "\(text.debugDescription)")
    }
  }

  @Test("Tokens become text again, in lower case and with single spaces, and bytes that are no UTF-8 show")
  func decoding() throws {
    let tokenizer = try BytePairTokenizer(folder: Self.folder)
    for (text, decoded) in [
      ("A  Red\nCIRCLE", "a red circle"), ("größer 😀", "größer 😀"), ("it's 12", "it 's 1 2"), ("", ""), ("圆", "圆"),
    ] {
      #expect(tokenizer.decode(tokenizer.encode(text)) == decoded)
    }
    #expect(tokenizer.decode(tokenizer.encode("red", length: 8).tokens) == "red")
    #expect(tokenizer.decode(tokenizer.encode("圆").dropLast(1)) == "\u{FFFD}")
    #expect(tokenizer.decode([-1, 1 << 20]) == "")
  }

  @Test(
    "A text of fixed length begins with the start, ends with the end, is filled up with ends, and tells what was cut")
  func fixedLength() throws {
    let tokenizer = try BytePairTokenizer(folder: Self.folder)
    let (red, circle) = (try #require(tokenizer.encode("red").first), try #require(tokenizer.encode("circle").first))
    let (start, end) = (tokenizer.start, tokenizer.end)
    let short = tokenizer.encode("red circle", length: 6)
    #expect(short == .init(tokens: [start, red, circle, end, end, end], end: 3, cut: 0))
    let exact = tokenizer.encode("red circle", length: 4)
    #expect(exact == .init(tokens: [start, red, circle, end], end: 3, cut: 0))
    let long = tokenizer.encode("red circle red red", length: 4)
    #expect(long == .init(tokens: [start, red, circle, end], end: 3, cut: 2))
    #expect(tokenizer.encode("red", length: 2) == .init(tokens: [start, end], end: 1, cut: 1))
    // The special tokens' names are text.
    #expect(!tokenizer.encode("<|endoftext|>").contains(end))
  }

  @Test("A vocabulary is learned from texts in any order, makes them shorter, and is read again as it was written")
  func training() throws {
    let golden = try Self.golden()
    let corpus = Array(golden.texts.prefix(golden.corpus))
    let tokenizer = try BytePairTokenizer(training: corpus, size: 550)
    let again = try BytePairTokenizer(training: corpus.reversed(), size: 550)
    #expect(tokenizer.tokens.count == 550 && tokenizer.tokens == again.tokens)
    // `re` and `ir` are the most frequent pairs, as for transformers; all that comes later depends on ties.
    #expect(tokenizer.tokens[512] == "re" && tokenizer.tokens[513] == "ir")
    #expect(tokenizer.tokens.suffix(2) == ["<|startoftext|>", "<|endoftext|>"])
    #expect(tokenizer.encode("red circle").count == 2)
    for text in golden.texts {
      let plain = TextBytes.count(of: tokenizer.decode(tokenizer.encode(text)))
      #expect(tokenizer.encode(text).count <= plain, "\(text.debugDescription)")
    }
    let (short, long) = corpus.reduce((0, 0)) {
      ($0.0 + tokenizer.encode($1).count, $0.1 + TextBytes.count(of: tokenizer.decode(tokenizer.encode($1))))
    }
    #expect(10 * short < 9 * long, "\(short) tokens for \(long) bytes")
    let whole = try BytePairTokenizer(training: corpus, size: 5000)
    #expect(whole.tokens.count < 900, "no pair that occurs once becomes a token: \(whole.tokens.count)")
    let scratch = try ScratchFolder()
    try tokenizer.write(to: scratch.path)
    let read = try BytePairTokenizer(folder: scratch.path)
    #expect(read.tokens == tokenizer.tokens)
    for text in golden.texts { #expect(read.encode(text) == tokenizer.encode(text)) }
    expectUserError(.usage, "514 to 65536", "513") { try BytePairTokenizer(training: corpus, size: 513) }
  }

  @Test("transformers reads a vocabulary that was learned here", .enabled(if: Python.has("transformers, tokenizers")))
  func read() throws {
    let golden = try Self.golden()
    let tokenizer = try BytePairTokenizer(training: golden.texts.prefix(golden.corpus), size: 620)
    let scratch = try ScratchFolder()
    try tokenizer.write(to: scratch.path)
    let run = "import runpy, sys; path = sys.argv.pop(1); runpy.run_path(path, run_name='__main__')"
    let output = try Python.output(run, fixture("make_tokenizer.py"), scratch.path)
    let numbers = try JSONDecoder().decode([[Int32]].self, from: Data(output.utf8))
    #expect(numbers == golden.texts.map(tokenizer.encode))
  }

  @Test(
    "Files that do not fit together are refused",
    arguments: [
      ("vocab.json", "[]", "expected a JSON object"),
      ("vocab.json", #"{"a": 0, "b": 0}"#, "numbers 0 to 1, each once"),
      ("vocab.json", #"{"a": 0, "b": 9}"#, "numbers 0 to 1, each once, found 9"),
      ("vocab.json", #"{"a": -1}"#, "found -1"),
      ("vocab.json", #"{"a": 0}"#, "expected the token \"<|endoftext|>\""),
      ("merges.txt", "#version: 0.2\na b c", "two tokens with a space between"),
      ("merges.txt", "#version: 0.2\na  b", "two tokens with a space between"),
      ("merges.txt", "a qqq", "expected the token \"qqq\""),
      ("merges.txt", "x q", "expected the token \"xq\""),
    ])
  func refused(_ name: String, _ text: String, _ message: String) throws {
    let scratch = try ScratchFolder()
    for file in ["vocab.json", "merges.txt"] {
      try FileManager.default.copyItem(atPath: "\(Self.folder)/\(file)", toPath: scratch.file(file))
    }
    try Data(text.utf8).write(to: URL(fileURLWithPath: scratch.file(name)))
    expectUserError(.badData, name, message) { try BytePairTokenizer(folder: scratch.path) }
    try FileManager.default.removeItem(atPath: scratch.file(name))
    expectUserError(.missingInput, name) { try BytePairTokenizer(folder: scratch.path) }
  }

  @Test("A word of thousands of bytes is no burden")
  func longWords() throws {
    let tokenizer = try BytePairTokenizer(folder: Self.folder)
    let clock = ContinuousClock()
    let time = clock.measure {
      let word = String((0..<16_000).map { Character(Unicode.Scalar(UInt8(97 + $0 * 7 % 26))) })
      #expect(tokenizer.encode(word).count > 1000)
    }
    #expect(time < .seconds(20))
  }
}

private enum TextBytes {
  /// Bytes of a text without white space: as many tokens as there are without merges.
  static func count(of text: String) -> Int { text.utf8.count { $0 != UInt8(ascii: " ") } }
}
