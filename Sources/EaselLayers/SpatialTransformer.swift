/// Transformer blocks over the pixels of an image, which attend to each other and to the tokens of a text, beside a residual
/// connection: `[N, H, W, C]` to the same, as diffusers' `Transformer2DModel` (Rombach et al. 2022).
///
/// Parameters: `norm`, `proj_in`, `transformer_blocks.k` (see ``CrossAttentionBlock``), `proj_out`.
public struct SpatialTransformer {
  /// The layers before and after the blocks. Both kinds compute the same; the files differ in their weights' shape.
  private enum Projection {
    case convolution(Conv2d)
    case linear(Linear)

    init(_ channels: Int, linear: Bool, initializer: Initializer, _ scope: Scope) {
      self =
        linear
        ? .linear(Linear(channels, channels, initializer: initializer, scope))
        : .convolution(
          Conv2d(
            inputChannels: channels, outputChannels: channels, kernelSize: 1, initializer: initializer, scope))
    }

    func callAsFunction(_ x: Variable, residual: Variable? = nil) -> Variable {
      switch self {
      case .convolution(let layer): layer(x, residual: residual)
      case .linear(let layer): layer(x, residual: residual)
      }
    }
  }

  private let norm: GroupNorm
  private let projectionIn, projectionOut: Projection
  private let blocks: [CrossAttentionBlock]

  /// Transformer blocks of an image.
  ///
  /// - Parameters:
  ///   - channels: C.
  ///   - tokenWidth: the width of the text's tokens.
  ///   - heads: the heads of each attention. It traps unless they divide the channels.
  ///   - depth: the number of blocks.
  ///   - groups: the groups of the norm before them.
  ///   - linearProjection: whether `proj_in` and `proj_out` are weights `[C, C]`, as in Stable Diffusion 2, instead of
  ///     `[C, C, 1, 1]`.
  ///   - initializer: the initializer of weights. `proj_out` begins at zero.
  ///   - scope: its position in the tree of names.
  public init(
    channels: Int, tokenWidth: Int, heads: Int, depth: Int, groups: Int, linearProjection: Bool,
    initializer: Initializer = .fanAverageUniform(scale: 1), _ scope: Scope
  ) {
    norm = GroupNorm(groups: groups, channels: channels, epsilon: 1e-6, scope["norm"])
    projectionIn = Projection(channels, linear: linearProjection, initializer: initializer, scope["proj_in"])
    blocks = (0..<depth).map {
      CrossAttentionBlock(
        channels: channels, tokenWidth: tokenWidth, heads: heads, initializer: initializer,
        scope["transformer_blocks"][$0])
    }
    projectionOut = Projection(channels, linear: linearProjection, initializer: .zeros, scope["proj_out"])
  }

  /// Applies the blocks to images.
  ///
  /// - Parameters:
  ///   - x: `[N, H, W, C]`.
  ///   - tokens: `[N, T, tokenWidth]`.
  ///   - mask: which of these a pixel sees; nil for all.
  /// - Returns: `[N, H, W, C]`.
  public func callAsFunction(_ x: Variable, tokens: Variable, mask: AttentionMask? = nil) -> Variable {
    var pixels = projectionIn(norm(x)).reshaped([x.shape[0], -1, x.shape[3]])
    for block in blocks { pixels = block(pixels, tokens: tokens, mask: mask) }
    return projectionOut(pixels.reshaped(x.shape.sizes), residual: x)
  }
}

/// A transformer block whose tokens attend to each other and then to those of a text: `[N, T, C]` to the same, as diffusers'
/// `BasicTransformerBlock`.
///
/// `x + attn1(norm1(x))`, `x + attn2(norm2(x), text)`, `x + ff(norm3(x))`; the feed-forward part is a GEGLU (Shazeer 2020):
/// `narrow(a · gelu(b))` with `[a | b] = widen(x)`, four times as wide as the tokens.
///
/// Parameters: `norm1`, `attn1`, `norm2`, `attn2`, `norm3`, `ff.net.0.proj`, `ff.net.2`. Queries, keys and values have no
/// biases.
public struct CrossAttentionBlock {
  private let norm1, norm2, norm3: LayerNorm
  private let own, text: MultiHeadAttention
  private let widening, narrowing: Linear

  /// A block.
  ///
  /// - Parameters:
  ///   - channels: C.
  ///   - tokenWidth: the width of the text's tokens.
  ///   - heads: the heads of each attention. It traps unless they divide the channels.
  ///   - initializer: the initializer of weights.
  ///   - scope: its position in the tree of names.
  public init(
    channels: Int, tokenWidth: Int, heads: Int, initializer: Initializer = .fanAverageUniform(scale: 1), _ scope: Scope
  ) {
    norm1 = LayerNorm(channels, scope["norm1"])
    own = MultiHeadAttention(
      channels: channels, heads: heads, bias: false, initializer: initializer, outputInitializer: initializer,
      scope["attn1"])
    norm2 = LayerNorm(channels, scope["norm2"])
    text = MultiHeadAttention(
      channels: channels, contextChannels: tokenWidth, heads: heads, bias: false, initializer: initializer,
      outputInitializer: initializer, scope["attn2"])
    norm3 = LayerNorm(channels, scope["norm3"])
    widening = Linear(channels, 8 * channels, initializer: initializer, scope["ff"]["net"][0]["proj"])
    narrowing = Linear(4 * channels, channels, initializer: initializer, scope["ff"]["net"][2])
  }

  /// Applies the block.
  ///
  /// - Parameters:
  ///   - x: `[N, T, C]`.
  ///   - tokens: the text's, `[N, S, tokenWidth]`.
  ///   - mask: which of these x sees; nil for all.
  /// - Returns: `[N, T, C]`.
  public func callAsFunction(_ x: Variable, tokens: Variable, mask: AttentionMask? = nil) -> Variable {
    let y = own(norm1(x), residual: x)
    let z = text(norm2(y), context: tokens, mask: mask, residual: y)
    let parts = splitChannels(widening(norm3(z)), into: 2)
    return narrowing(parts[0] * activate(.gelu, parts[1]), residual: z)
  }
}
