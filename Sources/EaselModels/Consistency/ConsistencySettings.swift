import EaselRunStorage
import Foundation

/// How a diffusion model is tuned to a consistency model (Geng et al. 2024, "Consistency Models Made Easy", arXiv 2406.14548).
public struct ConsistencyTuning: Codable, Sendable, ExplainedSettings {
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

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case stages, shrink, huber
    case noiseMean = "noise-mean"
    case noiseDeviation = "noise-deviation"
  }

  public init() {}

  public static func explanation(of key: CodingKeys) -> String {
    switch key {
    case .stages: "parts of the training; with each the two noises that are compared come nearer"
    case .shrink: "by how much they come nearer"
    case .huber: "differences of images below this count by their square; −1 is black, 1 white"
    case .noiseMean: "of the larger noise's logarithm"
    case .noiseDeviation: "of the larger noise's logarithm"
    }
  }

  func check(_ check: inout SettingsCheck) {
    check(stages, "stages", 1...20)
    check.require((1.01...1e6).contains(shrink), "shrink: expected 1.01 to 1e6, found \(shrink)")
    check(Float(huber), "huber", above: 0)
    check.require(abs(noiseMean) <= 10, "noise-mean: expected −10 to 10, found \(noiseMean)")
    check.require((0.01...10).contains(noiseDeviation), "noise-deviation: expected 0.01 to 10, found \(noiseDeviation)")
  }

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

  /// Those of both.
  public enum CodingKeys: CodingKey, CaseIterable {
    case diffusion(DiffusionSettings.CodingKeys)
    case tuning(ConsistencyTuning.CodingKeys)

    private var key: any CodingKey {
      switch self {
      case .diffusion(let key): key
      case .tuning(let key): key
      }
    }

    public static var allCases: [CodingKeys] {
      DiffusionSettings.CodingKeys.allCases.map(diffusion) + ConsistencyTuning.CodingKeys.allCases.map(tuning)
    }

    public var stringValue: String { key.stringValue }
    public var intValue: Int? { nil }

    public init?(stringValue: String) {
      guard let key = CodingKeys.allCases.first(where: { $0.stringValue == stringValue }) else { return nil }
      self = key
    }

    public init?(intValue: Int) { nil }
  }

  public init() {}

  public init(from decoder: any Decoder) throws {
    (diffusion, tuning) = (try DiffusionSettings(from: decoder), try ConsistencyTuning(from: decoder))
  }

  public func encode(to encoder: any Encoder) throws {
    try diffusion.encode(to: encoder)
    try tuning.encode(to: encoder)
  }

  public func validate() throws {
    try diffusion.validate(for: Consistency.samplers)
    var check = SettingsCheck()
    check.require(
      diffusion.prediction == .velocity,
      "prediction: expected velocity, by which no noise leaves an image as it is, found \(diffusion.prediction.rawValue)"
    )
    check.require(
      diffusion.variance != .learnedRange, "variance: expected fixed-small or fixed-large, found learned-range")
    tuning.check(&check)
    try check.finish()
  }

  public var idle: [IdleSetting] {
    let ofManySteps: [DiffusionSettings.CodingKeys] = [.variance, .spacing]
    return diffusion.idle + ofManySteps.map { IdleSetting(key: $0.stringValue, need: "a diffusion model") }
  }

  public static func explanation(of key: CodingKeys) -> String {
    switch key {
    case .diffusion(.samplerSteps): "its passes from noise to image: 1, 2 or 4"
    case .diffusion(let key): DiffusionSettings.explanation(of: key)
    case .tuning(let key): ConsistencyTuning.explanation(of: key)
    }
  }
}
