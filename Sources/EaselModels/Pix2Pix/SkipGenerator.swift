import EaselLayers

/// The U-Net of pix2pix (Isola et al. 2017): `[N, H, W, C]` to float32 of the same shape, −1 to 1.
///
/// Convolutions of stride 2 go down to a few pixels, and transposed ones back to the previous sizes. Each level of the
/// way back up also sees the output of its level on the way down.
///
/// Parameters are named as in PyTorch's pix2pix (`networks.py`, `UnetGenerator`), where each level is inside the one
/// before: `model.model.0`, `model.model.1.model.1`, `model.model.1.model.3.model.1`, …
struct SkipGenerator {
  private let first: Conv2d
  private let down: [NormalizedConvolution]
  private let innermost: Conv2d
  /// From the innermost level to the second.
  private let up: [NormalizedConvolution]
  private let last: ConvTranspose2d
  private let dropout: Float

  /// The number of levels with dropout on the way back up, from the innermost.
  private static let levelsWithDropout = 3

  /// - Parameter depth: the number of levels, at least 2 and at most ``depth(of:)``.
  init(_ channels: Int, width: Int, depth: Int, dropout: Float, _ scope: Scope) {
    self.dropout = dropout
    let window = ConvolutionWindow(stride: 2, padding: 1)
    func channelsAfter(_ level: Int) -> Int { width * min(1 << level, 8) }
    let outermost = scope["model"]["model"]
    let levels = (1..<depth).map { level in
      (1..<level).reduce(outermost[1]["model"]) { scope, _ in scope[3]["model"] }
    }
    first = Conv2d(
      inputChannels: channels, outputChannels: width, kernelSize: 4, window: window, initializer: .adversarial,
      outermost[0])
    down = (1..<depth - 1).map { level in
      NormalizedConvolution(
        channelsAfter(level - 1), channelsAfter(level), kernelSize: 4, window: window, activation: .identity,
        levels[level - 1][1])
    }
    innermost = Conv2d(
      inputChannels: channelsAfter(depth - 2), outputChannels: channelsAfter(depth - 1), kernelSize: 4, window: window,
      initializer: .adversarial, levels[depth - 2][1])
    up = (1..<depth).reversed().map { level in
      let isInnermost = level == depth - 1
      return NormalizedConvolution(
        (isInnermost ? 1 : 2) * channelsAfter(level), channelsAfter(level - 1), kernelSize: 4, window: window,
        isTransposed: true, activation: .relu, levels[level - 1][isInnermost ? 3 : 5])
    }
    last = ConvTranspose2d(
      inputChannels: 2 * width, outputChannels: channels, kernelSize: 4, stride: 2, padding: 1,
      initializer: .adversarial, outermost[3])
  }

  /// The most levels that fit the images, 8 at most, as in the paper, which takes 256 pixels down to one.
  static func depth(width: Int, height: Int) -> Int {
    (0...8).last { min(width, height) >> $0 >= 1 } ?? 0
  }

  /// - Parameter draw: the noise (dropout) for each level; nil for none.
  func callAsFunction(_ x: Variable, draw: ((UInt32) -> RandomDraw)? = nil) -> Variable {
    let leak = Activation.leakyReLU(slope: 0.2)
    var found = [first(x)]
    for convolution in down { found.append(convolution(activate(leak, found[found.count - 1]))) }
    var hidden = activate(.relu, innermost(activate(leak, found[found.count - 1])))
    for (level, (convolution, skipped)) in zip(up, found.reversed()).enumerated() {
      hidden = convolution(hidden, size: skipped.imageSize)
      if let draw, level < Self.levelsWithDropout {
        hidden = EaselGradients.dropout(hidden, probability: dropout, draw(UInt32(level)))
      }
      hidden = concatenate([activate(.relu, skipped), hidden])
    }
    return activate(.tanh, last(hidden, size: x.imageSize).cast(to: .float32))
  }
}
