import EaselLayers
import EaselText

/// The sizes of a ``CLIPTextTransformer``.
public struct CLIPTextConfiguration: Hashable, Sendable {
  /// The number of tokens that there are.
  public var vocabularySize: Int
  /// How many tokens a text has at most, start and end included.
  public var contextLength: Int
  public var encoder: CLIPEncoderConfiguration

  /// The text network of OpenAI's ViT-B/32 by default.
  public init(
    vocabularySize: Int = 49_408, contextLength: Int = 77,
    encoder: CLIPEncoderConfiguration = CLIPEncoderConfiguration(width: 512, layers: 12, heads: 8)
  ) {
    (self.vocabularySize, self.contextLength, self.encoder) = (vocabularySize, contextLength, encoder)
  }
}

/// CLIP's text network (Radford et al. 2021), transformers' `CLIPTextModel`: a transformer in which a token sees those
/// before it.
///
/// Parameters: `embeddings.token_embedding.weight` `[vocabulary, C]`, `embeddings.position_embedding.weight`
/// `[context, C]`, `encoder.layers.i.…`, `final_layer_norm`. In files all of them are below `text_model`.
public struct CLIPTextTransformer {
  public let configuration: CLIPTextConfiguration
  private let tokens: Embedding
  private let positions: Parameter
  private let encoder: CLIPEncoder
  private let norm: LayerNorm

  /// It traps if the heads do not divide the width.
  public init(_ configuration: CLIPTextConfiguration, _ scope: Scope) {
    self.configuration = configuration
    let embeddings = scope["embeddings"]
    tokens = Embedding(
      count: configuration.vocabularySize, width: configuration.encoder.width, initializer: .normal(deviation: 0.02),
      embeddings["token_embedding"])
    positions = embeddings["position_embedding"].parameter(
      "weight", [configuration.contextLength, configuration.encoder.width], .normal(deviation: 0.01))
    encoder = CLIPEncoder(configuration.encoder, scope["encoder"])
    norm = LayerNorm(
      configuration.encoder.width, epsilon: configuration.encoder.epsilon, scope["final_layer_norm"])
  }

  /// Reads texts.
  ///
  /// - Parameters:
  ///   - texts: N texts of T tokens each, at most the context; others, and unknown tokens, trap.
  ///   - type: the type of activations.
  ///   - tape: the tape that records the computation; nil for none.
  /// - Returns: after the last norm, all tokens, `[N, T, C]`, and that at the first end of each text, `[N, C]`.
  public func callAsFunction(
    _ texts: [BytePairTokenizer.Encoding], type: ScalarType, on tape: Tape?
  ) -> (tokens: Variable, pooled: Variable) {
    let length = texts.first?.tokens.count ?? 0
    require(texts.allSatisfy { $0.tokens.count == length }, "the texts of a batch have different lengths")
    let numbers = Tensor(texts.flatMap(\.tokens), on: tokens.backend)
    let embedded = tokens(numbers, type: type, on: tape).reshaped([texts.count, length, configuration.encoder.width])
    let all = norm(encoder(embedded.adding(positions: positions.variable(on: tape)), mask: .causal))
    return (all, all.token(at: texts.map(\.end)))
  }
}
