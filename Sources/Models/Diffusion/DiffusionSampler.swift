import Foundation
import Tensors

/// The steps from noise to image, without a network: given the network's prediction at a timestep, the next image.
///
/// Images are float32 `[N, H, W, C]` in [−1, 1].
public struct DiffusionSampler: Sendable {
  public enum Method: String, Sendable, Codable, CaseIterable {
    /// Ancestral sampling (Ho et al. 2020), with β re-spaced when it takes fewer than T steps.
    case ddpm
    /// Song et al. 2021; deterministic with η = 0.
    case ddim
  }

  public var schedule: NoiseSchedule
  public var method: Method
  public var target: PredictionTarget
  public var variance: PosteriorVariance
  /// DDIM's noise: 0 for none, 1 for as much as DDPM.
  public var eta: Double
  /// Whether the predicted image is clipped to [−1, 1].
  public var clips: Bool
  /// ᾱ before the first timestep is taken as 1, not as that of timestep 0.
  public var setsAlphaToOne: Bool

  public init(
    schedule: NoiseSchedule, method: Method = .ddim, target: PredictionTarget = .epsilon,
    variance: PosteriorVariance = .fixedSmall, eta: Double = 0, clips: Bool = true, setsAlphaToOne: Bool = true
  ) {
    self.schedule = schedule
    self.method = method
    self.target = target
    self.variance = variance
    self.eta = eta
    self.clips = clips
    self.setsAlphaToOne = setsAlphaToOne
  }

  /// The clean image and the noise that a prediction at timestep t implies. The image is clipped, the noise is not derived
  /// again from it (as diffusers).
  public func interpret(_ prediction: Tensor, at timestep: Int, _ x: Tensor) -> (image: Tensor, noise: Tensor) {
    let backend = x.backend
    let alphaBar = schedule.alphaBar(timestep)
    let (signal, sigma) = (Float(alphaBar.squareRoot()), Float((1 - alphaBar).squareRoot()))
    let image: Tensor
    let noise: Tensor
    switch target {
    case .epsilon:
      noise = prediction
      image = backend.add(x, prediction, alpha: 1 / signal, beta: -sigma / signal)
    case .sample:
      image = prediction
      noise = backend.add(x, prediction, alpha: 1 / sigma, beta: -signal / sigma)
    case .velocity:
      image = backend.add(x, prediction, alpha: signal, beta: -sigma)
      noise = backend.add(x, prediction, alpha: sigma, beta: signal)
    }
    return (clips ? image.clamped(-1, 1) : image, noise)
  }

  /// The variance of the noise added on the way from timestep t to `previous`.
  public func variance(at timestep: Int, previous: Int) -> Double {
    let (alphaBar, before) = (schedule.alphaBar(timestep), alphaBarBefore(previous))
    let beta = 1 - alphaBar / before
    switch variance {
    case .fixedSmall: return max((1 - before) / (1 - alphaBar) * beta, 1e-20)
    case .fixedLarge: return beta
    }
  }

  private func alphaBarBefore(_ previous: Int) -> Double {
    previous < 0 && method == .ddim && !setsAlphaToOne ? schedule.alphaBar(0) : schedule.alphaBar(previous)
  }

  /// One step from timestep t to `previous`, −1 for the end.
  ///
  /// - Parameter noise: standard normal, of x's shape; asked for only where the step adds any.
  public func step(
    _ prediction: Tensor, at timestep: Int, previous: Int, _ x: Tensor, noise: () -> Tensor
  ) -> Tensor {
    let backend = x.backend
    let (image, epsilon) = interpret(prediction, at: timestep, x)
    let (alphaBar, before) = (schedule.alphaBar(timestep), alphaBarBefore(previous))
    let mean: Tensor
    let deviation: Double
    switch method {
    case .ddpm:
      let alpha = alphaBar / before
      mean = backend.add(
        image, x, alpha: Float(before.squareRoot() * (1 - alpha) / (1 - alphaBar)),
        beta: Float(alpha.squareRoot() * (1 - before) / (1 - alphaBar)))
      deviation = previous < 0 ? 0 : variance(at: timestep, previous: previous).squareRoot()
    case .ddim:
      deviation = eta * ((1 - before) / (1 - alphaBar) * (1 - alphaBar / before)).squareRoot()
      mean = backend.add(
        image, epsilon, alpha: Float(before.squareRoot()),
        beta: Float(max(0, 1 - before - deviation * deviation).squareRoot()))
    }
    return deviation == 0 ? mean : backend.add(mean, noise(), alpha: 1, beta: Float(deviation))
  }

  /// One deterministic DDIM step towards noise, from timestep t to the higher `next`.
  public func invert(_ prediction: Tensor, at timestep: Int, next: Int, _ x: Tensor) -> Tensor {
    let (image, epsilon) = interpret(prediction, at: timestep, x)
    return addNoise(epsilon, to: image, at: next)
  }

  /// An image with noise: √ᾱ x₀ + √(1−ᾱ) ε.
  public func addNoise(_ noise: Tensor, to image: Tensor, at timestep: Int) -> Tensor {
    let alphaBar = schedule.alphaBar(timestep)
    return image.backend.add(
      image, noise, alpha: Float(alphaBar.squareRoot()), beta: Float((1 - alphaBar).squareRoot()))
  }
}
