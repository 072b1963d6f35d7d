import EaselSupport
import Foundation

/// What a model knows of texts: how they become tokens, and which words it has seen.
public struct Vocabulary: Sendable {
  /// The file of the words, one on each line.
  public static let wordsFile = "words.txt"
  /// Every file that ``write(to:)`` may write.
  public static let files = [BytePairTokenizer.vocabularyFile, BytePairTokenizer.mergesFile, wordsFile]

  public let tokenizer: BytePairTokenizer
  /// The words of the captions that the model was trained with; nil if they are not recorded.
  public let words: Set<String>?

  public init(_ tokenizer: BytePairTokenizer, words: Set<String>? = nil) {
    (self.tokenizer, self.words) = (tokenizer, words)
  }

  /// The vocabulary of a model that is trained with some captions.
  ///
  /// - Parameters:
  ///   - captions: the texts of the training images.
  ///   - tokenizer: how they become tokens, such as ``BytePairTokenizer/init(training:size:)`` gives it.
  public init(of captions: some Sequence<String>, _ tokenizer: BytePairTokenizer) {
    self.init(tokenizer, words: captions.reduce(into: []) { $0.formUnion(TextSplitting.words(of: $1)) })
  }

  /// Reads what ``write(to:)`` wrote, or the tokenizer of another program, whose words are not recorded.
  ///
  /// - Parameter folder: has `vocab.json`, `merges.txt` and perhaps `words.txt`.
  /// - Throws: `UserError`, as ``BytePairTokenizer/init(folder:)``; bad data for words that are not UTF-8.
  public init(folder: String) throws {
    tokenizer = try BytePairTokenizer(folder: folder)
    let path = "\(folder)/\(Self.wordsFile)"
    guard FileManager.default.fileExists(atPath: path) else {
      words = nil
      return
    }
    guard let text = String(validating: try FileIO.read(path, maximumSize: 1 << 26), as: UTF8.self) else {
      throw UserError(.badData, "\(path): expected UTF-8 text, found other bytes")
    }
    words = Set(text.split(separator: "\n").map(String.init))
  }

  /// Writes ``files``, without the words if they are not recorded.
  ///
  /// - Throws: `UserError` (`cannotCreate`, `inputOutput`) with the path and the reason.
  public func write(to folder: String) throws {
    try tokenizer.write(to: folder)
    guard let words else { return }
    // White space is in no word, so lines are words.
    try FileIO.write(Array(words.sorted().map { $0 + "\n" }.joined().utf8), to: "\(folder)/\(Self.wordsFile)")
  }

  /// This vocabulary with the words of a further training too.
  public func adding(wordsOf other: Vocabulary) -> Vocabulary {
    Vocabulary(tokenizer, words: words.map { $0.union(other.words ?? []) })
  }

  /// What people should know about a text that a model is to read: words that it has never seen, and what it has no room
  /// for. Nil if there is nothing to say.
  ///
  /// - Parameters:
  ///   - text: a prompt.
  ///   - length: how many tokens the model reads, start and end counted.
  public func remark(on text: String, length: Int) -> String? {
    var seen = Set<String>()
    // Signs are no words to a person.
    let unknown = TextSplitting.words(of: text).filter { word in
      !(words?.contains(word) ?? true) && word.contains(where: \.isLetter) && seen.insert(word).inserted
    }
    let encoding = tokenizer.encode(text, length: length)
    let kept = tokenizer.decode(encoding.tokens)
    let remarks = [
      unknown.isEmpty
        ? nil : "the model was not trained with \(unknown.map(\.debugDescription).joined(separator: ", "))",
      encoding.cut == 0 ? nil : "there is only room for \(kept.debugDescription)",
    ].compactMap(\.self)
    let shown = text.count <= 60 ? text : text.prefix(60) + "…"
    return remarks.isEmpty ? nil : "\(shown.debugDescription): \(remarks.joined(separator: "; "))."
  }
}
