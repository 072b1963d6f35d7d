import EaselSupport

/// Translation of images into their counterparts, from pairs.
public enum Pix2PixFamily: ModelFamily {
  public static let name = "pix2pix"
  public static let summary = "translates images into their counterparts, learned from pairs"
  public static let domains = Domains.paired

  public static let presets = [
    Preset(
      "pix2pix", "64×64 in colour, U-Net of 6 levels, two data sets in pairs",
      data: DataDescription(width: 64, height: 64, channels: 3),
      training: .adversarial {
        $0.batchSize = 4
        $0.steps = 20_000
      },
      model: Pix2PixSettings())
  ]

  public static func make(_ settings: Pix2PixSettings, _ context: ModelContext) throws -> any Model {
    try Pix2Pix(settings, context)
  }
}

/// The settings of a pix2pix model.
public struct Pix2PixSettings: ModelSettings {
  /// Channels of the generator's first convolution.
  public var generatorWidth = 32
  /// Levels of the generator; nil for as many as fit the images, 8 at most.
  public var depth: Int?
  /// The probability of dropout in the first levels of the way back up: the model's only noise.
  public var dropout: Float = 0.5
  /// Channels of the discriminator's first convolution.
  public var discriminatorWidth = 64
  /// The discriminator's convolutions of stride 2; with 3 it judges patches of 70×70 pixels. Small images take fewer.
  public var discriminatorLayers = 3
  public var adversarialLoss = PatchLoss.logistic
  /// The weight of the absolute error.
  public var reconstruction: Float = 100

  public init() {}

  public static let fields: [Field<Pix2PixSettings>] = [
    Field("generator-width", \.generatorWidth, .from(1, to: 1024), "channels of the generator's first convolution"),
    Field(
      "depth", \.depth, .from(2, to: 8), "levels of the generator; null for as many as fit the images, 8 at most"),
    Field(
      "dropout", \.dropout, .from(0, below: 1), "probability of dropout on the way back up: the model's only noise"),
    Field(
      "discriminator-width", \.discriminatorWidth, .from(1, to: 1024),
      "channels of the discriminator's first convolution"),
    Field(
      "discriminator-layers", \.discriminatorLayers, .from(1, to: 6),
      "convolutions of stride 2: 3 judge patches of 70×70 pixels, 2 of 34×34"),
    Field("adversarial-loss", \.adversarialLoss, "loss on the discriminator's judgements"),
    Field("reconstruction", \.reconstruction, .atLeast(0), "weight of the absolute error"),
  ]
}
