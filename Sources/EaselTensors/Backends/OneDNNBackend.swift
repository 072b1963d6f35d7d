import EaselSupport

#if EASEL_HAS_ONEDNN
  import CEaselOneDNN

  /// Convolutions and matrix products by oneDNN's JIT kernels, in float32 and bfloat16.
  ///
  /// Each call of oneDNN is one part of an operation, on one worker. The shim caches primitives, and reordered copies
  /// of weights by the storage's generation.
  public final class OneDNNBackend: HostBackend, Backend {
    public var kind: BackendKind { .onednn }
    /// One per worker; they share the copies of weights.
    private let contexts: [OpaquePointer]

    /// - Parameters:
    ///   - threads: the pool to compute with.
    ///   - instructionSet: the set of kernels to use.
    ///   - winograd: whether convolutions may use Winograd's method. For 3×3 it is the fastest way on all processors
    ///     without matrix units for the type. For 4×4 with stride 2 it saves less, and it is used if the type is not
    ///     multiplied faster than float32.
    /// - Throws: `UserError` (unavailable) if oneDNN finds no CPU engine.
    public init(
      threads: ThreadPool = ThreadPool(), instructionSet: InstructionSet = .preferred, winograd: Bool = true
    ) throws {
      var contexts: [OpaquePointer] = []
      for _ in 0..<threads.count {
        guard let context = contexts.first.map(easel_dnn_create_beside) ?? easel_dnn_create() else {
          contexts.forEach(easel_dnn_destroy)
          throw UserError(
            .unavailable, "oneDNN could not be started on this processor",
            hint: "Use \(field: "backend") openblas instead.")
        }
        contexts.append(context)
      }
      self.contexts = contexts
      let products = Backends.bfloat16
      let types: [Int: Set<ScalarType>] = [
        1: products == .matrices ? [.float32] : [.float32, .bfloat16],
        2: products == .matrices || products == .fast ? [.float32] : [.float32, .bfloat16],
      ]
      super.init(on: threads, instructionSet: instructionSet, winogradTypes: winograd ? types : [:])
    }

    deinit { contexts.forEach(easel_dnn_destroy) }

    /// Packing converts them, if oneDNN has bfloat16 on this processor.
    public override var takesBFloat16Weights: Bool { Backends.bfloat16 != .none }

    public override func forget(_ pointer: UnsafeMutableRawPointer, byteCount: Int) {
      easel_dnn_forget(contexts[0], pointer, byteCount)
      super.forget(pointer, byteCount: byteCount)
    }

    public override var memory: MemoryStatistics {
      var statistics = super.memory
      statistics.bytesReserved += contexts.reduce(0) { $0 + easel_dnn_memory_bytes($1) }
      return statistics
    }

    /// Calls the shim on a worker.
    private func call(on worker: Int, _ function: (OpaquePointer) -> Int32) {
      let context = contexts[worker]
      if function(context) != 0 { fatalShape(String(cString: easel_dnn_last_error(context))) }
    }

    /// The packed weights for all parts, prepared in advance by `pack`.
    private func packed(_ weight: Tensor, _ pack: (OpaquePointer, inout easel_dnn_weights) -> Int32)
      -> easel_dnn_weights
    {
      var weights = easel_dnn_weights(
        pointer: weight.pointer, generation: weight.storage.generation, packed: nil, type: weight.type.dnn)
      guard !threads.isAbandoned else { return weights }
      call(on: 0) { pack($0, &weights) }
      // Finish even if the work is given up now: later users expect a complete copy.
      let (copy, parts) = (weights, Int(easel_dnn_begin_packing(weights)))
      if parts > 0 {
        threads.run(parts, isAbandonable: false) { turn in
          call(on: turn.worker) { easel_dnn_pack_part($0, copy, Int32(turn.part)) }
        }
        weight.evict()
      }
      return weights
    }

    // MARK: Convolution

    public func convolution(
      _ x: Tensor, weight: Tensor, bias: Tensor?, residual: Tensor?, _ window: ConvolutionWindow
    ) -> Tensor {
      let shape = window.outputShape(input: x.shape, weight: weight.shape)
      if window.isPointwise(weight: weight.shape) {
        return linear(x, weight: weight.flattenedKernel, bias: bias, residual: residual)
      }
      if let w = winograd(x.shape, weight: weight.shape, window, x.type) {
        return winogradConvolution(w, x, weight: weight, bias: bias, residual: residual)
      }
      if let n = narrow(x.shape, weight: weight.shape, window) {
        return narrowConvolution(n, x, weight: weight, bias: bias, residual: residual)
      }
      let y = empty(shape, x.type)
      let cut = ConvolutionCut(
        x.shape, weight.shape, output: shape, window, type: x.type.dnn, separately: isSeparating)
      let weights = packed(weight) { context, weights in
        withUnsafePointer(to: cut.parts[0].convolution) {
          easel_dnn_convolution_forward_pack(context, $0, bias != nil, &weights)
        }
      }
      threads.run(cut.parts.count) { turn in
        var part = cut.parts[turn.part]
        call(on: turn.worker) { context in
          easel_dnn_convolution_forward(
            context, &part.convolution, x.at(part.input), weights, bias?.floats, residual?.at(part.output),
            y.at(part.output))
        }
      }
      return y
    }

    public func convolutionInputGradient(
      _ dy: Tensor, weight: Tensor, inputShape: Shape, _ window: ConvolutionWindow, adding: Tensor?
    ) -> Tensor {
      if window.isPointwise(weight: weight.shape) {
        return linearInputGradient(dy, weight: weight.flattenedKernel, adding: adding)
      }
      if let w = winogradForInput(inputShape, weight: weight.shape, window, dy.type) {
        return winogradInputGradient(w, dy, weight: weight, adding: adding)
      }
      if let n = narrowGradient(inputShape, weight: weight.shape, window) {
        return narrowInputGradient(n, dy, weight: weight, adding: adding)
      }
      let dx = empty(inputShape, dy.type)
      let cut = ConvolutionCut(
        inputShape, weight.shape, output: dy.shape, window, type: dy.type.dnn, ofInputGradient: true,
        separately: isSeparating)
      let weights = packed(weight) { context, weights in
        withUnsafePointer(to: cut.parts[0].convolution) {
          easel_dnn_convolution_backward_data_pack(context, $0, &weights)
        }
      }
      threads.run(cut.parts.count) { turn in
        var part = cut.parts[turn.part]
        call(on: turn.worker) { context in
          easel_dnn_convolution_backward_data(
            context, &part.convolution, dy.at(part.output), weights, dx.at(part.input))
        }
      }
      if let adding { accumulate(adding, alpha: 1, into: dx) }
      return dx
    }

    public func convolutionWeightGradient(
      _ x: Tensor, _ dy: Tensor, into weightGradient: Tensor, bias biasGradient: Tensor?, _ window: ConvolutionWindow
    ) {
      if window.isPointwise(weight: weightGradient.shape) {
        linearWeightGradient(x, dy, into: weightGradient.flattenedKernel)
        if let biasGradient { sumRows(dy, into: biasGradient) }
        return
      }
      if let w = winogradForWeights(x.shape, weight: weightGradient.shape, window, x.type) {
        return winogradWeightGradient(w, x, dy, into: weightGradient, bias: biasGradient)
      }
      if let n = narrow(x.shape, weight: weightGradient.shape, window) {
        return narrowWeightGradient(n, x, dy, into: weightGradient, bias: biasGradient)
      }
      if weightGradient.count > dy.count {
        return weightGradientByChannels(x, dy, into: weightGradient, bias: biasGradient, window)
      }
      let cut = ConvolutionCut(
        x.shape, weightGradient.shape, output: dy.shape, window, type: x.type.dnn,
        most: HostBackend.mostSums(of: weightGradient.count))
      sums(of: weightGradient, parts: cut.parts.count) { sums in
        let biases = biasGradient.map { _ in self.empty([cut.parts.count, weightGradient.shape[0]], .float32) }
        // A single part adds to what it receives, so begin with zeros.
        if let biases { fill(biases, with: 0) }
        threads.run(cut.parts.count) { turn in
          var part = cut.parts[turn.part]
          call(on: turn.worker) { context in
            easel_dnn_convolution_backward_weights(
              context, &part.convolution, x.at(part.input), dy.at(part.output), sums(turn.part),
              biases.map { $0.floats + turn.part * weightGradient.shape[0] }, cut.parts.count == 1)
          }
        }
        if let biases, let biasGradient { sumRows(biases, into: biasGradient) }
      }
    }

    /// The same, divided by dy's channels, with separate weights for each part. If there are more weights than
    /// gradients, copying some channels is faster than adding up sums of weights.
    private func weightGradientByChannels(
      _ x: Tensor, _ dy: Tensor, into weightGradient: Tensor, bias biasGradient: Tensor?, _ window: ConvolutionWindow
    ) {
      let kernel = Shape(Array(weightGradient.shape.sizes.dropFirst()))
      let (channels, rows) = (weightGradient.shape[0], matrix(dy).rows)
      let parts = ThreadPool.parts(2 * dy.count * kernel.count, grain: OneDNNBackend.operationsOfPart, most: 16)
      let cut = RowCut(rows: channels, parts: parts, multiple: 32)
      let copies = empty([threads.count, rows, cut.largest], dy.type)
      let copy = typed(dy.type).copy_rows
      threads.run(cut.count) { turn in
        let range = cut[turn.part]
        let slice = copies[turn.worker]
        copy(rows, range.count, dy.at(range.lowerBound), channels, slice.pointer, range.count, false)
        var part = easel_dnn_convolution(
          x.shape, output: Shape(dy.shape.sizes.dropLast() + [range.count]), kernel: kernel, window, type: x.type.dnn)
        call(on: turn.worker) { context in
          easel_dnn_convolution_backward_weights(
            context, &part, x.pointer, slice.pointer, weightGradient.floats + range.lowerBound * kernel.count,
            biasGradient.map { $0.floats + range.lowerBound }, true)
        }
      }
    }

    /// Adds up, in order, what the parts have computed.
    ///
    /// - Parameter work: receives the tensor for a part's result. A single part receives the target itself and adds to
    ///   it.
    private func sums(
      of target: Tensor, parts: Int, _ work: (_ sums: (Int) -> UnsafeMutablePointer<Float>) -> Void
    ) {
      if parts == 1 { return work { _ in target.floats } }
      let partials = empty([parts, target.count], .float32)
      work { partials.floats + $0 * target.count }
      let kernel = kernels.pointee.float32.add
      forEachElement(of: target) { first, count in
        for part in 0..<parts {
          kernel(
            count, 1, target.floats + first, 1, partials.floats + part * target.count + first, target.floats + first)
        }
      }
    }

    // MARK: Matrix products

    public func linear(_ x: Tensor, weight: Tensor, bias: Tensor?, residual: Tensor?) -> Tensor {
      require(x.shape.last == weight.shape[1], "rows of \(x.shape) by a weight of \(weight.shape)")
      let y = empty(x.shape.replacingLast(with: weight.shape[0]), x.type)
      let (inputs, outputs) = (weight.shape[1], weight.shape[0])
      let cut = RowCut(
        rows: matrix(x).rows, operations: 2 * inputs * outputs, groups: isSeparating ? samples(x).count : 1)
      let weights = packed(weight) {
        easel_dnn_linear_pack(
          $0, Int64(cut.largest), Int64(inputs), Int64(outputs), x.type.dnn, bias != nil, residual != nil, &$1)
      }
      threads.run(cut.count) { turn in
        let rows = cut[turn.part]
        call(on: turn.worker) {
          easel_dnn_linear(
            $0, Int64(rows.count), Int64(inputs), Int64(outputs), x.type.dnn, x.at(rows.lowerBound * inputs), weights,
            bias?.floats, residual?.at(rows.lowerBound * outputs), y.at(rows.lowerBound * outputs))
        }
      }
      return y
    }

    public func linearInputGradient(_ dy: Tensor, weight: Tensor, adding: Tensor?) -> Tensor {
      require(dy.shape.last == weight.shape[0], "gradients of \(dy.shape) by a weight of \(weight.shape)")
      let dx = empty(dy.shape.replacingLast(with: weight.shape[1]), dy.type)
      let (inputs, outputs) = (weight.shape[1], weight.shape[0])
      let cut = RowCut(
        rows: matrix(dy).rows, operations: 2 * inputs * outputs, groups: isSeparating ? samples(dy).count : 1)
      let weights = packed(weight) {
        easel_dnn_linear_backward_data_pack(
          $0, Int64(cut.largest), Int64(inputs), Int64(outputs), dy.type.dnn, adding != nil, &$1)
      }
      threads.run(cut.count) { turn in
        let rows = cut[turn.part]
        call(on: turn.worker) {
          easel_dnn_linear_backward_data(
            $0, Int64(rows.count), Int64(inputs), Int64(outputs), dy.type.dnn, dy.at(rows.lowerBound * outputs),
            weights, adding?.at(rows.lowerBound * inputs), dx.at(rows.lowerBound * inputs))
        }
      }
      return dx
    }

    /// dyᵀ · x, divided by dy's columns, at least two cache lines of them. Also divided by rows if there are too few
    /// columns, or so many rows that those of a part would not stay in the cache.
    public func linearWeightGradient(_ x: Tensor, _ dy: Tensor, into weightGradient: Tensor) {
      let (inputs, outputs, rows) = (weightGradient.shape[1], weightGradient.shape[0], matrix(dy).rows)
      require(
        x.shape.last == inputs && dy.shape.last == outputs && matrix(x).rows == rows,
        "the gradient of a weight of \(weightGradient.shape) from \(x.shape) and \(dy.shape)")
      let parts = ThreadPool.parts(2 * inputs * outputs * rows, grain: OneDNNBackend.operationsOfPart, most: 16)
      let bytes = rows * (inputs + outputs) * x.type.byteCount
      let bands = min(
        max(bytes >> 21, parts / max(1, outputs * dy.type.byteCount / 128)), parts, max(1, rows / 16),
        HostBackend.mostSums(of: weightGradient.count))
      let bandCount = max(1, bands)
      let columnCut = RowCut(rows: outputs, parts: max(1, parts / bandCount), multiple: 16)
      sums(of: weightGradient, parts: bandCount) { sums in
        threads.run(bandCount * columnCut.count) { turn in
          let (band, columns) = (turn.part / columnCut.count, columnCut[turn.part % columnCut.count])
          let range = rows * band / bandCount..<rows * (band + 1) / bandCount
          var product = easel_dnn_matmul(
            batch0: 1, batch1: 1, rows: Int64(columns.count), columns: Int64(inputs), inner: Int64(range.count),
            a_strides: easel_dnn_strides(batch0: 0, batch1: 0, row: 1, column: Int64(outputs)),
            b_strides: easel_dnn_strides(batch0: 0, batch1: 0, row: Int64(inputs), column: 1),
            c_strides: easel_dnn_strides(batch0: 0, batch1: 0, row: Int64(inputs), column: 1), a_type: dy.type.dnn,
            b_type: x.type.dnn, c_type: EASEL_DNN_FLOAT32, accumulate: bandCount == 1, scale: 1)
          call(on: turn.worker) {
            easel_dnn_matmul_run(
              $0, &product, dy.at(range.lowerBound * outputs + columns.lowerBound), x.at(range.lowerBound * inputs),
              nil, sums(band) + columns.lowerBound * inputs)
          }
        }
      }
    }

    public func matmul(_ a: MatrixBatch, _ b: MatrixBatch, scale: Float, into c: MatrixBatch, accumulating: Bool) {
      require(a.columns == b.rows && a.rows == c.rows && b.columns == c.columns, "product of \(a) and \(b) into \(c)")
      let whole = easel_dnn_matmul(
        batch0: Int64(c.batch.0), batch1: Int64(c.batch.1), rows: Int64(c.rows), columns: Int64(c.columns),
        inner: Int64(a.columns), a_strides: a.dnnStrides, b_strides: b.dnnStrides, c_strides: c.dnnStrides,
        a_type: a.tensor.type.dnn, b_type: b.tensor.type.dnn, c_type: c.tensor.type.dnn, accumulate: accumulating,
        scale: scale)
      // Along the outermost axis that exists, or within each sample if samples are separate.
      let operations = 2 * c.rows * c.columns * a.columns
      let (groups, outer) = isSeparating ? (c.batch.0, 1) : (1, c.batch.0)
      let cut =
        outer > 1
        ? RowCut(rows: outer, operations: operations * c.batch.1, multiple: 1)
        : c.batch.1 > 1
          ? RowCut(rows: groups * c.batch.1, operations: operations, multiple: 1, groups: groups)
          : RowCut(rows: groups * c.rows, operations: operations / max(1, c.rows), groups: groups)
      threads.run(cut.count) { turn in
        var product = whole
        let range = cut[turn.part]
        let (count, group) = (Int64(range.count), cut.group(of: turn.part))
        let first = range.lowerBound - group * cut.size
        func offset(_ strides: easel_dnn_strides, hasRows: Bool) -> Int {
          if outer > 1 { return first * Int(strides.batch0) }
          let sample = group * Int(strides.batch0)
          if c.batch.1 > 1 { return sample + first * Int(strides.batch1) }
          return sample + (hasRows ? first * Int(strides.row) : 0)
        }
        product.batch0 = 1
        if outer > 1 {
          product.batch0 = count
        } else if c.batch.1 > 1 {
          product.batch1 = count
        } else {
          product.rows = count
        }
        call(on: turn.worker) {
          easel_dnn_matmul_run(
            $0, &product, a.tensor.at(offset(whole.a_strides, hasRows: true)),
            b.tensor.at(offset(whole.b_strides, hasRows: false)), nil,
            c.tensor.at(offset(whole.c_strides, hasRows: true)))
        }
      }
    }

    /// The number of multiplications and additions that is worth a separate part: a tenth of a millisecond.
    fileprivate static let operationsOfPart = 8_000_000
  }

  /// How rows, or other independent items, are divided into parts: by their number and work alone.
  ///
  /// If samples are separate, the rows of each form a group, divided without regard to the others.
  private struct RowCut {
    /// The rows of a group, and the most rows of a part.
    let size, largest: Int
    private let groups: Int
    private var partsOfGroup: Int { (size + largest - 1) / largest }
    var count: Int { groups * partsOfGroup }

    /// - Parameters:
    ///   - rows: the rows of all groups.
    ///   - operations: the multiplications and additions of one row.
    ///   - multiple: parts have a multiple of this many rows, as many as the kernels process at a time.
    init(rows: Int, operations: Int, multiple: Int = 16, groups: Int = 1) {
      let parts = ThreadPool.parts(rows / max(1, groups) * operations, grain: OneDNNBackend.operationsOfPart)
      self.init(rows: rows, parts: parts, multiple: multiple, groups: groups)
    }

    init(rows: Int, parts: Int, multiple: Int, groups: Int = 1) {
      self.groups = groups
      size = rows / max(1, groups)
      let even = (size + parts - 1) / parts
      largest = max(1, min(size, (even + multiple - 1) / multiple * multiple))
    }

    func group(of part: Int) -> Int { part / max(1, partsOfGroup) }

    /// The rows of a part, counted over all groups.
    subscript(part: Int) -> Range<Int> {
      let group = group(of: part)
      let first = (part - group * partsOfGroup) * largest
      return group * size + first..<group * size + min(size, first + largest)
    }
  }

  /// A convolution divided into convolutions of some of its images or, if there are few images, of bands of rows.
  private struct ConvolutionCut {
    struct Part {
      var convolution: easel_dnn_convolution
      /// The position of its first element in the input and in the output.
      var input, output: Int
    }

    private(set) var parts: [Part] = []

    /// - Parameters:
    ///   - most: the largest number of parts.
    ///   - isGradient: whether bands are rows of the input, to which gradients of the output's rows are added;
    ///     otherwise they are rows of the output.
    ///   - isSeparating: whether each image is divided as if it were alone.
    init(
      _ input: Shape, _ weight: Shape, output: Shape, _ window: ConvolutionWindow, type: easel_dnn_type,
      most: Int = ThreadPool.mostParts, ofInputGradient isGradient: Bool = false, separately isSeparating: Bool = false
    ) {
      let whole = easel_dnn_convolution(
        input, output: output, kernel: Shape(Array(weight.sizes.dropFirst())), window, type: type)
      let images = input[0]
      // Separate images must be divided without regard to each other's number, so decide as for one image.
      let together = isSeparating ? 1 : images
      let operations = 2 * output.count / max(1, images) * together * weight[1] * weight[2] * weight[3]
      let count = ThreadPool.parts(operations, grain: OneDNNBackend.operationsOfPart, most: most)
      let rows = isGradient ? input[1] : output[1]
      // A band needs several rows, and part of the image in its window.
      let canBeBanded = window.top < weight[2] && window.bottom < weight[2]
      let bands =
        together < min(count, 8) && canBeBanded
        ? min((count + together - 1) / together, isSeparating ? 8 : most / images, rows / 4) : 1
      let (inputSize, outputSize) = (input.count / max(1, images), output.count / max(1, images))
      guard bands > 1 else {
        let cut = RowCut(rows: images, parts: isSeparating ? images : min(count, images), multiple: 1)
        for range in (0..<cut.count).map({ cut[$0] }) {
          var part = whole
          part.batch = Int64(range.count)
          parts.append(
            Part(convolution: part, input: range.lowerBound * inputSize, output: range.lowerBound * outputSize))
        }
        return
      }
      for image in 0..<images {
        for band in 0..<bands {
          let (first, last) = (rows * band / bands, rows * (band + 1) / bands)
          let part = isGradient ? whole.givingInput(first, last, of: output[1]) : whole.givingOutput(first, last)
          parts.append(
            Part(
              convolution: part.convolution,
              input: image * inputSize + part.inputRow * input[2] * input[3],
              output: image * outputSize + part.outputRow * output[2] * output[3]))
        }
      }
    }
  }

  extension easel_dnn_convolution {
    /// - Parameter kernel: `[I, KH, KW]`.
    fileprivate init(_ input: Shape, output: Shape, kernel: Shape, _ window: ConvolutionWindow, type: easel_dnn_type) {
      self.init(
        batch: Int64(input[0]), height: Int64(input[1]), width: Int64(input[2]), input_channels: Int64(input[3]),
        output_channels: Int64(output[3]), kernel_height: Int64(kernel[1]), kernel_width: Int64(kernel[2]),
        stride_height: Int64(window.strideHeight), stride_width: Int64(window.strideWidth), pad_top: Int64(window.top),
        pad_left: Int64(window.left), pad_bottom: Int64(window.bottom), pad_right: Int64(window.right), type: type)
    }

    /// The one-image convolution that gives rows `first ..< last` of the output, and the positions of its input and
    /// output.
    fileprivate func givingOutput(_ first: Int, _ last: Int)
      -> (convolution: easel_dnn_convolution, inputRow: Int, outputRow: Int)
    {
      let (stride, top, kernel, height) = (
        Int(stride_height), Int(pad_top), Int(kernel_height), Int(self.height)
      )
      // The rows of the padded image that it sees.
      let (begin, end) = (first * stride - top, (last - 1) * stride - top + kernel)
      var part = self
      part.batch = 1
      part.height = Int64(min(height, end) - max(0, begin))
      part.pad_top = Int64(max(0, -begin))
      part.pad_bottom = Int64(max(0, end - height))
      return (part, max(0, begin), first)
    }

    /// The one-image convolution whose input gradient gives rows `first ..< last` of the input's gradient, and the
    /// positions of its input and output.
    fileprivate func givingInput(_ first: Int, _ last: Int, of outputRows: Int)
      -> (convolution: easel_dnn_convolution, inputRow: Int, outputRow: Int)
    {
      let (stride, top, kernel) = (Int(stride_height), Int(pad_top), Int(kernel_height))
      // The rows of the output with this band in their windows.
      let begin = max(0, (first + top - kernel + stride) / stride)
      let end = min(outputRows, (last - 1 + top) / stride + 1)
      var part = self
      part.batch = 1
      part.height = Int64(last - first)
      part.pad_top = Int64(top + first - begin * stride)
      part.pad_bottom = Int64(max(0, (end - 1) * stride + kernel - (last + top)))
      return (part, first, begin)
    }
  }

  extension ScalarType {
    fileprivate var dnn: easel_dnn_type {
      switch self {
      case .float32: EASEL_DNN_FLOAT32
      case .bfloat16: EASEL_DNN_BFLOAT16
      case .int32: fatalShape("activations are float32 or bfloat16, not int32")
      }
    }
  }

  extension Tensor {
    /// The weights of a 1×1 convolution as a matrix.
    fileprivate var flattenedKernel: Tensor { reshaped([shape[0], shape[1]]) }
  }

  extension MatrixBatch {
    fileprivate var dnnStrides: easel_dnn_strides {
      // A batch of one is repeated for every batch of the other operand.
      easel_dnn_strides(
        batch0: batch.0 == 1 ? 0 : Int64(strides.batch0), batch1: batch.1 == 1 ? 0 : Int64(strides.batch1),
        row: Int64(strides.row), column: Int64(strides.column))
    }
  }
#endif
