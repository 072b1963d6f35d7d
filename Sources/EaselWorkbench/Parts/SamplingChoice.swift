import EaselSupport

/// How a model is drawn from.
public struct SamplingChoice: DeclaredFields {
  public var steps: Int?
  public var sampler: String?
  public var eta: Double?
  /// Classes by name or number, with commas between.
  public var label: String?
  public var guidance: Float?
  public var seed: UInt64 = 0
  public var chunk = SamplingOptions.usualChunk

  public init() {}

  public static let fields: [Field<SamplingChoice>] = [
    Field("steps", \.steps, .from(1, to: 100_000), "Steps from noise to image."),
    Field(
      "sampler", \.sampler,
      "ddim, ddpm, dpm++, or heun, which takes two passes a step; consistency models have one of their own."),
    Field("eta", \.eta, .from(0, to: 1), "The noise of ddim's and dpm++'s steps, 0 to 1."),
    Field(
      "label", \.label,
      "The class to draw, by number or name, or several in turn, with commas, for models trained with labels (default: all; none in walks)."
    ),
    Field("guidance", \.guidance, .atLeast(0), "How strongly labels count: 1 is as trained, 0 not at all."),
    Field("seed", \.seed, "Names the series of images."),
    Field(
      "chunk", \.chunk, .from(1, to: 1024),
      "Images that are made together; fewer take less memory, and each is the same."),
  ]

  /// The options for a model of some data.
  ///
  /// - Throws: `UserError` (usage) for a class that the data do not have.
  public func options(for data: DataDescription) throws -> SamplingOptions {
    SamplingOptions(
      seed: seed, steps: steps, sampler: sampler,
      conditions: try label.map { try data.labels($0).map(Condition.label) },
      guidance: guidance, eta: eta, chunk: chunk)
  }
}
