import EaselLayers
import EaselSupport

/// The losses of discriminator and generator, given the discriminator's scores of real and generated images: float32
/// `[N]`, higher for more real.
public enum AdversarialLoss: String, FieldChoice {
  /// Goodfellow et al. 2014, equation 1: the generator lowers what the discriminator raises.
  case minimax
  /// The same discriminator; the generator raises log σ(score) (ibid., section 3).
  case nonSaturating = "non-saturating"
  /// Mao et al. 2017, with targets 1 and 0.
  case leastSquares = "least-squares"
  /// Lim and Ye 2017; Miyato et al. 2018.
  case hinge
  /// Arjovsky et al. 2017: the critic's weights are clipped after each of its steps.
  case wasserstein
  /// Gulrajani et al. 2017: the length of the critic's gradient between real and generated images is pulled towards 1.
  case wassersteinGradientPenalty = "wgan-gp"
  /// Mescheder et al. 2018: non-saturating; the squared gradient at real images costs γ / 2.
  case r1

  /// - Parameter smoothing: real images count as real with probability 1 − smoothing; useful for cross-entropies and
  ///   squares.
  func discriminator(real: Variable, fake: Variable, smoothing: Float) -> Variable {
    switch self {
    case .minimax, .nonSaturating, .r1:
      entropy(real, 1 - smoothing) + entropy(fake, 0)
    case .leastSquares:
      0.5 * (squares(real, 1 - smoothing) + squares(fake, 0))
    case .hinge:
      mean(activate(.relu, affine(real, scale: -1, shift: 1))) + mean(activate(.relu, affine(fake, scale: 1, shift: 1)))
    case .wasserstein, .wassersteinGradientPenalty:
      mean(fake) - mean(real)
    }
  }

  func generator(fake: Variable) -> Variable {
    switch self {
    case .minimax: -1 * entropy(fake, 0)
    case .nonSaturating, .r1: entropy(fake, 1)
    case .leastSquares: 0.5 * squares(fake, 1)
    case .hinge, .wasserstein, .wassersteinGradientPenalty: -1 * mean(fake)
    }
  }

  /// Whether the loss includes the length of a gradient, which a norm over the batch would mix between images.
  var hasGradientPenalty: Bool { self == .wassersteinGradientPenalty || self == .r1 }

  /// Whether real images can count as real with a probability below 1.
  var takesSmoothing: Bool {
    switch self {
    case .minimax, .nonSaturating, .r1, .leastSquares: true
    case .hinge, .wasserstein, .wassersteinGradientPenalty: false
    }
  }

  private func entropy(_ scores: Variable, _ target: Float) -> Variable {
    elementwiseLoss(.binaryCrossEntropyWithLogits, scores, constant(target, like: scores))
  }

  private func squares(_ scores: Variable, _ target: Float) -> Variable {
    elementwiseLoss(.squaredError, scores, constant(target, like: scores))
  }

  private func mean(_ scores: Variable) -> Variable {
    weightedSum(scores, weights: constant(1 / Float(scores.value.count), like: scores))
  }

  private func constant(_ value: Float, like x: Variable) -> Tensor {
    Tensor(repeating: value, shape: x.shape, on: x.backend)
  }
}

/// The length of the gradient of a critic's score with respect to its image, as a loss: its value, and its exact
/// gradient with respect to the critic's parameters.
///
/// With g = ∇ₓ D(x) and a penalty φ(‖g‖), the parameters' gradient is that of φ′(‖g‖)/‖g‖ · gᵀ ∇ₓ D(x), in which g is a
/// constant: the change of the score along a direction. One pass finds g. A second one carries the direction through
/// the critic beside the image, and is differentiated as usual.
struct GradientPenalty {
  /// The penalty of one image, and its derivative by the length divided by the length.
  let value: (_ length: Float) -> Float
  let slopePerLength: (_ length: Float) -> Float

  /// λ (‖g‖ − 1)².
  static func distanceFromOne(weight: Float) -> GradientPenalty {
    GradientPenalty(
      value: { weight * ($0 - 1) * ($0 - 1) }, slopePerLength: { 2 * weight * ($0 - 1) / max($0, 1e-12) })
  }

  /// γ/2 ‖g‖².
  static func squaredLength(weight: Float) -> GradientPenalty {
    GradientPenalty(value: { 0.5 * weight * $0 * $0 }, slopePerLength: { _ in weight })
  }

  /// Adds the mean penalty's gradient to the critic's parameters.
  ///
  /// - Parameter fraction: a factor for penalty and gradient, if a batch is computed in parts.
  /// - Returns: the mean penalty, without the factor.
  func accumulate(
    _ critic: Discriminator, of arena: Arena, at images: Tensor, labels: Tensor?, fraction: Float = 1
  ) -> Float {
    let (count, backend) = (images.shape[0], images.backend)
    let ones = Tensor(repeating: 1, shape: [count], on: backend)
    let first = Tape()
    let input = first.variable(images)
    arena.isFrozen = true
    first.backward(from: weightedSum(critic(input, labels: labels).scores, weights: ones))
    arena.isFrozen = false
    guard let gradient = first.gradient(of: input)?.cast(to: .float32) else { return 0 }
    let lengths = backend.sumSamples(gradient * gradient).values().map { $0.squareRoot() }

    let weights = Tensor(lengths.map { slopePerLength($0) / Float(count) }, shape: [count], on: backend)
    let direction = backend.scaledSum(gradient, by: weights, nil, by: nil).cast(to: images.type)
    let second = Tape()
    let changes = critic(
      Variable(images, on: second), direction: Variable(direction, on: second), labels: labels
    ).changes
    guard let changes else { fatalShape("a critic was given a direction and told no change") }
    second.backward(from: weightedSum(changes, weights: ones), seed: fraction)
    return lengths.reduce(0) { $0 + value($1) } / Float(count)
  }
}
