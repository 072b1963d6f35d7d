import EaselSupport
import EaselTensors
import Foundation

/// The variance of the ancestral sampler's noise.
public enum PosteriorVariance: String, FieldChoice {
  /// The posterior's own.
  case fixedSmall = "fixed-small"
  /// β.
  case fixedLarge = "fixed-large"
  /// Between the two, interpolated by logarithm; the network decides for each pixel (Nichol and Dhariwal 2021).
  case learnedRange = "learned-range"
}

/// One step back, from a level to a less noisy one, given the clean image: the normal distribution q(x′ | x, image).
///
/// If only few timesteps are visited, this re-spaces β, as it must.
public struct Posterior: Sendable {
  /// The mean is a sum of the image and x.
  public let mean: (image: Double, x: Double)
  /// The distribution's own variance, β̃.
  public let small: Double
  /// The noise that x has more than x′, β.
  public let large: Double

  public init(from level: NoiseLevel, to next: NoiseLevel) {
    let alpha = level.signal / next.signal
    let (variance, nextVariance) = (level.sigma * level.sigma, next.sigma * next.sigma)
    large = variance - alpha * alpha * nextVariance
    small = large * nextVariance / variance
    mean = (next.signal * large / variance, alpha * nextVariance / variance)
  }

  /// The step's variance if it is the same for all pixels; never so small that it has no logarithm.
  public func variance(_ kind: PosteriorVariance) -> Double {
    max(kind == .fixedLarge ? large : small, 1e-20)
  }
}
