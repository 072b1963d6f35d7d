import EaselLayers

/// What a network reads of conditions, of N images.
public struct Conditioning {
  /// `[N, C]`, added to the embedding of the time; nil for nothing.
  public var pooled: Variable?
  /// `[N, T, D]`, which cross-attention reads, and which of them are shown; nil for none.
  public var tokens: (values: Variable, mask: AttentionMask?)?

  public init(pooled: Variable? = nil, tokens: (values: Variable, mask: AttentionMask?)? = nil) {
    (self.pooled, self.tokens) = (pooled, tokens)
  }
}

/// Makes of conditions what a network reads.
public protocol Conditioner {
  /// - Parameters:
  ///   - conditions: one for each of N images. Those that it cannot take trap.
  ///   - type: of what it makes.
  ///   - tape: what the computation is recorded on; nil for none.
  func callAsFunction(_ conditions: [Condition], type: ScalarType, on tape: Tape?) -> Conditioning
}

/// A learned vector for each class, and zeros for nothing.
///
/// Parameters: `weight` `[count, width]`.
public struct ClassConditioner: Conditioner {
  private let embedding: Embedding

  /// - Parameters:
  ///   - count: of the classes.
  ///   - width: C, numbers in a vector.
  ///   - scope: where it stands among the names.
  public init(count: Int, width: Int, _ scope: Scope) {
    embedding = Embedding(count: count, width: width, scope)
  }

  public func callAsFunction(_ conditions: [Condition], type: ScalarType, on tape: Tape?) -> Conditioning {
    Conditioning(pooled: embedding(Tensor(conditions.map(\.classIndex), on: embedding.backend), type: type, on: tape))
  }
}
