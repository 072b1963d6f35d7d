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

/// A small network that reads a vector, such as the embedding of a picture, and zeros for nothing: diffusers'
/// `class_embed_type` "projection".
///
/// Parameters: `linear_1`, `linear_2`.
public struct EmbeddingConditioner: Conditioner {
  private let inputs: Int
  private let linear1, linear2: Linear

  /// - Parameters:
  ///   - inputs: the length of a vector.
  ///   - width: C, the length of the result.
  ///   - initializer: the initializer of the weights.
  ///   - scope: the scope of its parameters' names.
  public init(inputs: Int, width: Int, initializer: Initializer, _ scope: Scope) {
    self.inputs = inputs
    linear1 = Linear(inputs, width, initializer: initializer, scope["linear_1"])
    linear2 = Linear(width, width, initializer: initializer, scope["linear_2"])
  }

  public func callAsFunction(_ conditions: [Condition], type: ScalarType, on tape: Tape?) -> Conditioning {
    let vectors = conditions.flatMap { condition -> [Float] in
      switch condition {
      case .nothing: return [Float](repeating: 0, count: inputs)
      case .embedding(let vector) where vector.count == inputs: return vector
      default: fatalShape("expected a vector of \(inputs) numbers or nothing, found the condition \(condition)")
      }
    }
    let x = Tensor(vectors, shape: [conditions.count, inputs], type: type, on: linear1.weight.value.backend)
    return Conditioning(pooled: linear2(activate(.silu, linear1(Variable(x, on: tape)))))
  }
}
