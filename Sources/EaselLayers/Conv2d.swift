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
  ///   - inputChannels: of the images that it takes.
  ///   - outputChannels: of those that it makes.
  ///   - kernelSize: rows and columns of the kernel.
  ///   - window: stride and padding, in pixels.
  ///   - bias: whether it has one.
  ///   - initializer: of the weight; see ``Initializer``.
  ///   - scope: where it stands among the names.
  public init(
    inputChannels: Int, outputChannels: Int, kernelSize: Int, window: ConvolutionWindow, bias: Bool = true,
    initializer: Initializer = .fanInUniform, _ scope: Scope
  ) {
    weight = scope.parameter("weight", [outputChannels, inputChannels, kernelSize, kernelSize], initializer)
    let fanIn = inputChannels * kernelSize * kernelSize
    self.bias = bias ? scope.parameter("bias", [outputChannels], initializer.forBias(fanIn: fanIn)) : nil
    self.window = window
  }

  /// A convolution with one stride and one padding on all sides.
  ///
  /// - Parameters:
  ///   - inputChannels: of the images that it takes.
  ///   - outputChannels: of those that it makes.
  ///   - kernelSize: rows and columns of the kernel.
  ///   - stride: pixels from one place of the kernel to the next.
  ///   - padding: rows and columns of zeros at each side.
  ///   - bias: whether it has one.
  ///   - initializer: of the weight; see ``Initializer``.
  ///   - scope: where it stands among the names.
  public init(
    inputChannels: Int, outputChannels: Int, kernelSize: Int, stride: Int = 1, padding: Int = 0, bias: Bool = true,
    initializer: Initializer = .fanInUniform, _ scope: Scope
  ) {
    self.init(
      inputChannels: inputChannels, outputChannels: outputChannels, kernelSize: kernelSize,
      window: ConvolutionWindow(stride: stride, padding: padding), bias: bias, initializer: initializer, scope)
  }

  /// The convolved images.
  ///
  /// - Parameters:
  ///   - x: `[N, H, W, in]`; other channels, and images smaller than the kernel, trap.
  ///   - residual: of the result's shape, added to it; nil for none.
  /// - Returns: `[N, OH, OW, out]`.
  public func callAsFunction(_ x: Variable, residual: Variable? = nil) -> Variable {
    conv2d(
      x, weight: weight.variable(on: x.tape), bias: bias?.variable(on: x.tape), residual: residual, window: window)
  }
}

/// A transposed convolution: `[N, H, W, in]` to `[N, OH, OW, out]`, as PyTorch's `ConvTranspose2d`.
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
  ///   - inputChannels: of the images that it takes.
  ///   - outputChannels: of those that it makes.
  ///   - kernelSize: rows and columns of the kernel.
  ///   - stride: of the convolution that takes the result back; how many times larger images become, about.
  ///   - padding: of the convolution that takes the result back, in pixels.
  ///   - outputPadding: rows and columns more than the smallest image that the convolution would take back.
  ///   - bias: whether it has one.
  ///   - initializer: of the weight; see ``Initializer``.
  ///   - scope: where it stands among the names.
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

  /// The enlarged images.
  ///
  /// - Parameters:
  ///   - x: `[N, H, W, in]`.
  ///   - size: height and width of the result, of those that the convolution would take back to those of `x`; others trap.
  ///     Nil for (H − 1) · stride − 2 · padding + k + outputPadding, and W likewise.
  /// - Returns: `[N, OH, OW, out]`.
  public func callAsFunction(_ x: Variable, size: (height: Int, width: Int)? = nil) -> Variable {
    func enlarged(_ length: Int) -> Int { (length - 1) * stride - 2 * padding + kernelSize + outputPadding }
    return convTranspose2d(
      x, weight: weight.variable(on: x.tape), bias: bias?.variable(on: x.tape),
      size: size ?? (height: enlarged(x.shape[1]), width: enlarged(x.shape[2])),
      window: ConvolutionWindow(stride: stride, padding: padding))
  }
}
