import EaselSupport

/// Writes a checkpoint for pictures only to a new folder, or a folder for another program.
public struct ExportRequest: Request {
  public static let name = "export"
  public static let summary = "Write a checkpoint for pictures only: small, to keep or to give away."

  public enum StoredType: String, FieldChoice {
    case bfloat16, float32
  }

  /// Who reads the folder.
  public enum Format: String, FieldChoice {
    case easel
    /// diffusers, or transformers for a model of the family clip.
    case diffusers
  }

  public var checkpoint = ""
  /// The new folder.
  public var output = ""
  public var format = Format.easel
  /// Nil for bfloat16 in Easel's own format and float32 in others.
  public var type: StoredType?
  public var overwrite = false

  public init() {}

  public static let fields: [Field<ExportRequest>] = [
    Field("checkpoint", \.checkpoint, "A run's name, a run's folder or a checkpoint's folder."),
    Field("output", \.output, "The new folder."),
    Field(
      "format", \.format, "Who reads the folder: easel, or diffusers (transformers for a model of the family clip)."),
    Field(
      "type", \.type,
      "What the weights are stored as: bfloat16 (the default for easel) or float32 (the default for diffusers)."),
    Field("overwrite", \.overwrite, "Replace the checkpoints, or the model, in a folder that already exists."),
  ]

  public struct Answer: Encodable {
    public var output, hash: String
    public var step: Int
    public var type: String
    public var bytes: Int
    /// The class of the other program that loads the folder; nil for Easel's own format.
    public var kind: String?
  }

  public func answer(_ work: Work) throws -> Answer {
    if output.isEmpty { throw UserError(.usage, "\(field: "output"): expected a new folder's path, found none") }
    try Destination(output, is: .folder).checkName()
    let type = type ?? (format == .easel ? .bfloat16 : .float32)
    let element = type == .bfloat16 ? ElementType.bfloat16 : .float32
    let loaded = try LoadedModel(work.checkpoint(checkpoint), backend: Backends.make())
    if format == .diffusers {
      let (kind, remarks) = try loaded.exportForeign(to: output, as: element, replacing: overwrite)
      for remark in remarks { work.remark(remark) }
      return Answer(
        output: output, hash: loaded.modelHash, step: loaded.state.step, type: type.rawValue,
        bytes: try RunFolder(path: output).size, kind: kind)
    }
    let exported = try loaded.export(to: RunFolder(path: output), as: element, replacing: overwrite)
    return Answer(
      output: exported.path, hash: try exported.modelHash, step: exported.step, type: type.rawValue,
      bytes: exported.manifest.files.values.reduce(0) { $0 + $1.size })
  }
}
