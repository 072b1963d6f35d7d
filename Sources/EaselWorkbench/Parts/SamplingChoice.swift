import EaselSupport

/// How to draw from a model.
public struct SamplingChoice: DeclaredFields {
  public var steps: Int?
  public var sampler: String?
  public var eta: Double?
  /// Classes by name or number, separated by commas.
  public var label: String?
  /// What to draw, in words; several are drawn in turn.
  public var prompts: [String] = []
  public var negative: String?
  public var guidance: Float?
  public var seed: UInt64 = 0
  public var chunk = SamplingOptions.usualChunk

  public init() {}

  public static let fields: [Field<SamplingChoice>] = [
    Field("steps", \.steps, .from(1, to: 100_000), "Steps from noise to image."),
    Field(
      "sampler", \.sampler,
      "ddim, ddpm, euler, dpm++ or heun (two passes per step); consistency models have a sampler of their own."),
    Field("eta", \.eta, .from(0, to: 1), "How much noise ddim and dpm++ add in each step, 0 to 1."),
    Field(
      "label", \.label,
      "The class to draw, by number or name, or several with commas, drawn in turn; for models trained with labels (default: all; none in walks)."
    ),
    Field(
      "prompt", \.prompts,
      "What to draw, in words, for models trained with captions; more than one makes a column each."),
    Field("negative", \.negative, "What not to draw, in words: guidance goes from there to the prompt."),
    Field(
      "guidance", \.guidance, .atLeast(0), "How strongly labels and prompts count: 1 means as trained, 0 not at all."),
    Field("seed", \.seed, "Random seed; the same seed gives the same images."),
    Field(
      "chunk", \.chunk, .from(1, to: 1024),
      "How many images are made together; fewer take less memory and give the same images."),
  ]

  public func check(_ check: inout FieldCheck) {
    check.require(
      label == nil || prompts.isEmpty,
      "expected a \(field: "label") or a \(field: "prompt"), found both: a model knows one of them")
    for prompt in prompts { check.prompt(prompt, "prompt") }
    if let negative { check.prompt(negative, "negative") }
  }

  /// The sampling options, with classes resolved by a data set's description.
  ///
  /// - Throws: `UserError` (usage) for a class that the data do not have.
  public func options(for data: DataDescription) throws -> SamplingOptions {
    let labels = try label.map { try data.labels($0).map(Condition.label) }
    return SamplingOptions(
      seed: seed, steps: steps, sampler: sampler,
      conditions: prompts.isEmpty ? labels : prompts.map(Condition.text), negative: negative.map(Condition.text),
      guidance: guidance, eta: eta, chunk: chunk)
  }

  /// Remarks on words that a model does not know, and on what it has no room for.
  func remarkOnTexts(for model: any Model, _ work: Work) {
    work.remark(onTexts: prompts + [negative ?? ""], for: model)
  }
}

extension FieldCheck {
  /// Checks a text that a person wants to see drawn.
  mutating func prompt(_ text: String, _ key: String) {
    let most = 10_000
    require(
      text.utf8.count <= most, "\(field: key): expected at most \(most) bytes, found \(text.utf8.count)")
    // What stands for bytes that are no text.
    let isText = text.escapingStrayBytes == text && !text.unicodeScalars.contains("\u{FFFD}")
    require(isText, "\(field: key): expected UTF-8 text, found other bytes")
  }
}

extension Work {
  /// Remarks on texts for a model: on words that it does not know, and on what it has no room for.
  func remark(onTexts texts: [String], for model: any Model) {
    guard let model = model as? any TextReading else { return }
    for text in texts {
      if let sentence = model.remark(on: text) { remark(sentence) }
    }
  }
}
