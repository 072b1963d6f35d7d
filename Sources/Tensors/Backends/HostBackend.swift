import CKernels
import Foundation

/// What the backends in the host's memory share: storage, and every operation but convolutions and matrix products.
///
/// Each operation splits its outermost independent axis over the pool and calls a kernel of `CKernels` on every part.
public class HostBackend {
  public let threads: ThreadPool
  let kernels: UnsafePointer<easel_kernels>
  private let pool = MemoryPool()

  /// Elements below which an elementwise pass stays on one thread.
  let elementGrain = 16_384

  init(on threads: ThreadPool, instructionSet: InstructionSet) {
    self.threads = threads
    kernels = easel_kernels_for(instructionSet.rawISA)
  }

  /// This object as the protocol its subclasses conform to.
  var asBackend: any Backend {
    guard let backend = self as? any Backend else { fatalError("\(type(of: self)) is no Backend") }
    return backend
  }

  public var memory: MemoryStatistics { pool.statistics }

  public func allocate(byteCount: Int) -> Storage {
    Storage(pointer: pool.allocate(byteCount: byteCount), byteCount: byteCount, backend: asBackend)
  }

  public func release(_ pointer: UnsafeMutableRawPointer, byteCount: Int, wasPersistent: Bool) {
    pool.release(pointer, byteCount: byteCount)
  }

  func empty(_ shape: Shape, _ type: ScalarType) -> Tensor { Tensor(uninitialized: shape, type: type, on: asBackend) }

  /// The kernels for a type of activations.
  func typed(_ type: ScalarType) -> easel_typed_kernels {
    switch type {
    case .float32: kernels.pointee.float32
    case .bfloat16: kernels.pointee.bfloat16
    case .int32: fatalShape("activations are float32 or bfloat16, not int32")
    }
  }

  /// Runs an elementwise kernel over all of a tensor: `body` gets the first element's number and the count.
  func forEachElement(of x: Tensor, _ body: (Int, Int) -> Void) {
    // Parts begin at multiples of 16 elements, so that no vector and no block of random numbers is cut.
    let blocks = (x.count + 15) / 16
    threads.split(blocks, grain: elementGrain / 16) { range, _ in
      body(range.lowerBound * 16, min(range.upperBound * 16, x.count) - range.lowerBound * 16)
    }
  }
}

extension Tensor {
  /// The address of an element.
  func at(_ element: Int) -> UnsafeMutableRawPointer { pointer + element * type.byteCount }
}

/// The instruction sets that kernels are compiled for.
public enum InstructionSet: String, Sendable, CaseIterable {
  case baseline, avx2, avx512

  /// The widest this processor has, unless `EASEL_ISA` names a lower one.
  public static var preferred: InstructionSet {
    guard let name = getenv("EASEL_ISA"), let named = InstructionSet(rawValue: String(cString: name)) else { return best }
    return available.contains(named) ? named : best
  }

  /// The widest this processor has.
  public static var best: InstructionSet {
    switch easel_best_isa() {
    case EASEL_AVX512: .avx512
    case EASEL_AVX2: .avx2
    default: .baseline
    }
  }

  /// Those this processor has, narrowest first.
  public static var available: [InstructionSet] {
    allCases.filter { $0.rawISA.rawValue <= best.rawISA.rawValue }
  }

  var rawISA: easel_isa {
    switch self {
    case .baseline: EASEL_BASELINE
    case .avx2: EASEL_AVX2
    case .avx512: EASEL_AVX512
    }
  }
}

// MARK: - Elementwise

extension HostBackend {
  public func fill(_ x: Tensor, with value: Float) {
    let kernel = typed(x.type).fill
    forEachElement(of: x) { first, count in kernel(count, value, x.at(first)) }
  }

  public func copy(_ x: Tensor, into y: Tensor) {
    require(x.count == y.count && x.type == y.type, "\(x.shape) \(x.type) copied into \(y.shape) \(y.type)")
    let size = x.type.byteCount
    forEachElement(of: x) { first, count in y.at(first).copyMemory(from: x.at(first), byteCount: count * size) }
  }

  public func cast(_ x: Tensor, to type: ScalarType) -> Tensor {
    let y = empty(x.shape, type)
    switch (x.type, type) {
    case (.float32, _):
      let kernel = typed(type).from_float
      forEachElement(of: x) { first, count in kernel(count, x.floats + first, y.at(first)) }
    case (_, .float32):
      let kernel = typed(x.type).to_float
      forEachElement(of: x) { first, count in kernel(count, x.at(first), y.floats + first) }
    default:
      fatalShape("no cast from \(x.type) to \(type)")
    }
    return y
  }

  public func fromBytes(_ bytes: [UInt8], shape: Shape, scale: Float, shift: Float, type: ScalarType) -> Tensor {
    require(bytes.count == shape.count, "\(bytes.count) bytes for \(shape)")
    let y = empty(shape, type)
    let kernel = typed(type).from_bytes
    bytes.withUnsafeBufferPointer { bytes in
      guard let base = bytes.baseAddress else { return }
      forEachElement(of: y) { first, count in kernel(count, scale, shift, base + first, y.at(first)) }
    }
    return y
  }

  public func apply(_ function: Activation, _ x: Tensor) -> Tensor {
    let y = empty(x.shape, x.type)
    let kernel = typed(x.type).unary
    forEachElement(of: x) { first, count in
      kernel(function.code, function.parameter, count, x.at(first), y.at(first))
    }
    return y
  }

  public func applyGradient(_ function: Activation, _ x: Tensor, dy: Tensor) -> Tensor {
    let dx = empty(x.shape, x.type)
    let kernel = typed(x.type).unary_backward
    forEachElement(of: x) { first, count in
      kernel(function.code, function.parameter, count, x.at(first), dy.at(first), dx.at(first))
    }
    return dx
  }

  private func add(_ a: Tensor, _ b: Tensor, alpha: Float, beta: Float, into y: Tensor) {
    require(a.count == b.count && a.type == b.type, "\(a.shape) \(a.type) + \(b.shape) \(b.type)")
    let kernel = typed(a.type).add
    forEachElement(of: a) { first, count in kernel(count, alpha, a.at(first), beta, b.at(first), y.at(first)) }
  }

  public func add(_ a: Tensor, _ b: Tensor, alpha: Float, beta: Float) -> Tensor {
    let y = empty(a.shape, a.type)
    add(a, b, alpha: alpha, beta: beta, into: y)
    return y
  }

  public func accumulate(_ x: Tensor, alpha: Float, into y: Tensor) { add(y, x, alpha: 1, beta: alpha, into: y) }

  public func multiply(_ a: Tensor, _ b: Tensor) -> Tensor {
    require(a.shape == b.shape && a.type == b.type, "\(a.shape) \(a.type) × \(b.shape) \(b.type)")
    let y = empty(a.shape, a.type)
    let kernel = typed(a.type).multiply
    forEachElement(of: a) { first, count in kernel(count, a.at(first), b.at(first), y.at(first)) }
    return y
  }

  public func affine(_ x: Tensor, scale: Float, shift: Float) -> Tensor {
    let y = empty(x.shape, x.type)
    let kernel = typed(x.type).affine
    forEachElement(of: x) { first, count in kernel(count, scale, shift, x.at(first), y.at(first)) }
    return y
  }

  public func clamp(_ x: Tensor, low: Float, high: Float) -> Tensor {
    let y = empty(x.shape, x.type)
    let kernel = typed(x.type).clamp
    forEachElement(of: x) { first, count in kernel(count, low, high, x.at(first), y.at(first)) }
    return y
  }

  public func dropout(_ x: Tensor, probability: Float, _ draw: RandomDraw) -> Tensor {
    require(x.rank > 0, "dropout works on samples of a leading axis")
    let y = empty(x.shape, x.type)
    let kernel = typed(x.type).dropout
    let size = x.shape[0] == 0 ? 0 : x.count / x.shape[0]
    threads.split(x.shape[0]) { samples, _ in
      for n in samples {
        var counter = draw.counter(sample: n)
        kernel(0, size, probability, draw.seed, &counter, x.at(n * size), y.at(n * size))
      }
    }
    return y
  }
}

extension Activation {
  var code: Int32 {
    let code =
      switch self {
      case .identity: EASEL_IDENTITY
      case .relu: EASEL_RELU
      case .leakyReLU: EASEL_LEAKY_RELU
      case .silu: EASEL_SILU
      case .gelu: EASEL_GELU
      case .geluTanh: EASEL_GELU_TANH
      case .sigmoid: EASEL_SIGMOID
      case .tanh: EASEL_TANH
      case .exp: EASEL_EXP
      case .square: EASEL_SQUARE
      }
    return Int32(code.rawValue)
  }

  var parameter: Float { if case .leakyReLU(let slope) = self { slope } else { 0 } }
}

extension Loss {
  var code: Int32 {
    let code =
      switch self {
      case .squaredError: EASEL_SQUARED_ERROR
      case .absoluteError: EASEL_ABSOLUTE_ERROR
      case .binaryCrossEntropyWithLogits: EASEL_BCE_WITH_LOGITS
      }
    return Int32(code.rawValue)
  }
}

// MARK: - Rows

extension HostBackend {
  /// Rows and columns of a tensor seen as a matrix whose columns are the innermost axis.
  private func matrix(_ x: Tensor) -> (rows: Int, columns: Int) {
    (x.shape.last == 0 ? 0 : x.count / x.shape.last, x.shape.last)
  }

  /// Samples of the leading axis and the size of each.
  private func samples(_ x: Tensor) -> (count: Int, size: Int) {
    let count = x.rank == 0 ? 1 : x.shape[0]
    return (count, count == 0 ? 0 : x.count / count)
  }

  private func forEachRow(_ rows: Int, _ columns: Int, _ body: (Range<Int>, Int) -> Void) {
    threads.split(rows, grain: max(1, elementGrain / max(1, columns)), body)
  }

  public func addRow(_ x: Tensor, _ row: Tensor) -> Tensor {
    let y = empty(x.shape, x.type)
    let (rows, columns) = matrix(x)
    require(row.count == columns, "row \(row.shape) for \(x.shape)")
    let kernel = typed(x.type).add_row
    forEachRow(rows, columns) { range, _ in
      let first = range.lowerBound * columns
      kernel(range.count, columns, x.at(first), row.floats, y.at(first))
    }
    return y
  }

  public func mix(_ a: Tensor, by alpha: Tensor, _ b: Tensor?, by beta: Tensor?) -> Tensor {
    let y = empty(a.shape, a.type)
    let (count, size) = samples(a)
    require(alpha.count == count && (beta?.count ?? count) == count, "weights \(alpha.shape) for \(a.shape)")
    require((b?.shape ?? a.shape) == a.shape && (b?.type ?? a.type) == a.type, "\(a.shape) mixed with another shape")
    let kernel = typed(a.type).scale_rows
    forEachRow(count, size) { range, _ in
      let (row, first) = (range.lowerBound, range.lowerBound * size)
      kernel(
        range.count, size, alpha.floats + row, a.at(first), beta.map { $0.floats + row }, b?.at(first), y.at(first))
    }
    return y
  }

  public func sumRows(_ x: Tensor, into sums: Tensor) {
    let (rows, columns) = matrix(x)
    require(sums.count == columns, "sums \(sums.shape) of \(x.shape)")
    let kernel = typed(x.type).sum_columns
    sumByPart(of: columns, parts: threads.parts(rows, grain: max(1, elementGrain / max(1, columns))), into: [sums]) {
      partial in
      forEachRow(rows, columns) { range, part in
        kernel(range.count, columns, x.at(range.lowerBound * columns), partial(part, 0))
      }
    }
  }

  /// Runs work whose parts each add to sums of their own, then adds those up in the parts' order, so that the result does
  /// not depend on which thread was first. `partial(part, k)` is the part's share of `targets[k]`, zero to begin with.
  private func sumByPart(
    of columns: Int, parts: Int, into targets: [Tensor], _ work: ((Int, Int) -> UnsafeMutablePointer<Float>) -> Void
  ) {
    let partials = empty([parts, targets.count, columns], .float32)
    fill(partials, with: 0)
    let base = partials.floats
    work { part, k in base + (part * targets.count + k) * columns }
    for part in 0..<parts {
      for (k, target) in targets.enumerated() {
        let sums = base + (part * targets.count + k) * columns
        kernels.pointee.float32.add(columns, 1, target.floats, 1, sums, target.floats)
      }
    }
  }

  public func sumSamples(_ x: Tensor) -> Tensor {
    let (count, size) = samples(x)
    let sums = empty([count], .float32)
    let kernel = typed(x.type).sum_rows
    forEachRow(count, size) { range, _ in
      kernel(range.count, size, x.at(range.lowerBound * size), sums.floats + range.lowerBound)
    }
    return sums
  }

  public func concatenate(_ parts: [Tensor]) -> Tensor {
    require(!parts.isEmpty, "nothing to concatenate")
    let columns = parts.reduce(0) { $0 + $1.shape.last }
    let y = empty(parts[0].shape.replacingLast(with: columns), parts[0].type)
    let rows = matrix(y).rows
    let kernel = typed(y.type).copy_rows
    for part in parts {
      // A part without channels has no rows to count.
      require(
        (matrix(part).rows == rows || part.shape.last == 0) && part.type == y.type,
        "\(part.shape) beside \(parts[0].shape)")
    }
    forEachRow(rows, columns) { range, _ in
      var start = 0
      for part in parts {
        let width = part.shape.last
        kernel(
          range.count, width, part.at(range.lowerBound * width), width, y.at(range.lowerBound * columns + start),
          columns, false)
        start += width
      }
    }
    return y
  }

  public func slice(_ x: Tensor, _ range: Range<Int>) -> Tensor {
    let (rows, columns) = matrix(x)
    require(range.lowerBound >= 0 && range.upperBound <= columns, "channels \(range) of \(x.shape)")
    let y = empty(x.shape.replacingLast(with: range.count), x.type)
    let kernel = typed(x.type).copy_rows
    forEachRow(rows, range.count) { part, _ in
      kernel(
        part.count, range.count, x.at(part.lowerBound * columns + range.lowerBound), columns,
        y.at(part.lowerBound * range.count), range.count, false)
    }
    return y
  }

  public func gather(_ table: Tensor, _ indices: Tensor, type: ScalarType) -> Tensor {
    let columns = table.shape[1]
    let y = empty([indices.count, columns], type)
    typed(type).gather(indices.count, columns, table.floats, checkedIndices(indices, below: table.shape[0]), y.pointer)
    return y
  }

  public func scatterAdd(_ dy: Tensor, _ indices: Tensor, into table: Tensor) {
    // On one thread: two samples may add to the same row.
    typed(dy.type).scatter_add(
      indices.count, table.shape[1], dy.pointer, checkedIndices(indices, below: table.shape[0]), table.floats)
  }

  private func checkedIndices(_ indices: Tensor, below limit: Int) -> UnsafePointer<Int32> {
    require(indices.type == .int32, "indices are int32, not \(indices.type)")
    let values = UnsafeBufferPointer(start: indices.pointer.assumingMemoryBound(to: Int32.self), count: indices.count)
    require(values.allSatisfy { $0 < limit }, "an index is not below \(limit)")
    return UnsafePointer(indices.pointer.assumingMemoryBound(to: Int32.self))
  }
}

// MARK: - Normalisation and softmax

extension HostBackend {
  /// A kernel's description of one sample, and how many samples there are.
  private func geometry(_ x: Tensor, _ n: Normalization) -> (samples: Int, sample: easel_norm) {
    let channels = x.shape.last
    require(channels % n.groups == 0, "\(channels) channels do not divide into \(n.groups) groups")
    let rows = matrix(x).rows
    let samples = n.perPosition ? rows : x.shape[0]
    let sample = easel_norm(
      positions: samples == 0 ? 0 : rows / samples, channels: channels, groups: n.groups, epsilon: n.epsilon,
      activation: n.activation.code, activation_parameter: n.activation.parameter)
    return (samples, sample)
  }

  public func normalize(_ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization)
    -> (y: Tensor, statistics: NormalizationStatistics)
  {
    let (samples, sample) = geometry(x, normalization)
    let (channels, groups) = (sample.channels, sample.groups)
    let size = sample.positions * channels
    require(shift.map { $0.count == samples * channels && $0.type == x.type } ?? true, "shift for \(x.shape)")
    let y = empty(x.shape, x.type)
    let mean = empty([samples, groups], .float32)
    let deviation = empty([samples, groups], .float32)
    let kernel = typed(x.type).norm
    let grain = max(1, elementGrain / max(1, size))
    let scratch = empty([threads.count, 2 * channels], .float32)
    threads.split(samples, grain: grain) { range, part in
      withUnsafePointer(to: sample) { sample in
        for n in range {
          kernel(
            sample, x.at(n * size), shift?.at(n * channels), gamma?.floats, beta?.floats, y.at(n * size),
            mean.floats + n * groups, deviation.floats + n * groups, scratch.floats + part * 2 * channels)
        }
      }
    }
    return (y, NormalizationStatistics(mean: mean, reciprocalDeviation: deviation))
  }

  public func normalizeGradient(
    _ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization,
    statistics: NormalizationStatistics, dy: Tensor, gammaGradient: Tensor?, betaGradient: Tensor?
  ) -> (dx: Tensor, dshift: Tensor?) {
    let (samples, sample) = geometry(x, normalization)
    let (channels, groups) = (sample.channels, sample.groups)
    let size = sample.positions * channels
    let dx = empty(x.shape, x.type)
    let dshift = shift.map { empty($0.shape, $0.type) }
    let kernel = typed(x.type).norm_backward
    let grain = max(1, elementGrain / max(1, size))
    let parts = threads.parts(samples, grain: grain)
    let scratch = empty([parts, 5 * channels], .float32)
    let targets = [gammaGradient, betaGradient].compactMap { $0 }
    sumByPart(of: channels, parts: parts, into: targets) { partial in
      threads.split(samples, grain: grain) { range, part in
        withUnsafePointer(to: sample) { sample in
          for n in range {
            kernel(
              sample, x.at(n * size), shift?.at(n * channels), gamma?.floats, beta?.floats,
              statistics.mean.floats + n * groups, statistics.reciprocalDeviation.floats + n * groups,
              dy.at(n * size), dx.at(n * size), gammaGradient.map { _ in partial(part, 0) },
              betaGradient.map { _ in partial(part, gammaGradient == nil ? 0 : 1) }, dshift?.at(n * channels),
              scratch.floats + part * 5 * channels)
          }
        }
      }
    }
    return (dx, dshift)
  }

  public func softmax(_ x: Tensor, scale: Float, mask: Tensor?) -> Tensor {
    let y = empty(x.shape, x.type)
    softmax(x, scale: scale, mask: mask, into: y)
    return y
  }

  private func softmax(_ x: Tensor, scale: Float, mask: Tensor?, into y: Tensor) {
    let (rows, columns) = matrix(x)
    require(mask.map { $0.count == columns } ?? true, "mask for \(x.shape)")
    let kernel = typed(x.type).softmax
    forEachRow(rows, columns) { range, _ in
      let first = range.lowerBound * columns
      kernel(range.count, columns, scale, x.at(first), mask?.floats, y.at(first))
    }
  }

  public func softmaxGradient(_ y: Tensor, dy: Tensor, scale: Float) -> Tensor {
    let dx = empty(y.shape, y.type)
    softmaxGradient(y, dy: dy, scale: scale, into: dx)
    return dx
  }

  private func softmaxGradient(_ y: Tensor, dy: Tensor, scale: Float, into dx: Tensor) {
    let (rows, columns) = matrix(y)
    let kernel = typed(y.type).softmax_backward
    forEachRow(rows, columns) { range, _ in
      let first = range.lowerBound * columns
      kernel(range.count, columns, scale, y.at(first), dy.at(first), dx.at(first))
    }
  }

  public func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: Tensor?) -> (y: Tensor, saved: Tensor) {
    require(q.shape[2] == k.shape[2] && k.shape == v.shape, "attention of \(q.shape), \(k.shape), \(v.shape)")
    let scores = empty([q.shape[0], heads, q.shape[1], k.shape[1]], q.type)
    let scale = 1 / Float(q.shape[2] / heads).squareRoot()
    let backend = asBackend
    backend.matmul(
      MatrixBatch(q, heads: heads), MatrixBatch(k, heads: heads).transposed, scale: 1,
      into: MatrixBatch(perHead: scores), accumulating: false)
    softmax(scores, scale: scale, mask: mask, into: scores)
    let y = empty(q.shape, q.type)
    backend.matmul(
      MatrixBatch(perHead: scores), MatrixBatch(v, heads: heads), scale: 1, into: MatrixBatch(y, heads: heads),
      accumulating: false)
    return (y, scores)
  }

  public func attentionGradient(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, saved: Tensor, dy: Tensor)
    -> (dq: Tensor, dk: Tensor, dv: Tensor)
  {
    let backend = asBackend
    let scale = 1 / Float(q.shape[2] / heads).squareRoot()
    let (dq, dk, dv) = (empty(q.shape, q.type), empty(k.shape, k.type), empty(v.shape, v.type))
    let probabilities = MatrixBatch(perHead: saved)
    let output = MatrixBatch(dy, heads: heads)
    backend.matmul(probabilities.transposed, output, scale: 1, into: MatrixBatch(dv, heads: heads), accumulating: false)
    let dscores = empty(saved.shape, saved.type)
    backend.matmul(
      output, MatrixBatch(v, heads: heads).transposed, scale: 1, into: MatrixBatch(perHead: dscores),
      accumulating: false)
    softmaxGradient(saved, dy: dscores, scale: scale, into: dscores)
    let scores = MatrixBatch(perHead: dscores)
    backend.matmul(
      scores, MatrixBatch(k, heads: heads), scale: 1, into: MatrixBatch(dq, heads: heads), accumulating: false)
    backend.matmul(
      scores.transposed, MatrixBatch(q, heads: heads), scale: 1, into: MatrixBatch(dk, heads: heads),
      accumulating: false)
    return (dq, dk, dv)
  }
}

// MARK: - Resampling

extension HostBackend {
  private typealias Resampler = @convention(c) (
    Int, Int, Int, Int, UnsafeRawPointer, UnsafeMutableRawPointer
  ) -> Void

  /// Applies a kernel to each image; `height` and `width` are those the kernel is told.
  private func resample(_ x: Tensor, into y: Tensor, height: Int, width: Int, factor: Int, _ kernel: Resampler) {
    let channels = x.shape[3]
    let (xSize, ySize) = (samples(x).size, samples(y).size)
    threads.split(x.shape[0], grain: max(1, elementGrain / max(1, ySize))) { range, _ in
      for n in range { kernel(height, width, channels, factor, x.at(n * xSize), y.at(n * ySize)) }
    }
  }

  public func pad(_ x: Tensor, _ insets: Insets) -> Tensor {
    let (height, width, channels) = (x.shape[1], x.shape[2], x.shape[3])
    let (rows, columns) = (height + insets.top + insets.bottom, width + insets.left + insets.right)
    require(rows > 0 && columns > 0, "\(insets) leaves nothing of \(x.shape)")
    let y = empty([x.shape[0], rows, columns, channels], x.type)
    fill(y, with: 0)
    let kernel = typed(x.type).copy_rows
    // The rows and columns of x that y shows.
    let shownRows = max(0, -insets.top)..<min(height, height + insets.bottom)
    let shownColumns = max(0, -insets.left)..<min(width, width + insets.right)
    threads.split(x.shape[0], grain: max(1, elementGrain / (rows * columns * channels))) { range, _ in
      for n in range {
        let source = ((n * height + shownRows.lowerBound) * width + shownColumns.lowerBound) * channels
        let target =
          ((n * rows + shownRows.lowerBound + insets.top) * columns + shownColumns.lowerBound + insets.left) * channels
        kernel(
          shownRows.count, shownColumns.count * channels, x.at(source), width * channels, y.at(target),
          columns * channels, false)
      }
    }
    return y
  }

  public func upsampleNearest(_ x: Tensor, factor: Int) -> Tensor {
    let y = empty([x.shape[0], x.shape[1] * factor, x.shape[2] * factor, x.shape[3]], x.type)
    resample(x, into: y, height: x.shape[1], width: x.shape[2], factor: factor, typed(x.type).upsample)
    return y
  }

  public func upsampleNearestGradient(_ dy: Tensor, factor: Int) -> Tensor {
    let dx = empty([dy.shape[0], dy.shape[1] / factor, dy.shape[2] / factor, dy.shape[3]], dy.type)
    resample(dy, into: dx, height: dx.shape[1], width: dx.shape[2], factor: factor, typed(dy.type).upsample_backward)
    return dx
  }

  public func averagePool(_ x: Tensor, factor: Int) -> Tensor {
    let y = empty([x.shape[0], x.shape[1] / factor, x.shape[2] / factor, x.shape[3]], x.type)
    resample(x, into: y, height: x.shape[1], width: x.shape[2], factor: factor, typed(x.type).average_pool)
    return y
  }

  public func averagePoolGradient(_ dy: Tensor, inputShape: Shape, factor: Int) -> Tensor {
    let dx = empty(inputShape, dy.type)
    resample(
      dy, into: dx, height: inputShape[1], width: inputShape[2], factor: factor, typed(dy.type).average_pool_backward)
    return dx
  }
}

// MARK: - Losses

extension HostBackend {
  public func loss(_ kind: Loss, _ prediction: Tensor, _ target: Tensor) -> Tensor {
    require(prediction.shape == target.shape, "prediction \(prediction.shape), target \(target.shape)")
    require(prediction.type == target.type, "prediction \(prediction.type), target \(target.type)")
    let (count, size) = samples(prediction)
    let losses = empty([count], .float32)
    let kernel = typed(prediction.type).loss
    forEachRow(count, size) { range, _ in
      let first = range.lowerBound * size
      kernel(
        kind.code, range.count, size, prediction.at(first), target.at(first), losses.floats + range.lowerBound)
    }
    return losses
  }

  public func lossGradient(_ kind: Loss, _ prediction: Tensor, _ target: Tensor, weights: Tensor) -> Tensor {
    let (count, size) = samples(prediction)
    let gradient = empty(prediction.shape, prediction.type)
    let kernel = typed(prediction.type).loss_backward
    forEachRow(count, size) { range, _ in
      let first = range.lowerBound * size
      kernel(
        kind.code, range.count, size, prediction.at(first), target.at(first), weights.floats + range.lowerBound,
        gradient.at(first))
    }
    return gradient
  }
}

// MARK: - Parameters and random numbers

extension HostBackend {
  public func update(_ parameters: Tensor, gradients: Tensor, state: [Tensor], _ pass: OptimizerPass) {
    require(state.count == pass.stateCount, "\(state.count) state buffers, \(pass.stateCount) expected")
    require(gradients.count == parameters.count, "\(gradients.count) gradients of \(parameters.count) parameters")
    let kernels = self.kernels.pointee
    var step = easel_step()
    step.learning_rate = pass.learningRate
    step.weight_decay = pass.weightDecay
    step.gradient_scale = pass.gradientScale
    switch pass.method {
    case .sgd(let momentum, let nesterov, let isFirst):
      (step.momentum, step.nesterov, step.first) = (momentum, nesterov, isFirst)
      forEachElement(of: parameters) { [step] first, count in
        withUnsafePointer(to: step) {
          kernels.sgd($0, count, parameters.floats + first, gradients.floats + first, state.first.map { $0.floats + first })
        }
      }
    case .rmsprop(let alpha, let epsilon, let momentum, let centered):
      (step.alpha, step.epsilon, step.momentum, step.centered) = (alpha, epsilon, momentum, centered)
      let average = centered ? state[1] : nil
      let velocity = momentum == 0 ? nil : state[state.count - 1]
      forEachElement(of: parameters) { [step] first, count in
        withUnsafePointer(to: step) {
          kernels.rmsprop(
            $0, count, parameters.floats + first, gradients.floats + first, state[0].floats + first,
            average.map { $0.floats + first }, velocity.map { $0.floats + first })
        }
      }
    case .adam(let beta1, let beta2, let epsilon, let number, let decoupled):
      (step.beta1, step.beta2, step.epsilon, step.decoupled) = (beta1, beta2, epsilon, decoupled)
      step.correction1 = Float(1 - pow(Double(beta1), Double(number)))
      step.correction2 = Float(1 - pow(Double(beta2), Double(number)))
      forEachElement(of: parameters) { [step] first, count in
        withUnsafePointer(to: step) {
          kernels.adam(
            $0, count, parameters.floats + first, gradients.floats + first, state[0].floats + first,
            state[1].floats + first)
        }
      }
    }
    parameters.storage.markModified()
  }

  public func movingAverage(_ parameters: Tensor, into average: Tensor, decay: Float) {
    let kernel = kernels.pointee.moving_average
    forEachElement(of: parameters) { first, count in
      kernel(count, decay, parameters.floats + first, average.floats + first)
    }
    average.storage.markModified()
  }

  public func sumOfSquares(_ x: Tensor) -> Double {
    let kernel = kernels.pointee.sum_of_squares
    let partials = Partials(threads.count)
    let blocks = (x.count + 15) / 16
    threads.split(blocks, grain: elementGrain / 16) { range, part in
      let first = range.lowerBound * 16
      partials.sums[part] = kernel(min(range.upperBound * 16, x.count) - first, x.floats + first)
    }
    return partials.sums.reduce(0, +)
  }

  /// One sum for each part; each part writes only its own.
  private final class Partials {
    let sums: UnsafeMutableBufferPointer<Double>
    init(_ count: Int) {
      sums = .allocate(capacity: count)
      sums.initialize(repeating: 0)
    }
    deinit { sums.deallocate() }
  }

  public func fillUniform(_ x: Tensor, _ draw: RandomDraw) { fillRandom(x, draw, kernels.pointee.uniform) }
  public func fillNormal(_ x: Tensor, _ draw: RandomDraw) { fillRandom(x, draw, kernels.pointee.normal) }

  private typealias Generator = @convention(c) (
    Int, Int, UInt64, UnsafePointer<UInt32>, UnsafeMutablePointer<Float>
  ) -> Void

  private func fillRandom(_ x: Tensor, _ draw: RandomDraw, _ generator: Generator) {
    let (count, size) = samples(x)
    threads.split(count, grain: max(1, 1024 / max(1, size))) { range, _ in
      for n in range {
        var counter = draw.counter(sample: n)
        generator(0, size, draw.seed, &counter, x.floats + n * size)
      }
    }
  }
}

extension RandomDraw {
  /// The three counter words that follow the position: see `SIMD4.sample`.
  func counter(sample: Int) -> [UInt32] {
    let counter = SIMD4<UInt32>.sample(
      position: 0, index: index &+ UInt64(sample), draw: draw, stream: stream.rawValue)
    return [counter.y, counter.z, counter.w]
  }
}
