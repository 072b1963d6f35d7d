/// Variational autoencoders: codes with a distribution, so that random codes are images.
public enum VariationalAutoencoderFamily: ModelFamily {
  public static let name = "vae"
  public static let summary =
    "compresses images to codes that can be drawn at random, and measures how likely images are"

  public static let presets = [
    Preset(
      "vae", "convolutional, 32 latent numbers, Bernoulli pixels",
      data: DataDescription(width: 28, height: 28, channels: 1),
      training: TrainingSettings {
        $0.batchSize = 128
        $0.learningRate = 1e-3
        $0.optimizer = .adam
        $0.learningRateDecay = .cosine
        $0.steps = 10_000
      },
      model: VariationalAutoencoderSettings())
  ]

  public static func make(_ settings: VariationalAutoencoderSettings, _ context: ModelContext) throws -> any Model {
    try VariationalAutoencoder(settings, context)
  }
}

/// The settings of a variational autoencoder.
public struct VariationalAutoencoderSettings: ModelSettings {
  public typealias Likelihood = PixelLikelihood.Kind

  public var architecture = CoderArchitecture.convolutional
  /// Numbers in a code.
  public var latent = 32
  /// Channels of the first convolution; each strided stage doubles them.
  public var baseChannels = 32
  /// How the decoder's output makes pixels probable.
  public var likelihood = Likelihood.bernoulli
  /// The deviation of the Gaussian, in units of the range 0 to 1; where the scale is learned, its first value.
  public var sigma: Float = 0.1
  /// Weight of the divergence (Higgins et al. 2017); 1 is the bound itself.
  public var beta: Float = 1
  /// Steps over which β rises from 0.
  public var klWarmupSteps = 0
  /// Nats of each latent number that cost nothing (Kingma et al. 2016).
  public var freeBits: Float = 0
  /// Bernoulli only: train on pixels drawn black or white by their level, anew in each step, instead of on the levels.
  public var binarize = false

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case architecture, latent, likelihood, sigma, beta, binarize
    case baseChannels = "base-channels"
    case klWarmupSteps = "kl-warmup-steps"
    case freeBits = "free-bits"
  }

  public init() {}

  public func validate() throws {
    var check = SettingsCheck()
    check.coder(latent: latent, baseChannels: baseChannels)
    check(sigma, "sigma", above: 0)
    check(beta, "beta", atLeast: 0)
    check(klWarmupSteps, "kl-warmup-steps", 0...1_000_000_000)
    check(freeBits, "free-bits", atLeast: 0)
    check.require(
      !binarize || likelihood == .bernoulli,
      "binarize: only the bernoulli likelihood is one of black and white pixels, found likelihood \(likelihood.rawValue)"
    )
    try check.finish()
  }
}

extension VariationalAutoencoderSettings {
  public var idle: [IdleSetting] {
    var settings = SettingNeeds<CodingKeys>()
    settings(.baseChannels, need: architecture == .convolutional, "architecture=convolutional")
    settings(.sigma, need: likelihood != .bernoulli, "a likelihood other than bernoulli")
    settings(.klWarmupSteps, .freeBits, need: beta > 0, "a beta")
    return settings.idle
  }

  public static func explanation(of key: CodingKeys) -> String {
    switch key {
    case .architecture: "the kind of network"
    case .latent: "numbers in a code"
    case .likelihood: "how the decoder's output makes pixels probable"
    case .sigma: "the Gaussian's deviation, of a range of 1; where the scale is learned, its first value"
    case .beta: "weight of the divergence; 1 is the bound itself"
    case .binarize: "bernoulli only: train on pixels drawn black or white by their level"
    case .baseChannels: "channels of the first convolution; each halving doubles them"
    case .klWarmupSteps: "steps over which beta rises from 0"
    case .freeBits: "nats of each latent number that cost nothing"
    }
  }
}
