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
  /// The images' deviation in units of −1…1, for the `edm` schedule.
  public var dataDeviation: Float = 0.5
  public var prediction = PredictionTarget.epsilon
  public var variance = PosteriorVariance.fixedSmall
  /// Learns the data's labels, for `--label` and `--guidance`.
  public var conditional = false
  /// How often a label is left out in training, so that guidance has something to lean on.
  public var labelDropout: Float = 0.1
  /// How often an image is turned, stretched, moved and so on in training; the network is told, and what it draws is not.
  public var augment: Float = 0

  /// What `easel sample` does unless told otherwise.
  public var sampler = DiffusionSampler.Method.ddim
  public var samplerSteps = 50
  /// The noise of `ddim`'s and `dpm++`'s steps, which mends some of what a network gets wrong: 0 for none, 1 for as much as
  /// `ddpm` has.
  public var samplerEta = 0.0
  /// Of the timesteps that `ddpm` and `ddim` visit.
  public var spacing = TimestepSpacing.leading
  /// How much the label counts where nothing else is asked for: 1 as trained.
  public var guidance: Float = 1.5
  /// Clips predicted images to the range of pixels on the way.
  public var clip = true

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case channels, groups, dropout, timesteps, prediction, variance, conditional, augment, sampler, spacing, guidance
    case clip
    case layersPerBlock = "layers-per-block"
    case attentionLevels = "attention-levels"
    case attentionHeadWidth = "attention-head-width"
    case normEpsilon = "norm-epsilon"
    case flipSinToCos = "flip-sin-to-cos"
    case frequencyShift = "frequency-shift"
    case downsamplePadding = "downsample-padding"
    case noiseSchedule = "noise-schedule"
    case dataDeviation = "data-deviation"
    case labelDropout = "label-dropout"
    case samplerSteps = "sampler-steps"
    case samplerEta = "sampler-eta"
  }

  public init() {}

  public func validate() throws { try validate(for: Diffusion.samplers) }

  /// - Parameter samplers: those that the model's network is trained for.
  func validate(for samplers: [DiffusionSampler.Method]) throws {
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
    check(dataDeviation, "data-deviation", above: 0)
    check.require(
      noiseSchedule != .edm || prediction != .epsilon,
      "prediction: expected velocity or sample with noise-schedule=edm, whose largest noise drowns any image, found epsilon"
    )
    check.require(
      noiseSchedule != .edm || variance != .learnedRange,
      "variance: expected fixed-small or fixed-large with noise-schedule=edm, which trains at no timesteps, "
        + "found learned-range")
    check(labelDropout, "label-dropout", 0..<1)
    check.require((0...1).contains(augment), "augment: expected 0 to 1, found \(augment)")
    check(guidance, "guidance", atLeast: 0)
    check.require(
      samplers.contains(sampler),
      "sampler: expected \(samplers.map(\.rawValue).joined(separator: ", ")), found \(sampler.rawValue)")
    check(samplerSteps, "sampler-steps", 1...max(1, timesteps))
    check.require((0...1).contains(samplerEta), "sampler-eta: expected 0 to 1, found \(samplerEta)")
    try check.finish()
  }

  func network(_ data: DataDescription) -> UNetConfiguration {
    UNetConfiguration(
      inputChannels: data.channels, outputChannels: data.channels * (variance == .learnedRange ? 2 : 1),
      channels: channels, layersPerBlock: layersPerBlock,
      attentionLevels: Set(attentionLevels), attentionHeadWidth: attentionHeadWidth == 0 ? nil : attentionHeadWidth,
      groups: groups, epsilon: normEpsilon, flipSinToCos: flipSinToCos, frequencyShift: frequencyShift,
      downsamplePadding: downsamplePadding, dropout: dropout, classCount: conditional ? data.classNames.count : 0,
      augmentationWidth: augment > 0 ? NonLeakyAugmentation.parameterCount : 0)
  }
}

extension DiffusionSettings {
  public var idle: [IdleSetting] {
    var settings = SettingNeeds<CodingKeys>()
    settings(.labelDropout, .guidance, need: conditional, "conditional=true")
    settings(.dataDeviation, need: noiseSchedule == .edm, "noise-schedule=edm")
    settings(.samplerEta, need: sampler.takesEta, "sampler=ddim or sampler=dpm++")
    settings(.downsamplePadding, need: channels.count > 1, "channels of more than one level")
    return settings.idle
  }

  public static func explanation(of key: CodingKeys) -> String {
    switch key {
    case .channels: "of each level, finest first; each level halves the image"
    case .groups: "of GroupNorm"
    case .dropout: "how often residual blocks leave out numbers"
    case .timesteps: "steps from image to noise"
    case .prediction: "what the network tells: the noise, the image or the velocity between them"
    case .variance: "of the steps of ddpm"
    case .conditional: "whether the data's labels are learned"
    case .augment:
      "how often an image is turned, stretched, moved and so on; the network is told, and what it draws is not"
    case .sampler: "what easel sample does unless told otherwise"
    case .spacing: "of the timesteps that ddpm and ddim visit"
    case .guidance: "how much the label counts: 1 as trained"
    case .clip: "clip predicted images to the range of pixels on the way"
    case .layersPerBlock: "residual blocks of a level"
    case .attentionLevels: "levels with attention, 0 the finest; there is always one in the middle"
    case .attentionHeadWidth: "channels of an attention head; 0 for one head"
    case .normEpsilon: "of GroupNorm"
    case .flipSinToCos: "the time embedding begins with cosines"
    case .frequencyShift: "of the time embedding's frequencies"
    case .downsamplePadding: "of the convolutions that halve"
    case .noiseSchedule: "how noise grows with the timestep; edm trains on a continuum of levels"
    case .dataDeviation: "edm: the images' deviation in units of −1…1"
    case .labelDropout: "how often a label is left out, for guidance"
    case .samplerSteps: "its steps from noise to image"
    case .samplerEta: "the noise of ddim's and dpm++'s steps: 0 for none, 1 for as much as ddpm has"
    }
  }
}
