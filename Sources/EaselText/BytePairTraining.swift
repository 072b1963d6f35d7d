import EaselSupport

extension BytePairTokenizer {
  /// The sizes that a vocabulary can be trained to: all bytes within and at the end of words, the special tokens, and merges.
  public static let trainedSizes = 514...65_536

  /// Learns a vocabulary from texts: again and again, the pair of tokens that occurs most often becomes a token.
  ///
  /// The same for the same texts, in any order. Of pairs that are equally frequent, the one whose tokens come first in the
  /// order of their bytes is taken.
  ///
  /// - Parameters:
  ///   - texts: captions, say.
  ///   - size: tokens in all, one of ``trainedSizes``; fewer if the texts have no more pairs that occur twice.
  /// - Throws: `UserError` (usage) for another size.
  public init(training texts: some Sequence<String>, size: Int) throws {
    guard Self.trainedSizes.contains(size) else {
      throw UserError(
        .usage,
        "expected a vocabulary of \(Self.trainedSizes.lowerBound) to \(Self.trainedSizes.upperBound) tokens, found \(size)"
      )
    }
    var pairs = PairCounts(texts)
    var merges: [(String, String)] = []
    while merges.count < size - Self.trainedSizes.lowerBound, let pair = pairs.mergeMostFrequent() {
      merges.append(pair)
    }
    try self.init(merging: merges)
  }
}

/// The words of some texts as tokens, and how often each pair of tokens stands side by side.
private struct PairCounts {
  private struct Pair: Hashable {
    let first, second: String
  }

  private struct Word {
    var parts: [String]
    let count: Int
  }

  private var words: [Word] = []
  private var counts: [Pair: Int] = [:]
  /// The words that have a pair, or had it once.
  private var places: [Pair: Set<Int>] = [:]

  init(_ texts: some Sequence<String>) {
    var found: [String: Int] = [:]
    for text in texts { for word in TextSplitting.words(of: text) { found[word, default: 0] += 1 } }
    for (word, count) in found {
      var parts = word.utf8.map { ByteAlphabet.text(of: [$0]) }
      parts[parts.count - 1] += BytePairTokenizer.wordEnd
      words.append(Word(parts: parts, count: count))
      add(words.count - 1, sign: 1)
    }
  }

  private mutating func add(_ index: Int, sign: Int) {
    let word = words[index]
    for (a, b) in zip(word.parts, word.parts.dropFirst()) {
      let pair = Pair(first: a, second: b)
      let count = counts[pair, default: 0] + sign * word.count
      counts[pair] = count > 0 ? count : nil
      if sign > 0 { places[pair, default: []].insert(index) }
    }
  }

  /// Makes one token of the pair that occurs most often, at least twice; nil if there is none.
  mutating func mergeMostFrequent() -> (String, String)? {
    func comesFirst(_ a: Pair, _ b: Pair) -> Bool {
      a.first != b.first
        ? a.first.utf8.lexicographicallyPrecedes(b.first.utf8) : a.second.utf8.lexicographicallyPrecedes(b.second.utf8)
    }
    var best: (pair: Pair, count: Int)?
    for (pair, count) in counts where count >= max(2, best?.count ?? 0) {
      if let found = best, count == found.count, !comesFirst(pair, found.pair) { continue }
      best = (pair, count)
    }
    guard let pair = best?.pair else { return nil }
    for index in places.removeValue(forKey: pair) ?? [] {
      add(index, sign: -1)
      let old = words[index].parts
      var (parts, place) = ([String](), 0)
      while place < old.count {
        if place + 1 < old.count, old[place] == pair.first, old[place + 1] == pair.second {
          parts.append(pair.first + pair.second)
          place += 2
        } else {
          parts.append(old[place])
          place += 1
        }
      }
      words[index].parts = parts
      add(index, sign: 1)
    }
    counts[pair] = nil
    return (pair.first, pair.second)
  }
}
