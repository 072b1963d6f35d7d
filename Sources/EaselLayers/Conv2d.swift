/// A convolution: `[N, H, W, in]` to `[N, OH, OW, out]`.
///
/// Parameters: `weight` `[out, in, k, k]`, `bias` `[out]`.
public struct Conv2d {
  public let weight: Parameter
  public let bias: Parameter?
  public let window: ConvolutionWindow

  public init(
    inputChannels: Int, outputChannels: Int, kernelSize: Int, window: ConvolutionWindow, bias: Bool = true,
    initializer: Initializer = .fanInUniform, _ scope: Scope
  ) {
    weight = scope.parameter("weight", [outputChannels, inputChannels, kernelSize, kernelSize], initializer)
    let fanIn = inputChannels * kernelSize * kernelSize
    self.bias = bias ? scope.parameter("bias", [outputChannels], initializer.forBias(fanIn: fanIn)) : nil
    self.window = window
  }

  public init(
    inputChannels: Int, outputChannels: Int, kernelSize: Int, stride: Int = 1, padding: Int = 0, bias: Bool = true,
    initializer: Initializer = .fanInUniform, _ scope: Scope
  ) {
    self.init(
      inputChannels: inputChannels, outputChannels: outputChannels, kernelSize: kernelSize,
      window: ConvolutionWindow(stride: stride, padding: padding), bias: bias, initializer: initializer, scope)
  }

  /// - Parameter residual: of the result's shape, added to it.
  public func callAsFunction(_ x: Variable, residual: Variable? = nil) -> Variable {
    conv2d(
      x, weight: weight.variable(on: x.tape), bias: bias?.variable(on: x.tape), residual: residual, window: window)
  }
}

/// A transposed convolution: `[N, H, W, in]` to `[N, OH, OW, out]`, as PyTorch's `ConvTranspose2d`.
///
/// Parameters: `weight` `[in, out, k, k]`, `bias` `[out]`.
public struct ConvTranspose2d {
  public let weight: Parameter
  public let bias: Parameter?
  private let kernelSize, stride, padding, outputPadding: Int

  /// - Parameter outputPadding: rows and columns more than the smallest image that the convolution would take back.
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

  /// - Parameter size: height and width of the result, of those that the convolution would take back to those of `x`; nil
  ///   for what the output padding says.
  public func callAsFunction(_ x: Variable, size: (height: Int, width: Int)? = nil) -> Variable {
    func enlarged(_ length: Int) -> Int { (length - 1) * stride - 2 * padding + kernelSize + outputPadding }
    return convTranspose2d(
      x, weight: weight.variable(on: x.tape), bias: bias?.variable(on: x.tape),
      size: size ?? (height: enlarged(x.shape[1]), width: enlarged(x.shape[2])),
      window: ConvolutionWindow(stride: stride, padding: padding))
  }
}
