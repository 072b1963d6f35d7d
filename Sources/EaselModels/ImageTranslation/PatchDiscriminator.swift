import EaselLayers
import EaselSupport

/// Judges overlapping patches of images, 70×70 pixels with three layers (Isola et al. 2017): `[N, H, W, C]` to one
/// number per patch, `[N, h, w, 1]`.
///
/// Parameters are named as in PyTorch's CycleGAN and pix2pix (`networks.py`, `NLayerDiscriminator`): `model.0`,
/// `model.2`, …
struct PatchDiscriminator {
  private let first: Conv2d
  private let layers: [NormalizedConvolution]
  private let last: Conv2d

  /// - Parameter layers: convolutions of stride 2, at least 1; two more follow with stride 1.
  init(_ channels: Int, width: Int, layers: Int, _ scope: Scope) {
    let scope = scope["model"]
    func channelsAfter(_ layer: Int) -> Int { width * min(1 << layer, 8) }
    let (window, kernel) = (ConvolutionWindow(stride: 2, padding: 1), 4)
    first = Conv2d(
      inputChannels: channels, outputChannels: width, kernelSize: kernel, window: window, initializer: .adversarial,
      scope[0])
    self.layers = (1...layers).map { layer in
      NormalizedConvolution(
        channelsAfter(layer - 1), channelsAfter(layer), kernelSize: kernel,
        window: layer < layers ? window : ConvolutionWindow(padding: 1), activation: .leakyReLU(slope: 0.2),
        scope[3 * layer - 1])
    }
    last = Conv2d(
      inputChannels: channelsAfter(layers), outputChannels: 1, kernelSize: kernel, padding: 1,
      initializer: .adversarial, scope[3 * layers + 2])
  }

  /// The most layers, up to `wanted`, that fit images of a size; 0 if they are too small even for one.
  static func layers(_ wanted: Int, width: Int, height: Int) -> Int {
    // After all halvings, three pixels must be left for the two convolutions that take one pixel each.
    (1...max(1, wanted)).last { min(width, height) >> $0 >= 3 } ?? 0
  }

  func callAsFunction(_ x: Variable) -> Variable {
    last(layers.reduce(activate(.leakyReLU(slope: 0.2), first(x))) { $1($0) })
  }
}

/// The loss on a discriminator's judgements.
public enum PatchLoss: String, FieldChoice {
  /// The squared distance from 1 for real images and 0 for made ones (Mao et al. 2017).
  case leastSquares = "least-squares"
  /// The cross-entropy of the judgement as a logit (Goodfellow et al. 2014).
  case logistic

  private var loss: Loss { self == .leastSquares ? .squaredError : .binaryCrossEntropyWithLogits }

  /// How far judgements are from those of real images, averaged over patches.
  func real(_ judgements: Variable) -> Variable { mean(judgements, realSamples: judgements.shape[0]) }

  /// The mean over a batch of real images followed by the same number of generated ones: half of the sum of both means,
  /// which is a discriminator's loss.
  func halfReal(_ judgements: Variable) -> Variable { mean(judgements, realSamples: judgements.shape[0] / 2) }

  private func mean(_ judgements: Variable, realSamples: Int) -> Variable {
    let target = Tensor(repeating: 0, shape: judgements.shape, on: judgements.backend)
    judgements.backend.fill(target[0..<realSamples], with: 1)
    return elementwiseLoss(loss, judgements.cast(to: .float32), target)
  }
}
