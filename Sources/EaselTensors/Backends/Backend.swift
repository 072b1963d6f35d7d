import EaselSupport

/// What computes: every operation on tensors goes through one of these.
///
/// Both backends of Easel live in the host's memory and share the loops of ``HostBackend``; they differ in who does the
/// convolutions and matrix products. A backend is used from the tensor thread only.
///
/// Conventions. Activations are `float32` or `bfloat16`, the same for all activations of a call; parameters, statistics
/// and gradients of parameters are `float32`. Results are new tensors unless a parameter is called `into`. Shapes that do
/// not fit are mistakes in code and trap.
public protocol Backend: AnyObject {
  var kind: BackendKind { get }
  var threads: ThreadPool { get }
  var memory: MemoryStatistics { get }

  func allocate(byteCount: Int) -> Storage
  func release(_ pointer: UnsafeMutableRawPointer, byteCount: Int, wasPersistent: Bool)

  /// Does work in which each element of the leading axis, a sample, is computed as if it were alone: what becomes of it does
  /// not depend on which others are beside it, nor on how many.
  ///
  /// A library's kernels may add in another order for another size, so that it is called for one sample at a time. Pictures are
  /// drawn so; in training, where samples meet in the weights' gradients anyway, larger calls are faster. (Gradients with respect
  /// to inputs are computed so too: a transposed convolution is one.)
  func separately<Result>(_ work: () throws -> Result) rethrows -> Result

  // MARK: Convolution and matrix products

  /// `y = convolution(x, weight) + bias + residual`: x `[N, H, W, I]`, weight `[O, I, KH, KW]`, bias `[O]`,
  /// residual and y `[N, OH, OW, O]`.
  func convolution(_ x: Tensor, weight: Tensor, bias: Tensor?, residual: Tensor?, _ window: ConvolutionWindow) -> Tensor
  /// The gradient with respect to x, of shape `inputShape`; plus `adding`, of that shape.
  func convolutionInputGradient(
    _ dy: Tensor, weight: Tensor, inputShape: Shape, _ window: ConvolutionWindow, adding: Tensor?
  ) -> Tensor
  /// Adds the gradients with respect to weight and bias to `weightGradient` and `biasGradient`.
  func convolutionWeightGradient(
    _ x: Tensor, _ dy: Tensor, into weightGradient: Tensor, bias biasGradient: Tensor?, _ window: ConvolutionWindow)

  /// `y = x · weightᵀ + bias + residual`: x `[…, I]`, weight `[O, I]`, bias `[O]`, y `[…, O]`.
  func linear(_ x: Tensor, weight: Tensor, bias: Tensor?, residual: Tensor?) -> Tensor
  /// `dx = dy · weight + adding`.
  func linearInputGradient(_ dy: Tensor, weight: Tensor, adding: Tensor?) -> Tensor
  /// Adds `dyᵀ · x` to `weightGradient`.
  func linearWeightGradient(_ x: Tensor, _ dy: Tensor, into weightGradient: Tensor)
  /// `c = scale · a · b`, added to c's contents when `accumulating`.
  func matmul(_ a: MatrixBatch, _ b: MatrixBatch, scale: Float, into c: MatrixBatch, accumulating: Bool)

  // MARK: Attention

  /// `softmax(q kᵀ / √d) v` for each head, over the keys that the mask shows (nil: all): q `[N, Tq, heads·d]`, k and v
  /// `[N, Tk, heads·d]`, y of q's shape. The statistics are for the gradient; nil where it needs none.
  ///
  /// However many tokens there are, no more than a block of their scores is kept, or those of heads that are small.
  func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: AttentionMask?)
    -> (y: Tensor, statistics: AttentionStatistics?)
  /// - Parameter statistics: those that ``attention(_:_:_:heads:mask:)`` has found; where they are needed and nil, they are
  ///   found again.
  func attentionGradient(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: AttentionMask?, statistics: AttentionStatistics?,
    dy: Tensor
  ) -> (dq: Tensor, dk: Tensor, dv: Tensor)
  /// Attention of each sample's tokens to each other, whose queries, keys and values lie side by side: qkv
  /// `[N, T, 3·heads·d]`, y `[N, T, heads·d]`.
  func selfAttention(_ qkv: Tensor, heads: Int, mask: AttentionMask?) -> (y: Tensor, statistics: AttentionStatistics?)
  func selfAttentionGradient(
    _ qkv: Tensor, heads: Int, mask: AttentionMask?, statistics: AttentionStatistics?, dy: Tensor
  ) -> Tensor

  // MARK: Normalisation and softmax

  /// `act(γ (x + shift − mean) / √(variance + ε) + β)` over groups of channels of each sample; see ``Normalization``.
  func normalize(_ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization)
    -> (y: Tensor, statistics: NormalizationStatistics)
  /// The same again, with the statistics found then.
  func normalize(
    _ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization,
    statistics: NormalizationStatistics
  ) -> Tensor
  /// The gradients with respect to x, plus `adding`, and shift; those with respect to γ and β are added to `gammaGradient` and
  /// `betaGradient`.
  func normalizeGradient(
    _ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization,
    statistics: NormalizationStatistics, dy: Tensor, adding: Tensor?, gammaGradient: Tensor?, betaGradient: Tensor?
  ) -> (dx: Tensor, dshift: Tensor?)
  /// Softmax over the innermost axis of `scale · x + mask`.
  func softmax(_ x: Tensor, scale: Float, mask: Tensor?) -> Tensor
  func softmaxGradient(_ y: Tensor, dy: Tensor, scale: Float) -> Tensor

  // MARK: Elementwise

  func fill(_ x: Tensor, with value: Float)
  /// Copies x's elements over those of y, which has as many and the same type.
  func copy(_ x: Tensor, into y: Tensor)
  func cast(_ x: Tensor, to type: ScalarType) -> Tensor
  /// `scale · byte + shift`.
  func fromBytes(_ bytes: [UInt8], shape: Shape, scale: Float, shift: Float, type: ScalarType) -> Tensor
  func apply(_ function: Activation, _ x: Tensor) -> Tensor
  func applyGradient(_ function: Activation, _ x: Tensor, dy: Tensor) -> Tensor
  /// `alpha · a + beta · b`, into a new tensor.
  func add(_ a: Tensor, _ b: Tensor, alpha: Float, beta: Float) -> Tensor
  /// `y += alpha · x`.
  func accumulate(_ x: Tensor, alpha: Float, into y: Tensor)
  func multiply(_ a: Tensor, _ b: Tensor) -> Tensor
  func affine(_ x: Tensor, scale: Float, shift: Float) -> Tensor
  func clamp(_ x: Tensor, low: Float, high: Float) -> Tensor
  /// Zeroes elements with probability p and scales the rest by 1 / (1 − p); the same draw gives the same elements.
  func dropout(_ x: Tensor, probability: Float, _ draw: RandomDraw) -> Tensor

  // MARK: Rows

  /// `x + row`: row `[C]` float32, C the innermost size.
  func addRow(_ x: Tensor, _ row: Tensor) -> Tensor
  /// `alpha[n] a[n] + beta[n] b[n]` for each n of the leading axis; alpha and beta float32 `[N]`.
  func scaledSum(_ a: Tensor, by alpha: Tensor, _ b: Tensor?, by beta: Tensor?) -> Tensor
  /// Adds the sum over all but the innermost axis to `into` (float32 `[C]`).
  func sumRows(_ x: Tensor, into sums: Tensor)
  /// The sum of each element of the leading axis: float32 `[N]`.
  func sumSamples(_ x: Tensor) -> Tensor
  /// Joins along the innermost axis.
  func concatenate(_ parts: [Tensor]) -> Tensor
  /// Elements `range` of the innermost axis.
  func slice(_ x: Tensor, _ range: Range<Int>) -> Tensor
  /// Rows of `table` (float32 `[K, C]`) at `indices` (int32 `[N]`); an index below 0 gives zeros.
  func gather(_ table: Tensor, _ indices: Tensor, type: ScalarType) -> Tensor
  func scatterAdd(_ dy: Tensor, _ indices: Tensor, into table: Tensor)
  /// Tokens of each sample's own: x `[N, T, C]` at indices (int32 `[N, K]`) as `[N, K, C]`; an index below 0 gives `filler`
  /// (float32 `[C]`), or zeros where that is nil.
  func gatherTokens(_ x: Tensor, _ indices: Tensor, filler: Tensor?) -> Tensor
  /// The gradient with respect to x, whose samples have `count` tokens; that of the filler is added to `fillerGradient`.
  func gatherTokensGradient(_ dy: Tensor, _ indices: Tensor, count: Int, fillerGradient: Tensor?) -> Tensor
  /// Images `[N, H, W, C]` as squares of pixels, row by row: `[N, H/p · W/p, p·p·C]`; p divides H and W.
  func patches(_ images: Tensor, size: Int) -> Tensor
  /// The images of `[N, H/p · W/p, p·p·C]`.
  func joinPatches(_ patches: Tensor, size: Int, height: Int, width: Int) -> Tensor

  // MARK: Resampling

  /// Images with a border of zeros, or, where an inset is negative, without their border.
  func pad(_ x: Tensor, _ insets: Insets) -> Tensor
  /// Images with a border of their own pixels, mirrored at the outermost row or column, which is not repeated: insets are 0 or
  /// more and less than height or width.
  func reflectionPad(_ x: Tensor, _ insets: Insets) -> Tensor
  /// The gradient with respect to the images without border: each pixel gets the sum over its mirror images.
  func reflectionPadGradient(_ dy: Tensor, _ insets: Insets) -> Tensor
  /// `[N, H, W, C]` to `[N, f·H, f·W, C]`, each pixel repeated.
  func upsampleNearest(_ x: Tensor, factor: Int) -> Tensor
  func upsampleNearestGradient(_ dy: Tensor, factor: Int) -> Tensor
  /// `[N, H, W, C]` to `[N, H/f, W/f, C]`; a remainder at the edge is left out.
  func averagePool(_ x: Tensor, factor: Int) -> Tensor
  func averagePoolGradient(_ dy: Tensor, inputShape: Shape, factor: Int) -> Tensor

  // MARK: Losses

  /// The sum of the loss over each sample: float32 `[N]`.
  func loss(_ kind: Loss, _ prediction: Tensor, _ target: Tensor) -> Tensor
  /// The gradient with respect to the prediction, each sample weighted: weights float32 `[N]`.
  func lossGradient(_ kind: Loss, _ prediction: Tensor, _ target: Tensor, weights: Tensor) -> Tensor
  /// `−Σ target · log softmax(logits)` over the innermost axis: logits `[…, C]`, target float32 of the same shape, whose rows
  /// are distributions (their sums are 1); float32 `[rows]`.
  func crossEntropy(_ logits: Tensor, _ target: Tensor) -> Tensor
  /// The negative logarithm of 8-bit levels' probability under normal distributions, summed over each sample: float32 `[N]`.
  ///
  /// Levels are 2/255 apart in [−1, 1]; the outermost take the tails. The distribution function is approximated by a tanh, and
  /// no probability is less than 1e-12 (improved-diffusion, `losses.py`). All three are float32 of one shape.
  func discretizedGaussian(_ levels: Tensor, mean: Tensor, logVariance: Tensor) -> Tensor
  /// Its gradients, each sample weighted: weights float32 `[N]`.
  func discretizedGaussianGradient(_ levels: Tensor, mean: Tensor, logVariance: Tensor, weights: Tensor)
    -> (mean: Tensor, logVariance: Tensor)

  // MARK: Parameters and random numbers

  /// One optimizer pass; `state` holds the buffers that ``OptimizerPass/stateCount`` asks for.
  func update(_ parameters: Tensor, gradients: Tensor, state: [Tensor], _ pass: OptimizerPass)
  /// `average += (1 − decay)(parameters − average)`.
  func movingAverage(_ parameters: Tensor, into average: Tensor, decay: Float)
  func sumOfSquares(_ x: Tensor) -> Double
  /// Fills a float32 tensor whose leading axis is samples: sample n takes the numbers of index `draw.index + n`.
  func fillUniform(_ x: Tensor, _ draw: RandomDraw)
  func fillNormal(_ x: Tensor, _ draw: RandomDraw)
}

extension Backend {
  /// The gradient without what the forward pass has found.
  public func attentionGradient(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: AttentionMask?, dy: Tensor)
    -> (dq: Tensor, dk: Tensor, dv: Tensor)
  {
    attentionGradient(q, k, v, heads: heads, mask: mask, statistics: nil, dy: dy)
  }

  /// Attention of all tokens to each other.
  public func selfAttention(_ qkv: Tensor, heads: Int) -> Tensor { selfAttention(qkv, heads: heads, mask: nil).y }

  /// Its gradient, without what the forward pass has found.
  public func selfAttentionGradient(_ qkv: Tensor, heads: Int, dy: Tensor) -> Tensor {
    selfAttentionGradient(qkv, heads: heads, mask: nil, statistics: nil, dy: dy)
  }
}

/// The backends by name.
public enum BackendKind: String, FieldChoice {
  case onednn
  case openblas
}

/// Stride and zero padding of a convolution, in pixels.
public struct ConvolutionWindow: Hashable, Sendable {
  public var strideHeight, strideWidth: Int
  public var top, left, bottom, right: Int

  public init(stride: Int = 1, padding: Int = 0) {
    self.init(stride: stride, top: padding, left: padding, bottom: padding, right: padding)
  }

  public init(stride: Int, top: Int, left: Int, bottom: Int, right: Int) {
    (strideHeight, strideWidth) = (stride, stride)
    (self.top, self.left, self.bottom, self.right) = (top, left, bottom, right)
  }

  /// The shape of a convolution's result.
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

/// Pixels to add at each side of an image; negative ones are cut off.
public struct Insets: Hashable, Sendable {
  public var top, left, bottom, right: Int

  public init(top: Int = 0, left: Int = 0, bottom: Int = 0, right: Int = 0) {
    (self.top, self.left, self.bottom, self.right) = (top, left, bottom, right)
  }

  public static prefix func - (insets: Insets) -> Insets {
    Insets(top: -insets.top, left: -insets.left, bottom: -insets.bottom, right: -insets.right)
  }
}

/// Elementwise functions.
public enum Activation: Hashable, Sendable {
  case identity, relu, silu, gelu, geluTanh, sigmoid, tanh, exp, square
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
/// A *sample* is an element of the leading axes with its own statistics, a *position* a place inside it: GroupNorm has
/// samples N, positions H·W and some groups of channels; LayerNorm has samples N·T, one position, one group.
public struct Normalization: Hashable, Sendable {
  public var groups: Int
  public var epsilon: Float
  public var activation: Activation
  /// Whether each row of channels is a sample of its own.
  public var perPosition: Bool

  public init(groups: Int, epsilon: Float, activation: Activation = .identity, perPosition: Bool = false) {
    self.groups = groups
    self.epsilon = epsilon
    self.activation = activation
    self.perPosition = perPosition
  }
}

/// Mean and 1/√(variance + ε) of each sample's groups: float32 `[samples, groups]`.
public struct NormalizationStatistics {
  public let mean: Tensor
  public let reciprocalDeviation: Tensor

  public init(mean: Tensor, reciprocalDeviation: Tensor) {
    (self.mean, self.reciprocalDeviation) = (mean, reciprocalDeviation)
  }
}

/// Which random numbers: the stream, the first sample's global index, and the draw (a step of the sampler, a layer).
public struct RandomDraw: Hashable, Sendable {
  public var seed: UInt64
  public var stream: RandomStream
  public var index: UInt64
  public var draw: UInt32

  public init(seed: UInt64, stream: RandomStream, index: UInt64 = 0, draw: UInt32 = 0) {
    self.seed = seed
    self.stream = stream
    self.index = index
    self.draw = draw
  }
}

/// One optimizer step's constants, for all of an arena.
public struct OptimizerPass: Sendable {
  public enum Method: Sendable {
    /// `isFirst`: momentum starts as the gradient itself.
    case sgd(momentum: Float, nesterov: Bool, isFirst: Bool)
    case rmsprop(alpha: Float, epsilon: Float, momentum: Float, centered: Bool)
    /// `step` counts from 1.
    case adam(beta1: Float, beta2: Float, epsilon: Float, step: Int, decoupledDecay: Bool)
  }

  public var method: Method
  public var learningRate: Float
  public var weightDecay: Float
  /// Multiplies every gradient first: clipping and accumulation.
  public var gradientScale: Float

  public init(_ method: Method, learningRate: Float, weightDecay: Float = 0, gradientScale: Float = 1) {
    self.method = method
    self.learningRate = learningRate
    self.weightDecay = weightDecay
    self.gradientScale = gradientScale
  }

  /// How many buffers of the parameters' size the method keeps.
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
  /// Two batch axes; absent ones are 1.
  public let batch: (Int, Int)
  public let rows, columns: Int
  /// Steps between neighbours, in elements.
  let strides: (batch0: Int, batch1: Int, row: Int, column: Int)

  init(_ tensor: Tensor, batch: (Int, Int), rows: Int, columns: Int, strides: (Int, Int, Int, Int)) {
    self.tensor = tensor
    self.batch = batch
    (self.rows, self.columns) = (rows, columns)
    self.strides = strides
  }

  /// The matrices of the two innermost axes, `[…, rows, columns]`.
  public init(_ tensor: Tensor) {
    require(tensor.rank >= 2, "a matrix has two axes: \(tensor.shape)")
    let (rows, columns) = (tensor.shape[-2], tensor.shape[-1])
    let batch = rows * columns == 0 ? 0 : tensor.count / (rows * columns)
    self.init(tensor, batch: (batch, 1), rows: rows, columns: columns, strides: (rows * columns, 0, columns, 1))
  }

  /// The matrices `[T, d]` of each sample and head in tokens `[N, T, heads·d]`.
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

  public var transposed: MatrixBatch {
    MatrixBatch(
      tensor, batch: batch, rows: columns, columns: rows,
      strides: (strides.batch0, strides.batch1, strides.column, strides.row))
  }
}
