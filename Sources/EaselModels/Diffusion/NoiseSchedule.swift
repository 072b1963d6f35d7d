import EaselSupport
import EaselTensors
import Foundation

/// A point on the way from image to noise: `x = signal · image + sigma · noise`.
///
/// All computations with noise use these two numbers, so samplers, losses and bounds are the same for all schedules.
/// Their scale is chosen so that x, the network's input, has variance 1 if the images have the schedule's deviation.
public struct NoiseLevel: Hashable, Sendable {
  public let signal: Double
  public let sigma: Double
  /// How the network receives the level: as a timestep, or as the logarithm of the noise.
  public let condition: Float

  /// Noise in units of the image: σ of Karras et al. 2022.
  public var ratio: Double { sigma / signal }

  /// The image itself.
  public static let clean = NoiseLevel(signal: 1, sigma: 0, condition: 0)

  /// x with this level's amount of noise in an image.
  public func add(_ noise: Tensor, to image: Tensor) -> Tensor {
    image.backend.add(image, noise, alpha: Float(signal), beta: Float(sigma))
  }

  /// Everything in x besides an image. If the image was clipped, this is more than the network took for noise, and must
  /// be: otherwise every step that clips would leave x with another amount of noise than its level has.
  public func noise(in x: Tensor, of image: Tensor) -> Tensor {
    x.backend.add(x, image, alpha: Float(1 / sigma), beta: Float(-signal / sigma))
  }

  /// x from another level, with the noise added that this level has more.
  public func add(_ noise: Tensor, to x: Tensor, at level: NoiseLevel) -> Tensor {
    let scale = signal / level.signal
    let added = sigma * sigma - scale * scale * level.sigma * level.sigma
    return x.backend.add(x, noise, alpha: Float(scale), beta: Float(max(0, added).squareRoot()))
  }
}

/// How noise grows over T timesteps, in double precision.
public struct NoiseSchedule: Sendable, Hashable {
  public enum Kind: String, FieldChoice {
    /// β on a line, by default from 1e-4 to 0.02 (Ho et al. 2020; diffusers `scheduling_ddpm.py`).
    case linear
    /// √β on a line (Rombach et al. 2022, latent diffusion).
    case scaledLinear = "scaled-linear"
    /// ᾱ falling as a squared cosine with offset 0.008, β at most 0.999 (Nichol and Dhariwal 2021).
    case cosine
    /// Karras et al. 2022: σ from 0.002 to 80, its logarithm normal in training, where any σ can occur.
    case edm
  }

  public let kind: Kind
  /// The timesteps' levels, least noise first.
  public let levels: [NoiseLevel]
  /// The images' standard deviation for which the levels are scaled.
  private let dataDeviation: Double

  /// What `edm` trains with.
  private let trainingNoise: LogNormal

  public var count: Int { levels.count }

  /// Whether enough of an image is left at the last level for float32.
  var keepsSignal: Bool { (levels.last?.signal ?? 1) > 1e-12 }

  /// - Parameters:
  ///   - kind: how noise grows.
  ///   - timesteps: the number of timesteps.
  ///   - dataDeviation: the images' standard deviation, for `edm`; the others take it as 1.
  ///   - betaStart: the first β, for `linear` and `scaled-linear`.
  ///   - betaEnd: the last β, for `linear` and `scaled-linear`.
  ///   - betas: every timestep's β, for `linear`, instead of those on a line.
  ///   - trainingNoise: the noise that `edm` trains with, in units of the image.
  public init(
    _ kind: Kind, timesteps: Int, dataDeviation: Double = 0.5, betaStart: Double = 1e-4, betaEnd: Double = 0.02,
    betas: [Double] = [], trainingNoise: LogNormal = LogNormal()
  ) {
    func line(from first: Double, to last: Double) -> [Double] {
      (0..<timesteps).map { first + (last - first) * Double($0) / Double(max(1, timesteps - 1)) }
    }
    self.kind = kind
    self.trainingNoise = trainingNoise
    switch kind {
    case .linear:
      self.dataDeviation = 1
      levels = NoiseSchedule.levels(betas: betas.isEmpty ? line(from: betaStart, to: betaEnd) : betas)
    case .scaledLinear:
      self.dataDeviation = 1
      levels = NoiseSchedule.levels(
        betas: line(from: betaStart.squareRoot(), to: betaEnd.squareRoot()).map { $0 * $0 })
    case .cosine:
      func remaining(_ step: Int) -> Double {
        let angle = (Double(step) / Double(timesteps) + 0.008) / 1.008 * .pi / 2
        return cos(angle) * cos(angle)
      }
      self.dataDeviation = 1
      levels = NoiseSchedule.levels(
        betas: (0..<timesteps).map { min(1 - remaining($0 + 1) / remaining($0), 0.999) })
    case .edm:
      self.dataDeviation = dataDeviation
      levels = NoiseSchedule.karrasRatios(timesteps, from: 80, to: 0.002).reversed().map {
        NoiseLevel(ratio: $0, dataDeviation: dataDeviation, condition: NoiseSchedule.logarithmicCondition($0))
      }
    }
  }

  private static func levels(betas: [Double]) -> [NoiseLevel] {
    var alphaBar = 1.0
    return betas.enumerated().map { timestep, beta in
      alphaBar *= 1 - beta
      return NoiseLevel(
        signal: alphaBar.squareRoot(), sigma: (1 - alphaBar).squareRoot(), condition: Float(timestep))
    }
  }

  /// ln σ / 4, times a thousand as in Song et al. 2023 (consistency_models `karras_diffusion.py`): the embedding's
  /// waves are made for a thousand timesteps, and would be nearly straight lines over EDM's own range of −1.6 to 1.1.
  private static func logarithmicCondition(_ ratio: Double) -> Float { Float(250 * log(ratio)) }

  /// The level of a timestep; before the first, the clean image.
  public func level(_ timestep: Int) -> NoiseLevel { timestep < 0 ? .clean : levels[timestep] }

  /// The level at a position among the timesteps; between two of them, the noise in units of the image is on a line
  /// (diffusers' Euler sampler).
  public func level(at position: Double) -> NoiseLevel {
    let below = Int(position)
    let fraction = position - Double(below)
    guard fraction > 0 else { return level(below) }
    let ratio = levels[below].ratio + fraction * (levels[below + 1].ratio - levels[below].ratio)
    let condition = kind == .edm ? NoiseSchedule.logarithmicCondition(ratio) : Float(position)
    return NoiseLevel(ratio: ratio, dataDeviation: dataDeviation, condition: condition)
  }

  /// The level of any noise within the schedule; between timesteps, the network receives a fraction.
  public func level(ratio: Double) -> NoiseLevel {
    let condition = kind == .edm ? NoiseSchedule.logarithmicCondition(ratio) : Float(place(of: ratio))
    return NoiseLevel(ratio: ratio, dataDeviation: dataDeviation, condition: condition)
  }

  /// The timestep with the ratio of noise to image nearest to a deviation in units of the image's range [−1, 1].
  public func timestep(forNoise deviation: Double) -> Int { Int(place(of: deviation).rounded()) }

  /// The position of a ratio among the timesteps, as a fraction, by its logarithm (diffusers `_sigma_to_t`).
  private func place(of ratio: Double) -> Double {
    let above = levels.firstIndex { $0.ratio > ratio } ?? levels.count
    guard above > 0 else { return 0 }
    guard above < levels.count else { return Double(levels.count - 1) }
    let (low, high) = (log(levels[above - 1].ratio), log(levels[above].ratio))
    return Double(above - 1) + (log(ratio) - low) / (high - low)
  }

  /// S levels with noise that falls from a ratio to a lower one as a power of a line: dense where there is little noise
  /// (Karras et al. 2022, who use the seventh power).
  ///
  /// - Parameters:
  ///   - steps: the number of levels.
  ///   - ratio: the first level's noise in units of the image.
  ///   - least: the last level's; nil for the schedule's least.
  ///   - exponent: the power.
  public func karrasLevels(
    _ steps: Int, from ratio: Double, to least: Double? = nil, exponent: Double = 7
  ) -> [NoiseLevel] {
    NoiseSchedule.karrasRatios(steps, from: ratio, to: least ?? levels[0].ratio, exponent).map { level(ratio: $0) }
  }

  private static func karrasRatios(
    _ steps: Int, from high: Double, to low: Double, _ exponent: Double = 7
  ) -> [Double] {
    let (first, last) = (pow(high, 1 / exponent), pow(low, 1 / exponent))
    return (0..<steps).map { pow(first + (last - first) * Double($0) / Double(max(1, steps - 1)), exponent) }
  }

  /// Random levels to train at, one for each sample.
  public func trainingLevels(_ count: Int, _ draw: RandomDraw, on backend: any Backend) -> [NoiseLevel] {
    switch kind {
    case .linear, .scaledLinear, .cosine:
      let numbers = Tensor(uninitialized: [count], on: backend)
      backend.fillUniform(numbers, draw)
      return numbers.values().map { levels[min(self.count - 1, Int($0 * Float(self.count)))] }
    case .edm:
      return trainingNoise.draw(count, draw, on: backend).map { level(ratio: $0) }
    }
  }
}

/// Amounts of noise whose logarithm is normal; by default, those that Karras et al. 2022 train with.
public struct LogNormal: Sendable, Hashable {
  public var mean = -1.2
  public var deviation = 1.2

  public init() {}

  public init(mean: Double, deviation: Double) { (self.mean, self.deviation) = (mean, deviation) }

  /// Random numbers, one for each sample.
  func draw(_ count: Int, _ draw: RandomDraw, on backend: any Backend) -> [Double] {
    let numbers = Tensor(uninitialized: [count], on: backend)
    backend.fillNormal(numbers, draw)
    return numbers.values().map { exp(mean + deviation * Double($0)) }
  }
}

extension NoiseLevel {
  fileprivate init(ratio: Double, dataDeviation: Double, condition: Float) {
    let signal = 1 / (ratio * ratio + dataDeviation * dataDeviation).squareRoot()
    self.init(signal: signal, sigma: ratio * signal, condition: condition)
  }
}

/// Which S of the T timesteps a sampler visits, highest first.
public enum TimestepSpacing: String, FieldChoice {
  /// i · T / S, rounded down: diffusers' default where S divides T.
  case leading
  /// From T − 1 down to 0 in even steps.
  case linspace
  /// From T − 1 down in steps of T / S, so that sampling begins at pure noise.
  case trailing
  /// Denser at low noise: the squares of an even division up to √(0.8 T) (Song et al. 2021).
  case quadratic

  /// Halves round to even (as numpy, and so diffusers).
  public func timesteps(_ steps: Int, of total: Int) -> [Int] {
    positions(steps, of: total).map { Int($0.rounded(.toNearestOrEven)) }
  }

  /// The timesteps, of which only those of `linspace` are fractions.
  func positions(_ steps: Int, of total: Int) -> [Double] {
    switch self {
    case .leading: (0..<steps).map { Double($0 * total / steps) }.reversed()
    case .linspace: (0..<steps).map { Double(total - 1) * Double($0) / Double(max(1, steps - 1)) }.reversed()
    case .trailing:
      (0..<steps).map {
        (Double(total) - Double($0) * Double(total) / Double(steps)).rounded(.toNearestOrEven) - 1
      }
    case .quadratic:
      (0..<steps).map { index in
        let root = (0.8 * Double(total)).squareRoot() * Double(index) / Double(max(1, steps - 1))
        return (root * root).rounded(.down)
      }.reversed()
    }
  }
}

/// Which levels of noise a sampler visits.
public struct LevelSpacing: Sendable, Hashable {
  /// The spacing of timesteps.
  public var timesteps: TimestepSpacing
  /// How much higher the timesteps are, for `leading`.
  public var offset = 0
  /// Whether the solvers (``DiffusionSampler/Method/isSolver``) visit Karras et al.'s levels instead of timesteps.
  public var isKarras = true
  /// With more noise than this, in units of the image, the solvers do not begin on Karras et al.'s levels.
  public var maximumNoise = DiffusionSampler.maximumNoise
  /// Whether DDIM's last step leads to the clean image; otherwise, it leads to the first timestep's level.
  public var endsClean = true

  public init(_ timesteps: TimestepSpacing) { self.timesteps = timesteps }

  /// The positions of S of the T timesteps, highest first; only those of `linspace` are fractions.
  func positions(_ steps: Int, of total: Int) -> [Double] {
    let positions = timesteps.positions(steps, of: total)
    return timesteps == .leading ? positions.map { min($0 + Double(offset), Double(total - 1)) } : positions
  }
}
