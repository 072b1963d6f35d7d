import Foundation

/// How noise grows over T timesteps: β and what follows from it, in double precision.
public struct NoiseSchedule: Sendable, Hashable {
  public enum Kind: String, Sendable, Codable, CaseIterable {
    /// β from 1e-4 to 0.02 (Ho et al. 2020; diffusers `scheduling_ddpm.py`).
    case linear
    /// ᾱ falling as a squared cosine with offset 0.008, β at most 0.999 (Nichol and Dhariwal 2021).
    case cosine
  }

  public let betas: [Double]
  /// ᾱ: the share of the image's variance that is left at each timestep.
  public let alphasCumulativeProduct: [Double]

  public var count: Int { betas.count }

  public init(betas: [Double]) {
    self.betas = betas
    var product = 1.0
    alphasCumulativeProduct = betas.map { beta in
      product *= 1 - beta
      return product
    }
  }

  public init(_ kind: Kind, timesteps: Int, betaStart: Double = 1e-4, betaEnd: Double = 0.02) {
    switch kind {
    case .linear:
      self.init(
        betas: (0..<timesteps).map { betaStart + (betaEnd - betaStart) * Double($0) / Double(max(1, timesteps - 1)) })
    case .cosine:
      func remaining(_ step: Int) -> Double {
        let angle = (Double(step) / Double(timesteps) + 0.008) / 1.008 * .pi / 2
        return cos(angle) * cos(angle)
      }
      self.init(betas: (0..<timesteps).map { min(1 - remaining($0 + 1) / remaining($0), 0.999) })
    }
  }

  /// ᾱ at a timestep; 1 before the first.
  public func alphaBar(_ timestep: Int) -> Double { timestep < 0 ? 1 : alphasCumulativeProduct[timestep] }

  /// The timestep whose ratio of noise to image √((1−ᾱ)/ᾱ) is nearest to a deviation, in units of the image's range [−1, 1].
  public func timestep(forNoise deviation: Double) -> Int {
    let target = log(min(max(deviation, 1e-12), 1e12))
    let distances = alphasCumulativeProduct.map { abs(0.5 * log((1 - $0) / $0) - target) }
    return distances.indices.min { distances[$0] < distances[$1] } ?? 0
  }
}

/// What the network is trained to predict.
public enum PredictionTarget: String, Sendable, Codable, CaseIterable {
  case epsilon
  /// The clean image.
  case sample
  /// v = √ᾱ ε − √(1−ᾱ) x₀ (Salimans and Ho 2022).
  case velocity
}

/// The variance of the ancestral sampler's noise.
public enum PosteriorVariance: String, Sendable, Codable, CaseIterable {
  /// The posterior's own.
  case fixedSmall = "fixed-small"
  /// β.
  case fixedLarge = "fixed-large"
}

/// Which S of the T timesteps a sampler visits, highest first.
public enum TimestepSpacing: String, Sendable, Codable, CaseIterable {
  /// i · (T / S): diffusers' default.
  case leading
  /// From T − 1 down in steps of T / S, so that sampling begins at pure noise; halves round to even (as diffusers).
  case trailing
  /// Denser at low noise: the squares of an even division up to √(0.8 T) (Song et al. 2021).
  case quadratic

  public func timesteps(_ steps: Int, of total: Int) -> [Int] {
    switch self {
    case .leading: (0..<steps).map { $0 * (total / steps) }.reversed()
    case .trailing:
      (0..<steps).map {
        Int((Double(total) - Double($0) * Double(total) / Double(steps)).rounded(.toNearestOrEven)) - 1
      }
    case .quadratic:
      (0..<steps).map { index in
        let root = (0.8 * Double(total)).squareRoot() * Double(index) / Double(max(1, steps - 1))
        return Int(root * root)
      }.reversed()
    }
  }
}
