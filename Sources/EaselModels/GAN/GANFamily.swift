import EaselSupport

/// Generative adversarial networks.
public enum GANFamily: ModelFamily {
  public static let name = "gan"
  public static let summary = "draws images in one pass, trained to make them pass for real"

  public static let presets = [
    Preset(
      "gan", "DCGAN for 28×28, 64 numbers a code",
      data: DataDescription(width: 28, height: 28, channels: 1), training: recipe(), model: GANSettings()),
    Preset(
      "gan-color", "DCGAN for 32×32 or 64×64 in colour, for few images: augmented discriminator, R1",
      data: DataDescription(width: 32, height: 32, channels: 3),
      training: recipe {
        $0.batchSize = 64
        $0.flip = true
      },
      model: GANSettings {
        $0.latent = 128
        $0.loss = .r1
        $0.penalty = 1
        $0.augment = [.color, .translation, .cutout]
      }),
  ]

  private static func recipe(_ change: (inout TrainingSettings) -> Void = { _ in }) -> TrainingSettings {
    TrainingSettings {
      $0.batchSize = 128
      $0.learningRate = 2e-4
      $0.beta1 = 0.5
      $0.steps = 40_000
      $0.emaDecay = 0.999
      change(&$0)
    }
  }

  public static func make(_ settings: GANSettings, _ context: ModelContext) throws -> any Model {
    try GAN(settings, context)
  }
}

/// The settings of a GAN.
public struct GANSettings: ModelSettings {
  /// The length of a code.
  public var latent = 64
  /// Channels at full size; each halving doubles them, up to eight times as many.
  public var baseChannels = 64
  public var loss = AdversarialLoss.nonSaturating
  /// Steps of the discriminator per turn of the generator, and steps of the generator in its turn.
  public var discriminatorSteps = 1
  public var generatorSteps = 1
  /// The discriminator's learning rate divided by the generator's.
  public var discriminatorRate: Float = 1
  /// BatchNorm in the discriminator.
  public var norm = DiscriminatorNorm.auto
  public var spectralNorm = false
  public var conditional = LabelConditioning.none
  /// Real images count as real with probability 1 − this.
  public var labelSmoothing: Float = 0
  /// Weight of a gradient penalty: λ of wgan-gp, γ of r1.
  public var penalty: Float = 10
  /// The largest weight of a wasserstein critic.
  public var weightClip: Float = 0.01
  /// Changes to the images that the discriminator sees: color, translation, cutout.
  public var augment: [DifferentiableAugmentation.Change] = []

  public enum DiscriminatorNorm: String, FieldChoice {
    case batch, none
    /// Batch, except beside gradient penalties and spectral norm.
    case auto
  }

  public init() {}

  public static let fields: [Field<GANSettings>] = [
    Field("latent", \.latent, .from(1, to: 65_536), "numbers in a code"),
    Field(
      "base-channels", \.baseChannels, .from(1, to: 1024),
      "channels at full size; each halving doubles them, up to eight times"),
    Field("loss", \.loss, "the adversarial loss"),
    Field(
      "discriminator-steps", \.discriminatorSteps, .from(1, to: 1000),
      "steps of the discriminator per turn of the generator"),
    Field("generator-steps", \.generatorSteps, .from(1, to: 1000), "steps of the generator in its turn"),
    Field(
      "discriminator-rate", \.discriminatorRate, .above(0), "the discriminator's learning rate over the generator's"),
    Field(
      "norm", \.norm,
      "BatchNorm in the discriminator; auto is batch, except beside gradient penalties and spectral norm"),
    Field(
      "spectral-norm", \.spectralNorm,
      "whether the discriminator's weights are divided by their largest singular value"),
    Field("conditional", \.conditional, "how the networks use labels"),
    Field(
      "label-smoothing", \.labelSmoothing, .from(0, below: 1),
      "real images count as real with probability 1 − this"
    ).needing("a loss of cross-entropies or squares") { $0.loss.takesSmoothing },
    Field("penalty", \.penalty, .atLeast(0), "weight of a gradient penalty: λ of wgan-gp, γ of r1")
      .needing("loss=wgan-gp or loss=r1") { $0.loss.hasGradientPenalty },
    Field("weight-clip", \.weightClip, .above(0), "the largest weight of a wasserstein critic")
      .needing("loss=wasserstein") { $0.loss == .wasserstein },
    Field("augment", \.augment, "changes to what the discriminator sees: color, translation, cutout"),
  ]

  var discriminatorNorm: Bool {
    norm == .batch || (norm == .auto && !loss.hasGradientPenalty && !spectralNorm)
  }

  public func check(_ check: inout FieldCheck) {
    check.require(
      !(loss.hasGradientPenalty && norm == .batch),
      "norm: \(loss.rawValue) takes the gradient of each image's score, which BatchNorm makes depend on others; "
        + "set norm=none")
  }
}
