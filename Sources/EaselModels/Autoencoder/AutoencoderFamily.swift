/// Autoencoders that learn to give back the image they are shown, through a narrow code.
public enum AutoencoderFamily: ModelFamily {
  public static let name = "autoencoder"
  public static let summary = "compresses an image to a short code and back"

  public static let presets = [
    Preset(
      "autoencoder", "convolutional, 32 numbers a code",
      data: DataDescription(width: 28, height: 28, channels: 1),
      training: TrainingSettings {
        $0.batchSize = 128
        $0.learningRate = 1e-3
        $0.optimizer = .adam
        $0.learningRateDecay = .cosine
        $0.steps = 8000
      },
      model: AutoencoderSettings())
  ]

  public static func make(_ settings: AutoencoderSettings, _ context: ModelContext) throws -> any Model {
    try Autoencoder(settings, context)
  }
}

/// The settings of an autoencoder.
public struct AutoencoderSettings: ModelSettings {
  public var architecture = CoderArchitecture.convolutional
  /// Numbers in a code.
  public var latent = 32
  /// Channels of the first convolution; each strided stage doubles them.
  public var baseChannels = 32
  /// Linear only: the decoder is the encoder transposed.
  public var tied = false

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case architecture, latent, tied
    case baseChannels = "base-channels"
  }

  public init() {}

  public func validate() throws {
    var check = SettingsCheck()
    check.coder(latent: latent, baseChannels: baseChannels)
    try check.finish()
  }
}

extension AutoencoderSettings {
  public var idle: [IdleSetting] {
    var settings = SettingNeeds<CodingKeys>()
    settings(.tied, need: architecture == .linear, "architecture=linear")
    settings(.baseChannels, need: architecture == .convolutional, "architecture=convolutional")
    return settings.idle
  }

  public static func explanation(of key: CodingKeys) -> String {
    switch key {
    case .architecture: "the kind of network"
    case .latent: "numbers in a code"
    case .tied: "linear only: the decoder is the encoder transposed"
    case .baseChannels: "channels of the first convolution; each halving doubles them"
    }
  }
}
