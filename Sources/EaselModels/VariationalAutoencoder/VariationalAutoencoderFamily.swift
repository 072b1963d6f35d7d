import EaselSupport

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
  /// The length of a code.
  public var latent = 32
  /// Channels of the first convolution; each strided stage doubles them.
  public var baseChannels = 32
  /// The distribution of pixels given the decoder's output.
  public var likelihood = Likelihood.bernoulli
  /// The Gaussian's standard deviation, in units of the range 0 to 1; if the scale is learned, its first value.
  public var sigma: Float = 0.1
  /// Weight of the divergence (Higgins et al. 2017); 1 is the bound itself.
  public var beta: Float = 1
  /// Steps over which β rises from 0.
  public var klWarmupSteps = 0
  /// Nats of divergence per latent number that cost nothing (Kingma et al. 2016).
  public var freeBits: Float = 0
  /// Bernoulli only: train on pixels drawn black or white by their level, again in each step, instead of on the levels.
  public var binarize = false

  public init() {}

  public static let fields: [Field<VariationalAutoencoderSettings>] =
    Field.coder(\.architecture, latent: \.latent, baseChannels: \.baseChannels) + [
      Field("likelihood", \.likelihood, "distribution of pixels given the decoder's output"),
      Field(
        "sigma", \.sigma, .above(0),
        "the Gaussian's standard deviation, for pixels from 0 to 1; if the scale is learned, its first value"
      )
      .needing("a likelihood other than bernoulli") { $0.likelihood != .bernoulli },
      Field("beta", \.beta, .atLeast(0), "weight of the divergence; 1 gives the bound itself"),
      Field("kl-warmup-steps", \.klWarmupSteps, .from(0, to: 1e9), "steps over which beta rises from 0")
        .needing("a beta") { $0.beta > 0 },
      Field("free-bits", \.freeBits, .atLeast(0), "nats of divergence per latent number that cost nothing")
        .needing("a beta") { $0.beta > 0 },
      Field("binarize", \.binarize, "bernoulli only: train on pixels drawn black or white by their level"),
    ]

  public func check(_ check: inout FieldCheck) {
    check.coder(baseChannels: baseChannels)
    check.require(
      !binarize || likelihood == .bernoulli,
      "binarize: only the bernoulli likelihood is for black and white pixels, found likelihood \(likelihood.rawValue)"
    )
  }
}
