import EaselSupport

/// Writes a checkpoint for pictures only to a new folder.
public struct ExportRequest: Request {
  public static let name = "export"
  public static let summary = "Write a checkpoint for pictures only: small, to keep or to give away."

  public enum StoredType: String, FieldChoice {
    case bfloat16, float32
  }

  public var checkpoint = ""
  /// The new folder.
  public var output = ""
  public var type = StoredType.bfloat16
  public var overwrite = false

  public init() {}

  public static let fields: [Field<ExportRequest>] = [
    Field("checkpoint", \.checkpoint, "A run's name, a run's folder or a checkpoint's folder."),
    Field("output", \.output, "The new folder."),
    Field("type", \.type, "What the weights are stored as: bfloat16 or float32."),
    Field("overwrite", \.overwrite, "Replace the checkpoints in a folder that already exists."),
  ]

  public struct Answer: Encodable {
    public var output, hash: String
    public var step: Int
    public var type: String
    public var bytes: Int
  }

  public func answer(_ work: Work) throws -> Answer {
    if output.isEmpty { throw UserError(.usage, "\(field: "output"): expected a new folder's path, found none") }
    try Destination(output, is: .folder).checkName()
    let exported = try LoadedModel(work.checkpoint(checkpoint), backend: Backends.make())
      .export(to: RunFolder(path: output), as: type == .bfloat16 ? .bfloat16 : .float32, replacing: overwrite)
    return Answer(
      output: exported.path, hash: try exported.modelHash, step: exported.step, type: type.rawValue,
      bytes: exported.manifest.files.values.reduce(0) { $0 + $1.size })
  }
}
