import EaselLayers
import EaselSupport
import Foundation

/// How probable an image is given the decoder's output: a VAE's reconstruction term, in nats.
public struct PixelLikelihood {
  public enum Kind: String, FieldChoice {
    /// Pixels are 0 or 1 with the probability σ(output). This is a probability only for binary images; for grey ones it
    /// is the mean over all their binarisations.
    case bernoulli
    /// N(output, σ²) with a stated σ, in units of the range 0 to 1.
    case gaussian
    /// N(output, σ²) with a learned σ, one for all pixels (Rybkin et al. 2021).
    case learnedGaussian = "learned-gaussian"
    /// The probability of each of 256 levels by a logistic distribution around the output, with a learned scale, one
    /// for all pixels (Kingma et al. 2016).
    case discretizedLogistic = "discretized-logistic"
  }

  let kind: Kind
  /// log σ, or the logarithm of the logistic's scale: a constant or `[1]`.
  private let fixedLogScale: Float
  private let logScale: Parameter?

  init(_ kind: Kind, sigma: Float, _ scope: Scope) {
    self.kind = kind
    fixedLogScale = log(sigma)
    switch kind {
    case .bernoulli, .gaussian: logScale = nil
    case .learnedGaussian, .discretizedLogistic: logScale = scope.parameter("log_scale", [1], .constant(fixedLogScale))
    }
  }

  /// −log p(image | output) of each image: float32 `[N]`.
  ///
  /// - Parameters:
  ///   - output: the decoder's output, float32 `[N, H, W, C]`.
  ///   - images: images of that shape, 0 to 1.
  func negativeLogLikelihood(_ output: Variable, _ images: Tensor) -> Variable {
    let dimensions = Float(images.count / max(1, images.shape[0]))
    let normalizer = dimensions / 2 * log(2 * .pi)
    switch kind {
    case .bernoulli:
      return sampleLosses(.binaryCrossEntropyWithLogits, output, images)
    case .gaussian:
      return affine(
        sampleLosses(.squaredError, output, images), scale: 0.5 * exp(-2 * fixedLogScale),
        shift: normalizer + dimensions * fixedLogScale)
    case .learnedGaussian:
      let scale = learnedLogScale(on: output.tape)
      let errors = scaled(sampleLosses(.squaredError, output, images), by: 0.5 * activate(.exp, -2 * scale))
      return add(affine(dimensions * scale, scale: 1, shift: normalizer), toEach: errors)
    case .discretizedLogistic:
      return discretizedLogistic(output, images, inverseScale: activate(.exp, -1 * learnedLogScale(on: output.tape)))
    }
  }

  /// The probability of a level is that between its bin's edges x ± h: σ(a) − σ(b), with a = (x + h − μ)/s and
  /// b = (x − h − μ)/s. Its logarithm is log σ(a) + log σ(−b) + log(1 − e^(b − a)), none of which loses digits; the
  /// first two are cross-entropies of logits a and b with 1 and 0. The outermost bins reach to infinity.
  private func discretizedLogistic(_ mean: Variable, _ images: Tensor, inverseScale: Variable) -> Variable {
    let (half, infinity): (Float, Float) = (0.5 / 255, 1e4)
    let levels = images.values()
    let isLowest = levels.map { $0 < half }
    let isHighest = levels.map { $0 > 1 - half }
    func edges(_ shift: Float, _ isInfinite: [Bool]) -> Tensor {
      let values = zip(levels, isInfinite).map { $1 ? shift.sign == .minus ? -infinity : infinity : $0 + shift }
      return Tensor(values, shape: images.shape, on: images.backend)
    }
    func entropy(ofEdges edges: Tensor, _ probability: Float) -> Variable {
      let logits = scaled(Variable(edges, on: mean.tape) - mean, by: inverseScale)
      let targets = Tensor(repeating: probability, shape: images.shape, on: images.backend)
      return sampleLosses(.binaryCrossEntropyWithLogits, logits, targets)
    }
    let size = images.count / images.shape[0]
    let innerBins = (0..<images.shape[0]).map { sample in
      (sample * size..<(sample + 1) * size).reduce(Float(0)) { $0 + (isLowest[$1] || isHighest[$1] ? 0 : 1) }
    }
    let width = elementwise(2 * half * inverseScale) { (log(-expm1(-$0)), 1 / expm1($0)) }
    return entropy(ofEdges: edges(half, isHighest), 1) + entropy(ofEdges: edges(-half, isLowest), 0)
      - scaled(Variable(Tensor(innerBins, shape: [innerBins.count], on: images.backend), on: mean.tape), by: width)
  }

  /// The picture for a decoder's output: the mean.
  func mean(_ output: Tensor) -> Tensor { kind == .bernoulli ? output.backend.apply(.sigmoid, output) : output }

  private func learnedLogScale(on tape: Tape?) -> Variable {
    guard let logScale else { fatalShape("this likelihood has no learned scale") }
    return logScale.variable(on: tape)
  }

  /// A number `[1]` added to each of `[N]`.
  private func add(_ number: Variable, toEach x: Variable) -> Variable {
    addRow(x.reshaped([-1, 1]), number).reshaped([-1])
  }
}
