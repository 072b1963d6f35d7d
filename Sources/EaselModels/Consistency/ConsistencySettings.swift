import EaselSupport
import Foundation

/// How a diffusion model is tuned to a consistency model (Geng et al. 2024, "Consistency Models Made Easy", arXiv
/// 2406.14548).
public struct ConsistencyTuning: DeclaredFields {
  /// The parts of the training, of equal length. With each, the two noises that are compared come closer.
  public var stages = 4
  /// The factor by which the share of noise between the two shrinks in each stage.
  public var shrink = 2.0
  /// The larger noise, in units of the image.
  public var noise = LogNormal(mean: -1.1, deviation: 2)
  /// Differences below this (the root mean square over an image from −1 to 1) count squared, larger ones linearly. It
  /// is larger than the paper's, which trains for longer: little noise then weighs less, and the gradients are
  /// steadier.
  public var huber = 0.03

  public init() {}

  public static let fields: [Field<ConsistencyTuning>] = [
    Field(
      "stages", \.stages, .from(1, to: 20),
      "parts of the training; with each, the two noises that are compared come closer"),
    Field("shrink", \.shrink, .from(1.01, to: 1e6), "factor by which they come closer in each part"),
    Field("noise-mean", \.noise.mean, .from(-10, to: 10), "mean of the larger noise's logarithm"),
    Field("noise-deviation", \.noise.deviation, .from(0.01, to: 10), "deviation of the larger noise's logarithm"),
    Field("huber", \.huber, .above(0), "image differences below this count squared; −1 is black, 1 white"),
  ]

  /// The stage, counted from 0, once a share of the training is over.
  ///
  /// - Parameter progress: 0 to 1.
  public func stage(at progress: Double) -> Int { max(0, min(stages - 1, Int(progress * Double(stages)))) }

  /// The smaller noise r that a noise t is compared with: t (1 − shrink^−(stage + 1) (1 + 8 sigmoid(−t))), at least 0.
  ///
  /// In the first stages, little noise has only the clean image, r = 0, to be compared with: this is diffusion's own
  /// training.
  public func smallerNoise(than t: Double, stage: Int) -> Double {
    let gap = pow(shrink, -Double(stage + 1)) * (1 + 8 / (1 + exp(t)))
    return t * max(0, 1 - gap)
  }
}

/// The settings of a consistency model: those of the diffusion model that it is tuned from, and how that is done.
public struct ConsistencySettings: ModelSettings {
  public var diffusion = DiffusionSettings {
    $0.sampler = .consistency
    $0.samplerSteps = 2
  }
  public var tuning = ConsistencyTuning()

  public init() {}

  /// The fields of both. Those for samplers of many steps have no effect.
  public static let fields: [Field<ConsistencySettings>] =
    DiffusionSettings.fields.map { field in
      let field = field.at(\ConsistencySettings.diffusion)
      switch field.key {
      case "sampler-steps": return field.explained("passes from noise to image: 1, 2 or 4")
      case "variance", "spacing", "steps-offset", "karras-sigmas", "maximum-noise", "ends-clean", "level-mean",
        "level-deviation":
        return field.needing("a diffusion model") { _ in false }
      default: return field
      }
    } + ConsistencyTuning.fields.map { $0.at(\ConsistencySettings.tuning) }

  public func check(_ check: inout FieldCheck) {
    diffusion.check(&check, samplers: Consistency.samplers)
    check.require(
      diffusion.prediction == .velocity,
      "prediction: expected velocity, which keeps an image without noise, found \(diffusion.prediction.rawValue)"
    )
    check.require(
      diffusion.variance != .learnedRange, "variance: expected fixed-small or fixed-large, found learned-range")
  }
}
