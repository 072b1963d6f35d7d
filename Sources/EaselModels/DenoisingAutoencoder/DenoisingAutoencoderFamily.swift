import EaselSupport

/// Autoencoders that learn to repair damaged images.
public enum DenoisingAutoencoderFamily: ModelFamily {
  public static let name = "denoising-autoencoder"
  public static let summary = "removes noise, specks or blots from images"

  public static let presets = [
    Preset(
      "denoising-autoencoder", "convolutional, 32 numbers a code, against noise of deviation 0.3",
      data: DataDescription(width: 28, height: 28, channels: 1),
      training: TrainingSettings {
        $0.batchSize = 128
        $0.learningRate = 1e-3
        $0.optimizer = .adam
        $0.learningRateDecay = .cosine
        $0.steps = 8000
      },
      model: DenoisingAutoencoderSettings())
  ]

  public static func make(_ settings: DenoisingAutoencoderSettings, _ context: ModelContext) throws -> any Model {
    try DenoisingAutoencoder(settings, context)
  }
}

/// The settings of a denoising autoencoder.
public struct DenoisingAutoencoderSettings: ModelSettings {
  public var architecture = CoderArchitecture.convolutional
  /// The length of a code.
  public var latent = 32
  /// Channels of the first convolution; each strided stage doubles them.
  public var baseChannels = 32
  /// The damage to the images that the model is shown.
  public var corruption = Corruption.Kind.gaussian
  /// How much damage: the noise's standard deviation, or the share of pixels.
  public var strength: Float = 0.3

  public init() {}

  public static let fields: [Field<DenoisingAutoencoderSettings>] =
    Field.coder(\.architecture, latent: \.latent, baseChannels: \.baseChannels) + [
      Field("corruption", \.corruption, "damage to the images that the model is shown"),
      Field("strength", \.strength, "how much damage: the noise's standard deviation, or the share of pixels"),
    ]

  public func check(_ check: inout FieldCheck) {
    check.coder(baseChannels: baseChannels)
    Corruption(corruption, strength: strength).check(&check, "strength")
  }
}
