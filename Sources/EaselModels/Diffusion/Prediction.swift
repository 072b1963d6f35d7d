import EaselSupport
import EaselTensors

/// What the network is trained to predict.
public enum PredictionTarget: String, FieldChoice {
  case epsilon
  /// The clean image.
  case sample
  /// v = √ᾱ ε − √(1−ᾱ) x₀ (Salimans and Ho 2022). With the `edm` schedule, whose levels are scaled by the data's
  /// deviation, this is the preconditioning of Karras et al. 2022: c_skip, c_out and c_in, and their weighting of the
  /// loss, which makes it a plain mean of squares. Only F's sign differs.
  case velocity
}

/// The network's result for noisy images `[N, H, W, C]`.
public struct Denoised {
  /// The clean image. Everything else in x is noise: see ``NoiseLevel/noise(in:of:)``.
  public var image: Tensor
  /// The position of a step's variance between the posterior's own (−1) and β (1), for models that learn it.
  public var varianceOutput: Tensor?

  /// - Parameter image: `[N, H, W, C]`.
  public init(image: Tensor) { self.image = image }
}

extension PredictionTarget {
  /// The target as a sum of image and noise.
  package func target(at level: NoiseLevel) -> (image: Double, noise: Double) {
    switch self {
    case .epsilon: (0, 1)
    case .sample: (1, 0)
    case .velocity: (-level.sigma / level.dataDeviation, level.signal * level.dataDeviation)
    }
  }

  /// The clean image as a sum of x and the network's output.
  package func image(at level: NoiseLevel) -> (x: Double, output: Double) {
    switch self {
    case .epsilon: (1 / level.signal, -level.sigma / level.signal)
    case .sample: (0, 1)
    case .velocity:
      (level.signal * level.dataDeviation * level.dataDeviation, -level.sigma * level.dataDeviation)
    }
  }

  /// The clean image that follows from a network's output for x.
  ///
  /// - Parameters:
  ///   - output: the network's output, of x's shape.
  ///   - level: the level of x.
  ///   - x: `[N, H, W, C]`.
  ///   - clips: whether the image is clipped.
  ///   - range: the range, from minus to plus, that it is clipped to.
  public func interpret(
    _ output: Tensor, at level: NoiseLevel, _ x: Tensor, clips: Bool, to range: Float = 1
  ) -> Denoised {
    let parts = image(at: level)
    let image = x.backend.add(x, output, alpha: Float(parts.x), beta: Float(parts.output))
    return Denoised(image: clips ? image.clamped(-range, range) : image)
  }
}

extension NoiseLevel {
  /// The deviation of the images that the level is scaled for: 1 if variances are preserved.
  fileprivate var dataDeviation: Double { (1 - sigma * sigma).squareRoot() / signal }
}
