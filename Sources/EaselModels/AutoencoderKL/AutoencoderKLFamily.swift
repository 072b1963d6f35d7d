import EaselSupport

/// Autoencoders of small latents, the first stage of latent diffusion.
public enum AutoencoderKLFamily: ModelFamily {
  public static let name = "autoencoder-kl"
  public static let summary = "compresses images to small latents, in which a diffusion model can work"
  public static let convolves3x3 = true

  /// The key of the perceptual loss's model.
  static let perceptual = "perceptual"

  public static let parts = [
    ModelPart(perceptual, "features of images", example: "classifier") { $0 is any DifferentiableFeatures }
  ]

  public static let presets = [
    Preset(
      "autoencoder-kl", "64×64 in colour to 16×16 latents of 3 numbers, 16 times fewer",
      data: DataDescription(width: 64, height: 64, channels: 3),
      training: recipe { $0.steps = 10_000 },
      model: coder()),
    Preset(
      "autoencoder-kl-128", "128×128 in colour to 16×16 latents of 12 numbers, 16 times fewer",
      data: DataDescription(width: 128, height: 128, channels: 3),
      training: recipe {
        $0.batchSize = 4
        $0.steps = 5000
      },
      model: coder {
        $0.channels = [16, 32, 64, 64]
        $0.latentChannels = 12
      }),
  ]

  /// What the presets' networks share. Squared errors with this weight of the divergence make the decoder's error a
  /// normal distribution of deviation √(0.01 / 2) = 0.07: latents are kept as exactly as that asks for, no more.
  private static func coder(_ change: (inout AutoencoderKLSettings) -> Void = { _ in }) -> AutoencoderKLSettings {
    AutoencoderKLSettings {
      $0.reconstruction = .l2
      $0.klWeight = 0.01
      change(&$0)
    }
  }

  /// What the presets' trainings share. Hues are changed at random: otherwise rare ones, in emoji the greens, come out
  /// brown for long.
  private static func recipe(_ change: (inout TrainingSettings) -> Void) -> TrainingSettings {
    TrainingSettings {
      $0.batchSize = 8
      $0.learningRate = 2e-3
      $0.optimizer = .adam
      $0.learningRateDecay = .cosine
      $0.warmupSteps = 100
      $0.clipNorm = 1
      $0.emaDecay = 0.999
      $0.jitterHue = 0.5
      change(&$0)
    }
  }

  public static func make(_ settings: AutoencoderKLSettings, _ context: ModelContext) throws -> any Model {
    try AutoencoderKL(settings, context)
  }
}

/// The settings of an autoencoder of small latents.
public struct AutoencoderKLSettings: ModelSettings {
  /// What latents are.
  public enum Kind: String, FieldChoice {
    /// Drawn from a normal distribution for each number.
    case kl
    /// Vectors of a codebook.
    case vq
  }

  /// The error of reconstructions.
  public enum Reconstruction: String, FieldChoice {
    case l1, l2

    var loss: Loss { self == .l1 ? .absoluteError : .squaredError }
  }

  public var kind = Kind.kl
  /// Channels of each level, finest first; all but the last halve the image.
  public var channels = [32, 64, 64]
  public var layersPerBlock = 1
  public var latentChannels = 3
  public var groups = 8
  /// Whether the pixels of the coarsest level attend to each other.
  public var middleAttention = true
  public var reconstruction = Reconstruction.l1
  /// The weight of the divergence, summed over an image's latents, relative to the reconstruction's error, summed over
  /// its pixels and channels.
  public var klWeight: Float = 1e-6
  /// The number of vectors in the codebook.
  public var codes = 512
  /// How strongly latents are drawn to their vectors.
  public var commitment: Float = 0.25
  /// The run or checkpoint of the perceptual loss's model; empty for none.
  public var perceptual = ""
  public var perceptualWeight: Float = 1
  /// The weight of the discriminator's judgement; 0 for no discriminator.
  public var adversarialWeight: Float = 0
  /// The share of the training after which the discriminator begins.
  public var adversarialStart: Float = 0.5
  /// Channels of the discriminator's first convolution.
  public var discriminatorWidth = 32
  /// The discriminator's convolutions of stride 2. Small images take fewer.
  public var discriminatorLayers = 3

  public init() {}

  public static let fields: [Field<AutoencoderKLSettings>] = [
    Field("kind", \.kind, "what latents are: drawn from normal distributions (kl), or vectors of a codebook (vq)"),
    Field(
      "channels", \.channels, .from(1, to: 4096),
      "channels of each level, finest first; all but the last halve the image"),
    Field("layers-per-block", \.layersPerBlock, .from(1, to: 16), "residual blocks of a level; one more on the way up"),
    Field("latent-channels", \.latentChannels, .from(1, to: 1024), "numbers at each position of the latents"),
    Field("groups", \.groups, .from(1, to: 4096), "number of GroupNorm groups"),
    Field("middle-attention", \.middleAttention, "whether the pixels of the coarsest level attend to each other"),
    Field("reconstruction", \.reconstruction, "error of reconstructions: absolute (l1) or squared (l2)"),
    Field(
      "kl-weight", \.klWeight, .atLeast(0),
      "kl: weight of the divergence, summed over latents, against the error, summed over pixels"
    ).needing("kind=kl") { $0.kind == .kl },
    Field("codes", \.codes, .from(2, to: 65_536), "vq: number of vectors in the codebook")
      .needing("kind=vq") { $0.kind == .vq },
    Field("commitment", \.commitment, .atLeast(0), "vq: how strongly latents are drawn to their vectors")
      .needing("kind=vq") { $0.kind == .vq },
    Field(
      AutoencoderKLFamily.perceptual, \.perceptual,
      "run or checkpoint of a classifier, in whose features reconstructions should look alike; empty for none"),
    Field("perceptual-weight", \.perceptualWeight, .atLeast(0), "weight of the difference of these features")
      .needing("perceptual") { !$0.perceptual.isEmpty },
    Field(
      "adversarial-weight", \.adversarialWeight, .atLeast(0),
      "weight of a discriminator's judgement; 0 for no discriminator"),
    Field(
      "adversarial-start", \.adversarialStart, .from(0, below: 1),
      "share of the training after which the discriminator begins"
    ).needing("an adversarial-weight") { $0.adversarialWeight > 0 },
    Field(
      "discriminator-width", \.discriminatorWidth, .from(1, to: 1024),
      "channels of the discriminator's first convolution"
    ).needing("an adversarial-weight") { $0.adversarialWeight > 0 },
    Field(
      "discriminator-layers", \.discriminatorLayers, .from(1, to: 6),
      "convolutions of stride 2: 3 judge patches of 70×70 pixels, 2 of 34×34"
    ).needing("an adversarial-weight") { $0.adversarialWeight > 0 },
  ]

  public func check(_ check: inout FieldCheck) {
    check.require((1...8).contains(channels.count), "channels: expected 1 to 8 levels, found \(channels.count)")
    for width in channels {
      check.require(width % groups == 0, "channels: expected multiples of groups (\(groups)), found \(width)")
    }
  }

  func network(_ data: DataDescription) -> AutoencoderKLConfiguration {
    AutoencoderKLConfiguration(
      inputChannels: data.channels, outputChannels: data.channels, channels: channels, layersPerBlock: layersPerBlock,
      latentChannels: latentChannels, groups: groups, middleAttention: middleAttention,
      codes: kind == .vq ? codes : nil)
  }
}
