/// Generative adversarial networks.
public enum GANFamily: ModelFamily {
  public static let name = "gan"
  public static let summary = "draws images in one pass, having learned to pass them off as real"

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
  /// Numbers in a code.
  public var latent = 64
  /// Channels at full size; each halving doubles them, up to eight times as many.
  public var baseChannels = 64
  public var loss = AdversarialLoss.nonSaturating
  /// Steps of the discriminator to one turn of the generator, and steps in such a turn.
  public var discriminatorSteps = 1
  public var generatorSteps = 1
  /// The discriminator's learning rate divided by the generator's.
  public var discriminatorRate: Float = 1
  /// BatchNorm in the discriminator.
  public var norm = DiscriminatorNorm.auto
  public var spectralNorm = false
  public var conditional = LabelConditioning.none
  /// Real images are called real with the probability 1 − this.
  public var labelSmoothing: Float = 0
  /// Weight of a gradient penalty: λ of wgan-gp, γ of r1.
  public var penalty: Float = 10
  /// The largest weight of a wasserstein critic.
  public var weightClip: Float = 0.01
  /// Changes to the images that the discriminator sees: color, translation, cutout.
  public var augment: [DifferentiableAugmentation.Change] = []

  public enum DiscriminatorNorm: String, Codable, Sendable, CaseIterable {
    case batch, none
    /// Batch, except beside gradient penalties and spectral norm.
    case auto
  }

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case latent, loss, norm, conditional, penalty, augment
    case baseChannels = "base-channels"
    case discriminatorSteps = "discriminator-steps"
    case generatorSteps = "generator-steps"
    case discriminatorRate = "discriminator-rate"
    case spectralNorm = "spectral-norm"
    case labelSmoothing = "label-smoothing"
    case weightClip = "weight-clip"
  }

  public init() {}

  var discriminatorNorm: Bool {
    norm == .batch || (norm == .auto && !loss.hasGradientPenalty && !spectralNorm)
  }

  public func validate() throws {
    var check = SettingsCheck()
    check(latent, "latent", 1...65_536)
    check(baseChannels, "base-channels", 1...1024)
    check(discriminatorSteps, "discriminator-steps", 1...1000)
    check(generatorSteps, "generator-steps", 1...1000)
    check(discriminatorRate, "discriminator-rate", above: 0)
    check(labelSmoothing, "label-smoothing", 0..<1)
    check(penalty, "penalty", atLeast: 0)
    check(weightClip, "weight-clip", above: 0)
    check.require(
      !(loss.hasGradientPenalty && norm == .batch),
      "norm: \(loss.rawValue) takes the gradient of each image's score, which BatchNorm makes depend on the others; "
        + "set norm=none")
    try check.finish()
  }
}

extension GANSettings {
  public var idle: [IdleSetting] {
    var settings = SettingNeeds<CodingKeys>()
    settings(.penalty, need: loss.hasGradientPenalty, "loss=wgan-gp or loss=r1")
    settings(.weightClip, need: loss == .wasserstein, "loss=wasserstein")
    settings(.labelSmoothing, need: loss.takesSmoothing, "a loss of cross-entropies or squares")
    return settings.idle
  }

  public static func explanation(of key: CodingKeys) -> String {
    switch key {
    case .latent: "numbers in a code"
    case .loss: "what the two players learn by"
    case .norm: "BatchNorm in the discriminator; auto is batch, except beside gradient penalties and spectral norm"
    case .conditional: "how labels enter"
    case .penalty: "weight of a gradient penalty: λ of wgan-gp, γ of r1"
    case .augment: "changes to what the discriminator sees: color, translation, cutout"
    case .baseChannels: "channels at full size; each halving doubles them, up to eight times"
    case .discriminatorSteps: "the discriminator's steps to one turn of the generator"
    case .generatorSteps: "steps in such a turn"
    case .discriminatorRate: "the discriminator's learning rate, of the generator's"
    case .spectralNorm: "whether the discriminator's weights are divided by their largest singular value"
    case .labelSmoothing: "real images are called real with the probability 1 − this"
    case .weightClip: "the largest weight of a wasserstein critic"
    }
  }
}
