import EaselLayers
import EaselText

/// Reads texts for cross-attention: a vector for each of their tokens.
public protocol TextEncoding: TextReading {
  /// D, the width of a token's vector.
  var tokenWidth: Int { get }
  /// T, the tokens of a text, start and end counted.
  var textLength: Int { get }
  /// Reads texts. Every text is filled up, or cut, to T tokens.
  ///
  /// - Parameters:
  ///   - texts: N texts.
  ///   - type: the type of the result.
  /// - Returns: the vectors of all tokens, `[N, T, D]`, and those of the tokens at the ends, `[N, D]`.
  func read(_ texts: [String], type: ScalarType) -> (tokens: Tensor, pooled: Tensor)
}

/// A text transformer with its vocabulary: texts become vectors for each of their tokens.
///
/// All tokens are shown, those that fill a text up too, as in Stable Diffusion; nothing is the empty text.
struct TextConditioner: Conditioner {
  let vocabulary: Vocabulary
  private let network: CLIPTextTransformer
  private let isPooled: Bool

  /// - Parameters:
  ///   - vocabulary: how texts become tokens.
  ///   - configuration: the transformer's sizes.
  ///   - isPooled: whether a text also becomes one vector.
  ///   - scope: the scope of its parameters' names.
  init(_ vocabulary: Vocabulary, _ configuration: CLIPTextConfiguration, isPooled: Bool, _ scope: Scope) {
    (self.vocabulary, self.isPooled) = (vocabulary, isPooled)
    network = CLIPTextTransformer(configuration, scope["text_model"])
  }

  func remark(on text: String) -> String? {
    vocabulary.remark(on: text, length: network.configuration.contextLength)
  }

  func callAsFunction(_ conditions: [Condition], type: ScalarType, on tape: Tape?) -> Conditioning {
    let length = network.configuration.contextLength
    let texts = conditions.map { vocabulary.tokenizer.encode($0.promptText, length: length) }
    let (tokens, pooled) = network(texts, type: type, on: tape)
    return Conditioning(vectors: isPooled ? pooled : nil, tokens: (tokens, nil))
  }
}

/// The text encoder of another checkpoint, which stays as it is.
struct FrozenTextConditioner: Conditioner {
  let encoder: any TextEncoding
  /// Whether a text also becomes one vector.
  let isPooled: Bool

  func callAsFunction(_ conditions: [Condition], type: ScalarType, on tape: Tape?) -> Conditioning {
    let (tokens, pooled) = encoder.read(conditions.map(\.promptText), type: type)
    return Conditioning(
      vectors: isPooled ? Variable(pooled, on: tape) : nil, tokens: (Variable(tokens, on: tape), nil))
  }
}

extension Condition {
  /// The text; empty for nothing. Traps for other conditions, which a model of texts has already refused.
  fileprivate var promptText: String {
    switch self {
    case .nothing: return ""
    case .text(let text): return text
    case .label, .embedding: fatalShape("expected a text or nothing, found the condition \(self)")
    }
  }
}
