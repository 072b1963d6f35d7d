import EaselSupport

/// Computes the operations on tensors; every one of them goes through a backend.
///
/// Both of Easel's backends use the host's memory and share the loops of ``HostBackend``; they differ in which library
/// does the convolutions and matrix products. A backend serves one thread at a time, normally that of ``TensorThread``.
///
/// Conventions. Activations are `float32` or `bfloat16`, the same for all activations of a call; parameters, statistics
/// and gradients of parameters are `float32` (for weights, see ``takesBFloat16Weights``); indices are `int32`. `N` is the number of samples, `H` and `W` are rows
/// and columns, `C`, `I` and `O` channels, `T` tokens, and `…` any axes. If no shape is given, any will do, and the
/// result has the shape and the type of the first operand. A gradient `dy` with respect to a result has the result's
/// shape and type, a gradient `dx` that of x. Results are new tensors unless a parameter is named `into`. Shapes and
/// types that do not fit are mistakes in code and trap.
public protocol Backend: AnyObject {
  /// Which backend this is.
  var kind: BackendKind { get }
  /// The pool of compute threads.
  var threads: ThreadPool { get }
  /// Whether the weights of convolutions and matrix products may also be bfloat16, whatever the activations' type.
  var takesBFloat16Weights: Bool { get }
  /// The heap's present and past use, in bytes.
  var memory: MemoryStatistics { get }

  /// Allocates memory from the backend's heap, with undefined contents. If none is left, calls
  /// `MachineMemory.whenExhausted`, and the program ends.
  func allocate(byteCount: Int) -> Storage
  /// Returns memory to the heap. ``Storage`` does this after its last use.
  ///
  /// - Parameters:
  ///   - pointer: the pointer from `allocate(byteCount:)`.
  ///   - byteCount: the size that was asked for.
  func release(_ pointer: UnsafeMutableRawPointer, byteCount: Int)
  /// Drops everything derived from parameters in memory that is about to be returned, such as reordered copies.
  func forget(_ pointer: UnsafeMutableRawPointer, byteCount: Int)

  /// Does work in which each sample (an element of the leading axis) is computed as if it were alone: its result does
  /// not depend on which or how many other samples are beside it.
  ///
  /// A library's kernels may add in another order at another size, so they are called for one sample at a time.
  /// Pictures are drawn this way. In training, samples meet in the weights' gradients anyway, and larger calls are
  /// faster. (Gradients with respect to inputs are also computed this way, since a transposed convolution is one.)
  ///
  /// - Parameter work: the work to do.
  /// - Returns: what the work returns.
  /// - Throws: what the work throws.
  func separately<Result>(_ work: () throws -> Result) rethrows -> Result

  // MARK: Convolution and matrix products

  /// `y = convolution(x, weight) + bias + residual`: x `[N, H, W, I]`, weight `[O, I, KH, KW]`, bias `[O]`, residual
  /// and y `[N, OH, OW, O]`, the shape that ``ConvolutionWindow/outputShape(input:weight:)`` gives.
  func convolution(_ x: Tensor, weight: Tensor, bias: Tensor?, residual: Tensor?, _ window: ConvolutionWindow) -> Tensor
  /// The gradient with respect to x, `[N, H, W, I]` (`inputShape`), plus `adding` of the same shape: dy
  /// `[N, OH, OW, O]`, weight `[O, I, KH, KW]`.
  func convolutionInputGradient(
    _ dy: Tensor, weight: Tensor, inputShape: Shape, _ window: ConvolutionWindow, adding: Tensor?
  ) -> Tensor
  /// Adds the gradients with respect to weight and bias to `weightGradient`, float32 `[O, I, KH, KW]`, and
  /// `biasGradient`, float32 `[O]`: x `[N, H, W, I]`, dy `[N, OH, OW, O]`.
  func convolutionWeightGradient(
    _ x: Tensor, _ dy: Tensor, into weightGradient: Tensor, bias biasGradient: Tensor?, _ window: ConvolutionWindow)

  /// `y = x · weightᵀ + bias + residual`: x `[…, I]`, weight `[O, I]`, bias `[O]`, residual and y `[…, O]`.
  func linear(_ x: Tensor, weight: Tensor, bias: Tensor?, residual: Tensor?) -> Tensor
  /// `dx = dy · weight + adding`: dy `[…, O]`, weight `[O, I]`, adding and dx `[…, I]`.
  func linearInputGradient(_ dy: Tensor, weight: Tensor, adding: Tensor?) -> Tensor
  /// Adds `dyᵀ · x` to `weightGradient`, float32 `[O, I]`: x `[…, I]`, dy `[…, O]`.
  func linearWeightGradient(_ x: Tensor, _ dy: Tensor, into weightGradient: Tensor)
  /// `c = scale · a · b`, added to c's contents if `accumulating`, for each matrix of the batch: a `[R, K]`, b
  /// `[K, C]`, c `[R, C]`. The elements of a row of c are contiguous.
  func matmul(_ a: MatrixBatch, _ b: MatrixBatch, scale: Float, into c: MatrixBatch, accumulating: Bool)

  // MARK: Attention

  /// `softmax(q kᵀ / √d) v` for each head, over the keys that the mask shows (nil: all): q `[N, Tq, heads·d]`, k and v
  /// `[N, Tk, heads·d]`, y of q's shape. The gradient takes the statistics; they are nil if it needs none.
  ///
  /// However many tokens there are, only a block of their scores is kept, or all scores of small heads.
  func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: AttentionMask?)
    -> (y: Tensor, statistics: AttentionStatistics?)
  /// The gradients with respect to q, k and v, in their shapes: dy of q's shape. The statistics come from
  /// ``attention(_:_:_:heads:mask:)``; if they are needed and nil, they are computed again.
  func attentionGradient(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: AttentionMask?, statistics: AttentionStatistics?,
    dy: Tensor
  ) -> (dq: Tensor, dk: Tensor, dv: Tensor)
  /// Self-attention of each sample's tokens, with queries, keys and values side by side: qkv `[N, T, 3·heads·d]`, y
  /// `[N, T, heads·d]`.
  func selfAttention(_ qkv: Tensor, heads: Int, mask: AttentionMask?) -> (y: Tensor, statistics: AttentionStatistics?)
  /// The gradient with respect to qkv, in its shape: dy `[N, T, heads·d]`.
  func selfAttentionGradient(
    _ qkv: Tensor, heads: Int, mask: AttentionMask?, statistics: AttentionStatistics?, dy: Tensor
  ) -> Tensor

  // MARK: Normalisation and softmax

  /// `act(γ (x + shift − mean) / √(variance + ε) + β)` over groups of channels of each sample; see ``Normalization``.
  ///
  /// x and y are `[N, …, C]`, shift is `[N, C]` of x's type, γ and β are float32 `[C]`; nil means a shift of 0, a γ of
  /// 1, a β of 0. It traps if the groups do not divide the channels.
  func normalize(_ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization)
    -> (y: Tensor, statistics: NormalizationStatistics)
  /// The same again, with the statistics of the first time.
  func normalize(
    _ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization,
    statistics: NormalizationStatistics
  ) -> Tensor
  /// The gradients with respect to x, `[N, …, C]`, plus `adding`, and to shift, `[N, C]`; nil if there is no shift. The
  /// gradients with respect to γ and β are added to `gammaGradient` and `betaGradient`, float32 `[C]`, unless those are
  /// nil.
  func normalizeGradient(
    _ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization,
    statistics: NormalizationStatistics, dy: Tensor, adding: Tensor?, gammaGradient: Tensor?, betaGradient: Tensor?
  ) -> (dx: Tensor, dshift: Tensor?)
  /// Softmax over the innermost axis of `scale · x + mask`: x and y `[…, C]`, mask float32 `[C]`.
  func softmax(_ x: Tensor, scale: Float, mask: Tensor?) -> Tensor
  /// The gradient with respect to x for a softmax y `[…, C]`; the mask is a constant.
  func softmaxGradient(_ y: Tensor, dy: Tensor, scale: Float) -> Tensor

  // MARK: Elementwise

  /// Sets every element of x (float32 or bfloat16) to a value.
  func fill(_ x: Tensor, with value: Float)
  /// Copies x's elements to y, which must have as many elements and the same type.
  func copy(_ x: Tensor, into y: Tensor)
  /// Converts between float32 and bfloat16, rounding to the nearest, halves to even. `int32` traps.
  func cast(_ x: Tensor, to type: ScalarType) -> Tensor
  /// `scale · byte + shift`, as a tensor; the shape must have as many elements as there are bytes.
  func fromBytes(_ bytes: [UInt8], shape: Shape, scale: Float, shift: Float, type: ScalarType) -> Tensor
  /// A function of every element.
  func apply(_ function: Activation, _ x: Tensor) -> Tensor
  /// The function's derivative at every element of x, times dy: the gradient with respect to x.
  func applyGradient(_ function: Activation, _ x: Tensor, dy: Tensor) -> Tensor
  /// `alpha · a + beta · b`, element by element, as a new tensor of a's shape; b must have as many elements.
  func add(_ a: Tensor, _ b: Tensor, alpha: Float, beta: Float) -> Tensor
  /// `y += alpha · x`, element by element; y must have as many elements as x, and its type.
  func accumulate(_ x: Tensor, alpha: Float, into y: Tensor)
  /// The product, element by element; a and b must have the same shape.
  func multiply(_ a: Tensor, _ b: Tensor) -> Tensor
  /// `scale · x + shift`, element by element.
  func affine(_ x: Tensor, scale: Float, shift: Float) -> Tensor
  /// Every element limited to `low…high`.
  func clamp(_ x: Tensor, low: Float, high: Float) -> Tensor
  /// Zeroes elements with probability p and scales the others by 1 / (1 − p): x `[N, …]`, p from 0 to below 1. The same
  /// draw zeroes the same elements; sample n takes the random numbers of index `draw.index + n`.
  func dropout(_ x: Tensor, probability: Float, _ draw: RandomDraw) -> Tensor

  // MARK: Rows

  /// Adds a row to every row: x `[…, C]`, row float32 `[C]`.
  func addRow(_ x: Tensor, _ row: Tensor) -> Tensor
  /// `alpha[n] a[n] + beta[n] b[n]` for each n of the leading axis: a and b `[N, …]` of the same shape and type, alpha
  /// and beta float32 `[N]`. If b and beta are nil (only together), they stand for 0.
  func scaledSum(_ a: Tensor, by alpha: Tensor, _ b: Tensor?, by beta: Tensor?) -> Tensor
  /// Adds to `sums` the sum of x over all axes except the innermost: x `[…, C]`, sums float32 `[C]`.
  func sumRows(_ x: Tensor, into sums: Tensor)
  /// The sum of each element of the leading axis: x `[N, …]`, result float32 `[N]`.
  func sumSamples(_ x: Tensor) -> Tensor
  /// Joins tensors along the innermost axis: parts `[…, Cₖ]`, otherwise of the same shape, to `[…, ΣCₖ]`. An empty list
  /// traps.
  func concatenate(_ parts: [Tensor]) -> Tensor
  /// A copy of elements `range` of the innermost axis: `[…, C]` to `[…, range.count]`.
  func slice(_ x: Tensor, _ range: Range<Int>) -> Tensor
  /// Rows of a table at indices: table float32 `[K, C]`, indices int32 `[N]`, result `[N, C]` of the given type. An
  /// index below 0 gives zeros; one of K or more traps.
  func gather(_ table: Tensor, _ indices: Tensor, type: ScalarType) -> Tensor
  /// Adds the gradients of gathered rows to those of the table: dy `[N, C]`, indices int32 `[N]`, table float32
  /// `[K, C]`. An index below 0 adds nothing; one of K or more traps.
  func scatterAdd(_ dy: Tensor, _ indices: Tensor, into table: Tensor)
  /// Gathers tokens within each sample: x `[N, T, C]` at indices (int32 `[N, K]`) as `[N, K, C]`. An index below 0
  /// gives `filler` (float32 `[C]`), or zeros if that is nil; one of T or more traps.
  func gatherTokens(_ x: Tensor, _ indices: Tensor, filler: Tensor?) -> Tensor
  /// The gradient with respect to x, `[N, T, C]`, with T = `count`: dy `[N, K, C]`, indices int32 `[N, K]`. The
  /// gradient with respect to the filler is added to `fillerGradient`, float32 `[C]`.
  func gatherTokensGradient(_ dy: Tensor, _ indices: Tensor, count: Int, fillerGradient: Tensor?) -> Tensor
  /// Images `[N, H, W, C]` as squares of p × p pixels, row by row: `[N, H/p · W/p, p·p·C]`. It traps if p does not
  /// divide H and W.
  func patches(_ images: Tensor, size: Int) -> Tensor
  /// The images `[N, H, W, C]` of patches `[N, H/p · W/p, p·p·C]`; H is `height`, W `width`, p `size`.
  func joinPatches(_ patches: Tensor, size: Int, height: Int, width: Int) -> Tensor

  // MARK: Resampling

  /// Adds a border of zeros or, if an inset is negative, removes a border: `[N, H, W, C]` to
  /// `[N, top + H + bottom, left + W + right, C]`. Insets that leave nothing trap.
  func pad(_ x: Tensor, _ insets: Insets) -> Tensor
  /// Adds a border of the images' own pixels, mirrored at the outermost row or column, which is not repeated:
  /// `[N, H, W, C]` to `[N, top + H + bottom, left + W + right, C]`. Insets must be at least 0 and less than height or
  /// width; others trap.
  func reflectionPad(_ x: Tensor, _ insets: Insets) -> Tensor
  /// The gradient with respect to the images without border, `[N, H, W, C]`: each pixel gets the sum over its mirror
  /// images.
  func reflectionPadGradient(_ dy: Tensor, _ insets: Insets) -> Tensor
  /// `[N, H, W, C]` to `[N, f·H, f·W, C]`, each pixel repeated f × f times.
  func upsampleNearest(_ x: Tensor, factor: Int) -> Tensor
  /// The gradient with respect to the smaller images: dy `[N, f·H, f·W, C]` to `[N, H, W, C]`.
  func upsampleNearestGradient(_ dy: Tensor, factor: Int) -> Tensor
  /// Averages over f × f pixels: `[N, H, W, C]` to `[N, H/f, W/f, C]`; a remainder at the edge is left out.
  func averagePool(_ x: Tensor, factor: Int) -> Tensor
  /// The gradient with respect to the larger images, `[N, H, W, C]` (`inputShape`): dy `[N, H/f, W/f, C]`.
  func averagePoolGradient(_ dy: Tensor, inputShape: Shape, factor: Int) -> Tensor

  // MARK: Losses

  /// The loss, summed over each sample: prediction and target `[N, …]` of the same shape and type, result float32
  /// `[N]`.
  func loss(_ kind: Loss, _ prediction: Tensor, _ target: Tensor) -> Tensor
  /// The gradient with respect to the prediction `[N, …]`, with a weight for each sample: weights float32 `[N]`.
  func lossGradient(_ kind: Loss, _ prediction: Tensor, _ target: Tensor, weights: Tensor) -> Tensor
  /// `−Σ target · log softmax(logits)` over the innermost axis, in nats: logits `[…, C]`, target float32 of the same
  /// shape with rows that are distributions (their sums are 1); float32 `[rows]`.
  func crossEntropy(_ logits: Tensor, _ target: Tensor) -> Tensor
  /// The negative log-probability of 8-bit levels under normal distributions, in nats, summed over each sample: float32
  /// `[N]`.
  ///
  /// Levels are 2/255 apart in [−1, 1]; the outermost take the tails. The distribution function is approximated by a
  /// tanh, and no probability is less than 1e-12 (improved-diffusion, `losses.py`). All three are float32 of one shape
  /// `[N, …]`.
  func discretizedGaussian(_ levels: Tensor, mean: Tensor, logVariance: Tensor) -> Tensor
  /// The gradients of ``discretizedGaussian(_:mean:logVariance:)`` with respect to the mean and the logarithm of the
  /// variance, float32 `[N, …]`, with a weight for each sample: weights float32 `[N]`.
  func discretizedGaussianGradient(_ levels: Tensor, mean: Tensor, logVariance: Tensor, weights: Tensor)
    -> (mean: Tensor, logVariance: Tensor)

  // MARK: Parameters and random numbers

  /// One optimizer pass over float32 arrays of the same length, in place.
  ///
  /// - Parameters:
  ///   - parameters: the parameters to train.
  ///   - gradients: their gradients, of the same length.
  ///   - state: the buffers for ``OptimizerPass/stateCount``, each as long as the parameters; another number of buffers
  ///     traps.
  ///   - pass: the update rule with its constants.
  func update(_ parameters: Tensor, gradients: Tensor, state: [Tensor], _ pass: OptimizerPass)
  /// `average += (1 − decay)(parameters − average)`: float32 arrays of the same length, decay from 0 to 1.
  func movingAverage(_ parameters: Tensor, into average: Tensor, decay: Float)
  /// The sum of the squares of all elements, in double precision; x is float32.
  func sumOfSquares(_ x: Tensor) -> Double
  /// Fills a float32 tensor `[N, …]` with uniform random numbers, 0 to below 1: sample n takes the numbers of index
  /// `draw.index + n`.
  func fillUniform(_ x: Tensor, _ draw: RandomDraw)
  /// Fills a float32 tensor `[N, …]` with standard normal random numbers: sample n takes the numbers of index
  /// `draw.index + n`.
  func fillNormal(_ x: Tensor, _ draw: RandomDraw)
}

extension Backend {
  /// The gradient without statistics of the forward pass.
  public func attentionGradient(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: AttentionMask?, dy: Tensor)
    -> (dq: Tensor, dk: Tensor, dv: Tensor)
  {
    attentionGradient(q, k, v, heads: heads, mask: mask, statistics: nil, dy: dy)
  }

  /// Self-attention in which every token sees all tokens.
  public func selfAttention(_ qkv: Tensor, heads: Int) -> Tensor { selfAttention(qkv, heads: heads, mask: nil).y }

  /// Its gradient, without statistics of the forward pass.
  public func selfAttentionGradient(_ qkv: Tensor, heads: Int, dy: Tensor) -> Tensor {
    selfAttentionGradient(qkv, heads: heads, mask: nil, statistics: nil, dy: dy)
  }
}

/// The backends, by name.
public enum BackendKind: String, FieldChoice {
  case onednn
  case openblas
}

/// Stride and zero padding of a convolution, in pixels.
public struct ConvolutionWindow: Hashable, Sendable {
  /// Pixels from one position of the kernel to the next, downwards and to the right.
  public var strideHeight, strideWidth: Int
  public var top, left, bottom, right: Int

  /// A window with the same stride and padding in all directions.
  ///
  /// - Parameters:
  ///   - stride: pixels from one position of the kernel to the next, at least 1.
  ///   - padding: rows and columns of zeros on each side.
  public init(stride: Int = 1, padding: Int = 0) {
    self.init(stride: stride, top: padding, left: padding, bottom: padding, right: padding)
  }

  /// A window with different padding on each side.
  ///
  /// - Parameters:
  ///   - stride: pixels from one position of the kernel to the next, at least 1.
  ///   - top: rows of zeros above.
  ///   - left: columns of zeros on the left.
  ///   - bottom: rows of zeros below.
  ///   - right: columns of zeros on the right.
  public init(stride: Int, top: Int, left: Int, bottom: Int, right: Int) {
    (strideHeight, strideWidth) = (stride, stride)
    (self.top, self.left, self.bottom, self.right) = (top, left, bottom, right)
  }

  /// The shape of a convolution's result, `[N, OH, OW, O]`: OH = ⌊(top + H + bottom − KH) / stride⌋ + 1, and OW
  /// likewise.
  ///
  /// - Parameters:
  ///   - input: `[N, H, W, I]`.
  ///   - weight: `[O, I, KH, KW]`. It traps if the channels differ or if the images are smaller than the kernel.
  public func outputShape(input: Shape, weight: Shape) -> Shape {
    require(
      input.rank == 4 && weight.rank == 4, "convolution takes [N, H, W, C] and [O, I, KH, KW]: \(input), \(weight)")
    require(input[3] == weight[1], "\(input) has \(input[3]) channels, weight \(weight) takes \(weight[1])")
    let height = (input[1] + top + bottom - weight[2]) / strideHeight + 1
    let width = (input[2] + left + right - weight[3]) / strideWidth + 1
    require(height > 0 && width > 0, "\(input) is smaller than the kernel \(weight)")
    return [input[0], height, width, weight[0]]
  }

  /// Whether the convolution is a matrix product over pixels.
  func isPointwise(weight: Shape) -> Bool { self == ConvolutionWindow() && weight[2] == 1 && weight[3] == 1 }
}

/// Pixels to add on each side of an image; negative ones are cut off.
public struct Insets: Hashable, Sendable {
  public var top, left, bottom, right: Int

  /// Pixels to add on each side or, if negative, to cut off.
  public init(top: Int = 0, left: Int = 0, bottom: Int = 0, right: Int = 0) {
    (self.top, self.left, self.bottom, self.right) = (top, left, bottom, right)
  }

  /// The insets that undo these: they pad what was cut off and cut off what was added.
  public static prefix func - (insets: Insets) -> Insets {
    Insets(top: -insets.top, left: -insets.left, bottom: -insets.bottom, right: -insets.right)
  }
}

/// Elementwise functions: x, max(0, x), x σ(x), GELU, its approximations by tanh and by x σ(1.702 x), 1 / (1 + e⁻ˣ), tanh x,
/// eˣ, x², and the leaky ReLU: x above 0 and slope · x below.
public enum Activation: Hashable, Sendable {
  case identity, relu, silu, gelu, geluTanh, quickGELU, sigmoid, tanh, exp, square
  case leakyReLU(slope: Float)
}

/// Elementwise losses of a prediction a and a target b.
public enum Loss: Sendable {
  /// (a − b)²
  case squaredError
  /// |a − b|
  case absoluteError
  /// Binary cross-entropy of the logit a and the probability b.
  case binaryCrossEntropyWithLogits
}

/// How ``Backend/normalize(_:shift:gamma:beta:_:)`` groups elements.
///
/// A *sample* is an element of the leading axes with its own statistics; a *position* is one point inside it. GroupNorm
/// has samples N, positions H·W and some groups of channels; LayerNorm has samples N·T, one position and one group.
public struct Normalization: Hashable, Sendable {
  /// The number of groups of channels; it must divide the channels.
  public var groups: Int
  /// Added to the variance.
  public var epsilon: Float
  /// The function applied to the normalised values.
  public var activation: Activation
  /// Whether each row of channels is a separate sample.
  public var perPosition: Bool

  /// Describes a norm: GroupNorm has some groups, LayerNorm has one and `perPosition`, InstanceNorm has as many groups
  /// as channels.
  public init(groups: Int, epsilon: Float, activation: Activation = .identity, perPosition: Bool = false) {
    self.groups = groups
    self.epsilon = epsilon
    self.activation = activation
    self.perPosition = perPosition
  }
}

/// Mean and 1/√(variance + ε) of each sample's groups: float32 `[samples, groups]`.
public struct NormalizationStatistics {
  /// Float32 `[samples, groups]`.
  public let mean: Tensor
  /// 1/√(variance + ε): float32 `[samples, groups]`.
  public let reciprocalDeviation: Tensor

  /// Statistics from elsewhere, both float32 `[samples, groups]`.
  public init(mean: Tensor, reciprocalDeviation: Tensor) {
    (self.mean, self.reciprocalDeviation) = (mean, reciprocalDeviation)
  }
}

/// Selects random numbers: the stream, the first sample's global index, and the draw (a step of the sampler, a layer).
public struct RandomDraw: Hashable, Sendable {
  public var seed: UInt64
  public var stream: RandomStream
  public var index: UInt64
  public var draw: UInt32

  /// Random numbers for a purpose.
  ///
  /// - Parameters:
  ///   - seed: the run's seed.
  ///   - stream: the purpose.
  ///   - index: the global number of the first sample, below 2⁴⁰.
  ///   - draw: which of a sample's draws.
  public init(seed: UInt64, stream: RandomStream, index: UInt64 = 0, draw: UInt32 = 0) {
    self.seed = seed
    self.stream = stream
    self.index = index
    self.draw = draw
  }
}

/// The constants of one optimizer step, for all of an arena.
public struct OptimizerPass: Sendable {
  public enum Method: Sendable {
    /// `isFirst`: the momentum starts as the gradient itself.
    case sgd(momentum: Float, nesterov: Bool, isFirst: Bool)
    case rmsprop(alpha: Float, epsilon: Float, momentum: Float, centered: Bool)
    /// `step` counts from 1.
    case adam(beta1: Float, beta2: Float, epsilon: Float, step: Int, decoupledDecay: Bool)
  }

  public var method: Method
  public var learningRate: Float
  public var weightDecay: Float
  /// A factor for every gradient, applied first: clipping and accumulation.
  public var gradientScale: Float

  /// Makes a step's constants.
  ///
  /// - Parameters:
  ///   - method: the update rule.
  ///   - learningRate: the step's learning rate.
  ///   - weightDecay: the factor of a parameter that is added to its gradient. If the decay is decoupled, the parameter
  ///     instead shrinks by this share times the learning rate.
  ///   - gradientScale: a factor for every gradient, applied first.
  public init(_ method: Method, learningRate: Float, weightDecay: Float = 0, gradientScale: Float = 1) {
    self.method = method
    self.learningRate = learningRate
    self.weightDecay = weightDecay
    self.gradientScale = gradientScale
  }

  /// How many buffers of the parameters' size the method needs.
  public var stateCount: Int {
    switch method {
    case .sgd(let momentum, _, _): momentum == 0 ? 0 : 1
    case .rmsprop(_, _, let momentum, let centered): 1 + (centered ? 1 : 0) + (momentum == 0 ? 0 : 1)
    case .adam: 2
    }
  }
}

/// Matrices in a tensor, addressed by strides: batches, heads and transposes without copies.
public struct MatrixBatch {
  public let tensor: Tensor
  /// Two batch axes; an absent one has size 1.
  public let batch: (Int, Int)
  public let rows, columns: Int
  /// Distances between neighbours, in elements.
  let strides: (batch0: Int, batch1: Int, row: Int, column: Int)

  init(_ tensor: Tensor, batch: (Int, Int), rows: Int, columns: Int, strides: (Int, Int, Int, Int)) {
    self.tensor = tensor
    self.batch = batch
    (self.rows, self.columns) = (rows, columns)
    self.strides = strides
  }

  /// The matrices of the two innermost axes, `[…, rows, columns]`. A tensor with fewer axes traps.
  public init(_ tensor: Tensor) {
    require(tensor.rank >= 2, "a matrix has two axes: \(tensor.shape)")
    let (rows, columns) = (tensor.shape[-2], tensor.shape[-1])
    let batch = rows * columns == 0 ? 0 : tensor.count / (rows * columns)
    self.init(tensor, batch: (batch, 1), rows: rows, columns: columns, strides: (rows * columns, 0, columns, 1))
  }

  /// The matrices `[T, d]` of each sample and head in tokens `[N, T, heads·d]`. It traps if the heads do not divide the
  /// channels.
  public init(_ tokens: Tensor, heads: Int) {
    require(tokens.rank == 3 && tokens.shape[2] % heads == 0, "\(tokens.shape) does not divide into \(heads) heads")
    let (length, width) = (tokens.shape[1], tokens.shape[2])
    self.init(
      tokens, batch: (tokens.shape[0], heads), rows: length, columns: width / heads,
      strides: (length * width, width / heads, width, 1))
  }

  /// The matrices of `[N, heads, rows, columns]`.
  init(perHead tensor: Tensor) {
    let (heads, rows, columns) = (tensor.shape[1], tensor.shape[2], tensor.shape[3])
    self.init(
      tensor, batch: (tensor.shape[0], heads), rows: rows, columns: columns,
      strides: (heads * rows * columns, rows * columns, columns, 1))
  }

  /// The same matrices with rows and columns exchanged, as a view.
  public var transposed: MatrixBatch {
    MatrixBatch(
      tensor, batch: batch, rows: columns, columns: rows,
      strides: (strides.batch0, strides.batch1, strides.column, strides.row))
  }
}
