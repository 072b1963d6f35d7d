import EaselSupport
import Foundation

/// How a diffusion model is tuned to a consistency model (Geng et al. 2024, "Consistency Models Made Easy", arXiv 2406.14548).
public struct ConsistencyTuning: DeclaredFields {
  /// The parts of the training, of equal length; from each to the next the two noises that are compared come nearer.
  public var stages = 4
  /// By how much the share of noise between the two shrinks with each stage.
  public var shrink = 2.0
  /// Of ln σ, the larger noise's.
  public var noiseMean = -1.1
  public var noiseDeviation = 2.0
  /// Differences below this, as a root of the mean square over an image of −1 to 1, count by their square, those above by
  /// themselves. Larger than the paper's, which trains for longer: little noise weighs less, and the gradients are steadier.
  public var huber = 0.03

  public init() {}

  public static let fields: [Field<ConsistencyTuning>] = [
    Field(
      "stages", \.stages, .from(1, to: 20),
      "parts of the training; with each the two noises that are compared come nearer"),
    Field("shrink", \.shrink, .from(1.01, to: 1e6), "by how much they come nearer"),
    Field("noise-mean", \.noiseMean, .from(-10, to: 10), "of the larger noise's logarithm"),
    Field("noise-deviation", \.noiseDeviation, .from(0.01, to: 10), "of the larger noise's logarithm"),
    Field("huber", \.huber, .above(0), "differences of images below this count by their square; −1 is black, 1 white"),
  ]

  /// The stage by which a share of the training is over, counted from 0.
  ///
  /// - Parameter progress: 0 to 1.
  public func stage(at progress: Double) -> Int { max(0, min(stages - 1, Int(progress * Double(stages)))) }

  /// The smaller noise r that a noise t is compared with: t (1 − shrink^−(stage + 1) (1 + 8 sigmoid(−t))), at least 0.
  ///
  /// In the first stages there is nothing but the clean image, r = 0, to compare little noise with: diffusion's own training.
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

  /// Those of both. What a sampler of many steps takes changes nothing.
  public static let fields: [Field<ConsistencySettings>] =
    DiffusionSettings.fields.map { field in
      let field = field.at(\ConsistencySettings.diffusion)
      switch field.key {
      case "sampler-steps": return field.explained("its passes from noise to image: 1, 2 or 4")
      case "variance", "spacing": return field.needing("a diffusion model") { _ in false }
      default: return field
      }
    } + ConsistencyTuning.fields.map { $0.at(\ConsistencySettings.tuning) }

  public func check(_ check: inout FieldCheck) {
    diffusion.check(&check, samplers: Consistency.samplers)
    check.require(
      diffusion.prediction == .velocity,
      "prediction: expected velocity, by which no noise leaves an image as it is, found \(diffusion.prediction.rawValue)"
    )
    check.require(
      diffusion.variance != .learnedRange, "variance: expected fixed-small or fixed-large, found learned-range")
  }
}
