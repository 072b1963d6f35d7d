import CEaselKernels
import Synchronization

/// Convolutions with a 3×3 kernel, and with a 4×4 kernel and stride 2, by Winograd's method: a quarter to two fifths of
/// the multiplications, in float32 whatever the activations' type (`CEaselKernels/Winograd.inc` has the mathematics and
/// its error).
///
/// A worker takes a block of tiles through all steps while it is in the cache: transform, a product for each point,
/// inverse transform. The gradient of the weights works in the same way, each part with its own sums, unless these are
/// too large. Then blocks are larger: all workers transform a block's tiles, and then each multiplies all of
/// them at one point.
extension HostBackend {
  /// The convolution as one of Winograd's, if that is the better way.
  func winograd(_ input: Shape, weight: Shape, _ window: ConvolutionWindow, _ type: ScalarType) -> easel_winograd? {
    let (channels, kernel, stride) = (EASEL_WINOGRAD_CHANNELS, weight[2], window.strideHeight)
    guard usesWinograd(type, stride: stride), window.strideWidth == stride, kernel == stride + 2, weight[3] == kernel,
      weight[0] % channels == 0, weight[1] % channels == 0, max(weight[0], weight[1]) <= EASEL_WINOGRAD_LARGEST,
      max(window.top, window.left) < kernel
    else { return nil }
    let output = window.outputShape(input: input, weight: weight)
    let problem = easel_winograd(
      height: input[1], width: input[2], inputs: weight[1], output_height: output[1], output_width: output[2],
      outputs: weight[0], pad_top: window.top, pad_left: window.left, stride: stride)
    guard problem.gain >= HostBackend.minimumGain else { return nil }
    // With few tiles, reading the weights at all points takes longer than direct sums. For separate samples only those
    // of one image count, and only if it reads the weights from memory.
    if isSeparating {
      return problem.isCached || problem.wins(problem.tilesPerImage, over: HostBackend.leastTilesRead) ? problem : nil
    }
    return problem.wins(input[0] * problem.tilesPerImage, over: HostBackend.leastTilesWon) ? problem : nil
  }

  /// The method must also make up for the transforms.
  private static let minimumGain = 1.9
  /// The number of tiles whose products at all points take as long as reading a matrix of weights at all points: about
  /// 10 to 20 operations per byte from the shared cache.
  private static let leastTilesWon = 60.0
  /// The same for weights that are transformed into memory and read from there for each image.
  private static let leastTilesRead = 200.0

  /// The same for the gradient of the input. With a stride, each image goes to one worker, so there must be several
  /// images with few enough tiles.
  func winogradForInput(
    _ input: Shape, weight: Shape, _ window: ConvolutionWindow, _ type: ScalarType
  ) -> easel_winograd? {
    guard let w = winograd(input, weight: weight, window, type) else { return nil }
    if w.stride == 1 { return w }
    return (input[0] > 1 || isSeparating) && w.tilesPerImage <= HostBackend.mostTransposedTiles ? w : nil
  }

  /// The same for the gradient of the weights, for which samples are never separate. Its sums at all points are read,
  /// written and transformed back; that takes as long as the products of about 150 tiles.
  func winogradForWeights(
    _ input: Shape, weight: Shape, _ window: ConvolutionWindow, _ type: ScalarType
  ) -> easel_winograd? {
    guard let w = winograd(input, weight: weight, window, type),
      w.wins(input[0] * w.tilesPerImage, over: 150)
    else { return nil }
    return w
  }

  func winogradConvolution(
    _ w: easel_winograd, _ x: Tensor, weight: Tensor, bias: Tensor?, residual: Tensor?
  ) -> Tensor {
    withWinogradWeights(w, weight, use: EASEL_WINOGRAD_FORWARD) {
      winogradConvolution(w, x, weights: $0, bias: bias, addend: residual)
    }
  }

  /// The gradient of the input is a convolution of the output's gradient with the rotated weights.
  ///
  /// If the convolution has no padding, the input is larger than the output, and this would need more tiles than the
  /// convolution has. Then, and with a stride, the convolution's steps are taken backwards instead.
  func winogradInputGradient(_ w: easel_winograd, _ dy: Tensor, weight: Tensor, adding: Tensor?) -> Tensor {
    let turned = easel_winograd(
      height: w.output_height, width: w.output_width, inputs: w.outputs, output_height: w.height, output_width: w.width,
      outputs: w.inputs, pad_top: 2 - w.pad_top, pad_left: 2 - w.pad_left, stride: 1)
    let wouldTakeMore = 5 * turned.tilesPerImage > 6 * w.tilesPerImage
    if w.stride > 1 || wouldTakeMore && w.tilesPerImage <= HostBackend.mostTransposedTiles {
      return winogradTransposed(w, dy, weight: weight, adding: adding)
    }
    return withWinogradWeights(w, weight, use: EASEL_WINOGRAD_TURNED) {
      winogradConvolution(turned, dy, weights: $0, bias: nil, addend: adding)
    }
  }

  /// Tiles of one image overlap in the output that they add to, so one worker handles all of them, as many as the
  /// caches have room for.
  private static let mostTransposedTiles = 64

  /// From the tiles of the output's gradient, through products with the transposed weights, to the tiles of the input's
  /// gradient, which are added up.
  private func winogradTransposed(_ w: easel_winograd, _ dy: Tensor, weight: Tensor, adding: Tensor?) -> Tensor {
    let images = dy.shape[0]
    let dx = empty([images, w.height, w.width, w.inputs], dy.type)
    let blocks = WinogradImages(w, images: images, rows: kernels.pointee.winograd_rows)
    let scratch = empty([threads.count, blocks.scratch], .float32)
    let size = w.height * w.width * w.inputs
    let (typed, kernels) = (typed(dy.type), kernels.pointee)
    withWinogradWeights(w, weight, use: EASEL_WINOGRAD_TRANSPOSED) { weights in
      threads.run(blocks.count) { turn in
        let m = scratch.floats + turn.worker * blocks.scratch
        let v = m + blocks.outputPlanes
        let sums = v + blocks.inputPlanes
        let range = blocks[turn.part]
        let (first, tiles) = (range.lowerBound * w.tilesPerImage, range.count * w.tilesPerImage)
        if let adding {
          typed.to_float(range.count * size, adding.at(range.lowerBound * size), sums)
        } else {
          sums.update(repeating: 0, count: range.count * size)
        }
        withUnsafePointer(to: w) { w in
          typed.winograd_output_gradient(w, first, tiles, blocks.rows, dy.pointer, m, nil)
          kernels.winograd_multiply(
            w.pointee.points, blocks.rows, w.pointee.outputs, w.pointee.depth, m, weights, v)
          kernels.winograd_input_gradient(w, first, tiles, blocks.rows, v, sums)
        }
        typed.from_float(range.count * size, sums, dx.at(range.lowerBound * size))
      }
    }
    return dx
  }

  /// Takes blocks of tiles from one image through the products to another image.
  private func winogradConvolution(
    _ w: easel_winograd, _ x: Tensor, weights: UnsafePointer<Float>, bias: Tensor?, addend: Tensor?
  ) -> Tensor {
    let y = empty([x.shape[0], w.output_height, w.output_width, w.outputs], x.type)
    let blocks = WinogradBlocks(w, images: x.shape[0], rows: kernels.pointee.winograd_rows)
    let scratch = empty([threads.count, blocks.scratch], .float32)
    let (typed, kernels) = (typed(x.type), kernels.pointee)
    threads.run(blocks.count) { turn in
      let v = scratch.floats + turn.worker * blocks.scratch
      let m = v + blocks.inputPlanes
      let (first, count) = blocks[turn.part]
      withUnsafePointer(to: w) { w in
        typed.winograd_input(w, first, count, blocks.rows, x.pointer, v)
        kernels.winograd_multiply(w.pointee.points, blocks.rows, w.pointee.depth, w.pointee.outputs, v, weights, m)
        typed.winograd_output(w, first, count, blocks.rows, m, bias?.floats, addend?.pointer, y.pointer)
      }
    }
    return y
  }

  func winogradWeightGradient(
    _ w: easel_winograd, _ x: Tensor, _ dy: Tensor, into weightGradient: Tensor, bias biasGradient: Tensor?
  ) {
    let tiles = x.shape[0] * w.tilesPerImage
    guard tiles > 0 else { return }
    let points = empty([w.points, w.depth * w.outputs], .float32)
    let biasSums = empty([HostBackend.mostSums, w.outputs], .float32)
    fill(biasSums, with: 0)
    let blocks = (tiles + HostBackend.gradientRows - 1) / HostBackend.gradientRows
    let parts = min(HostBackend.mostSums, HostBackend.tileSumsFloats / points.count, blocks)
    if parts < HostBackend.fewestTileSums {
      winogradSumsByPoint(w, x, dy, tiles: tiles, into: points, bias: biasGradient.map { _ in biasSums })
    } else {
      winogradSumsByTile(w, x, dy, tiles: tiles, parts: parts, into: points, bias: biasGradient.map { _ in biasSums })
    }
    if let biasGradient { sumRows(biasSums, into: biasGradient) }
    forEachPanel(of: w.outputs) { first, last in
      withUnsafePointer(to: w) {
        kernels.pointee.winograd_weights_gradient($0, first, last, points.floats, weightGradient.floats)
      }
    }
  }

  /// The number of tiles that weights' gradients process at a time: few enough to stay in a core's nearest cache.
  private static let gradientRows = 48
  /// With fewer sums than this, too many threads would have no work.
  private static let fewestTileSums = 4
  /// The floats of all sums by tile: 8 MB. With larger sums, writing and adding them costs more than passing tiles
  /// between cores.
  private static let tileSumsFloats = 2 << 20

  /// Each part transforms and multiplies its own tiles, a few at a time, so that only its sums move between cores.
  private func winogradSumsByTile(
    _ w: easel_winograd, _ x: Tensor, _ dy: Tensor, tiles: Int, parts: Int, into points: Tensor, bias: Tensor?
  ) {
    let (rows, gap) = (HostBackend.gradientRows, EASEL_WINOGRAD_GAP)
    let blocks = (tiles + rows - 1) / rows
    let (inputPlane, outputPlane) = (rows * w.inputPitch + gap, rows * w.outputPitch + gap)
    let scratch = empty([threads.count, w.points * (inputPlane + outputPlane)], .float32)
    let sums = empty([parts, points.count], .float32)
    let (typed, kernels) = (typed(x.type), kernels.pointee)
    threads.run(parts) { turn in
      let range = rows * (blocks * turn.part / parts)..<min(tiles, rows * (blocks * (turn.part + 1) / parts))
      let v = scratch[turn.worker].floats
      let m = v + w.points * inputPlane
      for first in stride(from: range.lowerBound, to: range.upperBound, by: rows) {
        let count = min(rows, range.upperBound - first)
        withUnsafePointer(to: w) { w in
          typed.winograd_input(w, first, count, rows, x.pointer, v)
          typed.winograd_output_gradient(
            w, first, count, rows, dy.pointer, m, bias.map { $0.floats + turn.part * w.pointee.outputs })
        }
        for point in 0..<w.points {
          kernels.winograd_accumulate(
            count, w.depth, w.outputs, first > range.lowerBound, v + point * inputPlane, m + point * outputPlane,
            sums[turn.part].floats + point * w.depth * w.outputs)
        }
      }
    }
    fill(points, with: 0)
    forEachElement(of: points) { first, count in
      for part in 0..<parts {
        kernels.float32.add(
          count, 1, points.floats + first, 1, sums.floats + part * points.count + first, points.floats + first)
      }
    }
  }

  /// For sums that are too large to keep several of: all parts transform a block's tiles, then each part multiplies all
  /// of them at one point.
  private func winogradSumsByPoint(
    _ w: easel_winograd, _ x: Tensor, _ dy: Tensor, tiles: Int, into points: Tensor, bias: Tensor?
  ) {
    let step = kernels.pointee.winograd_rows
    let gap = EASEL_WINOGRAD_GAP
    // As many tiles as fit into the processor's shared cache beside other things.
    let largest = HostBackend.gradientBlockFloats / (w.points * (w.inputPitch + w.outputPitch))
    let together = HostBackend.gradientRows
    let rows = min(max(together, largest / together * together), (tiles + step - 1) / step * step)
    let (inputPlane, outputPlane) = (rows * w.inputPitch + gap, rows * w.outputPitch + gap)
    let scratch = empty([w.points * (inputPlane + outputPlane)], .float32)
    let (v, m) = (scratch.floats, scratch.floats + w.points * inputPlane)
    let (typed, kernels) = (typed(x.type), kernels.pointee)
    for first in stride(from: 0, to: tiles, by: rows) {
      let count = min(rows, tiles - first)
      threads.split(count, grain: 8, most: HostBackend.mostSums) { strip, turn in
        let start = strip.lowerBound
        withUnsafePointer(to: w) { w in
          typed.winograd_input(w, first + start, strip.count, rows, x.pointer, v + start * w.pointee.inputPitch)
          typed.winograd_output_gradient(
            w, first + start, strip.count, rows, dy.pointer, m + start * w.pointee.outputPitch,
            bias.map { $0.floats + turn.part * w.pointee.outputs })
        }
      }
      threads.run(w.points) { turn in
        let (v, m) = (v + turn.part * inputPlane, m + turn.part * outputPlane)
        for start in stride(from: 0, to: count, by: together) {
          kernels.winograd_accumulate(
            min(together, count - start), w.depth, w.outputs, first + start > 0, v + start * w.inputPitch,
            m + start * w.outputPitch,
            points.floats + turn.part * w.depth * w.outputs)
        }
      }
    }
  }

  /// The floats of a block's transformed tiles: 6 MB.
  private static let gradientBlockFloats = 3 << 19

  /// Splits the columns of the weights' matrices over the threads.
  private func forEachPanel(of columns: Int, _ body: (Int, Int) -> Void) {
    let width = EASEL_WINOGRAD_CHANNELS
    threads.split(columns / width) { range, _ in body(range.lowerBound * width, range.upperBound * width) }
  }

  /// - Parameter w: the convolution that the weights belong to, whatever they are used for.
  private func withWinogradWeights<Result>(
    _ w: easel_winograd, _ weight: Tensor, use: easel_winograd_use, _ body: (UnsafePointer<Float>) -> Result
  ) -> Result {
    let count = w.weightCount
    func transform(into u: UnsafeMutablePointer<Float>) {
      let wide = weight.cast(to: .float32)
      forEachPanel(of: use == EASEL_WINOGRAD_FORWARD ? w.outputs : w.depth) { first, last in
        withUnsafePointer(to: w) {
          kernels.pointee.winograd_weights($0, first, last, Int32(use.rawValue), wide.floats, u)
        }
      }
      weight.evict()
    }
    let key = WinogradWeights.Key(address: UInt(bitPattern: weight.pointer), use: use.rawValue)
    if w.isCached,
      let kept = winogradWeights.buffer(key, generation: weight.storage.generation, count: count, fill: transform)
    {
      return body(kept)
    }
    let temporary = empty([count], .float32)
    transform(into: temporary.floats)
    return body(temporary.floats)
  }
}

extension easel_winograd {
  fileprivate var tilesPerImage: Int { (output_height + 3) / 4 * ((output_width + 3) / 4) }
  /// The number of matrix products.
  fileprivate var points: Int { stride == 1 ? 36 : 25 }
  /// The number of stride-1 convolutions that it is the sum of; with a stride of 2, each takes every second row and
  /// column.
  fileprivate var phases: Int { stride * stride }
  /// The inputs of all phases: the inner size of the products.
  fileprivate var depth: Int { phases * inputs }
  /// The numbers of the weights at all points.
  fileprivate var weightCount: Int { points * depth * outputs }
  /// Whether these stay in the shared cache from one image to the next: 28 MB, as of 448 × 448 channels. Larger ones are
  /// not worth their memory.
  fileprivate var isCached: Bool { 4 * weightCount <= 28 << 20 }
  /// The floats from one tile's inputs (or results) to those of the next.
  fileprivate var inputPitch: Int { easel_winograd_pitch(depth) }
  fileprivate var outputPitch: Int { easel_winograd_pitch(outputs) }
  /// Whether this many tiles save more than the products of `least` others.
  fileprivate func wins(_ tiles: Int, over least: Double) -> Bool { Double(tiles) * (gain - 1) >= least }
  /// Multiplications of a direct convolution for each multiplication here; tiles that cross the edge waste some.
  fileprivate var gain: Double {
    let taps = (stride + 2) * (stride + 2)
    return Double(taps * output_height * output_width) / Double(points * phases * tilesPerImage)
  }
}

/// How the tiles of a batch are cut into blocks, and how much memory a block takes.
private struct WinogradBlocks {
  let tiles, rows: Int
  /// The floats of a block's input tiles, and of these and the results.
  let inputPlanes, scratch: Int

  /// - Parameter step: the number of tiles in a block is a multiple of this.
  init(_ w: easel_winograd, images: Int, rows step: Int) {
    tiles = images * w.tilesPerImage
    // Few enough that their planes stay near a core's own cache, and enough that the weights are not read too often: 48
    // was the best number for each of the reference models' layers. If there are few tiles, several workers should have
    // some.
    let fair = (tiles + 7) / 8
    rows = max(step, min(48, (fair + step - 1) / step * step))
    let gap = EASEL_WINOGRAD_GAP
    inputPlanes = w.points * (rows * w.inputPitch + gap)
    scratch = inputPlanes + w.points * (rows * w.outputPitch + gap)
  }

  var count: Int { (tiles + rows - 1) / rows }

  /// A block's first tile, and its number of tiles.
  subscript(block: Int) -> (first: Int, count: Int) { (block * rows, min(rows, tiles - block * rows)) }
}

/// How a batch is cut into blocks of whole images, and how much memory a block takes.
private struct WinogradImages {
  let images, perBlock, rows: Int
  /// The floats of a block's input tiles, of its output tiles, and of both with the images themselves.
  let inputPlanes, outputPlanes, scratch: Int

  /// - Parameter step: the number of tiles in a block is a multiple of this.
  init(_ w: easel_winograd, images: Int, rows step: Int) {
    self.images = images
    func rows(_ count: Int) -> Int { (count * w.tilesPerImage + step - 1) / step * step }
    func blocks(_ count: Int) -> Int { (images + count - 1) / count }
    // As few rows in total as possible, since the last ones of a block are padding; then as few blocks as possible,
    // provided that several workers have some.
    let choices = (1...max(1, min(64 / w.tilesPerImage, images))).filter { $0 == 1 || blocks($0) >= 4 }
    perBlock = choices.min { (blocks($0) * rows($0), -$0) < (blocks($1) * rows($1), -$1) } ?? 1
    self.rows = rows(perBlock)
    let gap = EASEL_WINOGRAD_GAP
    inputPlanes = w.points * (self.rows * w.inputPitch + gap)
    outputPlanes = w.points * (self.rows * w.outputPitch + gap)
    scratch = inputPlanes + outputPlanes + perBlock * w.height * w.width * w.inputs
  }

  var count: Int { (images + perBlock - 1) / perBlock }

  subscript(block: Int) -> Range<Int> { block * perBlock..<min((block + 1) * perBlock, images) }
}

/// Transformed weights of networks that are used repeatedly. They are four to six times as large as the weights.
///
/// Training steps use each version of their weights once or twice, so keeping it would waste memory. Weights are kept
/// once they have been used ``fewUses`` times, or from the first use if the previous version was used more often.
final class WinogradWeights: Sendable {
  struct Key: Hashable {
    let address: UInt
    let use: UInt32
  }

  private struct Entry {
    var generation: UInt64
    /// The transformed weights' address; 0 while there are none.
    var buffer: UInt = 0
    var count: Int
    var uses = 1
    /// Whether the previous version was used often.
    var isWorthKeeping = false
  }

  /// The most uses of one version in a CycleGAN's step: keeping those weights took a sixth of its memory.
  private static let fewUses = 3

  private let pool: MemoryPool
  // Weights are used on the tensor thread, but any thread may return their memory.
  private let entries = Mutex<[Key: Entry]>([:])

  init(_ pool: MemoryPool) { self.pool = pool }

  deinit { entries.withLock { for entry in $0.values { free(entry) } } }

  /// The weights of a generation, filled in if necessary; nil if they are not worth keeping yet.
  func buffer(_ key: Key, generation: UInt64, count: Int, fill: (UnsafeMutablePointer<Float>) -> Void)
    -> UnsafePointer<Float>?
  {
    guard generation != 0 else { return nil }
    let entry = entries.withLock { entries -> Entry? in
      if let entry = entries[key], entry.generation == generation, entry.count == count {
        entries[key]?.uses += 1
        return entry.isWorthKeeping || entry.uses >= WinogradWeights.fewUses ? entry : nil
      }
      var fresh = Entry(generation: generation, count: count)
      let old = entries[key]
      if let old { free(old) }
      fresh.isWorthKeeping = old.map { $0.uses > WinogradWeights.fewUses && $0.count == count } ?? false
      entries[key] = fresh
      return fresh.isWorthKeeping ? fresh : nil
    }
    guard let entry else { return nil }
    if let kept = UnsafePointer<Float>(bitPattern: entry.buffer) { return kept }
    let buffer = pool.allocate(byteCount: 4 * count).assumingMemoryBound(to: Float.self)
    fill(buffer)
    entries.withLock { $0[key]?.buffer = UInt(bitPattern: buffer) }
    return UnsafePointer(buffer)
  }

  /// Drops everything that belongs to memory that is being returned.
  func forget(_ pointer: UnsafeRawPointer, byteCount: Int) {
    let range = UInt(bitPattern: pointer)..<UInt(bitPattern: pointer) + UInt(byteCount)
    entries.withLock { entries in
      for (key, entry) in entries where range.contains(key.address) {
        free(entry)
        entries[key] = nil
      }
    }
  }

  private func free(_ entry: Entry) {
    if let buffer = UnsafeMutableRawPointer(bitPattern: entry.buffer) {
      pool.release(buffer, byteCount: 4 * entry.count)
    }
  }
}
