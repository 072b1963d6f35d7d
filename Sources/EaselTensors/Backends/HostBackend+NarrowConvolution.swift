import CEaselKernels

/// Convolutions to one or a few channels, as in the last layers of image networks. Matrix kernels are a bad fit for
/// these.
extension HostBackend {
  /// The convolution as one to few channels, if it is one.
  func narrow(_ input: Shape, weight: Shape, _ window: ConvolutionWindow) -> easel_narrow? {
    guard usesOwnConvolutions, weight[0] <= 4, weight[1] % 32 == 0, window.strideHeight == 1, window.strideWidth == 1
    else { return nil }
    let output = window.outputShape(input: input, weight: weight)
    return easel_narrow(
      height: input[1], width: input[2], inputs: weight[1], output_height: output[1], output_width: output[2],
      outputs: weight[0], kernel_height: weight[2], kernel_width: weight[3], pad_top: window.top, pad_left: window.left)
  }

  /// The gradient of a convolution's input as a convolution to few channels, if it is one: the gradient of the output
  /// convolved with the rotated weights.
  func narrowGradient(_ input: Shape, weight: Shape, _ window: ConvolutionWindow) -> easel_narrow? {
    guard usesOwnConvolutions, input[3] <= 4, weight[0] % 32 == 0, window.strideHeight == 1, window.strideWidth == 1,
      window.top < weight[2], window.left < weight[3]
    else { return nil }
    let output = window.outputShape(input: input, weight: weight)
    return easel_narrow(
      height: output[1], width: output[2], inputs: weight[0], output_height: input[1], output_width: input[2],
      outputs: input[3], kernel_height: weight[2], kernel_width: weight[3], pad_top: weight[2] - 1 - window.top,
      pad_left: weight[3] - 1 - window.left)
  }

  func narrowConvolution(_ n: easel_narrow, _ x: Tensor, weight: Tensor, bias: Tensor?, residual: Tensor?) -> Tensor {
    let packed = empty(weight.shape, .float32)
    let weight = weight.cast(to: .float32)
    n.forEachWeight { stored, lowered in packed.floats[lowered] = weight.floats[stored] }
    return narrowConvolution(n, x, packed: packed, bias: bias, residual: residual)
  }

  func narrowInputGradient(_ n: easel_narrow, _ dy: Tensor, weight: Tensor, adding: Tensor?) -> Tensor {
    let packed = empty(weight.shape, .float32)
    let (weight, taps) = (weight.cast(to: .float32), n.kernel_height * n.kernel_width)
    for o in 0..<n.inputs {
      for i in 0..<n.outputs {
        for tap in 0..<taps {
          packed.floats[(i * taps + taps - 1 - tap) * n.inputs + o] = weight.floats[(o * n.outputs + i) * taps + tap]
        }
      }
    }
    return narrowConvolution(n, dy, packed: packed, bias: nil, residual: adding)
  }

  /// - Parameter packed: weights `[O, KH, KW, I]`.
  private func narrowConvolution(
    _ n: easel_narrow, _ x: Tensor, packed: Tensor, bias: Tensor?, residual: Tensor?
  ) -> Tensor {
    let y = empty([x.shape[0], n.output_height, n.output_width, n.outputs], x.type)
    let (inputSize, outputSize) = (samples(x).size, samples(y).size)
    let kernel = typed(x.type).narrow_convolution
    threads.run(x.shape[0]) { turn in
      let image = turn.part
      withUnsafePointer(to: n) {
        kernel(
          $0, x.at(image * inputSize), packed.floats, bias?.floats, residual?.at(image * outputSize),
          y.at(image * outputSize))
      }
    }
    return y
  }

  func narrowWeightGradient(
    _ n: easel_narrow, _ x: Tensor, _ dy: Tensor, into weightGradient: Tensor, bias biasGradient: Tensor?
  ) {
    let (inputSize, outputSize) = (samples(x).size, samples(dy).size)
    let packed = empty([weightGradient.count], .float32)
    fill(packed, with: 0)
    let kernel = typed(x.type).narrow_weight_gradient
    sumByPart(of: packed.count, over: x.shape[0], into: [packed]) { images, _, partial in
      for image in images {
        withUnsafePointer(to: n) { kernel($0, x.at(image * inputSize), dy.at(image * outputSize), partial(0)) }
      }
    }
    n.forEachWeight { stored, lowered in weightGradient.floats[stored] += packed.floats[lowered] }
    if let biasGradient { sumRows(dy, into: biasGradient) }
  }
}

extension easel_narrow {
  /// Calls `body` with each weight's position in `[O, I, KH, KW]` and in `[O, KH, KW, I]`.
  fileprivate func forEachWeight(_ body: (Int, Int) -> Void) {
    let taps = kernel_height * kernel_width
    for o in 0..<outputs {
      for i in 0..<inputs {
        for tap in 0..<taps { body((o * inputs + i) * taps + tap, (o * taps + tap) * inputs + i) }
      }
    }
  }
}
