/// Self-attention over the pixels of an image with a residual connection: `[N, H, W, C]` to the same, as the `Attention` of
/// diffusers' U-Nets (`attention_processor.py`).
///
/// Parameters: `group_norm`, `to_q`, `to_k`, `to_v`, `to_out.0`.
public struct ImageAttention {
  let norm: GroupNorm
  let query, key, value, output: Linear
  let heads: Int

  public init(
    channels: Int, heads: Int, groups: Int, epsilon: Float, initializer: Initializer = .fanAverageUniform(scale: 1),
    outputInitializer: Initializer = .zeros, _ scope: Scope
  ) {
    norm = GroupNorm(groups: groups, channels: channels, epsilon: epsilon, scope["group_norm"])
    query = Linear(channels, channels, initializer: initializer, scope["to_q"])
    key = Linear(channels, channels, initializer: initializer, scope["to_k"])
    value = Linear(channels, channels, initializer: initializer, scope["to_v"])
    output = Linear(channels, channels, initializer: outputInitializer, scope["to_out"][0])
    self.heads = heads
  }

  public func callAsFunction(_ x: Variable) -> Variable {
    let (batch, channels) = (x.shape[0], x.shape[3])
    let tokens = norm(x).reshaped([batch, -1, channels])
    let mixed = attention(query(tokens), key(tokens), value(tokens), heads: heads)
    return output(mixed, residual: x.reshaped([batch, -1, channels])).reshaped(x.shape.sizes)
  }
}
