import EaselLayers

/// The conditions of N images in the form that a network reads.
public struct Conditioning {
  /// `[N, C]`, added to the embedding of the time; nil for none.
  public var pooled: Variable?
  /// Tokens `[N, T, D]` for cross-attention, and the mask of those that are shown; nil for none.
  public var tokens: (values: Variable, mask: AttentionMask?)?

  public init(pooled: Variable? = nil, tokens: (values: Variable, mask: AttentionMask?)? = nil) {
    (self.pooled, self.tokens) = (pooled, tokens)
  }
}

/// Turns conditions into the form that a network reads.
public protocol Conditioner {
  /// - Parameters:
  ///   - conditions: one for each of N images. Conditions that it cannot take trap.
  ///   - type: the type of the result.
  ///   - tape: the tape that records the computation; nil for none.
  func callAsFunction(_ conditions: [Condition], type: ScalarType, on tape: Tape?) -> Conditioning
}

/// A learned vector for each class, and zeros for nothing.
///
/// Parameters: `weight` `[count, width]`.
public struct ClassConditioner: Conditioner {
  private let embedding: Embedding

  /// - Parameters:
  ///   - count: the number of classes.
  ///   - width: C, the length of a vector.
  ///   - scope: the scope of its parameters' names.
  public init(count: Int, width: Int, _ scope: Scope) {
    embedding = Embedding(count: count, width: width, scope)
  }

  public func callAsFunction(_ conditions: [Condition], type: ScalarType, on tape: Tape?) -> Conditioning {
    Conditioning(pooled: embedding(Tensor(conditions.map(\.classIndex), on: embedding.backend), type: type, on: tape))
  }
}
