import EaselSupport

/// The settings of a prior.
public struct PriorSettings: ModelSettings {
  /// The checkpoint whose vectors of images and texts it stands between.
  public var clip = ""
  /// Channels of the transformer's tokens.
  public var width = 256
  public var layers = 4
  public var heads = 4
  /// How often training leaves out the text, for guidance.
  public var textDropout: Float = 0.1
  /// How much the text counts; 1 means as trained.
  public var guidance: Float = 1
  /// The steps from noise to a vector.
  public var samplerSteps = 16
  /// How many vectors are drawn for a text; that which is nearest to the text's own is kept.
  public var candidates = 2

  public init() {}

  public static let fields: [Field<PriorSettings>] = [
    Field("clip", \.clip, "the checkpoint whose vectors of images it learns to find for texts"),
    Field("width", \.width, .from(8, to: 8192), "channels of the transformer"),
    Field("layers", \.layers, .from(1, to: 64), "blocks of the transformer"),
    Field("heads", \.heads, .from(1, to: 1024), "attention heads of the transformer"),
    Field("text-dropout", \.textDropout, .from(0, below: 1), "how often training leaves out the text, for guidance"),
    Field("guidance", \.guidance, .atLeast(0), "how much the text counts; 1 means as trained"),
    Field("sampler-steps", \.samplerSteps, .from(1, to: 1000), "steps from noise to a vector"),
    Field(
      "candidates", \.candidates, .from(1, to: 100),
      "vectors that are drawn for a text; the one nearest to the text's own is kept"),
  ]

  public func check(_ check: inout FieldCheck) {
    check.require(width % heads == 0, "heads: expected a divisor of width (\(width)), found \(heads)")
    check.require(width % 2 == 0, "width: expected an even number, found \(width)")
  }
}
