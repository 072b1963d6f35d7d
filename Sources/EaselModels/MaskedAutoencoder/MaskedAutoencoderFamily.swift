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
  /// Pixels of a patch's side.
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
  /// Learns patches less their mean, by their deviation: better features, worse pictures.
  public var normPixLoss = false
  /// Positions begin at random and are learned, instead of being sines and cosines.
  public var learnedPositions = false
  /// Stochastic depth: how often a sample goes past a branch of the encoder's last block; the first block's is 0, the others
  /// lie on a line between.
  public var dropPath: Float = 0
  /// Learned gates in place of the blocks' norms.
  public var rezero = false

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case patch, masked, width, depth, heads, rezero
    case decoderWidth = "decoder-width"
    case decoderDepth = "decoder-depth"
    case decoderHeads = "decoder-heads"
    case mlpRatio = "mlp-ratio"
    case normPixLoss = "norm-pix-loss"
    case learnedPositions = "learned-positions"
    case dropPath = "drop-path"
  }

  public init() {}

  public func validate() throws {
    var check = SettingsCheck()
    check(patch, "patch", 1...256)
    check(masked, "masked", 0..<1)
    check.require(masked > 0, "masked: expected a share above 0, found \(masked)")
    check(depth, "depth", 1...256)
    check(decoderDepth, "decoder-depth", 1...256)
    check(mlpRatio, "mlp-ratio", 1...64)
    check(dropPath, "drop-path", 0..<1)
    func checkWidth(_ width: Int, _ key: String, heads: Int, _ headsKey: String) {
      check(width, key, 4...8192)
      check.require(width % 4 == 0, "\(key): expected a multiple of 4 (sines and cosines of two axes), found \(width)")
      check(heads, headsKey, 1...max(1, width))
      check.require(
        width % max(1, heads) == 0, "\(headsKey): expected a divisor of \(key) (\(width)), found \(heads)")
    }
    checkWidth(width, "width", heads: heads, "heads")
    checkWidth(decoderWidth, "decoder-width", heads: decoderHeads, "decoder-heads")
    try check.finish()
  }
}

extension MaskedAutoencoderSettings {
  public static func explanation(of key: CodingKeys) -> String {
    switch key {
    case .patch: "pixels of a patch's side"
    case .masked: "the share of patches that the encoder does not see"
    case .width: "the encoder's channels, a multiple of 4 and of heads"
    case .depth: "the encoder's blocks"
    case .heads: "its attention heads"
    case .rezero: "learned gates in place of the blocks' norms"
    case .decoderWidth: "the decoder's channels"
    case .decoderDepth: "the decoder's blocks"
    case .decoderHeads: "its attention heads"
    case .mlpRatio: "channels between the linear layers of a block, in multiples of its width"
    case .normPixLoss: "learns patches less their mean, by their deviation: better features, worse pictures"
    case .learnedPositions: "positions are learned instead of being sines and cosines"
    case .dropPath: "how often a sample goes past a branch of the encoder's last block"
    }
  }
}
