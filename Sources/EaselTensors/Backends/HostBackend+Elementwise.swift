import CEaselKernels

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
      case .quickGELU: EASEL_QUICK_GELU
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
