import EaselSupport

/// Classifiers of labelled images, by which samples of other models are judged.
public enum ClassifierFamily: ModelFamily {
  public static let name = "classifier"
  public static let summary = "tells what images show; its features judge samples in easel evaluate"

  public static let presets = [
    Preset(
      "classifier", "residual convolutions, 128 features an image",
      data: DataDescription(width: 28, height: 28, channels: 1, classNames: (0..<10).map(String.init)),
      training: TrainingSettings {
        $0.batchSize = 128
        $0.learningRate = 2e-3
        $0.optimizer = .adamw
        $0.weightDecay = 0.05
        $0.warmupSteps = 100
        $0.learningRateDecay = .cosine
        $0.emaDecay = 0.998
        $0.flip = true
        $0.shift = 1
        $0.steps = 6000
      },
      model: ClassifierSettings())
  ]

  public static func make(_ settings: ClassifierSettings, _ context: ModelContext) throws -> any Model {
    try Classifier(settings, context)
  }
}

/// The settings of a classifier.
public struct ClassifierSettings: ModelSettings {
  /// Channels at full size; twice as many at half, ``features`` at a quarter.
  public var baseChannels = 32
  /// The width of the layer before the last.
  public var features = 128
  /// Residual blocks at each size.
  public var blocks = 1
  /// How much of each target is spread evenly over all classes. It pulls the features of a class together (Müller et
  /// al. 2019, “When does label smoothing help?”), which makes them see less of what differs within it: 0 if they are
  /// to judge samples.
  public var labelSmoothing: Float = 0
  /// By how much training images are changed to mislead the network, in levels of 255; 0 for not at all.
  public var adversarialEpsilon: Float = 0
  /// The steps that look for such a change. One, from a random place, is nearly as good as many (Wong et al. 2020).
  public var adversarialSteps = 1

  public init() {}

  public static let fields: [Field<ClassifierSettings>] = [
    Field("base-channels", \.baseChannels, .from(8, to: 4096), "channels at full size"),
    Field("features", \.features, .from(8, to: 65_536), "width of the layer before the last"),
    Field("blocks", \.blocks, .from(1, to: 64), "residual blocks at each size"),
    Field(
      "label-smoothing", \.labelSmoothing, .from(0, below: 1),
      "how much of each target is spread evenly over all classes"),
    Field(
      "adversarial-epsilon", \.adversarialEpsilon, .from(0, to: 255),
      "how much levels of training images are changed to mislead the network, in levels of 255; 0 for not at all"),
    Field(
      "adversarial-steps", \.adversarialSteps, .from(1, to: 1000), "steps that look for the most misleading change"
    ).needing("an adversarial-epsilon") { $0.adversarialEpsilon > 0 },
  ]

  public func check(_ check: inout FieldCheck) {
    for (key, channels) in [("base-channels", baseChannels), ("features", features)] {
      check.require(channels % 8 == 0, "\(key): expected a multiple of 8 (the norms' groups), found \(channels)")
    }
  }
}
