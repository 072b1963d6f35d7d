/// Which keys the queries of attention see, if not all of them.
///
/// A query that sees no key gives zeros, and no gradient flows through it. Keys that are hidden from a sample may hold
/// anything, even NaN; their gradients are zeros.
public enum AttentionMask: Hashable, Sendable {
  /// Query i sees the keys 0 … i, both counted from the first, however many there are of each: PyTorch's `is_causal`.
  case causal
  /// The queries of sample n see the first `counts[n]` keys, which may be none. This is for sentences of several
  /// lengths that are padded to the longest.
  case first(_ counts: [Int])
  /// The queries of sample n see key j if `shown[n][j]` is true.
  case keys(_ shown: [[Bool]])

  /// For each key of each sample, 1 if it is shown and 0 if not; nil if all samples show the same keys.
  ///
  /// Traps if the mask is not one of `samples` × `keys`.
  func shownKeys(samples: Int, keys: Int) -> [UInt8]? {
    switch self {
    case .causal: return nil
    case .first(let counts):
      require(
        counts.count == samples && counts.allSatisfy { 0...keys ~= $0 }, "mask \(counts) for \(samples) × \(keys) keys")
      return counts.flatMap { count in (0..<keys).map { $0 < count ? 1 : 0 } }
    case .keys(let shown):
      require(
        shown.count == samples && shown.allSatisfy { $0.count == keys },
        "mask of \(shown.map(\.count)) for \(samples) × \(keys) keys")
      return shown.flatMap { $0.map { $0 ? 1 : 0 } }
    }
  }

  /// The number of pairs of a query and a key that it sees.
  func pairs(samples: Int, queries: Int, keys: Int) -> Int {
    guard let shown = shownKeys(samples: samples, keys: keys) else {
      return samples * (0..<queries).reduce(0) { $0 + min($1 + 1, keys) }
    }
    return queries * shown.count { $0 == 1 }
  }
}

/// What attention's backward pass needs from the forward pass if scores are computed block by block.
public struct AttentionStatistics {
  /// The result, `[N, Tq, heads·d]`.
  public let y: Tensor
  /// The logarithm of the sum of exp(score) over the keys that a query sees; −∞ if it sees none. float32
  /// `[N, heads, Tq]`.
  public let logSums: Tensor

  public init(y: Tensor, logSums: Tensor) {
    (self.y, self.logSums) = (y, logSums)
  }
}
