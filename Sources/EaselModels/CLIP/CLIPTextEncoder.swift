import EaselLayers
import EaselSupport
import EaselText

/// CLIP's text network with its vocabulary, as another model uses it.
///
/// Parameters have the names of transformers' `CLIPTextModel`: all are below `text_model`.
public final class CLIPTextEncoder: TextEncoding {
  public let context: ModelContext
  public let components: [Component]
  public let settings: CLIPSettings
  private let reader: CLIPTextReader

  /// - Throws: `UserError` (bad data) without a vocabulary.
  public init(_ settings: CLIPSettings, _ context: ModelContext) throws {
    (self.settings, self.context) = (settings, context)
    let scope = Scope()
    reader = try CLIPTextReader(settings, context, scope)
    components = [try Component("", scope, context)]
  }

  public var tokenWidth: Int { reader.tokenWidth }
  public var textLength: Int { reader.textLength }
  public func read(_ texts: [String], type: ScalarType) -> (tokens: Tensor, pooled: Tensor) {
    let (tokens, pooled) = reader(texts, type: type, on: nil)
    return (tokens.value, pooled.value)
  }
  public func remark(on text: String) -> String? { reader.remark(on: text) }

  // The family refuses trainings.
  public func trainingStep(_ batch: Batch, _ step: TrainingStep) -> Metrics { fatalError("a text network was trained") }
  public func validationLoss(_ batch: Batch) -> Float { fatalError("a text network was validated") }
}

/// CLIP's text network with its vocabulary.
struct CLIPTextReader {
  private let vocabulary: Vocabulary
  private let network: CLIPTextTransformer
  private let filler: Int32?

  /// - Throws: `UserError`: bad data without a vocabulary; usage for a token to fill up with that is not in it.
  init(_ settings: CLIPSettings, _ context: ModelContext, _ scope: Scope) throws {
    guard let vocabulary = context.vocabulary else {
      throw UserError(.badData, "\(CLIPFamily.name): expected a vocabulary beside the weights, found none")
    }
    let tokens = vocabulary.tokenizer.tokens
    let place = settings.filler.isEmpty ? nil : tokens.firstIndex(of: settings.filler)
    if !settings.filler.isEmpty, place == nil {
      throw UserError(.usage, "filler: expected a token of the vocabulary, found \(settings.filler.debugDescription)")
    }
    (self.vocabulary, filler) = (vocabulary, place.map { Int32($0) })
    network = CLIPTextTransformer(settings.textNetwork(vocabularySize: tokens.count), scope["text_model"])
  }

  var tokenWidth: Int { network.configuration.encoder.width }
  var textLength: Int { network.configuration.contextLength }

  func remark(on text: String) -> String? { vocabulary.remark(on: text, length: textLength) }

  /// See ``CLIPTextTransformer/callAsFunction(_:type:on:)``.
  func callAsFunction(_ texts: [String], type: ScalarType, on tape: Tape?) -> (tokens: Variable, pooled: Variable) {
    network(
      texts.map { vocabulary.tokenizer.encode($0, length: textLength, filler: filler) }, type: type, on: tape)
  }
}
