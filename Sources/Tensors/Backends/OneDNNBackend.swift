#if EASEL_HAS_ONEDNN
  import COneDNN

  /// Convolutions and matrix products by oneDNN's JIT kernels, in float32 and bfloat16.
  ///
  /// The shim caches primitives, and reordered copies of weights under the storage's generation.
  public final class OneDNNBackend: HostBackend, Backend {
    public var kind: BackendKind { .onednn }
    private let context: OpaquePointer

    /// - Parameter winograd: whether convolutions may be Winograd's: 3×3, which on all processors without matrix units for
    ///   the type at hand is the fastest way, and 4×4 with stride 2, which saves less, where the type is not multiplied faster
    ///   than float32.
    /// - Throws: `UserError` (unavailable) where oneDNN finds no CPU engine.
    public init(
      threads: ThreadPool = ThreadPool(), instructionSet: InstructionSet = .preferred, winograd: Bool = true
    ) throws {
      guard let context = easel_dnn_create() else {
        throw UserError(
          .unavailable, "oneDNN could not be started on this processor", hint: "Use --backend openblas instead.")
      }
      self.context = context
      let products = Backends.bfloat16
      let types: [Int: Set<ScalarType>] = [
        1: products == .matrices ? [.float32] : [.float32, .bfloat16],
        2: products == .matrices || products == .fast ? [.float32] : [.float32, .bfloat16],
      ]
      super.init(on: threads, instructionSet: instructionSet, winogradTypes: winograd ? types : [:])
    }

    deinit { easel_dnn_destroy(context) }

    public override func release(_ pointer: UnsafeMutableRawPointer, byteCount: Int, wasPersistent: Bool) {
      if wasPersistent { easel_dnn_forget(context, pointer, byteCount) }
      super.release(pointer, byteCount: byteCount, wasPersistent: wasPersistent)
    }

    public override var memory: MemoryStatistics {
      var statistics = super.memory
      statistics.bytesReserved += easel_dnn_memory_bytes(context)
      return statistics
    }

    /// Makes a call, unless the work that it belongs to is given up.
    private func check(_ call: @autoclosure () -> Int32) {
      if threads.isAbandoned { return }
      if call() != 0 { fatalShape(String(cString: easel_dnn_last_error(context))) }
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
      var description = convolution(x.shape, weight.shape, window, x.type)
      check(
        easel_dnn_convolution_forward(
          context, &description, x.pointer, weight.cacheable, bias?.floats, residual?.pointer, y.pointer))
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
      var description = convolution(inputShape, weight.shape, window, dy.type)
      check(easel_dnn_convolution_backward_data(context, &description, dy.pointer, weight.cacheable, dx.pointer))
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
      var description = convolution(x.shape, weightGradient.shape, window, x.type)
      check(
        easel_dnn_convolution_backward_weights(
          context, &description, x.pointer, dy.pointer, weightGradient.floats, biasGradient?.floats, true))
    }

    private func convolution(_ input: Shape, _ weight: Shape, _ window: ConvolutionWindow, _ type: ScalarType)
      -> easel_dnn_convolution
    {
      easel_dnn_convolution(
        batch: Int64(input[0]), height: Int64(input[1]), width: Int64(input[2]), input_channels: Int64(input[3]),
        output_channels: Int64(weight[0]), kernel_height: Int64(weight[2]), kernel_width: Int64(weight[3]),
        stride_height: Int64(window.strideHeight), stride_width: Int64(window.strideWidth), pad_top: Int64(window.top),
        pad_left: Int64(window.left), pad_bottom: Int64(window.bottom), pad_right: Int64(window.right), type: type.dnn)
    }

    // MARK: Matrix products

    public func linear(_ x: Tensor, weight: Tensor, bias: Tensor?, residual: Tensor?) -> Tensor {
      let y = empty(x.shape.replacingLast(with: weight.shape[0]), x.type)
      check(
        easel_dnn_linear(
          context, Int64(x.count / x.shape.last), Int64(weight.shape[1]), Int64(weight.shape[0]), x.type.dnn, x.pointer,
          weight.cacheable, bias?.floats, residual?.pointer, y.pointer))
      return y
    }

    public func linearInputGradient(_ dy: Tensor, weight: Tensor, adding: Tensor?) -> Tensor {
      let dx = empty(dy.shape.replacingLast(with: weight.shape[1]), dy.type)
      check(
        easel_dnn_linear_backward_data(
          context, Int64(dy.count / dy.shape.last), Int64(weight.shape[1]), Int64(weight.shape[0]), dy.type.dnn,
          dy.pointer, weight.cacheable, adding?.pointer, dx.pointer))
      return dx
    }

    public func linearWeightGradient(_ x: Tensor, _ dy: Tensor, into weightGradient: Tensor) {
      check(
        easel_dnn_linear_backward_weights(
          context, Int64(dy.count / dy.shape.last), Int64(weightGradient.shape[1]), Int64(weightGradient.shape[0]),
          x.type.dnn, x.pointer, dy.pointer, weightGradient.floats, true))
    }

    public func matmul(_ a: MatrixBatch, _ b: MatrixBatch, scale: Float, into c: MatrixBatch, accumulating: Bool) {
      require(a.columns == b.rows && a.rows == c.rows && b.columns == c.columns, "product of \(a) and \(b) into \(c)")
      var description = easel_dnn_matmul(
        batch0: Int64(c.batch.0), batch1: Int64(c.batch.1), rows: Int64(c.rows), columns: Int64(c.columns),
        inner: Int64(a.columns), a_strides: a.dnnStrides, b_strides: b.dnnStrides, c_strides: c.dnnStrides,
        a_type: a.tensor.type.dnn, b_type: b.tensor.type.dnn, c_type: c.tensor.type.dnn, accumulate: accumulating,
        scale: scale)
      check(
        easel_dnn_matmul_run(context, &description, a.tensor.pointer, b.tensor.pointer, nil, c.tensor.pointer))
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
    /// A parameter under its generation.
    fileprivate var cacheable: easel_dnn_weights { easel_dnn_weights(pointer: floats, generation: storage.generation) }
    /// The weights of a 1×1 convolution as a matrix.
    fileprivate var flattenedKernel: Tensor { reshaped([shape[0], shape[1]]) }
  }

  extension MatrixBatch {
    fileprivate var dnnStrides: easel_dnn_strides {
      // A batch of one repeats for every batch of the other operand.
      easel_dnn_strides(
        batch0: batch.0 == 1 ? 0 : Int64(strides.batch0), batch1: batch.1 == 1 ? 0 : Int64(strides.batch1),
        row: Int64(strides.row), column: Int64(strides.column))
    }
  }
#endif
