/// A block of a vision transformer (Dosovitskiy et al. 2021), tokens `[N, T, C]` to the same: attention, then two
/// linear layers with GELU between them, each beside a residual connection: `x + attn(norm1(x))`, `x + mlp(norm2(x))`.
///
/// With stochastic depth (Huang et al. 2016), a sample skips a branch with some probability in training; the branches
/// of the others are scaled so that the mean stays the same. With ReZero (Bachlechner et al. 2021) there are no norms;
/// instead, a learned number that begins at 0 scales both branches, so that every block begins as the identity.
///
/// Parameters, named as in timm and facebookresearch/mae: `norm1`, `attn.qkv`, `attn.proj`, `norm2`, `mlp.fc1`,
/// `mlp.fc2`; with ReZero `resweight` `[1]` instead of the norms.
public struct TransformerBlock {
  let norm1, norm2: LayerNorm?
  let gate: Parameter?
  let qkv, projection, widening, narrowing: Linear
  let heads: Int
  /// The probability that a sample skips a branch.
  let dropPath: Float

  /// How many random draws a block takes if it drops paths: one per branch.
  public static let drawCount: UInt32 = 2

  public init(
    width: Int, heads: Int, mlpRatio: Int = 4, epsilon: Float = 1e-6, dropPath: Float = 0, rezero: Bool = false,
    initializer: Initializer = .xavierUniform, _ scope: Scope
  ) {
    require(width % heads == 0, "\(width) channels do not divide into \(heads) heads")
    norm1 = rezero ? nil : LayerNorm(width, epsilon: epsilon, scope["norm1"])
    qkv = Linear(width, 3 * width, initializer: initializer, scope["attn"]["qkv"])
    projection = Linear(width, width, initializer: initializer, scope["attn"]["proj"])
    norm2 = rezero ? nil : LayerNorm(width, epsilon: epsilon, scope["norm2"])
    widening = Linear(width, mlpRatio * width, initializer: initializer, scope["mlp"]["fc1"])
    narrowing = Linear(mlpRatio * width, width, initializer: initializer, scope["mlp"]["fc2"])
    gate = rezero ? scope.parameter("resweight", [1], .zeros) : nil
    self.heads = heads
    self.dropPath = dropPath
  }

  /// - Parameters:
  ///   - x: the tokens, `[N, T, C]`.
  ///   - mask: which tokens a token sees; nil for all.
  ///   - dropping: the first of the random draws that decide which samples skip a branch; nil outside training.
  public func callAsFunction(_ x: Variable, mask: AttentionMask? = nil, dropping: RandomDraw? = nil) -> Variable {
    let kept = dropping.map { draw in (0..<TransformerBlock.drawCount).map { keptSamples(x, draw, branch: $0) } }
    let mixed = selfAttention(qkv(norm1?(x) ?? x), heads: heads, mask: mask)
    let y = add(projection, of: mixed, to: x, kept?[0])
    return add(narrowing, of: activate(.gelu, widening(norm2?(y) ?? y)), to: y, kept?[1])
  }

  /// Ends a branch: gates and scales it, and adds it to what it runs beside.
  private func add(_ layer: Linear, of hidden: Variable, to x: Variable, _ kept: Tensor?) -> Variable {
    if gate == nil, kept == nil { return layer(hidden, residual: x) }
    var branch = layer(hidden)
    if let gate { branch = scaled(branch, by: gate.variable(on: x.tape)) }
    if let kept { branch = scaleSamples(branch, by: kept) }
    return x + branch
  }

  /// A factor for each sample: 0 for those that skip the branch.
  private func keptSamples(_ x: Variable, _ draw: RandomDraw, branch: UInt32) -> Tensor? {
    if dropPath == 0 { return nil }
    var draw = draw
    draw.draw += branch
    let factors = Tensor(uninitialized: [x.shape[0]], on: x.backend)
    x.backend.fillUniform(factors, draw)
    factors.withMutableFloats { values in
      for n in values.indices { values[n] = values[n] < dropPath ? 0 : 1 / (1 - dropPath) }
    }
    return factors
  }
}
