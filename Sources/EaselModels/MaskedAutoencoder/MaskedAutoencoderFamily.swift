import EaselSupport

/// Masked autoencoders (He et al. 2022): transformers that see a few patches of an image and make up the others.
public enum MaskedAutoencoderFamily: ModelFamily {
  public static let name = "masked-autoencoder"
  public static let summary = "sees a few patches of an image and makes up the others"

  public static let presets = [
    Preset(
      "masked-autoencoder", "vision transformer, patches of 4×4, three quarters of them masked",
      data: DataDescription(width: 28, height: 28, channels: 1),
      training: TrainingSettings {
        $0.batchSize = 256
        // He et al.: base rate · batch size / 256.
        $0.learningRate = 3e-3
        $0.optimizer = .adamw
        $0.beta2 = 0.95
        $0.weightDecay = 0.05
        $0.decayVectors = false
        $0.learningRateDecay = .cosine
        $0.warmupSteps = 300
        $0.steps = 8000
      },
      model: MaskedAutoencoderSettings())
  ]

  public static func make(_ settings: MaskedAutoencoderSettings, _ context: ModelContext) throws -> any Model {
    try MaskedAutoencoder(settings, context)
  }
}

/// The settings of a masked autoencoder.
public struct MaskedAutoencoderSettings: ModelSettings {
  /// The side of a patch in pixels.
  public var patch = 4
  /// The share of patches that the encoder does not see in training.
  public var masked: Float = 0.75
  /// The encoder's channels, a multiple of 4 and of `heads`.
  public var width = 128
  public var depth = 6
  public var heads = 4
  public var decoderWidth = 64
  public var decoderDepth = 2
  public var decoderHeads = 4
  /// Channels between the two linear layers of a block, in multiples of its width.
  public var mlpRatio = 4
  /// Whether to predict patches normalised by their mean and deviation: better features, worse pictures.
  public var normPixLoss = false
  /// Whether positions are learned, starting from random values, instead of being sines and cosines.
  public var learnedPositions = false
  /// Stochastic depth: the probability that a sample skips a branch of the encoder's last block. In the first block it
  /// is 0; between, it grows linearly.
  public var dropPath: Float = 0
  /// Whether learned gates replace the blocks' norms.
  public var rezero = false

  public init() {}

  public static let fields: [Field<MaskedAutoencoderSettings>] = [
    Field("patch", \.patch, .from(1, to: 256), "side of a patch in pixels"),
    Field("masked", \.masked, .above(0, below: 1), "the share of patches that the encoder does not see"),
    Field("width", \.width, .from(4, to: 8192), "the encoder's channels, a multiple of 4 and of heads"),
    Field("depth", \.depth, .from(1, to: 256), "the encoder's blocks"),
    Field("heads", \.heads, .from(1, to: 8192), "the encoder's attention heads"),
    Field("decoder-width", \.decoderWidth, .from(4, to: 8192), "the decoder's channels"),
    Field("decoder-depth", \.decoderDepth, .from(1, to: 256), "the decoder's blocks"),
    Field("decoder-heads", \.decoderHeads, .from(1, to: 8192), "the decoder's attention heads"),
    Field(
      "mlp-ratio", \.mlpRatio, .from(1, to: 64),
      "channels between the linear layers of a block, in multiples of its width"),
    Field(
      "norm-pix-loss", \.normPixLoss,
      "predict patches normalised by their mean and deviation: better features, worse pictures"),
    Field("learned-positions", \.learnedPositions, "learn positions instead of using sines and cosines"),
    Field(
      "drop-path", \.dropPath, .from(0, below: 1),
      "probability of skipping a branch of the encoder's last block; in the first block it is 0"
    ).needing("a depth above 1") { $0.depth > 1 },
    Field("rezero", \.rezero, "use learned gates instead of the blocks' norms"),
  ]

  public func check(_ check: inout FieldCheck) {
    for (width, key, heads, headsKey) in [
      (width, "width", heads, "heads"), (decoderWidth, "decoder-width", decoderHeads, "decoder-heads"),
    ] {
      check.require(width % 4 == 0, "\(key): expected a multiple of 4 (sines and cosines of two axes), found \(width)")
      check.require(width % heads == 0, "\(headsKey): expected a divisor of \(key) (\(width)), found \(heads)")
    }
  }
}
