import EaselSupport

/// Translation between two kinds of images without pairs.
public enum CycleGANFamily: ModelFamily {
  public static let name = "cyclegan"
  public static let summary = "translates between two kinds of images, learned without pairs"
  public static let domains = Domains.unpaired

  public static let presets = [
    Preset(
      "cyclegan", "64×64 in colour, 6 residual blocks, two data sets",
      data: DataDescription(width: 64, height: 64, channels: 3),
      training: .adversarial {
        $0.batchSize = 4
        $0.steps = 20_000
      },
      model: CycleGANSettings()),
    Preset(
      "cyclegan-emoji", "cyclegan for a few hundred drawings: smooth surfaces, discriminators of 34×34 pixels",
      data: DataDescription(width: 64, height: 64, channels: 3),
      training: .adversarial {
        $0.batchSize = 4
        $0.steps = 10_000
        $0.emaDecay = 0.999
      },
      model: CycleGANSettings {
        $0.upsampling = .nearest
        $0.discriminatorLayers = 2
        $0.cycle = 20
        $0.identity = 1
      }),
  ]

  public static func make(_ settings: CycleGANSettings, _ context: ModelContext) throws -> any Model {
    try CycleGAN(settings, context)
  }
}

extension TrainingSettings {
  /// The recipe of CycleGAN and pix2pix, with changes.
  static func adversarial(_ change: (inout TrainingSettings) -> Void) -> TrainingSettings {
    TrainingSettings {
      $0.learningRate = 2e-4
      $0.optimizer = .adam
      $0.beta1 = 0.5
      $0.learningRateDecay = .constantThenLinear
      $0.flip = true
      change(&$0)
    }
  }
}

/// The settings of a CycleGAN.
public struct CycleGANSettings: ModelSettings {
  /// Channels of the generators' first convolution.
  public var generatorWidth = 32
  /// Residual blocks of a generator; nil for 6 up to 128 pixels and 9 above.
  public var residualBlocks: Int?
  /// How the generators return to the image's size.
  public var upsampling = Upsampling.transposed
  /// Channels of the discriminators' first convolution.
  public var discriminatorWidth = 64
  /// The discriminators' convolutions of stride 2; with 3 they judge patches of 70×70 pixels. Small images take fewer.
  public var discriminatorLayers = 3
  public var adversarialLoss = PatchLoss.leastSquares
  /// The weight of the cycle loss: images translated there and back.
  public var cycle: Float = 10
  /// The weight of the identity loss, relative to the cycle's: images that should be left alone; 0 for none.
  public var identity: Float = 0.5
  /// How many past images each discriminator is shown among the new ones; 0 for none.
  public var poolSize = 50
  /// Random changes to every image that the discriminators see, for few images.
  public var augment: [DifferentiableAugmentation.Change] = []

  public init() {}

  public static let fields: [Field<CycleGANSettings>] = [
    Field("generator-width", \.generatorWidth, .from(1, to: 1024), "channels of the generators' first convolution"),
    Field(
      "residual-blocks", \.residualBlocks, .from(0, to: 64),
      "residual blocks of a generator; null for 6 up to 128 pixels and 9 above"),
    Field("upsampling", \.upsampling, "how the generators return to the image's size"),
    Field(
      "discriminator-width", \.discriminatorWidth, .from(1, to: 1024),
      "channels of the discriminators' first convolution"),
    Field(
      "discriminator-layers", \.discriminatorLayers, .from(1, to: 6),
      "convolutions of stride 2: 3 judge patches of 70×70 pixels, 2 of 34×34"),
    Field("adversarial-loss", \.adversarialLoss, "loss on the discriminators' judgements"),
    Field("cycle", \.cycle, .atLeast(0), "weight of the cycle loss: images translated there and back"),
    Field("identity", \.identity, .atLeast(0), "weight of the identity loss, relative to the cycle's")
      .needing("a cycle") { $0.cycle > 0 },
    Field(
      "pool-size", \.poolSize, .from(0, to: 10_000),
      "past images that each discriminator is shown among the new ones"),
    Field("augment", \.augment, "changes to what the discriminators see: color, translation, cutout"),
  ]
}
