/// Translation of images into their counterparts, from pairs.
public enum Pix2PixFamily: ModelFamily {
  public static let name = "pix2pix"
  public static let summary = "translates images into their counterparts, learned from pairs"
  public static let domains = Domains.paired

  public static let presets = [
    Preset(
      "pix2pix", "64×64 in colour, U-Net of 6 levels, two data sets in pairs (--data, --data-b)",
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
  /// Levels of the generator; nil for as many as the images have room for, 8 at most.
  public var depth: Int?
  /// The probability with which the first levels of the way back leave out numbers: the model's only noise.
  public var dropout: Float = 0.5
  /// Channels of the discriminator's first convolution.
  public var discriminatorWidth = 64
  /// The discriminator's convolutions of stride 2: 3 judge patches of 70×70 pixels. Small images take fewer.
  public var discriminatorLayers = 3
  public var adversarialLoss = PatchLoss.logistic
  /// The weight of the absolute error.
  public var reconstruction: Float = 100

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case depth, dropout, reconstruction
    case generatorWidth = "generator-width"
    case discriminatorWidth = "discriminator-width"
    case discriminatorLayers = "discriminator-layers"
    case adversarialLoss = "adversarial-loss"
  }

  public init() {}

  public func validate() throws {
    var check = SettingsCheck()
    check(generatorWidth, "generator-width", 1...1024)
    if let depth { check(depth, "depth", 2...8) }
    check(dropout, "dropout", 0..<1)
    check(discriminatorWidth, "discriminator-width", 1...1024)
    check(discriminatorLayers, "discriminator-layers", 1...6)
    check(reconstruction, "reconstruction", atLeast: 0)
    try check.finish()
  }
}

extension Pix2PixSettings {
  public static func explanation(of key: CodingKeys) -> String {
    switch key {
    case .depth: "levels of the generator; null for as many as images have room for, 8 at most"
    case .dropout: "how often the way back leaves out numbers: the model's only noise"
    case .reconstruction: "weight of the absolute error"
    case .generatorWidth: "channels of the generator's first convolution"
    case .discriminatorWidth: "channels of the discriminator's first convolution"
    case .discriminatorLayers: "convolutions of stride 2: 3 judge patches of 70 pixels, 2 of 34"
    case .adversarialLoss: "how judgements are measured"
    }
  }
}
