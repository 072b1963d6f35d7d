import EaselSupport

/// Autoencoders that learn to reproduce images through a narrow code.
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
  /// The length of a code.
  public var latent = 32
  /// Channels of the first convolution; each strided stage doubles them.
  public var baseChannels = 32
  /// Linear only: whether the decoder is the transposed encoder.
  public var tied = false

  public init() {}

  public static let fields: [Field<AutoencoderSettings>] =
    Field.coder(\.architecture, latent: \.latent, baseChannels: \.baseChannels) + [
      Field("tied", \.tied, "linear only: whether the decoder is the transposed encoder")
        .needing("architecture=linear") { $0.architecture == .linear }
    ]

  public func check(_ check: inout FieldCheck) {
    check.coder(baseChannels: baseChannels)
  }
}
