import EaselSupport
import EaselTensors
import Foundation

/// The way from noise to image, and back, without a network: given the network's result for x at one noise level, it
/// computes x at the next.
///
/// Images are float32 `[N, H, W, C]` in [−1, 1].
public struct DiffusionSampler: Sendable {
  public enum Method: String, FieldChoice {
    /// Ancestral sampling (Ho et al. 2020).
    case ddpm
    /// Song et al. 2021; deterministic with η = 0.
    case ddim
    /// Euler's method on the probability flow: DDIM's steps, on a solver's levels.
    case euler
    /// DPM-Solver++(2M): combines the images of two steps to second order (Lu et al. 2022); with η = 1 the SDE version,
    /// with noise.
    case dpm = "dpm++"
    /// Heun's method on the probability flow: each step also evaluates its end, so it takes two passes (Karras et al.
    /// 2022).
    case heun
    /// For consistency models, whose every pass ends at an image; all but the last get fresh noise (Song et al. 2023).
    case consistency

    /// Whether the noise of its steps can be chosen.
    public var takesEta: Bool { self == .ddim || self == .dpm }

    /// Whether it solves the probability flow's equation, on any levels.
    public var isSolver: Bool { self == .euler || self == .dpm || self == .heun }
  }

  public var method: Method
  public var variance: PosteriorVariance
  /// How much noise DDIM and DPM-Solver++ add in each step: 0 for none, 1 for as much as DDPM.
  public var eta: Double

  public init(_ method: Method, variance: PosteriorVariance = .fixedSmall, eta: Double = 0) {
    self.method = method
    self.variance = variance
    self.eta = eta
  }

  /// With more noise than this, nothing of an image is visible, so by default the solvers begin here at the latest. A
  /// cosine schedule goes to 20,000.
  public static let maximumNoise = 80.0

  /// How the levels of consistency models' passes are spaced: two passes meet at σ = 0.8, four at 9, 0.8 and 0.05.
  private static let consistencyExponent = 20.0

  /// The levels that S steps visit, from a timestep's level down, then the clean image: a spacing of timesteps or, for
  /// the solvers, Karras et al.'s; for consistency models, one that divides the way to the least noise into S parts.
  public func levels(
    _ steps: Int, of schedule: NoiseSchedule, _ spacing: LevelSpacing, from start: Int? = nil
  ) -> [NoiseLevel] {
    let start = start ?? schedule.count - 1
    let total = start + 1
    let positions = spacing.positions(steps, of: total)
    func rounded(_ positions: some Sequence<Double>) -> [NoiseLevel] {
      positions.map { schedule.level(Int($0.rounded(.toNearestOrEven))) }
    }
    switch method {
    case .ddpm: return rounded(positions) + [.clean]
    case .ddim: return rounded(positions) + [spacing.endsClean ? .clean : schedule.level(0)]
    case .euler, .dpm, .heun:
      let visited =
        switch (method, spacing.timesteps) {
        // The last of S + 1 timesteps is where the last step leads, which is the clean image instead.
        case (.dpm, .leading), (.dpm, .linspace), (.dpm, .quadratic):
          rounded(spacing.positions(min(steps + 1, total), of: total).prefix(steps))
        case (.dpm, .trailing): rounded(positions)
        default: positions.map { schedule.level(at: $0) }
        }
      guard spacing.isKarras else { return visited + [.clean] }
      // Euler's method goes between the levels of its timesteps, the others from the most noise to the least.
      let (most, least) =
        method == .euler
        ? (visited[0].ratio, visited[visited.count - 1].ratio)
        : (schedule.level(start).ratio, schedule.level(0).ratio)
      return schedule.karrasLevels(steps, from: min(most, spacing.maximumNoise), to: least) + [.clean]
    case .consistency:
      let most = min(schedule.level(start).ratio, DiffusionSampler.maximumNoise)
      return schedule.karrasLevels(steps + 1, from: most, exponent: DiffusionSampler.consistencyExponent).dropLast()
        + [.clean]
    }
  }

  /// How many noises a walk through levels needs, including the initial one: the parts of a code.
  public func noiseCount(_ levels: [NoiseLevel]) -> Int { method == .consistency ? levels.count - 1 : 1 }

  /// The noises from which a walk leads to given images.
  ///
  /// Samplers without noise in their steps are run backwards, which gives their initial noise. A consistency model has
  /// no way back. Instead, its noises are chosen, as Huberman-Spiegelglas et al. 2024 do for DDPM: at each level, x is
  /// the image with its own noise, and the code contains the noise that turns the previous pass's image into x.
  /// Only the last pass can then go wrong.
  ///
  /// - Parameters:
  ///   - clean: `[N, H, W, C]` in [−1, 1].
  ///   - levels: from noise to image, as for ``walk(_:through:denoise:noise:progress:)``.
  ///   - denoise: the network's result for x at a level.
  ///   - noise: standard normal, of the images' shape, for each of a consistency model's levels.
  ///   - progress: receives the number of steps done; there are two fewer steps than levels.
  /// - Returns: `[N, H, W, C · noises]`.
  public func encode(
    _ clean: Tensor, through levels: [NoiseLevel], denoise: (Tensor, NoiseLevel) -> Denoised,
    noise: (_ step: Int) -> Tensor, progress: (_ steps: Int) throws -> Void
  ) rethrows -> Tensor {
    let levels = levels.dropLast()
    guard method == .consistency else {
      let up = Array(levels.reversed())
      // The first step uses the noise that the network sees in the clean image at the lowest level.
      let scaled = clean.backend.affine(clean, scale: Float(up[0].signal), shift: 0)
      let found = denoise(scaled, up[0]).image
      return try walk(
        up[0].add(up[0].noise(in: scaled, of: found), to: clean), through: up, denoise: denoise, noise: noise
      ) { steps, _ in try progress(steps) }
    }
    var x = levels[0].add(noise(0), to: clean)
    var noises = [x]
    for (step, (level, next)) in zip(levels, levels.dropFirst()).enumerated() {
      let image = denoise(x, level).image
      x = next.add(noise(step + 1), to: clean)
      noises.append(next.noise(in: x, of: image))
      try progress(step + 1)
    }
    return clean.backend.concatenate(noises)
  }

  /// Goes from level to level, down to images or up to noise.
  ///
  /// - Parameters:
  ///   - x: `[N, H, W, C]`.
  ///   - levels: the first is that of `x`. Steps only lead away from the clean image.
  ///   - denoise: the network's result for x at a level.
  ///   - noise: standard normal, of x's shape, for a step counted from 1; called only if a step adds noise.
  ///   - progress: receives the number of steps done, and x at that point.
  /// - Returns: x at the last level.
  public func walk(
    _ x: Tensor, through levels: [NoiseLevel], denoise: (Tensor, NoiseLevel) -> Denoised,
    noise: (_ step: Int) -> Tensor, progress: (_ steps: Int, _ x: Tensor) throws -> Void
  ) rethrows -> Tensor {
    var x = x
    var last: (level: NoiseLevel, image: Tensor)?
    for (index, (level, next)) in zip(levels, levels.dropFirst()).enumerated() {
      let found = denoise(x, level)
      switch method {
      case .ddpm: x = ancestralStep(x, found, from: level, to: next) { noise(index + 1) }
      case .ddim, .euler: x = implicitStep(x, found.image, from: level, to: next) { noise(index + 1) }
      case .dpm:
        x = multistep(x, found.image, last, from: level, to: next) { noise(index + 1) }
        last = (level, found.image)
      case .heun: x = heunStep(x, found.image, from: level, to: next, denoise)
      case .consistency: x = next.sigma == 0 ? found.image : next.add(noise(index + 1), to: found.image)
      }
      try progress(index + 1, x)
    }
    return x
  }

  /// Like ``walk(_:through:denoise:noise:progress:)``, without progress.
  public func walk(
    _ x: Tensor, through levels: [NoiseLevel], denoise: (Tensor, NoiseLevel) -> Denoised, noise: (_ step: Int) -> Tensor
  ) -> Tensor {
    walk(x, through: levels, denoise: denoise, noise: noise) { _, _ in }
  }

  /// Like ``encode(_:through:denoise:noise:progress:)``, without progress.
  public func encode(
    _ clean: Tensor, through levels: [NoiseLevel], denoise: (Tensor, NoiseLevel) -> Denoised,
    noise: (_ step: Int) -> Tensor
  ) -> Tensor {
    encode(clean, through: levels, denoise: denoise, noise: noise) { _ in }
  }

  private func ancestralStep(
    _ x: Tensor, _ found: Denoised, from level: NoiseLevel, to next: NoiseLevel, noise: () -> Tensor
  ) -> Tensor {
    let backend = x.backend
    let posterior = Posterior(from: level, to: next)
    let mean = backend.add(found.image, x, alpha: Float(posterior.mean.image), beta: Float(posterior.mean.x))
    if next.sigma == 0 { return mean }
    guard variance == .learnedRange, let output = found.varianceOutput else {
      return backend.add(mean, noise(), alpha: 1, beta: Float(posterior.variance(variance).squareRoot()))
    }
    // The deviation's logarithm is half the variance's: a line through those of β̃ at −1 and β at 1.
    let (small, large) = (log(posterior.variance(.fixedSmall)), log(posterior.variance(.fixedLarge)))
    let logDeviation = backend.affine(output, scale: Float((large - small) / 4), shift: Float((large + small) / 4))
    return mean + backend.apply(.exp, logDeviation) * noise()
  }

  private func implicitStep(
    _ x: Tensor, _ image: Tensor, from level: NoiseLevel, to next: NoiseLevel, noise: () -> Tensor
  ) -> Tensor {
    let backend = x.backend
    let deviation = method == .euler || eta == 0 ? 0 : eta * Posterior(from: level, to: next).small.squareRoot()
    let mean = backend.add(
      image, level.noise(in: x, of: image), alpha: Float(next.signal),
      beta: Float(max(0, next.sigma * next.sigma - deviation * deviation).squareRoot()))
    return deviation == 0 ? mean : backend.add(mean, noise(), alpha: 1, beta: Float(deviation))
  }

  /// The first step and the one to the clean image are of first order.
  private func multistep(
    _ x: Tensor, _ image: Tensor, _ last: (level: NoiseLevel, image: Tensor)?, from level: NoiseLevel,
    to next: NoiseLevel, noise: () -> Tensor
  ) -> Tensor {
    let backend = x.backend
    var image = image
    // Of many steps, some may be between the same timesteps.
    if let last, last.level != level, next.sigma > 0 {
      let (before, now) = (log(last.level.ratio / level.ratio), log(level.ratio / next.ratio))
      let fraction = now / before / 2
      image = backend.add(image, last.image, alpha: Float(1 + fraction), beta: Float(-fraction))
    }
    // e^(−h) is the quotient of the ratios. Noise is added for η times the way, and removed in addition.
    let kept = next.sigma / level.sigma * pow(next.ratio / level.ratio, eta)
    let mean = backend.add(x, image, alpha: Float(kept), beta: Float(next.signal - kept * level.signal))
    let deviation = next.sigma * (1 - pow(next.ratio / level.ratio, 2 * eta)).squareRoot()
    return deviation == 0 ? mean : backend.add(mean, noise(), alpha: 1, beta: Float(deviation))
  }

  /// The probability flow's direction d(x / signal) / dratio is the noise that leads from the image to x.
  private func heunStep(
    _ x: Tensor, _ image: Tensor, from level: NoiseLevel, to next: NoiseLevel,
    _ denoise: (Tensor, NoiseLevel) -> Denoised
  ) -> Tensor {
    // With all noise removed, this is the image.
    if next.sigma == 0 { return image }
    let backend = x.backend
    let here = level.noise(in: x, of: image)
    let guess = next.add(here, to: image)
    let there = next.noise(in: guess, of: denoise(guess, next).image)
    let half = next.signal * (next.ratio - level.ratio) / 2
    return backend.add(guess, there - here, alpha: 1, beta: Float(half))
  }
}
