/// Which keys the queries of attention see, where it is not all of them.
///
/// A query that sees no key gives zeros, and no gradient flows through it. Keys that a sample does not show may hold anything,
/// be it NaN, and their gradients are zeros.
public enum AttentionMask: Hashable, Sendable {
  /// Query i sees the keys 0 … i, both counted from the first, however many there are of each: PyTorch's `is_causal`.
  case causal
  /// The queries of sample n see the first `counts[n]` keys, which may be 0: as where sentences of several lengths are filled
  /// up to the longest.
  case first(_ counts: [Int])
  /// The queries of sample n see key j where `shown[n][j]`.
  case keys(_ shown: [[Bool]])

  /// For each key of each sample whether it is shown, 1 or 0; nil where the samples' keys are all alike.
  ///
  /// Traps where the mask is not one of `samples` × `keys`.
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

  /// How many pairs of a query and a key it sees there are.
  func pairs(samples: Int, queries: Int, keys: Int) -> Int {
    guard let shown = shownKeys(samples: samples, keys: keys) else {
      return samples * (0..<queries).reduce(0) { $0 + min($1 + 1, keys) }
    }
    return queries * shown.count { $0 == 1 }
  }
}

/// What attention's backward pass needs of its forward pass where scores are computed block by block.
public struct AttentionStatistics {
  /// The result, `[N, Tq, heads·d]`.
  public let y: Tensor
  /// The logarithm of the sum of exp(score) over the keys that a query sees; −∞ where it sees none. float32 `[N, heads, Tq]`.
  public let logSums: Tensor

  public init(y: Tensor, logSums: Tensor) {
    (self.y, self.logSums) = (y, logSums)
  }
}
