import EaselLayers
import EaselSupport

/// How a generator returns to an image's size.
public enum Upsampling: String, FieldChoice {
  /// Transposed convolutions, as in PyTorch's CycleGAN. They tend to leave checkerboard patterns.
  case transposed
  /// Pixels repeated, then a convolution (Odena et al. 2016): smoother surfaces, for a little more time.
  case nearest
}

/// Turns images into images (Johnson et al. 2016; Zhu et al. 2017): `[N, H, W, C]` to float32 of the same shape, −1 to
/// 1.
///
/// Two convolutions of stride 2, residual blocks, and two steps back to the previous sizes. Convolutions that keep the
/// size have mirrored borders. Any size of at least 5 works.
///
/// Parameters are named as in PyTorch's CycleGAN (`networks.py`, `ResnetGenerator`): `model.1`,
/// `model.10.conv_block.1`, …
struct ResidualGenerator {
  private let first: NormalizedConvolution
  private let down: [NormalizedConvolution]
  private let blocks: [(NormalizedConvolution, NormalizedConvolution)]
  private let up: [NormalizedConvolution]
  private let upsampling: Upsampling
  private let last: Conv2d

  init(_ channels: Int, width: Int, blocks: Int, upsampling: Upsampling, _ scope: Scope) {
    let scope = scope["model"]
    let halving = ConvolutionWindow(stride: 2, padding: 1)
    first = NormalizedConvolution(channels, width, kernelSize: 7, window: .init(), activation: .relu, scope[1])
    down = (0..<2).map {
      NormalizedConvolution(
        width << $0, width << ($0 + 1), kernelSize: 3, window: halving, activation: .relu, scope[4 + 3 * $0])
    }
    self.blocks = (0..<blocks).map { block in
      func convolution(_ place: Int, _ activation: Activation) -> NormalizedConvolution {
        NormalizedConvolution(
          4 * width, 4 * width, kernelSize: 3, window: .init(), activation: activation,
          scope[10 + block]["conv_block"][place])
      }
      return (convolution(1, .relu), convolution(5, .identity))
    }
    up = (0..<2).map {
      NormalizedConvolution(
        (4 * width) >> $0, (4 * width) >> ($0 + 1), kernelSize: 3,
        window: upsampling == .transposed ? halving : .init(padding: 1), isTransposed: upsampling == .transposed,
        activation: .relu, scope[10 + blocks + 3 * $0])
    }
    self.upsampling = upsampling
    last = Conv2d(
      inputChannels: width, outputChannels: channels, kernelSize: 7, initializer: .adversarial, scope[17 + blocks])
  }

  func callAsFunction(_ x: Variable) -> Variable {
    let border = Insets(top: 3, left: 3, bottom: 3, right: 3)
    let thin = Insets(top: 1, left: 1, bottom: 1, right: 1)
    let whole = first(reflectionPad(x, border))
    let half = down[0](whole)
    var hidden = down[1](half)
    for block in blocks {
      hidden = hidden + block.1(reflectionPad(block.0(reflectionPad(hidden, thin)), thin))
    }
    for (convolution, size) in zip(up, [half.imageSize, whole.imageSize]) {
      switch upsampling {
      case .transposed: hidden = convolution(hidden, size: size)
      case .nearest:
        // Halves of odd sizes are rounded up.
        let twice = upsampleNearest(hidden)
        let excess = (height: twice.imageSize.height - size.height, width: twice.imageSize.width - size.width)
        hidden = convolution(pad(twice, Insets(bottom: -excess.height, right: -excess.width)))
      }
    }
    // bfloat16 would lose the last bits of light and dark.
    return activate(.tanh, last(reflectionPad(hidden, border)).cast(to: .float32))
  }
}
