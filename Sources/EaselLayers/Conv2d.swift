/// A convolution: `[N, H, W, in]` to `[N, OH, OW, out]`.
///
/// Parameters: `weight` `[out, in, k, k]`, `bias` `[out]`.
public struct Conv2d {
  /// `[out, in, k, k]`.
  public let weight: Parameter
  /// `[out]`; nil for none.
  public let bias: Parameter?
  /// Stride and padding, in pixels.
  public let window: ConvolutionWindow

  /// A convolution with any stride and padding.
  ///
  /// - Parameters:
  ///   - inputChannels: the channels of its input.
  ///   - outputChannels: the channels of its output.
  ///   - kernelSize: the rows and columns of the kernel.
  ///   - window: stride and padding, in pixels.
  ///   - bias: whether it has a bias.
  ///   - initializer: the initializer of the weight; see ``Initializer``.
  ///   - biasInitializer: that of the bias; nil for the one that goes with the weight's.
  ///   - scope: its position in the tree of names.
  public init(
    inputChannels: Int, outputChannels: Int, kernelSize: Int, window: ConvolutionWindow, bias: Bool = true,
    initializer: Initializer = .fanInUniform, biasInitializer: Initializer? = nil, _ scope: Scope
  ) {
    weight = scope.parameter("weight", [outputChannels, inputChannels, kernelSize, kernelSize], initializer)
    let fanIn = inputChannels * kernelSize * kernelSize
    self.bias =
      bias ? scope.parameter("bias", [outputChannels], biasInitializer ?? initializer.forBias(fanIn: fanIn)) : nil
    self.window = window
  }

  /// A convolution with the same stride and padding in all directions.
  ///
  /// - Parameters:
  ///   - inputChannels: the channels of its input.
  ///   - outputChannels: the channels of its output.
  ///   - kernelSize: the rows and columns of the kernel.
  ///   - stride: pixels from one position of the kernel to the next.
  ///   - padding: rows and columns of zeros on each side.
  ///   - bias: whether it has a bias.
  ///   - initializer: the initializer of the weight; see ``Initializer``.
  ///   - biasInitializer: that of the bias; nil for the one that goes with the weight's.
  ///   - scope: its position in the tree of names.
  public init(
    inputChannels: Int, outputChannels: Int, kernelSize: Int, stride: Int = 1, padding: Int = 0, bias: Bool = true,
    initializer: Initializer = .fanInUniform, biasInitializer: Initializer? = nil, _ scope: Scope
  ) {
    self.init(
      inputChannels: inputChannels, outputChannels: outputChannels, kernelSize: kernelSize,
      window: ConvolutionWindow(stride: stride, padding: padding), bias: bias, initializer: initializer,
      biasInitializer: biasInitializer, scope)
  }

  /// Convolves images.
  ///
  /// - Parameters:
  ///   - x: `[N, H, W, in]`. It traps if the channels differ or if the images are smaller than the kernel.
  ///   - residual: a tensor of the result's shape that is added to it; nil for none.
  /// - Returns: `[N, OH, OW, out]`.
  public func callAsFunction(_ x: Variable, residual: Variable? = nil) -> Variable {
    conv2d(
      x, weight: weight.weight(on: x.tape), bias: bias?.variable(on: x.tape), residual: residual, window: window)
  }
}

/// A transposed convolution: `[N, H, W, in]` to `[N, OH, OW, out]`, like PyTorch's `ConvTranspose2d`.
///
/// Parameters: `weight` `[in, out, k, k]`, `bias` `[out]`.
public struct ConvTranspose2d {
  /// `[in, out, k, k]`.
  public let weight: Parameter
  /// `[out]`; nil for none.
  public let bias: Parameter?
  private let kernelSize, stride, padding, outputPadding: Int

  /// A transposed convolution.
  ///
  /// - Parameters:
  ///   - inputChannels: the channels of its input.
  ///   - outputChannels: the channels of its output.
  ///   - kernelSize: the rows and columns of the kernel.
  ///   - stride: the stride of the convolution that it reverses; roughly the factor by which images grow.
  ///   - padding: the padding, in pixels, of the convolution that it reverses.
  ///   - outputPadding: extra rows and columns, compared with the smallest image that the convolution takes to the
  ///     input's size.
  ///   - bias: whether it has a bias.
  ///   - initializer: the initializer of the weight; see ``Initializer``.
  ///   - scope: its position in the tree of names.
  public init(
    inputChannels: Int, outputChannels: Int, kernelSize: Int, stride: Int, padding: Int, outputPadding: Int = 0,
    bias: Bool = true, initializer: Initializer = .fanInUniform, _ scope: Scope
  ) {
    weight = scope.parameter("weight", [inputChannels, outputChannels, kernelSize, kernelSize], initializer)
    let fanIn = outputChannels * kernelSize * kernelSize
    self.bias = bias ? scope.parameter("bias", [outputChannels], initializer.forBias(fanIn: fanIn)) : nil
    (self.kernelSize, self.stride, self.padding) = (kernelSize, stride, padding)
    self.outputPadding = outputPadding
  }

  /// Enlarges images.
  ///
  /// - Parameters:
  ///   - x: `[N, H, W, in]`.
  ///   - size: height and width of the result. The convolution must take them to those of `x`; others trap. Nil for (H
  ///     − 1) · stride − 2 · padding + k + outputPadding, and W likewise.
  /// - Returns: `[N, OH, OW, out]`.
  public func callAsFunction(_ x: Variable, size: (height: Int, width: Int)? = nil) -> Variable {
    func enlarged(_ length: Int) -> Int { (length - 1) * stride - 2 * padding + kernelSize + outputPadding }
    return convTranspose2d(
      x, weight: weight.weight(on: x.tape), bias: bias?.variable(on: x.tape),
      size: size ?? (height: enlarged(x.shape[1]), width: enlarged(x.shape[2])),
      window: ConvolutionWindow(stride: stride, padding: padding))
  }
}
