import Optimizers

/// Denoising diffusion models: images out of noise, step by step (Ho et al. 2020).
public enum DiffusionFamily: ModelFamily {
  public static let name = "diffusion"
  public static let summary = "draws images out of noise, step by step"

  public static let presets = [
    Preset(
      "diffusion-small", "U-Net 32/64/128, attention at a quarter of the size: minutes on a laptop",
      data: DataDescription(width: 28, height: 28, channels: 1),
      training: recipe {
        $0.learningRate = 1e-3
        $0.scheduleSteps = 6000
        $0.steps = 6000
        $0.emaDecay = 0.999
      },
      model: DiffusionSettings {
        $0.channels = [32, 64, 128]
        $0.attentionLevels = [2]
        $0.groups = 8
      }),
    Preset(
      "diffusion-base", "U-Net 64/128/128/128, attention at half the size",
      data: DataDescription(width: 32, height: 32, channels: 1),
      training: recipe {
        $0.batchSize = 64
        $0.learningRate = 3e-4
        $0.scheduleSteps = 20_000
        $0.steps = 20_000
        $0.emaDecay = 0.9995
      },
      model: DiffusionSettings {
        $0.channels = [64, 128, 128, 128]
        $0.attentionLevels = [1]
      }),
    Preset(
      "diffusion-cifar10", "the network and recipe of Ho et al. for 32×32 colour images",
      data: DataDescription(width: 32, height: 32, channels: 3),
      training: recipe {
        $0.optimizer = .adam
        $0.learningRate = 2e-4
        $0.learningRateDecay = .constant
        $0.warmupSteps = 5000
        $0.scheduleSteps = 800_000
        $0.steps = 800_000
        $0.emaDecay = 0.9999
        $0.flip = true
      },
      model: DiffusionSettings {
        $0.channels = [128, 256, 256, 256]
        $0.attentionLevels = [1]
        $0.normEpsilon = 1e-6
        $0.flipSinToCos = false
        $0.frequencyShift = 1
        $0.downsamplePadding = 0
        $0.dropout = 0.1
        $0.variance = .fixedLarge
      }),
  ]

  /// What the presets share.
  private static func recipe(_ change: (inout TrainingSettings) -> Void) -> TrainingSettings {
    TrainingSettings {
      $0.batchSize = 128
      $0.optimizer = .adamw
      $0.learningRateDecay = .cosine
      $0.warmupSteps = 200
      $0.clipNorm = 1
      change(&$0)
    }
  }

  public static func make(_ settings: DiffusionSettings, _ context: ModelContext) throws -> any Model {
    try Diffusion(settings, context)
  }
}

/// The settings of a diffusion model. Those of the network are diffusers' `UNet2DModel` switches.
public struct DiffusionSettings: ModelSettings {
  /// Channels of each level, finest first; each level halves the image.
  public var channels = [32, 64, 128]
  public var layersPerBlock = 2
  /// Levels with attention, 0 the finest. There is always one in the middle.
  public var attentionLevels = [2]
  /// Channels of an attention head; 0 for one head.
  public var attentionHeadWidth = 0
  public var groups = 32
  public var normEpsilon: Float = 1e-5
  public var flipSinToCos = true
  public var frequencyShift: Float = 0
  public var downsamplePadding = 1
  public var dropout: Float = 0

  public var timesteps = 1000
  public var noiseSchedule = NoiseSchedule.Kind.linear
  public var prediction = PredictionTarget.epsilon
  public var variance = PosteriorVariance.fixedSmall
  /// Learns the data's labels, for `--label` and `--guidance`.
  public var conditional = false
  /// How often a label is left out in training, so that guidance has something to lean on.
  public var labelDropout: Float = 0.1

  /// What `easel sample` does unless told otherwise.
  public var sampler = DiffusionSampler.Method.ddim
  public var samplerSteps = 50
  public var spacing = TimestepSpacing.leading
  /// Clips predicted images to the range of pixels on the way.
  public var clip = true

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case channels, groups, dropout, timesteps, prediction, variance, conditional, sampler, spacing, clip
    case layersPerBlock = "layers-per-block"
    case attentionLevels = "attention-levels"
    case attentionHeadWidth = "attention-head-width"
    case normEpsilon = "norm-epsilon"
    case flipSinToCos = "flip-sin-to-cos"
    case frequencyShift = "frequency-shift"
    case downsamplePadding = "downsample-padding"
    case noiseSchedule = "noise-schedule"
    case labelDropout = "label-dropout"
    case samplerSteps = "sampler-steps"
  }

  public init() {}

  /// The defaults with changes.
  public init(_ change: (inout DiffusionSettings) -> Void) { change(&self) }

  public func validate() throws {
    var check = SettingsCheck()
    check.require((1...8).contains(channels.count), "channels: expected 1 to 8 levels, found \(channels.count)")
    check(groups, "groups", 1...4096)
    for width in channels {
      check(width, "channels", 1...4096)
      check.require(
        width % max(1, groups) == 0, "channels: expected multiples of groups (\(groups)), found \(width)")
    }
    check(layersPerBlock, "layers-per-block", 1...16)
    for level in attentionLevels { check(level, "attention-levels", 0...max(0, channels.count - 1)) }
    check(attentionHeadWidth, "attention-head-width", 0...4096)
    for width in channels where attentionHeadWidth > 0 && width > attentionHeadWidth {
      check.require(
        width % attentionHeadWidth == 0,
        "attention-head-width: expected a divisor of the channels, found \(attentionHeadWidth) for \(width)")
    }
    check(normEpsilon, "norm-epsilon", above: 0)
    check.require(
      frequencyShift.isFinite && frequencyShift < Float(max(1, (channels.first ?? 2) / 2)),
      "frequency-shift: expected less than half the first level's channels, found \(frequencyShift)")
    check(downsamplePadding, "downsample-padding", 0...1)
    check(dropout, "dropout", 0..<1)
    check(timesteps, "timesteps", 2...100_000)
    check(labelDropout, "label-dropout", 0..<1)
    check(samplerSteps, "sampler-steps", 1...max(1, timesteps))
    try check.finish()
  }

  func network(_ data: DataDescription) -> UNetConfiguration {
    UNetConfiguration(
      inputChannels: data.channels, outputChannels: data.channels, channels: channels, layersPerBlock: layersPerBlock,
      attentionLevels: Set(attentionLevels), attentionHeadWidth: attentionHeadWidth == 0 ? nil : attentionHeadWidth,
      groups: groups, epsilon: normEpsilon, flipSinToCos: flipSinToCos, frequencyShift: frequencyShift,
      downsamplePadding: downsamplePadding, dropout: dropout, classCount: conditional ? data.classNames.count : 0)
  }
}
