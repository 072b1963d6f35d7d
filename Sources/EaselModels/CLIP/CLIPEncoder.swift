import EaselLayers

/// The sizes of a transformer of CLIP (Radford et al. 2021), which its text and image networks share.
public struct CLIPEncoderConfiguration: Hashable, Sendable {
  /// Channels of a token.
  public var width: Int
  /// Channels of the hidden layer of each block's two linear layers.
  public var hiddenWidth: Int
  public var layers: Int
  /// The heads of attention; they divide the width.
  public var heads: Int
  /// The function between the two linear layers: OpenAI's networks have the quick GELU.
  public var activation: Activation
  /// The epsilon of the norms.
  public var epsilon: Float

  /// Sizes; the hidden layer is four times as wide as the tokens unless it is given.
  public init(
    width: Int, hiddenWidth: Int? = nil, layers: Int, heads: Int, activation: Activation = .quickGELU,
    epsilon: Float = 1e-5
  ) {
    (self.width, self.hiddenWidth) = (width, hiddenWidth ?? 4 * width)
    (self.layers, self.heads) = (layers, heads)
    (self.activation, self.epsilon) = (activation, epsilon)
  }
}

/// The blocks of transformers' `CLIPEncoder`, tokens `[N, T, C]` to the same: `x + attention(norm(x))`, then
/// `x + fc2(activation(fc1(norm(x))))`.
///
/// Parameters: `layers.i.` with `layer_norm1`, `self_attn.{q_proj, k_proj, v_proj, out_proj}`, `layer_norm2`,
/// `mlp.fc1`, `mlp.fc2`.
struct CLIPEncoder {
  private struct Layer {
    let norm1, norm2: LayerNorm
    let attention: MultiHeadAttention
    let widening, narrowing: Linear
  }

  private let layers: [Layer]
  private let activation: Activation

  /// It traps if the heads do not divide the width. First values have the deviations of OpenAI's code: by width, and for
  /// what is added to the tokens also by depth.
  init(_ configuration: CLIPEncoderConfiguration, _ scope: Scope) {
    let width = configuration.width
    let deviation = 1 / Float(width).squareRoot()
    let residual = Initializer.normal(deviation: deviation / Float(2 * max(1, configuration.layers)).squareRoot())
    activation = configuration.activation
    layers = (0..<configuration.layers).map { index in
      let scope = scope["layers"][index]
      return Layer(
        norm1: LayerNorm(width, epsilon: configuration.epsilon, scope["layer_norm1"]),
        norm2: LayerNorm(width, epsilon: configuration.epsilon, scope["layer_norm2"]),
        attention: MultiHeadAttention(
          channels: width, heads: configuration.heads, initializer: .normal(deviation: deviation),
          outputInitializer: residual, names: .transformers, scope["self_attn"]),
        widening: Linear(
          width, configuration.hiddenWidth, initializer: .normal(deviation: deviation / Float(2).squareRoot()),
          scope["mlp"]["fc1"]),
        narrowing: Linear(configuration.hiddenWidth, width, initializer: residual, scope["mlp"]["fc2"]))
    }
  }

  /// Applies the blocks to tokens.
  ///
  /// - Parameters:
  ///   - x: `[N, T, C]`.
  ///   - mask: which tokens a token sees; nil for all.
  /// - Returns: `[N, T, C]`.
  func callAsFunction(_ x: Variable, mask: AttentionMask?) -> Variable {
    layers.reduce(x) { x, layer in
      let mixed = layer.attention(layer.norm1(x), mask: mask, residual: x)
      return layer.narrowing(activate(activation, layer.widening(layer.norm2(mixed))), residual: mixed)
    }
  }
}

extension Variable {
  /// Adds the first T rows of a table of positions, float32 `[positions, C]`, to tokens `[N, T, C]`. Fewer positions
  /// than tokens trap.
  func adding(positions table: Variable) -> Variable {
    let (tokens, rest) = (shape[1], table.shape[0] - shape[1])
    require(rest >= 0, "\(shape) has more tokens than there are positions, \(table.shape)")
    let used = rest == 0 ? table : splitSamples(table, [tokens, rest])[0]
    return addRow(reshaped([shape[0], -1]), used.reshaped([-1])).reshaped(shape.sizes)
  }

  /// One token of each sample: `[N, T, C]` to `[N, C]`. A place of T or more traps.
  func token(at places: [Int]) -> Variable {
    let indices = Tensor(places.map(Int32.init), on: backend).reshaped([places.count, 1])
    return gatherTokens(self, indices).reshaped([shape[0], shape[2]])
  }
}
