import EaselLayers

/// The conditions of N images in the form that a network reads.
public struct Conditioning {
  /// `[N, C]`, added to the embedding of the time; nil for none.
  public var embedded: Variable?
  /// Vectors `[N, E]` that the network makes such embeddings of; nil for none.
  public var vectors: Variable?
  /// Tokens `[N, T, D]` for cross-attention, and the mask of those that are shown; nil for none.
  public var tokens: (values: Variable, mask: AttentionMask?)?

  public init(
    embedded: Variable? = nil, vectors: Variable? = nil, tokens: (values: Variable, mask: AttentionMask?)? = nil
  ) {
    (self.embedded, self.vectors, self.tokens) = (embedded, vectors, tokens)
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
    Conditioning(embedded: embedding(Tensor(conditions.map(\.classIndex), on: embedding.backend), type: type, on: tape))
  }
}

/// The vectors of pictures or texts, and zeros for nothing.
public struct VectorConditioner: Conditioner {
  private let width: Int
  private let backend: any Backend

  /// - Parameters:
  ///   - width: E, the length of a vector.
  ///   - backend: the backend that provides the memory.
  public init(width: Int, on backend: any Backend) { (self.width, self.backend) = (width, backend) }

  public func callAsFunction(_ conditions: [Condition], type: ScalarType, on tape: Tape?) -> Conditioning {
    let numbers = conditions.flatMap { condition -> [Float] in
      switch condition {
      case .nothing: return [Float](repeating: 0, count: width)
      case .embedding(let vector) where vector.count == width: return vector
      default: fatalShape("expected a vector of \(width) numbers or nothing, found the condition \(condition)")
      }
    }
    let vectors = Tensor(numbers, shape: [conditions.count, width], type: type, on: backend)
    return Conditioning(vectors: Variable(vectors, on: tape))
  }
}
