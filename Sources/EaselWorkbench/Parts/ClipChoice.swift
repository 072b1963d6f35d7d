import EaselSupport

/// Which model compares pictures with texts, if one does.
public struct ClipChoice: DeclaredFields {
  /// A run's name, a run's folder or a checkpoint's folder.
  public var checkpoint: String?
  /// The hash that the model must have; nil for any.
  public var hash: String?

  public init() {}

  public static let fields: [Field<ClipChoice>] = [
    Field("clip", \.checkpoint, "The checkpoint of the clip model that compares pictures with texts (default: none)."),
    Field("clip-model", \.hash, "The hash that the clip model must have, as easel inspect shows it (default: any)."),
  ]

  public func check(_ check: inout FieldCheck) {
    check.require(hash == nil || checkpoint != nil, "\(field: "clip-model") belongs to \(field: "clip")")
  }

  /// A model that compares pictures with texts, in float32, so that what it says does not depend on what the processor
  /// multiplies best.
  struct Judge {
    let model: any ImageTextEmbedding
    let loaded: LoadedModel
    /// The choice with the model's hash, as a recipe records it.
    let choice: ClipChoice
  }

  /// Loads the model; nil if none was chosen.
  ///
  /// - Parameter drawing: the model whose pictures it compares.
  /// - Throws: `UserError`: bad data for another model than the recipe's, usage for one that does not suit.
  func load(_ work: Work, of drawing: any Model) throws -> Judge? {
    guard let checkpoint else { return nil }
    let folder = try work.checkpoint(checkpoint)
    if let hash, !folder.isMeant(by: hash) {
      throw UserError(
        .badData,
        "\(field: "clip"): expected the model \(hash.prefix(16)), found \(try folder.modelHash.prefix(16)) in \(checkpoint)",
        hint: "The recipe's picture was made with another. Name that one.")
    }
    let loaded = try LoadedModel(folder, backend: drawing.context.backend, precision: .float32)
    guard let model = loaded.model as? any ImageTextEmbedding else {
      throw UserError(
        .usage, "\(field: "clip"): \(loaded.checkpoint.path) does not compare pictures with texts",
        hint: "Train one that does with: easel train clip")
    }
    let (own, others) = (model.context.data.channels, drawing.context.data.channels)
    guard own == others else {
      throw UserError(
        .usage, "\(field: "clip"): \(loaded.checkpoint.path) is for images of \(own) channels, found \(others)")
    }
    var choice = self
    choice.hash = loaded.modelHash
    return Judge(model: model, loaded: loaded, choice: choice)
  }
}
