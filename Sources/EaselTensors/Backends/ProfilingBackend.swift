/// A backend that passes every operation to another backend and records how long it took.
///
/// Tensors made while it lives belong to it, so that all operations on them pass through it. Operations inside another
/// operation (the products of attention) count as part of that one.
public final class ProfilingBackend: Backend {
  private let base: any Backend
  private var depth = 0
  private let clock = ContinuousClock()

  /// Whether operations are recorded now.
  public var isRecording = false
  public private(set) var records: [OperationRecord.Key: OperationRecord] = [:]
  /// The names of parameters, by their address and that of their gradients.
  private var names: [UnsafeMutableRawPointer: String] = [:]

  public init(_ base: any Backend) {
    self.base = base
    (base as? HostBackend)?.wrapper = self
  }

  /// Names the layer of operations with this parameter (or its gradient).
  public func name(_ parameter: Tensor, _ name: String) { names[parameter.pointer] = name }

  public func reset() { records = [:] }

  public var kind: BackendKind { base.kind }
  public var threads: ThreadPool { base.threads }
  public var takesBFloat16Weights: Bool { base.takesBFloat16Weights }
  public var memory: MemoryStatistics { base.memory }
  public func allocate(byteCount: Int) -> Storage { base.allocate(byteCount: byteCount) }
  public func release(_ pointer: UnsafeMutableRawPointer, byteCount: Int) {
    base.release(pointer, byteCount: byteCount)
  }
  public func forget(_ pointer: UnsafeMutableRawPointer, byteCount: Int) { base.forget(pointer, byteCount: byteCount) }

  public func separately<Result>(_ work: () throws -> Result) rethrows -> Result { try base.separately(work) }

  // MARK: Recording

  /// Runs an operation and records its time.
  ///
  /// - Parameters:
  ///   - shape: distinguishes this call from others of the same operation.
  ///   - parameter: the parameter, or its gradient, that names the layer.
  ///   - flops: floating-point operations of the plain algorithm.
  ///   - tensors: everything that is read or written besides the result, once each.
  ///   - alone: makes tensors of the same shapes, and the operation on them, to time it alone.
  private func measure<Result>(
    _ operation: String, _ shape: @autoclosure () -> String = "", parameter: Tensor? = nil, flops: Int = 0,
    _ tensors: [Tensor?], alone: OperationRecord.Repeat? = nil, result: (Result) -> [Tensor], _ body: () -> Result
  ) -> Result {
    guard isRecording, depth == 0 else { return body() }
    depth += 1
    defer { depth -= 1 }
    let start = clock.now
    let value = body()
    let seconds = (clock.now - start) / .seconds(1)
    let all = (tensors + result(value)).compactMap { $0 }
    let layer = parameter.flatMap { names[$0.pointer] } ?? ""
    let type = all.first { $0.type != .int32 }?.type ?? .float32
    let key = OperationRecord.Key(operation: operation, layer: layer, shape: shape(), type: type)
    let bytes = all.reduce(0) { $0 + $1.count * $1.type.byteCount }
    records[key, default: OperationRecord(flops: flops, bytes: bytes, alone: alone)].seconds.append(seconds)
    return value
  }

  private func measure(
    _ operation: String, _ shape: @autoclosure () -> String = "", parameter: Tensor? = nil, flops: Int = 0,
    _ tensors: [Tensor?], alone: OperationRecord.Repeat? = nil, _ body: () -> Tensor
  ) -> Tensor {
    measure(
      operation, shape(), parameter: parameter, flops: flops, tensors, alone: alone, result: { [$0] }, body)
  }

  private func measure(
    _ operation: String, _ shape: @autoclosure () -> String = "", parameter: Tensor? = nil, flops: Int = 0,
    _ tensors: [Tensor?], alone: OperationRecord.Repeat? = nil, _ body: () -> Void
  ) {
    measure(operation, shape(), parameter: parameter, flops: flops, tensors, alone: alone, result: { _ in [] }, body)
  }

  // MARK: Convolution and matrix products

  private func convolutionFlops(_ output: Shape, _ weight: Shape) -> Int {
    2 * output.count * weight[1] * weight[2] * weight[3]
  }

  private func text(_ input: Shape, _ weight: Shape, _ window: ConvolutionWindow) -> String {
    "\(input) \(weight[2])×\(weight[3])/\(window.strideHeight) → \(weight[0])"
  }

  public func convolution(
    _ x: Tensor, weight: Tensor, bias: Tensor?, residual: Tensor?, _ window: ConvolutionWindow
  ) -> Tensor {
    let output = window.outputShape(input: x.shape, weight: weight.shape)
    let (shape, type, kernel, adds) = (x.shape, x.type, weight.shape, residual != nil)
    return measure(
      "convolution", text(x.shape, weight.shape, window), parameter: weight,
      flops: convolutionFlops(output, weight.shape), [x, weight, residual],
      alone: { backend in
        let (x, weight) = (backend.sample(shape, type), backend.sample(kernel, .float32))
        let residual = adds ? backend.sample(output, type) : nil
        return {
          weight.storage.markModified()
          _ = backend.convolution(x, weight: weight, bias: nil, residual: residual, window)
        }
      },
      { base.convolution(x, weight: weight, bias: bias, residual: residual, window) })
  }

  public func convolutionInputGradient(
    _ dy: Tensor, weight: Tensor, inputShape: Shape, _ window: ConvolutionWindow, adding: Tensor?
  ) -> Tensor {
    let (shape, type, kernel) = (dy.shape, dy.type, weight.shape)
    return measure(
      "convolution dx", text(inputShape, weight.shape, window), parameter: weight,
      flops: convolutionFlops(dy.shape, weight.shape), [dy, weight, adding],
      alone: { backend in
        let (dy, weight) = (backend.sample(shape, type), backend.sample(kernel, .float32))
        return {
          weight.storage.markModified()
          _ = backend.convolutionInputGradient(dy, weight: weight, inputShape: inputShape, window, adding: nil)
        }
      },
      { base.convolutionInputGradient(dy, weight: weight, inputShape: inputShape, window, adding: adding) })
  }

  public func convolutionWeightGradient(
    _ x: Tensor, _ dy: Tensor, into weightGradient: Tensor, bias biasGradient: Tensor?, _ window: ConvolutionWindow
  ) {
    let (shape, output, type, kernel) = (x.shape, dy.shape, x.type, weightGradient.shape)
    measure(
      "convolution dw", text(x.shape, weightGradient.shape, window), parameter: weightGradient,
      flops: convolutionFlops(dy.shape, weightGradient.shape), [x, dy, weightGradient, weightGradient],
      alone: { backend in
        let (x, dy) = (backend.sample(shape, type), backend.sample(output, type))
        let gradient = backend.sample(kernel, .float32)
        return { backend.convolutionWeightGradient(x, dy, into: gradient, bias: nil, window) }
      },
      { base.convolutionWeightGradient(x, dy, into: weightGradient, bias: biasGradient, window) })
  }

  public func linear(_ x: Tensor, weight: Tensor, bias: Tensor?, residual: Tensor?) -> Tensor {
    let (shape, type, kernel) = (x.shape, x.type, weight.shape)
    return measure(
      "linear", "\(x.shape) → \(weight.shape[0])", parameter: weight, flops: 2 * x.count * weight.shape[0],
      [x, weight, residual],
      alone: { backend in
        let (x, weight) = (backend.sample(shape, type), backend.sample(kernel, .float32))
        return {
          weight.storage.markModified()
          _ = backend.linear(x, weight: weight, bias: nil, residual: nil)
        }
      },
      { base.linear(x, weight: weight, bias: bias, residual: residual) })
  }

  public func linearInputGradient(_ dy: Tensor, weight: Tensor, adding: Tensor?) -> Tensor {
    let (shape, type, kernel) = (dy.shape, dy.type, weight.shape)
    return measure(
      "linear dx", "\(dy.shape) → \(weight.shape[1])", parameter: weight, flops: 2 * dy.count * weight.shape[1],
      [dy, weight, adding],
      alone: { backend in
        let (dy, weight) = (backend.sample(shape, type), backend.sample(kernel, .float32))
        return {
          weight.storage.markModified()
          _ = backend.linearInputGradient(dy, weight: weight, adding: nil)
        }
      },
      { base.linearInputGradient(dy, weight: weight, adding: adding) })
  }

  public func linearWeightGradient(_ x: Tensor, _ dy: Tensor, into weightGradient: Tensor) {
    let (shape, output, type, kernel) = (x.shape, dy.shape, x.type, weightGradient.shape)
    measure(
      "linear dw", "\(x.shape) → \(weightGradient.shape[0])", parameter: weightGradient,
      flops: 2 * x.count * weightGradient.shape[0], [x, dy, weightGradient, weightGradient],
      alone: { backend in
        let (x, dy) = (backend.sample(shape, type), backend.sample(output, type))
        let gradient = backend.sample(kernel, .float32)
        return { backend.linearWeightGradient(x, dy, into: gradient) }
      },
      { base.linearWeightGradient(x, dy, into: weightGradient) })
  }

  public func matmul(_ a: MatrixBatch, _ b: MatrixBatch, scale: Float, into c: MatrixBatch, accumulating: Bool) {
    measure(
      "matmul", "\(c.batch.0)×\(c.batch.1) of \(a.rows)×\(a.columns)×\(b.columns)",
      flops: 2 * c.batch.0 * c.batch.1 * a.rows * a.columns * b.columns, [a.tensor, b.tensor, c.tensor],
      { base.matmul(a, b, scale: scale, into: c, accumulating: accumulating) })
  }

  // MARK: Attention

  private func text(_ samples: Int, heads: Int, queries: Int, keys: Int, width: Int, _ mask: AttentionMask?) -> String {
    "\(samples)×\(heads) of \(queries)×\(keys), width \(width / heads)\(mask == nil ? "" : ", masked")"
  }

  private func text(_ q: Tensor, _ k: Tensor, heads: Int, _ mask: AttentionMask?) -> String {
    text(q.shape[0], heads: heads, queries: q.shape[1], keys: k.shape[1], width: q.shape[2], mask)
  }

  private func text(_ qkv: Tensor, heads: Int, _ mask: AttentionMask?) -> String {
    text(qkv.shape[0], heads: heads, queries: qkv.shape[1], keys: qkv.shape[1], width: qkv.shape[2] / 3, mask)
  }

  /// Twice the multiplications of one matrix product over the pairs that are not masked.
  private func flops(_ samples: Int, queries: Int, keys: Int, width: Int, _ mask: AttentionMask?) -> Int {
    2 * width * (mask?.pairs(samples: samples, queries: queries, keys: keys) ?? samples * queries * keys)
  }

  public func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: AttentionMask?)
    -> (y: Tensor, statistics: AttentionStatistics?)
  {
    measure(
      "attention", text(q, k, heads: heads, mask),
      flops: 2 * flops(q.shape[0], queries: q.shape[1], keys: k.shape[1], width: q.shape[2], mask), [q, k, v],
      result: { [$0.y] }, { base.attention(q, k, v, heads: heads, mask: mask) })
  }

  public func attentionGradient(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: AttentionMask?, statistics: AttentionStatistics?,
    dy: Tensor
  ) -> (dq: Tensor, dk: Tensor, dv: Tensor) {
    measure(
      "attention gradient", text(q, k, heads: heads, mask),
      flops: 5 * flops(q.shape[0], queries: q.shape[1], keys: k.shape[1], width: q.shape[2], mask),
      [q, k, v, statistics?.y, dy], result: { [$0.dq, $0.dk, $0.dv] },
      { base.attentionGradient(q, k, v, heads: heads, mask: mask, statistics: statistics, dy: dy) })
  }

  public func selfAttention(_ qkv: Tensor, heads: Int, mask: AttentionMask?)
    -> (y: Tensor, statistics: AttentionStatistics?)
  {
    measure(
      "attention", text(qkv, heads: heads, mask),
      flops: 2 * flops(qkv.shape[0], queries: qkv.shape[1], keys: qkv.shape[1], width: qkv.shape[2] / 3, mask), [qkv],
      result: { [$0.y] }, { base.selfAttention(qkv, heads: heads, mask: mask) })
  }

  public func selfAttentionGradient(
    _ qkv: Tensor, heads: Int, mask: AttentionMask?, statistics: AttentionStatistics?, dy: Tensor
  ) -> Tensor {
    measure(
      "attention gradient", text(qkv, heads: heads, mask),
      flops: 5 * flops(qkv.shape[0], queries: qkv.shape[1], keys: qkv.shape[1], width: qkv.shape[2] / 3, mask),
      [qkv, statistics?.y, dy],
      { base.selfAttentionGradient(qkv, heads: heads, mask: mask, statistics: statistics, dy: dy) })
  }

  // MARK: Normalisation and softmax

  public func normalize(_ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization)
    -> (y: Tensor, statistics: NormalizationStatistics)
  {
    measure(
      "normalize", "\(x.shape)", parameter: gamma, [x], result: { [$0.y] },
      {
        base.normalize(x, shift: shift, gamma: gamma, beta: beta, normalization)
      })
  }

  public func normalize(
    _ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization,
    statistics: NormalizationStatistics
  ) -> Tensor {
    measure("normalize again", "\(x.shape)", parameter: gamma, [x]) {
      base.normalize(x, shift: shift, gamma: gamma, beta: beta, normalization, statistics: statistics)
    }
  }

  public func normalizeGradient(
    _ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization,
    statistics: NormalizationStatistics, dy: Tensor, adding: Tensor?, gammaGradient: Tensor?, betaGradient: Tensor?
  ) -> (dx: Tensor, dshift: Tensor?) {
    measure(
      "normalize gradient", "\(x.shape)", parameter: gamma, [x, dy, adding], result: { [$0.dx] },
      {
        base.normalizeGradient(
          x, shift: shift, gamma: gamma, beta: beta, normalization, statistics: statistics, dy: dy, adding: adding,
          gammaGradient: gammaGradient, betaGradient: betaGradient)
      })
  }

  public func softmax(_ x: Tensor, scale: Float, mask: Tensor?) -> Tensor {
    measure("softmax", "\(x.shape)", [x]) { base.softmax(x, scale: scale, mask: mask) }
  }

  public func softmaxGradient(_ y: Tensor, dy: Tensor, scale: Float) -> Tensor {
    measure("softmax gradient", "\(y.shape)", [y, dy]) { base.softmaxGradient(y, dy: dy, scale: scale) }
  }

  // MARK: Elementwise

  public func fill(_ x: Tensor, with value: Float) {
    measure("fill", "\(x.shape)", [x]) { base.fill(x, with: value) }
  }

  public func copy(_ x: Tensor, into y: Tensor) {
    measure("copy", "\(x.shape)", [x, y]) { base.copy(x, into: y) }
  }

  public func cast(_ x: Tensor, to type: ScalarType) -> Tensor {
    measure("cast", "\(x.shape)", [x]) { base.cast(x, to: type) }
  }

  public func fromBytes(_ bytes: [UInt8], shape: Shape, scale: Float, shift: Float, type: ScalarType) -> Tensor {
    measure("from bytes", "\(shape)", []) {
      base.fromBytes(bytes, shape: shape, scale: scale, shift: shift, type: type)
    }
  }

  public func apply(_ function: Activation, _ x: Tensor) -> Tensor {
    measure("\(function)", "\(x.shape)", [x]) { base.apply(function, x) }
  }

  public func applyGradient(_ function: Activation, _ x: Tensor, dy: Tensor) -> Tensor {
    measure("\(function) gradient", "\(x.shape)", [x, dy]) { base.applyGradient(function, x, dy: dy) }
  }

  public func add(_ a: Tensor, _ b: Tensor, alpha: Float, beta: Float) -> Tensor {
    measure("add", "\(a.shape)", [a, b]) { base.add(a, b, alpha: alpha, beta: beta) }
  }

  public func accumulate(_ x: Tensor, alpha: Float, into y: Tensor) {
    measure("accumulate", "\(x.shape)", [x, y, y]) { base.accumulate(x, alpha: alpha, into: y) }
  }

  public func multiply(_ a: Tensor, _ b: Tensor) -> Tensor {
    measure("multiply", "\(a.shape)", [a, b]) { base.multiply(a, b) }
  }

  public func affine(_ x: Tensor, scale: Float, shift: Float) -> Tensor {
    measure("affine", "\(x.shape)", [x]) { base.affine(x, scale: scale, shift: shift) }
  }

  public func clamp(_ x: Tensor, low: Float, high: Float) -> Tensor {
    measure("clamp", "\(x.shape)", [x]) { base.clamp(x, low: low, high: high) }
  }

  public func dropout(_ x: Tensor, probability: Float, _ draw: RandomDraw) -> Tensor {
    measure("dropout", "\(x.shape)", [x]) { base.dropout(x, probability: probability, draw) }
  }

  // MARK: Rows

  public func addRow(_ x: Tensor, _ row: Tensor) -> Tensor {
    measure("add row", "\(x.shape)", [x]) { base.addRow(x, row) }
  }

  public func scaledSum(_ a: Tensor, by alpha: Tensor, _ b: Tensor?, by beta: Tensor?) -> Tensor {
    measure("scaledSum", "\(a.shape)", [a, b]) { base.scaledSum(a, by: alpha, b, by: beta) }
  }

  public func sumRows(_ x: Tensor, into sums: Tensor) {
    measure("sum rows", "\(x.shape)", [x]) { base.sumRows(x, into: sums) }
  }

  public func sumSamples(_ x: Tensor) -> Tensor {
    measure("sum samples", "\(x.shape)", [x]) { base.sumSamples(x) }
  }

  public func concatenate(_ parts: [Tensor]) -> Tensor {
    measure("concatenate", parts.map { "\($0.shape)" }.joined(separator: " "), parts) { base.concatenate(parts) }
  }

  public func slice(_ x: Tensor, _ range: Range<Int>) -> Tensor {
    // Only the slice of the tensor is read.
    let part = x.count / max(1, x.shape.last) * range.count
    return measure("slice", "\(x.shape) \(range)", [x.reshaped([-1])[0..<part]]) { base.slice(x, range) }
  }

  public func gather(_ table: Tensor, _ indices: Tensor, type: ScalarType) -> Tensor {
    measure("gather", "\(table.shape)", parameter: table, []) { base.gather(table, indices, type: type) }
  }

  public func scatterAdd(_ dy: Tensor, _ indices: Tensor, into table: Tensor) {
    measure("scatter add", "\(table.shape)", parameter: table, [dy]) { base.scatterAdd(dy, indices, into: table) }
  }

  public func gatherTokens(_ x: Tensor, _ indices: Tensor, filler: Tensor?) -> Tensor {
    measure("gather tokens", "\(x.shape) \(indices.shape)", [x]) { base.gatherTokens(x, indices, filler: filler) }
  }

  public func gatherTokensGradient(_ dy: Tensor, _ indices: Tensor, count: Int, fillerGradient: Tensor?) -> Tensor {
    measure("gather tokens gradient", "\(dy.shape) \(count)", [dy]) {
      base.gatherTokensGradient(dy, indices, count: count, fillerGradient: fillerGradient)
    }
  }

  public func patches(_ images: Tensor, size: Int) -> Tensor {
    measure("patches", "\(images.shape) \(size)", [images]) { base.patches(images, size: size) }
  }

  public func joinPatches(_ patches: Tensor, size: Int, height: Int, width: Int) -> Tensor {
    measure("join patches", "\(patches.shape) \(size)", [patches]) {
      base.joinPatches(patches, size: size, height: height, width: width)
    }
  }

  // MARK: Resampling

  public func pad(_ x: Tensor, _ insets: Insets) -> Tensor {
    measure("pad", "\(x.shape)", [x]) { base.pad(x, insets) }
  }

  public func reflectionPad(_ x: Tensor, _ insets: Insets) -> Tensor {
    measure("reflection pad", "\(x.shape)", [x]) { base.reflectionPad(x, insets) }
  }

  public func reflectionPadGradient(_ dy: Tensor, _ insets: Insets) -> Tensor {
    measure("reflection pad gradient", "\(dy.shape)", [dy]) { base.reflectionPadGradient(dy, insets) }
  }

  public func upsampleNearest(_ x: Tensor, factor: Int) -> Tensor {
    measure("upsample", "\(x.shape)", [x]) { base.upsampleNearest(x, factor: factor) }
  }

  public func upsampleNearestGradient(_ dy: Tensor, factor: Int) -> Tensor {
    measure("upsample gradient", "\(dy.shape)", [dy]) { base.upsampleNearestGradient(dy, factor: factor) }
  }

  public func averagePool(_ x: Tensor, factor: Int) -> Tensor {
    measure("average pool", "\(x.shape)", [x]) { base.averagePool(x, factor: factor) }
  }

  public func averagePoolGradient(_ dy: Tensor, inputShape: Shape, factor: Int) -> Tensor {
    measure("average pool gradient", "\(inputShape)", [dy]) {
      base.averagePoolGradient(dy, inputShape: inputShape, factor: factor)
    }
  }

  // MARK: Losses

  public func loss(_ kind: Loss, _ prediction: Tensor, _ target: Tensor) -> Tensor {
    measure("loss", "\(prediction.shape)", [prediction, target]) { base.loss(kind, prediction, target) }
  }

  public func lossGradient(_ kind: Loss, _ prediction: Tensor, _ target: Tensor, weights: Tensor) -> Tensor {
    measure("loss gradient", "\(prediction.shape)", [prediction, target]) {
      base.lossGradient(kind, prediction, target, weights: weights)
    }
  }

  public func crossEntropy(_ logits: Tensor, _ target: Tensor) -> Tensor {
    measure("cross-entropy", "\(logits.shape)", [logits, target]) { base.crossEntropy(logits, target) }
  }

  public func discretizedGaussian(_ levels: Tensor, mean: Tensor, logVariance: Tensor) -> Tensor {
    measure("discretised Gaussian", "\(levels.shape)", [levels, mean, logVariance]) {
      base.discretizedGaussian(levels, mean: mean, logVariance: logVariance)
    }
  }

  public func discretizedGaussianGradient(_ levels: Tensor, mean: Tensor, logVariance: Tensor, weights: Tensor)
    -> (mean: Tensor, logVariance: Tensor)
  {
    measure(
      "discretised Gaussian's gradient", "\(levels.shape)", [levels, mean, logVariance],
      result: { [$0.mean, $0.logVariance] },
      { base.discretizedGaussianGradient(levels, mean: mean, logVariance: logVariance, weights: weights) })
  }

  // MARK: Parameters and random numbers

  public func update(_ parameters: Tensor, gradients: Tensor, state: [Tensor], _ pass: OptimizerPass) {
    measure("optimizer", "\(parameters.shape)", [parameters, parameters, gradients] + state + state) {
      base.update(parameters, gradients: gradients, state: state, pass)
    }
  }

  public func movingAverage(_ parameters: Tensor, into average: Tensor, decay: Float) {
    measure("moving average", "\(parameters.shape)", [parameters, average, average]) {
      base.movingAverage(parameters, into: average, decay: decay)
    }
  }

  public func sumOfSquares(_ x: Tensor) -> Double {
    measure("sum of squares", "\(x.shape)", [x], result: { _ in [] }, { base.sumOfSquares(x) })
  }

  public func fillUniform(_ x: Tensor, _ draw: RandomDraw) {
    measure("uniform numbers", "\(x.shape)", [x]) { base.fillUniform(x, draw) }
  }

  public func fillNormal(_ x: Tensor, _ draw: RandomDraw) {
    measure("normal numbers", "\(x.shape)", [x]) { base.fillNormal(x, draw) }
  }
}

/// How long the calls of one operation took, for one shape in one layer.
public struct OperationRecord {
  /// Makes tensors like those of the call and returns the operation on them. Parameters change between calls, as in
  /// training.
  public typealias Repeat = (any Backend) -> () -> Void

  public struct Key: Hashable, Sendable {
    public let operation: String
    /// The parameter that took part; empty if there was none.
    public let layer: String
    public let shape: String
    public let type: ScalarType
  }

  /// For one call: the floating-point operations of the plain algorithm, and the bytes read and written, once each.
  public let flops, bytes: Int
  /// For convolutions and matrix products.
  public let alone: Repeat?
  /// The seconds of each call.
  public var seconds: [Double] = []

  init(flops: Int, bytes: Int, alone: Repeat?) {
    (self.flops, self.bytes, self.alone) = (flops, bytes, alone)
  }
}

extension Backend {
  /// A tensor of numbers between −1 and 1, for timing.
  public func sample(_ shape: Shape, _ type: ScalarType) -> Tensor {
    let numbers = Tensor(uninitialized: shape, on: self)
    fillUniform(numbers.reshaped([1, -1]), RandomDraw(seed: 0, stream: .noise))
    return affine(numbers, scale: 2, shift: -1).cast(to: type)
  }
}
