import Foundation

/// Differentiable operations. Each calls the backend and records how to compute its gradient.
///
/// A pullback holds only what it needs of the inputs: their `saved` values, or just the `input` that the gradient goes
/// to. Results of cheap operations are not kept, but computed again in the backward pass (`remake`).
///
/// Shapes are those of ``Backend``; shapes that do not fit trap.

// MARK: - Convolution and matrix products

/// Convolution of images.
///
/// - Parameters:
///   - x: `[N, H, W, I]`.
///   - weight: `[O, I, KH, KW]`, float32, or bfloat16 if it is a constant.
///   - bias: `[O]`, float32; nil for 0.
///   - residual: `[N, OH, OW, O]`, added to the result; nil for 0.
///   - window: stride and padding, in pixels.
/// - Returns: `[N, OH, OW, O]`. It traps if the channels differ or if the images are smaller than the kernel.
public func conv2d(
  _ x: Variable, weight: Variable, bias: Variable? = nil, residual: Variable? = nil, window: ConvolutionWindow = .init()
) -> Variable {
  let y = x.backend.convolution(
    x.value, weight: weight.value, bias: bias?.value, residual: residual?.value, window)
  return Tape.record(y, from: [x, weight, bias, residual].compactMap { $0 }) {
    [x = x.saved, weight = weight.saved, bias = bias?.input, residual = residual?.input] dy, tape in
    let backend = dy.backend
    if let residual { tape.add(dy, to: residual) }
    if weight.wantsGradient {
      tape.accumulate(into: weight.input, on: backend) { weightGradient in
        if let bias, bias.wantsGradient {
          tape.accumulate(into: bias, on: backend) { biasGradient in
            backend.convolutionWeightGradient(x.value, dy, into: weightGradient, bias: biasGradient, window)
          }
        } else {
          backend.convolutionWeightGradient(x.value, dy, into: weightGradient, bias: nil, window)
        }
      }
    } else {
      tape.accumulate(into: bias, on: backend) { backend.sumRows(dy, into: $0) }
    }
    tape.extend(x.input) {
      backend.convolutionInputGradient(dy, weight: weight.value, inputShape: x.shape, window, adding: $0)
    }
  }
}

/// Transposed convolution: the gradient of ``conv2d(_:weight:bias:residual:window:)`` with respect to its input, used
/// as a layer that enlarges images.
///
/// - Parameters:
///   - x: `[N, OH, OW, O]`.
///   - weight: `[O, I, KH, KW]`, float32, or bfloat16 if it is a constant. PyTorch's `ConvTranspose2d` has its input channels first, too.
///   - bias: `[I]`, float32; nil for 0.
///   - size: height and width of the result. `window` must take them to OH and OW; others trap.
///   - window: stride and padding, in pixels.
/// - Returns: `[N, H, W, I]`.
public func convTranspose2d(
  _ x: Variable, weight: Variable, bias: Variable? = nil, size: (height: Int, width: Int), window: ConvolutionWindow
) -> Variable {
  let outputShape: Shape = [x.shape[0], size.height, size.width, weight.shape[1]]
  require(
    window.outputShape(input: outputShape, weight: weight.shape) == x.shape,
    "a convolution does not take \(outputShape) to \(x.shape)")
  let y = x.backend.convolutionInputGradient(
    x.value, weight: weight.value, inputShape: outputShape, window, adding: nil)
  let product = Tape.record(y, from: [x, weight]) { [x = x.saved, weight = weight.saved] dy, tape in
    let backend = dy.backend
    tape.accumulate(into: weight.input, on: backend) {
      backend.convolutionWeightGradient(dy, x.value, into: $0, bias: nil, window)
    }
    tape.extend(x.input) {
      backend.convolution(dy, weight: weight.value, bias: nil, residual: $0, window)
    }
  }
  return bias.map { addRow(product, $0) } ?? product
}

/// `x · weightᵀ + bias + residual` over the innermost axis.
///
/// - Parameters:
///   - x: `[…, I]`.
///   - weight: `[O, I]`, float32, or bfloat16 if it is a constant.
///   - bias: `[O]`, float32; nil for 0.
///   - residual: `[…, O]`, added to the result; nil for 0.
/// - Returns: `[…, O]`.
public func linear(_ x: Variable, weight: Variable, bias: Variable? = nil, residual: Variable? = nil) -> Variable {
  let y = x.backend.linear(x.value, weight: weight.value, bias: bias?.value, residual: residual?.value)
  return Tape.record(y, from: [x, weight, bias, residual].compactMap { $0 }) {
    [x = x.saved, weight = weight.saved, bias = bias?.input, residual = residual?.input] dy, tape in
    let backend = dy.backend
    if let residual { tape.add(dy, to: residual) }
    tape.accumulate(into: bias, on: backend) { backend.sumRows(dy, into: $0) }
    tape.accumulate(into: weight.input, on: backend) { backend.linearWeightGradient(x.value, dy, into: $0) }
    tape.extend(x.input) { backend.linearInputGradient(dy, weight: weight.value, adding: $0) }
  }
}

/// `x · weight` over the innermost axis: ``linear(_:weight:bias:residual:)`` with a transposed weight, as in an
/// autoencoder with tied weights.
///
/// - Parameters:
///   - x: `[…, O]`.
///   - weight: `[O, I]`, float32, or bfloat16 if it is a constant.
/// - Returns: `[…, I]`.
public func linearTransposed(_ x: Variable, weight: Variable) -> Variable {
  let y = x.backend.linearInputGradient(x.value, weight: weight.value, adding: nil)
  return Tape.record(y, from: [x, weight]) { [x = x.saved, weight = weight.saved] dy, tape in
    let backend = dy.backend
    tape.accumulate(into: weight.input, on: backend) { backend.linearWeightGradient(dy, x.value, into: $0) }
    tape.extend(x.input) { backend.linear(dy, weight: weight.value, bias: nil, residual: $0) }
  }
}

/// Adds a row to every row: x `[…, C]`, row `[C]` float32, result `[…, C]`. A row of another length traps.
public func addRow(_ x: Variable, _ row: Variable) -> Variable {
  Tape.record(x.backend.addRow(x.value, row.value), from: [x, row]) { [x = x.input, row = row.input] dy, tape in
    tape.add(dy, to: x)
    tape.accumulate(into: row, on: dy.backend) { dy.backend.sumRows(dy, into: $0) }
  }
}

/// Batched matrix product: a `[…, R, K]`, b `[…, K, C]`, result `[…, R, C]`. The leading axes must be the same; others
/// trap.
public func matmul(_ a: Variable, _ b: Variable) -> Variable {
  require(a.shape.sizes.dropLast(2) == b.shape.sizes.dropLast(2), "product of \(a.shape) and \(b.shape)")
  let y = Tensor(
    uninitialized: a.shape.replacingLast(with: b.shape.last), type: a.value.type, on: a.backend)
  a.backend.matmul(MatrixBatch(a.value), MatrixBatch(b.value), scale: 1, into: MatrixBatch(y), accumulating: false)
  return Tape.record(y, from: [a, b]) { [a = a.saved, b = b.saved] dy, tape in
    let backend = dy.backend
    let gradient = MatrixBatch(dy)
    if a.wantsGradient {
      let da = Tensor(uninitialized: a.shape, type: a.input.type, on: backend)
      backend.matmul(gradient, MatrixBatch(b.value).transposed, scale: 1, into: MatrixBatch(da), accumulating: false)
      tape.add(da, to: a.input)
    }
    if b.wantsGradient {
      let db = Tensor(uninitialized: b.shape, type: b.input.type, on: backend)
      backend.matmul(MatrixBatch(a.value).transposed, gradient, scale: 1, into: MatrixBatch(db), accumulating: false)
      tape.add(db, to: b.input)
    }
  }
}

/// Scaled dot-product attention with several heads, `softmax(q kᵀ / √d) v` for each: q `[N, Tq, heads·d]`, k and v
/// `[N, Tk, heads·d]`, result of q's shape. If all three come from the same tokens, this is self-attention; if k and v
/// come from others, it is cross-attention. The mask says which keys a query sees; nil means all. A mask for other
/// numbers of samples or keys traps.
public func attention(_ q: Variable, _ k: Variable, _ v: Variable, heads: Int, mask: AttentionMask? = nil) -> Variable {
  let (y, statistics) = q.backend.attention(q.value, k.value, v.value, heads: heads, mask: mask)
  return Tape.record(y, from: [q, k, v]) { [q = q.saved, k = k.saved, v = v.saved] dy, tape in
    let gradients = dy.backend.attentionGradient(
      q.value, k.value, v.value, heads: heads, mask: mask, statistics: statistics, dy: dy)
    tape.add(gradients.dq, to: q.input)
    tape.add(gradients.dk, to: k.input)
    tape.add(gradients.dv, to: v.input)
  }
}

/// Self-attention of each sample's tokens: qkv `[N, T, 3·heads·d]` holds queries, keys and values side by side; the
/// result is `[N, T, heads·d]`. The mask says which tokens a token sees; nil means all. A mask for other numbers of
/// samples or tokens traps.
public func selfAttention(_ qkv: Variable, heads: Int, mask: AttentionMask? = nil) -> Variable {
  let (y, statistics) = qkv.backend.selfAttention(qkv.value, heads: heads, mask: mask)
  return Tape.record(y, from: [qkv]) { [qkv = qkv.saved] dy, tape in
    let gradient = dy.backend.selfAttentionGradient(
      qkv.value, heads: heads, mask: mask, statistics: statistics, dy: dy)
    tape.add(gradient, to: qkv.input)
  }
}

// MARK: - Normalisation

/// GroupNorm, LayerNorm or InstanceNorm, followed by an activation: `act(γ (x + shift − mean)/√(variance + ε) + β)`.
///
/// - Parameters:
///   - x: `[N, …, C]`.
///   - shift: `[N, C]`, added to every position first (a U-Net's time embedding); nil for none.
///   - gamma: scale `[C]`, float32; nil for 1.
///   - beta: offset `[C]`, float32; nil for 0.
///   - normalization: which elements share statistics. It traps if the groups do not divide the channels.
/// - Returns: `[N, …, C]`.
public func normalize(
  _ x: Variable, shift: Variable? = nil, gamma: Variable?, beta: Variable?, _ normalization: Normalization
) -> Variable {
  normalizeWithStatistics(x, shift: shift, gamma: gamma, beta: beta, normalization).y
}

/// Like ``normalize(_:shift:gamma:beta:_:)``, but also returns the means and deviations, float32 `[samples, groups]`.
public func normalizeWithStatistics(
  _ x: Variable, shift: Variable? = nil, gamma: Variable?, beta: Variable?, _ normalization: Normalization
) -> (y: Variable, statistics: NormalizationStatistics) {
  let (y, statistics) = x.backend.normalize(
    x.value, shift: shift?.value, gamma: gamma?.value, beta: beta?.value, normalization)
  let result = Tape.record(
    y, from: [x, shift, gamma, beta].compactMap { $0 },
    remake: { [x = x.saved, shift = shift?.saved, gamma = gamma?.saved, beta = beta?.saved] in
      x.value.backend.normalize(
        x.value, shift: shift?.value, gamma: gamma?.value, beta: beta?.value, normalization, statistics: statistics)
    },
    { [x = x.saved, shift = shift?.saved, gamma = gamma?.saved, beta = beta?.saved] dy, tape in
      let backend = dy.backend
      func apply(_ gammaGradient: Tensor?, _ betaGradient: Tensor?) {
        tape.extend(x.input) { existing in
          let gradients = backend.normalizeGradient(
            x.value, shift: shift?.value, gamma: gamma?.value, beta: beta?.value, normalization, statistics: statistics,
            dy: dy, adding: existing, gammaGradient: gammaGradient, betaGradient: betaGradient)
          if let shift, let dshift = gradients.dshift { tape.add(dshift, to: shift.input) }
          return gradients.dx
        }
      }
      // Either may be absent or a constant.
      func withGradient(of saved: Saved?, _ body: (Tensor?) -> Void) {
        if let saved, saved.wantsGradient {
          tape.accumulate(into: saved.input, on: backend) { body($0) }
        } else {
          body(nil)
        }
      }
      withGradient(of: gamma) { gammaGradient in withGradient(of: beta) { apply(gammaGradient, $0) } }
    })
  return (result, statistics)
}

/// Softmax over the innermost axis: `[…, C]` to `[…, C]` with rows that sum to 1.
public func softmax(_ x: Variable) -> Variable {
  let y = x.backend.softmax(x.value, scale: 1, mask: nil)
  return Tape.record(y, from: [x]) { [x = x.input] dy, tape in
    tape.add(dy.backend.softmaxGradient(y, dy: dy, scale: 1), to: x)
  }
}

// MARK: - Elementwise

/// An elementwise function: `[…]` to `[…]`.
public func activate(_ function: Activation, _ x: Variable) -> Variable {
  if function == .identity { return x }
  return Tape.record(
    x.backend.apply(function, x.value), from: [x],
    remake: { [x = x.saved] in x.value.backend.apply(function, x.value) },
    { [x = x.saved] dy, tape in tape.add(dy.backend.applyGradient(function, x.value, dy: dy), to: x.input) })
}

/// f′(x) t, the change of a piecewise linear function f(x) if x changes by t: `[…]`, where x and t have the same shape.
///
/// f″ is zero wherever it exists, so no gradient flows into x. Derivatives of input gradients (WGAN-GP, R1) thereby
/// become a matter of ordinary linear layers. Functions other than the identity, ReLU and the leaky ReLU trap.
public func tangent(of function: Activation, at x: Variable, _ t: Variable) -> Variable {
  switch function {
  case .identity: return t
  case .relu, .leakyReLU:
    return Tape.record(t.backend.applyGradient(function, x.value, dy: t.value), from: [t]) {
      [x = x.saved, t = t.input] dy, tape in
      tape.add(dy.backend.applyGradient(function, x.value, dy: dy), to: t)
    }
  default: fatalShape("\(function) is not piecewise linear")
  }
}

extension Variable {
  /// The sum of two variables with the same number of elements and the same type, in a's shape; others trap.
  public static func + (a: Variable, b: Variable) -> Variable {
    Tape.record(a.value + b.value, from: [a, b]) { [a = a.input, b = b.input] dy, tape in
      tape.add(dy, to: a)
      tape.add(dy, to: b)
    }
  }

  /// The difference of two variables with the same number of elements and the same type, in a's shape; others trap.
  public static func - (a: Variable, b: Variable) -> Variable {
    Tape.record(a.value - b.value, from: [a, b]) { [a = a.input, b = b.input] dy, tape in
      tape.add(dy, to: a)
      if b.wantsGradient { tape.add(-1 * dy, to: b) }
    }
  }

  /// The element-by-element product of two variables of the same shape and type; others trap.
  public static func * (a: Variable, b: Variable) -> Variable {
    Tape.record(a.value * b.value, from: [a, b]) { [a = a.saved, b = b.saved] dy, tape in
      if a.wantsGradient { tape.add(dy * b.value, to: a.input) }
      if b.wantsGradient { tape.add(dy * a.value, to: b.input) }
    }
  }

  /// Every element times a constant, in the same shape and type.
  public static func * (scale: Float, x: Variable) -> Variable {
    Tape.record(scale * x.value, from: [x]) { [x = x.input] dy, tape in tape.add(scale * dy, to: x) }
  }

  /// The result of a linear function, perhaps with a constant added, of this variable.
  ///
  /// - Parameters:
  ///   - value: the function's result, of any shape.
  ///   - transpose: the transposed linear function. It takes the result's gradient, in `value`'s shape, to this
  ///     variable's gradient, with as many elements as the variable.
  /// - Returns: a variable of `value`'s shape.
  public func linearly(_ value: Tensor, transpose: @escaping (Tensor) -> Tensor) -> Variable {
    Tape.record(value, from: [self]) { [x = input] dy, tape in tape.add(transpose(dy), to: x) }
  }

  /// The same elements in another shape. The number of elements must stay the same; otherwise it traps. One size may be
  /// −1: it becomes what is left.
  public func reshaped(_ sizes: [Int]) -> Variable {
    Tape.record(
      value.reshaped(sizes), from: [self], remake: { [x = saved] in x.value.reshaped(sizes) },
      { [x = input] dy, tape in tape.add(dy.reshaped(x.shape), to: x) })
  }

  /// The same values as another type, float32 or bfloat16; the gradient is cast back.
  public func cast(to type: ScalarType) -> Variable {
    if value.type == type { return self }
    return Tape.record(
      value.cast(to: type), from: [self], remake: { [x = saved] in x.value.cast(to: type) },
      { [x = input] dy, tape in tape.add(dy.cast(to: x.type), to: x) })
  }
}

/// `scale · x + shift`, both constants: `[…]` to `[…]`.
public func affine(_ x: Variable, scale: Float, shift: Float) -> Variable {
  Tape.record(x.backend.affine(x.value, scale: scale, shift: shift), from: [x]) { [x = x.input] dy, tape in
    tape.add(scale * dy, to: x)
  }
}

/// `s x` for a learned number s, float32: `[…]` to `[…]`. It traps if s has several elements.
public func scaled(_ x: Variable, by s: Variable) -> Variable {
  Tape.record(s.value.item() * x.value, from: [x, s]) { [x = x.saved, s = s.saved] dy, tape in
    if x.wantsGradient { tape.add(s.value.item() * dy, to: x.input) }
    if s.wantsGradient {
      // Row by row, in float32, since one sum over everything would lose digits.
      let product = (dy.cast(to: .float32) * x.value.cast(to: .float32)).reshaped([-1, x.shape.last])
      let sums = dy.backend.sumSamples(product).reshaped([-1, 1])
      tape.accumulate(into: s.input, on: dy.backend) { dy.backend.sumRows(sums, into: $0) }
    }
  }
}

/// Each row of x divided by its length: x float32 `[N, C]`, result `[N, C]`. A row of zeros stays one, without a gradient.
public func unitRows(_ x: Variable) -> Variable {
  let squares = x.backend.sumSamples(x.value * x.value).values()
  let inverse = squares.map { $0 > 0 ? 1 / $0.squareRoot() : 0 }
  let scale = Tensor(inverse, shape: [inverse.count], on: x.backend)
  let y = x.backend.scaledSum(x.value, by: scale, nil, by: nil)
  return Tape.record(y, from: [x]) { [x = x.input] dy, tape in
    // What points along the row changes only its length.
    let along = dy.backend.sumSamples(dy * y) * scale
    tape.add(dy.backend.scaledSum(dy, by: scale, y, by: -1 * along), to: x)
  }
}

/// x limited to `low…high`: `[…]` to `[…]`. Beyond the limits the gradient is zero.
public func clamp(_ x: Variable, _ low: Float, _ high: Float) -> Variable {
  Tape.record(x.value.clamped(low, high), from: [x]) { [x = x.saved] dy, tape in
    let backend = dy.backend
    let above = backend.applyGradient(.relu, backend.affine(x.value, scale: 1, shift: -low), dy: dy)
    tape.add(
      backend.applyGradient(.relu, backend.affine(x.value, scale: -1, shift: high), dy: above), to: x.input)
  }
}

/// A function of one float32 number, computed in double precision.
///
/// - Parameters:
///   - x: one element; more of them trap.
///   - function: gives the value and the derivative.
/// - Returns: float32 of x's shape.
public func elementwise(_ x: Variable, _ function: (Double) -> (value: Double, derivative: Double)) -> Variable {
  let (value, derivative) = function(Double(x.value.item()))
  return Tape.record(Tensor([Float(value)], shape: x.shape, on: x.backend), from: [x]) { [x = x.input] dy, tape in
    tape.add(Float(derivative) * dy, to: x)
  }
}

/// Zeroes elements with a probability and scales the others by 1 / (1 − probability), so that the mean stays the same.
///
/// - Parameters:
///   - x: `[N, …]`; a scalar traps.
///   - probability: from 0 to below 1; 0 changes nothing.
///   - draw: which random numbers to use; sample n takes those of index `draw.index + n`. The backward pass makes the
///     same mask again instead of keeping it.
/// - Returns: `[N, …]`.
public func dropout(_ x: Variable, probability: Float, _ draw: RandomDraw) -> Variable {
  if probability == 0 { return x }
  return Tape.record(
    x.backend.dropout(x.value, probability: probability, draw), from: [x],
    remake: { [x = x.saved] in x.value.backend.dropout(x.value, probability: probability, draw) },
    { [x = x.input] dy, tape in tape.add(dy.backend.dropout(dy, probability: probability, draw), to: x) })
}

/// `alpha[n] x[n]` for each sample n: x and result `[N, …]`, alpha float32 `[N]`, a constant.
public func scaleSamples(_ x: Variable, by alpha: Tensor) -> Variable {
  Tape.record(x.backend.scaledSum(x.value, by: alpha, nil, by: nil), from: [x]) { [x = x.input] dy, tape in
    tape.add(dy.backend.scaledSum(dy, by: alpha, nil, by: nil), to: x)
  }
}

// MARK: - Channels and indices

/// Joins along the innermost axis: parts `[…, Cₖ]`, otherwise of the same shape, to `[…, ΣCₖ]`. An empty list traps.
public func concatenate(_ parts: [Variable]) -> Variable {
  let backend = parts[0].backend
  return Tape.record(
    backend.concatenate(parts.map(\.value)), from: parts,
    remake: { [parts = parts.map(\.saved)] in backend.concatenate(parts.map(\.value)) },
    { [parts = parts.map(\.input)] dy, tape in
      var start = 0
      for part in parts {
        let range = start..<start + part.shape.last
        if part.wantsGradient { tape.add(backend.slice(dy, range), to: part) }
        start = range.upperBound
      }
    })
}

/// Divides the innermost axis into parts of equal size: `[…, C]` to `count` of `[…, C/count]`. It traps if the count
/// does not divide C.
public func splitChannels(_ x: Variable, into count: Int) -> [Variable] {
  require(x.shape.last % count == 0, "\(x.shape) does not divide into \(count) parts")
  let width = x.shape.last / count
  return (0..<count).map { part in
    let range = part * width..<(part + 1) * width
    return Tape.record(x.backend.slice(x.value, range), from: [x]) { [x = x.input] dy, tape in
      let before = Tensor(
        repeating: 0, shape: x.shape.replacingLast(with: range.lowerBound), type: dy.type, on: dy.backend)
      let after = Tensor(
        repeating: 0, shape: x.shape.replacingLast(with: x.shape.last - range.upperBound), type: dy.type, on: dy.backend
      )
      tape.add(dy.backend.concatenate([before, dy, after]), to: x)
    }
  }
}

/// Joins along the leading axis: batches `[Nₖ, …]` with samples of the same shape to one batch `[ΣNₖ, …]`. An empty
/// list traps.
public func joinSamples(_ parts: [Variable]) -> Variable {
  if parts.count == 1 { return parts[0] }
  let backend = parts[0].backend
  let counts = parts.map { $0.shape[0] }
  func join(_ parts: [Tensor]) -> Tensor {
    let whole = Tensor(
      uninitialized: Shape([counts.reduce(0, +)] + parts[0].shape.sizes.dropFirst()), type: parts[0].type, on: backend)
    for (part, range) in zip(parts, ranges(counts)) { backend.copy(part, into: whole[range]) }
    return whole
  }
  return Tape.record(
    join(parts.map(\.value)), from: parts, remake: { [parts = parts.map(\.saved)] in join(parts.map(\.value)) },
    { [parts = parts.map(\.input)] dy, tape in
      for (part, range) in zip(parts, ranges(counts)) { tape.add(dy[range], to: part) }
    })
}

/// Divides the leading axis, `[N, …]`, into runs of `counts` samples. The counts must add up to N; otherwise it traps.
public func splitSamples(_ x: Variable, _ counts: [Int]) -> [Variable] {
  require(counts.reduce(0, +) == x.shape[0], "\(x.shape) does not divide into \(counts) samples")
  if counts.count == 1 { return [x] }
  return ranges(counts).map { range in
    Tape.record(x.value[range], from: [x]) { [x = x.input] dy, tape in
      let whole = Tensor(repeating: 0, shape: x.shape, type: x.type, on: dy.backend)
      dy.backend.copy(dy, into: whole[range])
      tape.add(whole, to: x)
    }
  }
}

/// Consecutive ranges with these counts.
private func ranges(_ counts: [Int]) -> [Range<Int>] {
  var end = 0
  return counts.map { count in
    defer { end += count }
    return end..<end + count
  }
}

/// Rows of a table at indices: table float32 `[K, C]`, indices int32 `[N]`, result `[N, C]` of the given type. An index
/// below 0 gives zeros; one of K or more traps.
public func embedding(_ table: Variable, _ indices: Tensor, type: ScalarType) -> Variable {
  Tape.record(table.backend.gather(table.value, indices, type: type), from: [table]) { [table = table.input] dy, tape in
    tape.accumulate(into: table, on: dy.backend) { dy.backend.scatterAdd(dy, indices, into: $0) }
  }
}

/// Gathers tokens within each sample.
///
/// - Parameters:
///   - x: `[N, T, C]`.
///   - indices: int32 `[N, K]`, below T; others trap.
///   - filler: float32 `[C]`, for an index below 0; nil for zeros.
/// - Returns: `[N, K, C]`.
public func gatherTokens(_ x: Variable, _ indices: Tensor, filler: Variable? = nil) -> Variable {
  let y = x.backend.gatherTokens(x.value, indices, filler: filler?.value)
  return Tape.record(y, from: [x, filler].compactMap { $0 }) { [x = x.input, filler = filler?.input] dy, tape in
    func gradient(_ fillerGradient: Tensor?) {
      tape.add(
        dy.backend.gatherTokensGradient(dy, indices, count: x.shape[1], fillerGradient: fillerGradient), to: x)
    }
    if let filler, filler.wantsGradient {
      tape.accumulate(into: filler, on: dy.backend) { gradient($0) }
    } else {
      gradient(nil)
    }
  }
}

// MARK: - Resampling

/// Adds a border of zeros to images or, if an inset (in pixels) is negative, removes a border: `[N, H, W, C]` to
/// `[N, top + H + bottom, left + W + right, C]`. Insets that leave nothing trap.
public func pad(_ x: Variable, _ insets: Insets) -> Variable {
  if insets == Insets() { return x }
  return Tape.record(
    x.backend.pad(x.value, insets), from: [x], remake: { [x = x.saved] in x.value.backend.pad(x.value, insets) },
    { [x = x.input] dy, tape in tape.add(dy.backend.pad(dy, -insets), to: x) })
}

/// Adds a border of the images' own pixels, mirrored at the outermost row or column, which is not repeated.
///
/// - Parameters:
///   - x: `[N, H, W, C]`.
///   - insets: in pixels, at least 0 and less than height or width; others trap.
/// - Returns: `[N, top + H + bottom, left + W + right, C]`.
public func reflectionPad(_ x: Variable, _ insets: Insets) -> Variable {
  if insets == Insets() { return x }
  return Tape.record(
    x.backend.reflectionPad(x.value, insets), from: [x],
    remake: { [x = x.saved] in x.value.backend.reflectionPad(x.value, insets) },
    { [x = x.input] dy, tape in tape.add(dy.backend.reflectionPadGradient(dy, insets), to: x) })
}

/// Repeats each pixel f × f times: `[N, H, W, C]` to `[N, f·H, f·W, C]`.
public func upsampleNearest(_ x: Variable, factor: Int = 2) -> Variable {
  Tape.record(
    x.backend.upsampleNearest(x.value, factor: factor), from: [x],
    remake: { [x = x.saved] in x.value.backend.upsampleNearest(x.value, factor: factor) },
    { [x = x.input] dy, tape in tape.add(dy.backend.upsampleNearestGradient(dy, factor: factor), to: x) })
}

/// Averages over f × f pixels: `[N, H, W, C]` to `[N, H/f, W/f, C]`; a remainder at the edge is left out.
public func averagePool(_ x: Variable, factor: Int = 2) -> Variable {
  Tape.record(x.backend.averagePool(x.value, factor: factor), from: [x]) { [x = x.input] dy, tape in
    tape.add(dy.backend.averagePoolGradient(dy, inputShape: x.shape, factor: factor), to: x)
  }
}

// MARK: - Reductions and losses

/// The sum of each sample of the leading axis: `[N, …]` to float32 `[N]`.
public func sumSamples(_ x: Variable) -> Variable {
  Tape.record(x.backend.sumSamples(x.value), from: [x]) { [x = x.input] dy, tape in
    let ones = Tensor(repeating: 1, shape: x.shape, type: x.type, on: dy.backend)
    tape.add(dy.backend.scaledSum(ones, by: dy, nil, by: nil), to: x)
  }
}

/// The weighted sum of numbers: x float32 `[N]`, weights float32 `[N]`, constants; result `[]`. Other shapes trap.
public func weightedSum(_ x: Variable, weights: Tensor) -> Variable {
  let total = x.backend.sumSamples((x.value * weights).reshaped([1, x.value.count])).reshaped([])
  return Tape.record(total, from: [x]) { [x = x.input] dy, tape in
    tape.add(dy.backend.scaledSum(weights.reshaped([1, weights.count]), by: dy.reshaped([1]), nil, by: nil), to: x)
  }
}

/// How the losses of many elements become one number.
public enum Reduction: Sendable {
  /// The mean over all elements.
  case mean
  /// The sum over each sample's elements, then the mean over the batch.
  case sumOverSample
}

/// The loss between a prediction `[N, …]` and a constant target of the same shape and type, summed over each sample:
/// float32 `[N]`. Other shapes and types trap.
public func sampleLosses(_ kind: Loss, _ prediction: Variable, _ target: Tensor) -> Variable {
  Tape.record(prediction.backend.loss(kind, prediction.value, target), from: [prediction]) {
    [prediction = prediction.saved] dy, tape in
    tape.add(dy.backend.lossGradient(kind, prediction.value, target, weights: dy), to: prediction.input)
  }
}

/// A loss between a prediction and a constant target, as one number.
///
/// - Parameters:
///   - kind: the loss of each element.
///   - prediction: `[N, …]`.
///   - target: a constant of the prediction's shape and type; others trap.
///   - reduction: how the elements' losses become one number.
///   - weights: float32 `[N]`, a factor for each sample; nil for 1.
/// - Returns: float32 `[]`.
public func elementwiseLoss(
  _ kind: Loss, _ prediction: Variable, _ target: Tensor, reduction: Reduction = .mean, weights: Tensor? = nil
) -> Variable {
  let samples = prediction.shape[0]
  let divisor = reduction == .mean ? Float(prediction.value.count) : Float(samples)
  let uniform = Tensor(repeating: 1 / divisor, shape: [samples], on: prediction.backend)
  return weightedSum(sampleLosses(kind, prediction, target), weights: weights.map { uniform * $0 } ?? uniform)
}

/// The cross-entropy between the softmax of logits and distributions, averaged over rows.
///
/// - Parameters:
///   - logits: `[N, C]`.
///   - target: float32 `[N, C]`, constants; each row must sum to 1.
/// - Returns: float32 `[]`, in nats.
public func crossEntropy(_ logits: Variable, _ target: Tensor) -> Variable {
  let backend = logits.backend
  let rows = logits.shape[0]
  let means = Tensor(repeating: 1 / Float(rows), shape: [rows], on: backend)
  let total = backend.sumSamples((backend.crossEntropy(logits.value, target) * means).reshaped([1, rows])).reshaped([])
  return Tape.record(total, from: [logits]) { [logits = logits.saved] dy, tape in
    let weights = backend.affine(means, scale: dy.item(), shift: 0)
    let probabilities = backend.softmax(logits.value, scale: 1, mask: nil)
    let minus = backend.affine(weights, scale: -1, shift: 0)
    tape.add(
      backend.scaledSum(probabilities, by: weights, target.cast(to: logits.input.type), by: minus), to: logits.input)
  }
}

/// The negative log-probability of 8-bit levels in [−1, 1] under normal distributions, in nats, summed over each
/// sample: levels (constants), mean and logVariance float32 of the same shape `[N, …]`, result float32 `[N]`; see
/// `Backend.discretizedGaussian`. Other shapes trap.
public func discretizedGaussian(_ levels: Tensor, mean: Variable, logVariance: Variable) -> Variable {
  let y = levels.backend.discretizedGaussian(levels, mean: mean.value, logVariance: logVariance.value)
  return Tape.record(y, from: [mean, logVariance]) { [mean = mean.saved, logVariance = logVariance.saved] dy, tape in
    let gradients = dy.backend.discretizedGaussianGradient(
      levels, mean: mean.value, logVariance: logVariance.value, weights: dy)
    if mean.wantsGradient { tape.add(gradients.mean, to: mean.input) }
    if logVariance.wantsGradient { tape.add(gradients.logVariance, to: logVariance.input) }
  }
}
