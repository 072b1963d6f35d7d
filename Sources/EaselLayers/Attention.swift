/// Attention with several heads, of tokens to each other or to those of a context (cross-attention): `[N, T, C]` to the
/// same, as diffusers' `Attention` (`attention_processor.py`).
///
/// Parameters: `to_q`, `to_k`, `to_v`, `to_out.0`, or those of other ``Names``.
public struct MultiHeadAttention {
  /// The names of the four linear layers.
  public struct Names: Sendable {
    let query, key, value, output: String

    /// `to_q`, `to_k`, `to_v`, `to_out.0`.
    public static let diffusers = Names(query: "to_q", key: "to_k", value: "to_v", output: "to_out.0")
    /// `q_proj`, `k_proj`, `v_proj`, `out_proj`.
    public static let transformers = Names(query: "q_proj", key: "k_proj", value: "v_proj", output: "out_proj")
  }

  let query, key, value, output: Linear
  let heads: Int

  /// A context has tokens of `contextChannels`; nil if they are as wide as the tokens, or if there is no context. Without
  /// `bias`, queries, keys and values have none; the output always has one. It traps if the heads do not divide the channels.
  public init(
    channels: Int, contextChannels: Int? = nil, heads: Int, bias: Bool = true,
    initializer: Initializer = .fanAverageUniform(scale: 1), outputInitializer: Initializer = .zeros,
    names: Names = .diffusers, _ scope: Scope
  ) {
    require(channels % heads == 0, "\(channels) channels do not divide into \(heads) heads")
    let sources = contextChannels ?? channels
    query = Linear(channels, channels, bias: bias, initializer: initializer, scope[names.query])
    key = Linear(sources, channels, bias: bias, initializer: initializer, scope[names.key])
    value = Linear(sources, channels, bias: bias, initializer: initializer, scope[names.value])
    output = Linear(channels, channels, initializer: outputInitializer, scope[names.output])
    self.heads = heads
  }

  /// - Parameters:
  ///   - x: the tokens, `[N, T, C]`.
  ///   - context: `[N, S, contextChannels]`, the tokens that x attends to; nil for x's own.
  ///   - mask: which of these a token sees; nil for all. A token that sees none gets the output layer's bias.
  ///   - residual: `[N, T, C]`, added to the result.
  public func callAsFunction(
    _ x: Variable, context: Variable? = nil, mask: AttentionMask? = nil, residual: Variable? = nil
  ) -> Variable {
    let source = context ?? x
    return output(attention(query(x), key(source), value(source), heads: heads, mask: mask), residual: residual)
  }
}

/// ``MultiHeadAttention`` over the pixels of an image, after a norm and beside a residual connection: `[N, H, W, C]` to
/// the same, as in diffusers' U-Nets.
///
/// Parameters: `group_norm`, `to_q`, `to_k`, `to_v`, `to_out.0`.
public struct ImageAttention {
  let norm: GroupNorm
  let attention: MultiHeadAttention

  /// A context has tokens of `contextChannels`; nil if they are as wide as the pixels, or if there is no context.
  public init(
    channels: Int, contextChannels: Int? = nil, heads: Int, groups: Int, epsilon: Float,
    initializer: Initializer = .fanAverageUniform(scale: 1), outputInitializer: Initializer = .zeros, _ scope: Scope
  ) {
    norm = GroupNorm(groups: groups, channels: channels, epsilon: epsilon, scope["group_norm"])
    attention = MultiHeadAttention(
      channels: channels, contextChannels: contextChannels, heads: heads, initializer: initializer,
      outputInitializer: outputInitializer, scope)
  }

  /// - Parameters:
  ///   - x: the image, `[N, H, W, C]`.
  ///   - context: `[N, S, contextChannels]`, the tokens that pixels attend to; nil for the pixels themselves, row by
  ///     row.
  ///   - mask: which of these a pixel sees; nil for all.
  public func callAsFunction(_ x: Variable, context: Variable? = nil, mask: AttentionMask? = nil) -> Variable {
    let (batch, channels) = (x.shape[0], x.shape[3])
    let tokens = norm(x).reshaped([batch, -1, channels])
    let residual = x.reshaped([batch, -1, channels])
    return attention(tokens, context: context, mask: mask, residual: residual).reshaped(x.shape.sizes)
  }
}
