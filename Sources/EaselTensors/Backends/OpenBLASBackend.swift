import CEaselOpenBLAS
import Foundation

/// Convolutions as im2col and SGEMM: float32 only, portable, and the reference with which tests compare oneDNN.
///
/// OpenBLAS runs single-threaded on each of the pool's threads; the pool divides the batch into parts.
public final class OpenBLASBackend: HostBackend, Backend {
  public var kind: BackendKind { .openblas }

  /// - Parameters:
  ///   - threads: the pool to compute with.
  ///   - instructionSet: the set of kernels to use.
  ///   - winograd: whether convolutions may use Winograd's method.
  public init(
    threads: ThreadPool = ThreadPool(), instructionSet: InstructionSet = .preferred, winograd: Bool = false
  ) {
    super.init(
      on: threads, instructionSet: instructionSet,
      winogradTypes: winograd ? [1: [.float32, .bfloat16], 2: [.float32, .bfloat16]] : [:])
    openblas_set_num_threads(1)
  }

  // MARK: Convolution

  public func convolution(
    _ x: Tensor, weight: Tensor, bias: Tensor?, residual: Tensor?, _ window: ConvolutionWindow
  ) -> Tensor {
    if let w = winograd(x.shape, weight: weight.shape, window, x.type) {
      return winogradConvolution(w, x, weight: weight, bias: bias, residual: residual)
    }
    if let n = narrow(x.shape, weight: weight.shape, window) {
      return narrowConvolution(n, x, weight: weight, bias: bias, residual: residual)
    }
    let y = empty(window.outputShape(input: x.shape, weight: weight.shape), .float32)
    let lowering = Lowering(x.shape, weight.shape, y.shape, window)
    let matrix = lowering.matrix(of: weight)
    let columns = empty([threads.count, lowering.columnCount], .float32)
    threads.split(x.shape[0]) { range, turn in
      let scratch = columns.floats + turn.worker * lowering.columnCount
      for n in range {
        let target = y.floats + n * lowering.outputSize
        lowering.gather(x.floats + n * lowering.inputSize, into: scratch)
        var accumulating = false
        if let residual {
          memcpy(target, residual.floats + n * lowering.outputSize, lowering.outputSize * 4)
          accumulating = true
        }
        sgemm(
          lowering.positions, lowering.outputChannels, lowering.patch, scratch, lowering.patch, false, matrix,
          lowering.patch, true, target, lowering.outputChannels, 1, accumulating)
      }
    }
    return bias.map { addRow(y, $0) } ?? y
  }

  public func convolutionInputGradient(
    _ dy: Tensor, weight: Tensor, inputShape: Shape, _ window: ConvolutionWindow, adding: Tensor?
  ) -> Tensor {
    if let w = winogradForInput(inputShape, weight: weight.shape, window, dy.type) {
      return winogradInputGradient(w, dy, weight: weight, adding: adding)
    }
    if let n = narrowGradient(inputShape, weight: weight.shape, window) {
      return narrowInputGradient(n, dy, weight: weight, adding: adding)
    }
    let dx = empty(inputShape, .float32)
    fill(dx, with: 0)
    let lowering = Lowering(inputShape, weight.shape, dy.shape, window)
    let matrix = lowering.matrix(of: weight)
    let columns = empty([threads.count, lowering.columnCount], .float32)
    threads.split(inputShape[0]) { range, turn in
      let scratch = columns.floats + turn.worker * lowering.columnCount
      for n in range {
        sgemm(
          lowering.positions, lowering.patch, lowering.outputChannels, dy.floats + n * lowering.outputSize,
          lowering.outputChannels, false, matrix, lowering.patch, false, scratch, lowering.patch, 1, false)
        lowering.scatter(scratch, into: dx.floats + n * lowering.inputSize)
      }
    }
    if let adding { accumulate(adding, alpha: 1, into: dx) }
    return dx
  }

  public func convolutionWeightGradient(
    _ x: Tensor, _ dy: Tensor, into weightGradient: Tensor, bias biasGradient: Tensor?, _ window: ConvolutionWindow
  ) {
    if let w = winogradForWeights(x.shape, weight: weightGradient.shape, window, x.type) {
      return winogradWeightGradient(w, x, dy, into: weightGradient, bias: biasGradient)
    }
    if let n = narrow(x.shape, weight: weightGradient.shape, window) {
      return narrowWeightGradient(n, x, dy, into: weightGradient, bias: biasGradient)
    }
    let lowering = Lowering(x.shape, weightGradient.shape, dy.shape, window)
    let size = weightGradient.count
    let columns = empty([threads.count, lowering.columnCount], .float32)
    let parts = ThreadPool.parts(x.shape[0], most: HostBackend.mostSums)
    let partials = empty([parts, size], .float32)
    fill(partials, with: 0)
    threads.split(x.shape[0], most: HostBackend.mostSums) { range, turn in
      let scratch = columns.floats + turn.worker * lowering.columnCount
      for n in range {
        lowering.gather(x.floats + n * lowering.inputSize, into: scratch)
        sgemm(
          lowering.outputChannels, lowering.patch, lowering.positions, dy.floats + n * lowering.outputSize,
          lowering.outputChannels, true, scratch, lowering.patch, false, partials.floats + turn.part * size,
          lowering.patch,
          1, true)
      }
    }
    for part in 0..<parts { lowering.addMatrix(partials.floats + part * size, to: weightGradient) }
    if let biasGradient { sumRows(dy, into: biasGradient) }
  }

  // MARK: Matrix products

  public func linear(_ x: Tensor, weight: Tensor, bias: Tensor?, residual: Tensor?) -> Tensor {
    let y = empty(x.shape.replacingLast(with: weight.shape[0]), .float32)
    if let residual { memcpy(y.pointer, residual.pointer, y.count * 4) }
    let samples = isSeparating ? samples(x).count : 1
    matmul(
      .rows(of: x, samples: samples), MatrixBatch(weight).transposed, scale: 1, into: .rows(of: y, samples: samples),
      accumulating: residual != nil)
    return bias.map { addRow(y, $0) } ?? y
  }

  public func linearInputGradient(_ dy: Tensor, weight: Tensor, adding: Tensor?) -> Tensor {
    let dx = empty(dy.shape.replacingLast(with: weight.shape[1]), .float32)
    if let adding { memcpy(dx.pointer, adding.pointer, dx.count * 4) }
    let samples = isSeparating ? samples(dy).count : 1
    matmul(
      .rows(of: dy, samples: samples), MatrixBatch(weight), scale: 1, into: .rows(of: dx, samples: samples),
      accumulating: adding != nil)
    return dx
  }

  public func linearWeightGradient(_ x: Tensor, _ dy: Tensor, into weightGradient: Tensor) {
    matmul(
      MatrixBatch.rows(of: dy).transposed, .rows(of: x), scale: 1, into: MatrixBatch(weightGradient), accumulating: true
    )
  }

  public func matmul(_ a: MatrixBatch, _ b: MatrixBatch, scale: Float, into c: MatrixBatch, accumulating: Bool) {
    require(a.columns == b.rows && a.rows == c.rows && b.columns == c.columns, "product of \(a) and \(b) into \(c)")
    require(c.strides.column == 1, "a product is written row by row")
    let batches = c.batch.0 * c.batch.1
    // A single large product is divided by rows instead of by batch.
    let chunks = batches >= 8 && !isSeparating ? 1 : ThreadPool.parts(c.rows, grain: 64)
    threads.split(batches * chunks) { range, _ in
      for item in range {
        let (index, chunk) = (item / chunks, item % chunks)
        let (outer, inner) = (index / c.batch.1, index % c.batch.1)
        let rows = c.rows * chunk / chunks..<c.rows * (chunk + 1) / chunks
        sgemm(
          rows.count, c.columns, a.columns, a.address(outer, inner, row: rows.lowerBound), a.leadingDimension,
          a.isTransposed, b.address(outer, inner, row: 0), b.leadingDimension, b.isTransposed,
          c.address(outer, inner, row: rows.lowerBound), c.strides.row, scale, accumulating)
      }
    }
  }
}

/// `c = scale · a · b (+ c)` with row-major matrices: c is rows × columns, the inner size is `inner`.
private func sgemm(
  _ rows: Int, _ columns: Int, _ inner: Int, _ a: UnsafePointer<Float>, _ aStride: Int, _ aTransposed: Bool,
  _ b: UnsafePointer<Float>, _ bStride: Int, _ bTransposed: Bool, _ c: UnsafeMutablePointer<Float>, _ cStride: Int,
  _ scale: Float, _ accumulating: Bool
) {
  guard rows > 0, columns > 0 else { return }
  cblas_sgemm(
    CblasRowMajor, aTransposed ? CblasTrans : CblasNoTrans, bTransposed ? CblasTrans : CblasNoTrans, Int32(rows),
    Int32(columns), Int32(inner), scale, a, Int32(max(1, aStride)), b, Int32(max(1, bStride)), accumulating ? 1 : 0, c,
    Int32(max(1, cStride)))
}

extension MatrixBatch {
  /// All rows of a tensor as one matrix, or as one matrix per sample.
  static func rows(of tensor: Tensor, samples: Int = 1) -> MatrixBatch {
    MatrixBatch(tensor.reshaped([samples, -1, tensor.shape.last]))
  }

  /// BLAS requires one of the two strides to be 1.
  var isTransposed: Bool { strides.column != 1 && strides.row == 1 }
  /// The distance between stored rows. BLAS compares it with their length even if there is only one row, for which it
  /// may be anything.
  var leadingDimension: Int { isTransposed ? max(strides.column, rows) : max(strides.row, columns) }

  func address(_ outer: Int, _ inner: Int, row: Int) -> UnsafeMutablePointer<Float> {
    // A batch of one is repeated for every batch of the other operand.
    let outer = batch.0 == 1 ? 0 : outer
    return tensor.floats + outer * strides.batch0 + inner * strides.batch1 + row * strides.row
  }
}

/// One image of a convolution as a matrix of patches: `[OH·OW, KH·KW·I]`.
private struct Lowering {
  let height, width, inputChannels, kernelHeight, kernelWidth, outputHeight, outputWidth, outputChannels: Int
  let window: ConvolutionWindow

  init(_ input: Shape, _ weight: Shape, _ output: Shape, _ window: ConvolutionWindow) {
    (height, width, inputChannels) = (input[1], input[2], input[3])
    (outputChannels, kernelHeight, kernelWidth) = (weight[0], weight[2], weight[3])
    (outputHeight, outputWidth) = (output[1], output[2])
    self.window = window
  }

  var inputSize: Int { height * width * inputChannels }
  var outputSize: Int { positions * outputChannels }
  var positions: Int { outputHeight * outputWidth }
  var patch: Int { kernelHeight * kernelWidth * inputChannels }
  var columnCount: Int { positions * patch }

  /// Calls `body` with each run of channels in the patches: its position there and in the image, nil in the padding.
  private func forEachPixel(_ body: (Int, Int?) -> Void) {
    var place = 0
    for oy in 0..<outputHeight {
      for ox in 0..<outputWidth {
        for ky in 0..<kernelHeight {
          let y = oy * window.strideHeight + ky - window.top
          for kx in 0..<kernelWidth {
            let x = ox * window.strideWidth + kx - window.left
            let inside = y >= 0 && y < height && x >= 0 && x < width
            body(place, inside ? (y * width + x) * inputChannels : nil)
            place += inputChannels
          }
        }
      }
    }
  }

  func gather(_ image: UnsafePointer<Float>, into columns: UnsafeMutablePointer<Float>) {
    forEachPixel { place, source in
      for c in 0..<inputChannels { columns[place + c] = source.map { image[$0 + c] } ?? 0 }
    }
  }

  func scatter(_ columns: UnsafePointer<Float>, into image: UnsafeMutablePointer<Float>) {
    forEachPixel { place, target in
      guard let target else { return }
      for c in 0..<inputChannels { image[target + c] += columns[place + c] }
    }
  }

  /// Weights `[O, I, KH, KW]` in the order of patches, `[O, KH·KW·I]`.
  func matrix(of weight: Tensor) -> [Float] {
    var matrix = [Float](repeating: 0, count: weight.count)
    let source = weight.floats
    forEachWeight { stored, lowered in matrix[lowered] = source[stored] }
    return matrix
  }

  func addMatrix(_ matrix: UnsafePointer<Float>, to weightGradient: Tensor) {
    let target = weightGradient.floats
    forEachWeight { stored, lowered in target[stored] += matrix[lowered] }
  }

  private func forEachWeight(_ body: (Int, Int) -> Void) {
    let taps = kernelHeight * kernelWidth
    for o in 0..<outputChannels {
      for i in 0..<inputChannels {
        for tap in 0..<taps { body((o * inputChannels + i) * taps + tap, (o * taps + tap) * inputChannels + i) }
      }
    }
  }
}
