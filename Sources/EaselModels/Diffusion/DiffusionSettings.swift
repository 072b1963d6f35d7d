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
  /// Heads of each attention; 0 if their width decides.
  public var attentionHeads = 0
  public var groups = 32
  public var normEpsilon: Float = 1e-5
  public var flipSinToCos = true
  public var frequencyShift: Float = 0
  public var downsamplePadding = 1
  public var dropout: Float = 0

  public var timesteps = 1000
  public var noiseSchedule = NoiseSchedule.Kind.linear
  /// The first and the last β of the `linear` and `scaled-linear` schedules.
  public var betaStart = 1e-4
  public var betaEnd = 0.02
  /// Each timestep's β, for the `linear` schedule; none for a line.
  public var betas: [Double] = []
  /// The images' deviation in units of −1…1, for the `edm` schedule.
  public var dataDeviation: Float = 0.5
  /// The normal distribution of ln σ that the `edm` schedule trains with. What a caption says is decided at large σ, where
  /// nothing is to be seen yet.
  public var trainingNoise = LogNormal()
  public var prediction = PredictionTarget.epsilon
  public var variance = PosteriorVariance.fixedSmall
  /// Whether the data's labels are learned, for `--label` and `--guidance`.
  public var conditional = false
  /// Whether the data's captions are learned, for `--prompt` and `--guidance`.
  public var captions = false
  /// The checkpoint of a text encoder, which stays as it is; empty for one that is trained along.
  public var text = ""
  /// Channels, blocks and heads of the text encoder that is trained along, the tokens that it reads of a text, and those
  /// that there are.
  public var textWidth = 128
  public var textLayers = 4
  public var textHeads = 4
  public var contextLength = 32
  public var vocabularySize = 1024
  /// Whether a text's last token is also added, projected, to the embedding of the time, which reaches every pixel at once.
  /// Attention alone learns what words mean later.
  public var pooledText = false
  /// Whether the layers around cross-attention are linear, as in Stable Diffusion 2.
  public var linearProjection = false
  /// The checkpoint of a model whose vectors of the images are learned as conditions, for `--like` and `--prompt`; empty
  /// for none.
  public var likeness = ""
  /// The checkpoint of an autoencoder on whose latents it works; empty for pixels.
  public var space = ""
  /// How often training drops a label, a caption or a vector, which guidance needs.
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
  /// The spacing of the timesteps that `ddpm` and `ddim` visit, and the solvers without Karras et al.'s levels.
  public var spacing = TimestepSpacing.leading
  /// How much higher the timesteps of `spacing=leading` are.
  public var stepsOffset = 0
  /// Whether `dpm++`, `heun` and `euler` visit Karras et al.'s levels instead of timesteps.
  public var karrasSigmas = true
  /// The noise in units of the image at which the solvers begin at the latest on Karras et al.'s levels.
  public var maximumNoise = DiffusionSampler.maximumNoise
  /// Whether the last step of `ddim` leads to the clean image; otherwise, to the first timestep's level.
  public var endsClean = true
  /// How much the condition counts by default; 1 means as trained.
  public var guidance: Float = 1.5
  /// Whether predicted images are clipped to the range of pixels in each step.
  public var clip = true
  /// The range, from minus to plus, that images are clipped to.
  public var clipRange: Float = 1

  public init() {}

  public static let fields: [Field<DiffusionSettings>] = [
    Field(
      "channels", \.channels, .from(1, to: 4096), "channels of each level, finest first; each level halves the image"),
    Field("layers-per-block", \.layersPerBlock, .from(1, to: 16), "residual blocks of a level"),
    Field(
      "attention-levels", \.attentionLevels, "levels with attention, 0 the finest; there is always one in the middle"),
    Field(
      "attention-head-width", \.attentionHeadWidth, .from(0, to: 4096), "channels of an attention head; 0 for one head"
    ).needing("attention-heads=0") { $0.attentionHeads == 0 },
    Field(
      "attention-heads", \.attentionHeads, .from(0, to: 1024), "heads of an attention; 0 if their width decides"),
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
    Field("beta-start", \.betaStart, .above(0, below: 1), "linear and scaled-linear: the first β")
      .needing("noise-schedule=linear or noise-schedule=scaled-linear") { $0.hasBetaLine },
    Field("beta-end", \.betaEnd, .above(0, below: 1), "linear and scaled-linear: the last β")
      .needing("noise-schedule=linear or noise-schedule=scaled-linear") { $0.hasBetaLine },
    Field("betas", \.betas, .above(0, below: 1), "linear: each timestep's β; none for a line")
      .needing("noise-schedule=linear") { $0.noiseSchedule == .linear },
    Field("data-deviation", \.dataDeviation, .above(0), "edm: the images' deviation in units of −1…1")
      .needing("noise-schedule=edm") { $0.noiseSchedule == .edm },
    Field("level-mean", \.trainingNoise.mean, .from(-10, to: 10), "edm: the mean of ln σ in training")
      .needing("noise-schedule=edm") { $0.noiseSchedule == .edm },
    Field("level-deviation", \.trainingNoise.deviation, .from(0.01, to: 10), "edm: the deviation of ln σ in training")
      .needing("noise-schedule=edm") { $0.noiseSchedule == .edm },
    Field(
      "prediction", \.prediction, "what the network predicts: the noise, the image or the velocity between them"),
    Field("variance", \.variance, "variance of ddpm's steps"),
    Field("conditional", \.conditional, "whether the data's labels are learned"),
    Field("captions", \.captions, "whether the data's captions are learned"),
    Field("text", \.text, "the checkpoint of a text encoder; empty for one that is trained along")
      .needing("captions=true") { $0.captions },
    Field("text-width", \.textWidth, .from(8, to: 8192), "channels of the text encoder")
      .needing(ownText, \.hasOwnText),
    Field("text-layers", \.textLayers, .from(1, to: 64), "blocks of the text encoder").needing(ownText, \.hasOwnText),
    Field("text-heads", \.textHeads, .from(1, to: 1024), "attention heads of the text encoder")
      .needing(ownText, \.hasOwnText),
    Field(
      "context-length", \.contextLength, .from(4, to: 1024), "tokens that are read of a text, start and end counted"
    ).needing(ownText, \.hasOwnText),
    Field("vocabulary-size", \.vocabularySize, .from(514, to: 65_536), "tokens that are learned from the captions")
      .needing(ownText, \.hasOwnText),
    Field(
      "pooled-text", \.pooledText,
      "whether a text's last token is also added to the embedding of the time, which reaches every pixel at once"
    ).needing("captions=true") { $0.captions },
    Field(
      "linear-projection", \.linearProjection,
      "whether the layers around cross-attention have linear layers' weights instead of 1×1 convolutions'"
    ).needing("captions=true") { $0.captions },
    Field(
      "likeness", \.likeness,
      "the checkpoint of a model whose vectors of images are learned as conditions, such as one of clip; empty for none"
    ),
    Field("space", \.space, "the checkpoint of an autoencoder on whose latents it works; empty for pixels"),
    Field(
      "label-dropout", \.labelDropout, .from(0, below: 1), "how often training leaves out a condition, for guidance"
    ).needing(condition, \.isConditional),
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
    Field("steps-offset", \.stepsOffset, .from(0, to: 100_000), "how much higher the timesteps of spacing=leading are")
      .needing("spacing=leading") { $0.spacing == .leading },
    Field("karras-sigmas", \.karrasSigmas, "whether dpm++, heun and euler visit Karras et al.'s levels, not timesteps"),
    Field(
      "maximum-noise", \.maximumNoise, .above(0),
      "noise in units of the image at which dpm++, heun and euler begin at the latest"
    ).needing("karras-sigmas=true") { $0.karrasSigmas },
    Field("ends-clean", \.endsClean, "whether ddim's last step leads to the clean image, not to the first timestep"),
    Field("guidance", \.guidance, .atLeast(0), "how much the condition counts; 1 means as trained")
      .needing(condition, \.isConditional),
    Field("clip", \.clip, "whether predicted images are clipped to the range of pixels in each step")
      .needing("pixels as its space") { $0.space.isEmpty },
    Field("clip-range", \.clipRange, .above(0), "the range, from minus to plus, that predicted images are clipped to")
      .needing("clip=true and pixels as its space") { $0.clip && $0.space.isEmpty },
  ]

  private static let ownText = "captions=true and no text"
  private static let condition = "conditional=true, captions=true or likeness"

  private var hasOwnText: Bool { captions && text.isEmpty }

  /// Whether images have conditions.
  var isConditional: Bool { conditional || captions || !likeness.isEmpty }

  public func check(_ check: inout FieldCheck) { self.check(&check, samplers: Diffusion.samplers) }

  /// - Parameter samplers: the samplers that the model's network is trained for.
  func check(_ check: inout FieldCheck, samplers: [DiffusionSampler.Method]) {
    check.require((1...8).contains(channels.count), "channels: expected 1 to 8 levels, found \(channels.count)")
    for width in channels {
      check.require(width % groups == 0, "channels: expected multiples of groups (\(groups)), found \(width)")
    }
    for level in attentionLevels { check(level, "attention-levels", 0...max(0, channels.count - 1)) }
    for width in channels where attentionHeads == 0 && attentionHeadWidth > 0 && width > attentionHeadWidth {
      check.require(
        width % attentionHeadWidth == 0,
        "attention-head-width: expected a divisor of the channels, found \(attentionHeadWidth) for \(width)")
    }
    for width in channels where attentionHeads > 0 {
      check.require(
        width % attentionHeads == 0,
        "attention-heads: expected a divisor of the channels, found \(attentionHeads) for \(width)")
    }
    check.require(
      [conditional, captions, !likeness.isEmpty].count { $0 } <= 1,
      "expected one of conditional, captions and likeness: an image has one condition")
    check.require(
      textWidth % textHeads == 0, "text-heads: expected a divisor of text-width (\(textWidth)), found \(textHeads)")
    check.require(
      space.isEmpty || variance != .learnedRange,
      "variance: expected fixed-small or fixed-large for latents, found learned-range")
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
    check.require(
      betas.isEmpty || betas.count == timesteps,
      "betas: expected none or \(timesteps), as many as timesteps, found \(betas.count)")
    if (2...100_000).contains(timesteps) {
      check.require(
        noiseSchedule == .edm || schedule.keepsSignal,
        "\(betas.isEmpty ? "beta-end" : "betas"): expected less noise: nothing of an image is left at the end")
      let least = schedule.level(0).ratio
      check.require(
        maximumNoise > least,
        "maximum-noise: expected more than the schedule's least, \(Float(least)), found \(maximumNoise)")
    }
  }

  private var hasBetaLine: Bool { noiseSchedule == .scaledLinear || noiseSchedule == .linear && betas.isEmpty }

  /// How noise grows.
  public var schedule: NoiseSchedule {
    NoiseSchedule(
      noiseSchedule, timesteps: timesteps, dataDeviation: Double(dataDeviation), betaStart: betaStart, betaEnd: betaEnd,
      betas: betas, trainingNoise: trainingNoise)
  }

  /// Which levels a sampler visits, with this or another spacing of timesteps.
  public func levelSpacing(_ timesteps: TimestepSpacing? = nil) -> LevelSpacing {
    var levels = LevelSpacing(timesteps ?? spacing)
    (levels.offset, levels.isKarras, levels.maximumNoise) = (stepsOffset, karrasSigmas, maximumNoise)
    levels.endsClean = endsClean
    return levels
  }

  /// The U-Net.
  ///
  /// - Parameters:
  ///   - channels: the channels of the space that it works in.
  ///   - classCount: the number of classes; 0 for none.
  ///   - tokenWidth: the width of a text's tokens; nil for none.
  ///   - embeddingWidth: the length of the images' vectors; 0 for none.
  func network(
    channels spaceChannels: Int, classCount: Int = 0, tokenWidth: Int? = nil, embeddingWidth: Int = 0
  ) -> UNetConfiguration {
    UNetConfiguration(
      inputChannels: spaceChannels, outputChannels: spaceChannels * (variance == .learnedRange ? 2 : 1),
      channels: channels, layersPerBlock: layersPerBlock,
      attentionLevels: Set(attentionLevels), attentionHeadWidth: attentionHeadWidth == 0 ? nil : attentionHeadWidth,
      attentionHeads: attentionHeads == 0 ? nil : attentionHeads,
      crossAttention: tokenWidth.map { .init(tokenWidth: $0, linearProjection: linearProjection) }, groups: groups,
      epsilon: normEpsilon, flipSinToCos: flipSinToCos, frequencyShift: frequencyShift,
      downsamplePadding: downsamplePadding, dropout: dropout, classCount: classCount,
      embeddingWidth: embeddingWidth, augmentationWidth: augment > 0 ? NonLeakyAugmentation.parameterCount : 0)
  }

  /// The text encoder that is trained along.
  func textNetwork(vocabularySize: Int) -> CLIPTextConfiguration {
    CLIPTextConfiguration(
      vocabularySize: vocabularySize, contextLength: contextLength,
      encoder: CLIPEncoderConfiguration(width: textWidth, layers: textLayers, heads: textHeads))
  }
}
