import EaselSupport

/// How to draw from a model.
public struct SamplingChoice: DeclaredFields {
  public var steps: Int?
  public var sampler: String?
  public var eta: Double?
  /// Classes by name or number, separated by commas.
  public var label: String?
  public var guidance: Float?
  public var seed: UInt64 = 0
  public var chunk = SamplingOptions.usualChunk

  public init() {}

  public static let fields: [Field<SamplingChoice>] = [
    Field("steps", \.steps, .from(1, to: 100_000), "Steps from noise to image."),
    Field(
      "sampler", \.sampler,
      "ddim, ddpm, dpm++ or heun (two passes per step); consistency models have a sampler of their own."),
    Field("eta", \.eta, .from(0, to: 1), "How much noise ddim and dpm++ add in each step, 0 to 1."),
    Field(
      "label", \.label,
      "The class to draw, by number or name, or several with commas, drawn in turn; for models trained with labels (default: all; none in walks)."
    ),
    Field("guidance", \.guidance, .atLeast(0), "How strongly labels count: 1 means as trained, 0 not at all."),
    Field("seed", \.seed, "Random seed; the same seed gives the same images."),
    Field(
      "chunk", \.chunk, .from(1, to: 1024),
      "How many images are made together; fewer take less memory and give the same images."),
  ]

  /// The sampling options, with classes resolved by a data set's description.
  ///
  /// - Throws: `UserError` (usage) for a class that the data do not have.
  public func options(for data: DataDescription) throws -> SamplingOptions {
    SamplingOptions(
      seed: seed, steps: steps, sampler: sampler,
      conditions: try label.map { try data.labels($0).map(Condition.label) },
      guidance: guidance, eta: eta, chunk: chunk)
  }
}
