import EaselSupport

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
  /// Whether the data's labels are learned, for `--label` and `--guidance`.
  public var conditional = false
  /// How often training drops a label, which guidance needs.
  public var labelDropout: Float = 0.1
  /// How often a training image is rotated, stretched, moved and so on. The change is an input of the network, so the
  /// images that it draws are not changed.
  public var augment: Float = 0

  /// The sampler that `easel sample` uses by default.
  public var sampler = DiffusionSampler.Method.ddim
  public var samplerSteps = 50
  /// How much noise `ddim` and `dpm++` add in each step, which corrects some of the network's mistakes: 0 for none, 1
  /// for as much as `ddpm`.
  public var samplerEta = 0.0
  /// The spacing of the timesteps that `ddpm` and `ddim` visit.
  public var spacing = TimestepSpacing.leading
  /// How much the label counts by default; 1 means as trained.
  public var guidance: Float = 1.5
  /// Whether predicted images are clipped to the range of pixels in each step.
  public var clip = true

  public init() {}

  public static let fields: [Field<DiffusionSettings>] = [
    Field(
      "channels", \.channels, .from(1, to: 4096), "channels of each level, finest first; each level halves the image"),
    Field("layers-per-block", \.layersPerBlock, .from(1, to: 16), "residual blocks of a level"),
    Field(
      "attention-levels", \.attentionLevels, "levels with attention, 0 the finest; there is always one in the middle"),
    Field(
      "attention-head-width", \.attentionHeadWidth, .from(0, to: 4096), "channels of an attention head; 0 for one head"),
    Field("groups", \.groups, .from(1, to: 4096), "number of GroupNorm groups"),
    Field("norm-epsilon", \.normEpsilon, .above(0), "epsilon of GroupNorm"),
    Field("flip-sin-to-cos", \.flipSinToCos, "whether the time embedding begins with cosines"),
    Field("frequency-shift", \.frequencyShift, "shift of the time embedding's frequencies"),
    Field("downsample-padding", \.downsamplePadding, .from(0, to: 1), "padding of the convolutions that halve")
      .needing("channels of more than one level") { $0.channels.count > 1 },
    Field("dropout", \.dropout, .from(0, below: 1), "probability of dropout in residual blocks"),
    Field("timesteps", \.timesteps, .from(2, to: 100_000), "steps from image to noise"),
    Field(
      "noise-schedule", \.noiseSchedule, "how noise grows with the timestep; edm trains on a continuum of levels"),
    Field("data-deviation", \.dataDeviation, .above(0), "edm: the images' deviation in units of −1…1")
      .needing("noise-schedule=edm") { $0.noiseSchedule == .edm },
    Field(
      "prediction", \.prediction, "what the network predicts: the noise, the image or the velocity between them"),
    Field("variance", \.variance, "variance of ddpm's steps"),
    Field("conditional", \.conditional, "whether the data's labels are learned"),
    Field("label-dropout", \.labelDropout, .from(0, below: 1), "how often training leaves out a label, for guidance")
      .needing("conditional=true") { $0.conditional },
    Field(
      "augment", \.augment, .from(0, to: 1),
      "how often a training image is rotated, stretched, moved and so on; the network knows, and drawn images are not"),
    Field("sampler", \.sampler, "the sampler that easel sample uses by default"),
    Field("sampler-steps", \.samplerSteps, "the sampler's steps from noise to image"),
    Field(
      "sampler-eta", \.samplerEta, .from(0, to: 1),
      "how much noise ddim and dpm++ add in each step: 0 for none, 1 for as much as ddpm"
    ).needing("sampler=ddim or sampler=dpm++") { $0.sampler.takesEta },
    Field("spacing", \.spacing, "spacing of the timesteps that ddpm and ddim visit"),
    Field("guidance", \.guidance, .atLeast(0), "how much the label counts; 1 means as trained")
      .needing("conditional=true") { $0.conditional },
    Field("clip", \.clip, "whether predicted images are clipped to the range of pixels in each step"),
  ]

  public func check(_ check: inout FieldCheck) { self.check(&check, samplers: Diffusion.samplers) }

  /// - Parameter samplers: the samplers that the model's network is trained for.
  func check(_ check: inout FieldCheck, samplers: [DiffusionSampler.Method]) {
    check.require((1...8).contains(channels.count), "channels: expected 1 to 8 levels, found \(channels.count)")
    for width in channels {
      check.require(width % groups == 0, "channels: expected multiples of groups (\(groups)), found \(width)")
    }
    for level in attentionLevels { check(level, "attention-levels", 0...max(0, channels.count - 1)) }
    for width in channels where attentionHeadWidth > 0 && width > attentionHeadWidth {
      check.require(
        width % attentionHeadWidth == 0,
        "attention-head-width: expected a divisor of the channels, found \(attentionHeadWidth) for \(width)")
    }
    check.require(
      frequencyShift.isFinite && frequencyShift < Float(max(1, (channels.first ?? 2) / 2)),
      "frequency-shift: expected less than half the first level's channels, found \(frequencyShift)")
    check.require(
      noiseSchedule != .edm || prediction != .epsilon,
      "prediction: expected velocity or sample with noise-schedule=edm, whose largest noise drowns any image, found epsilon"
    )
    check.require(
      noiseSchedule != .edm || variance != .learnedRange,
      "variance: expected fixed-small or fixed-large with noise-schedule=edm, which trains at no timesteps, "
        + "found learned-range")
    check.require(
      samplers.contains(sampler),
      "sampler: expected \(samplers.map(\.rawValue).joined(separator: ", ")), found \(sampler.rawValue)")
    check(samplerSteps, "sampler-steps", 1...timesteps)
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
