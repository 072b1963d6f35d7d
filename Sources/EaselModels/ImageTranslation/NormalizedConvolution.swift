import EaselLayers

/// A convolution, or a transposed one, followed by an InstanceNorm without γ and β and by an activation:
/// `[N, H, W, in]` to `[N, OH, OW, out]`.
///
/// Parameters: `weight`, `[out, in, k, k]` or, transposed, `[in, out, k, k]`, from N(0, 0.02²), and `bias` `[out]`. The
/// bias exists for PyTorch's checkpoints; the norm would remove it, so it is never computed.
struct NormalizedConvolution {
  private let weight: Parameter
  private let window: ConvolutionWindow
  private let isTransposed: Bool
  private let normalization: Normalization

  init(
    _ inputs: Int, _ outputs: Int, kernelSize: Int, window: ConvolutionWindow, isTransposed: Bool = false,
    activation: Activation, _ scope: Scope
  ) {
    let channels = isTransposed ? [inputs, outputs] : [outputs, inputs]
    weight = scope.parameter("weight", Shape(channels + [kernelSize, kernelSize]), .adversarial)
    _ = scope.parameter("bias", [outputs], .zeros)
    self.window = window
    self.isTransposed = isTransposed
    normalization = Normalization(groups: outputs, epsilon: 1e-5, activation: activation)
  }

  /// - Parameter size: height and width of a transposed convolution's result; its window must lead back from them.
  func callAsFunction(_ x: Variable, size: (height: Int, width: Int)? = nil) -> Variable {
    let weight = weight.weight(on: x.tape)
    let y =
      size.map { convTranspose2d(x, weight: weight, size: $0, window: window) }
      ?? conv2d(x, weight: weight, window: window)
    return normalize(y, gamma: nil, beta: nil, normalization)
  }
}

extension Initializer {
  /// Weights of convolutions in adversarial networks (Radford et al. 2016).
  static var adversarial: Initializer { .normal(deviation: 0.02) }
}

extension Variable {
  /// Height and width of images `[N, H, W, C]`.
  var imageSize: (height: Int, width: Int) { (shape[1], shape[2]) }
}
