import EaselSupport
import Foundation

/// Makes a run of a model that another program has saved.
public struct ImportRequest: Request {
  public static let name = "import"
  public static let summary = "Make a run of a model that diffusers or transformers have saved."

  /// The folder that the model was saved into.
  public var folder = ""
  public var run: String?
  public var overwrite = false

  public init() {}

  public static let fields: [Field<ImportRequest>] = [
    Field("folder", \.folder, "The folder of a pipeline or a model, as diffusers or transformers save it."),
    Field("run", \.run, "The run's name (default: the folder's)."),
    Field("overwrite", \.overwrite, "Delete any run of that name first."),
  ]

  public struct Answer: Encodable {
    /// The run, its checkpoint and the model's hash.
    public var run, checkpoint, hash: String
    /// The class of what was found, and Easel's family.
    public var kind, family: String
    /// The families of the parts, by the parts' names.
    public var parts: [String: String]
    public var parameters: Int
    public var width, height, channels: Int
    /// How many classes it knows.
    public var classes: Int
    /// What is left out, and what is drawn otherwise.
    public var remarks: [String]
  }

  public func answer(_ work: Work) throws -> Answer {
    if folder.isEmpty { throw UserError(.usage, "\(field: "folder"): expected a folder's path, found none") }
    let model = try ForeignFolder.model(in: folder)
    let target = try RunFolder(workspace: work.workspace.path, name: run ?? model.name)
    if target.isBeingTrained { throw target.isTakenError }
    // What is to be read must not make way.
    guard !resolved(folder).hasPrefix(resolved(target.path)) else {
      throw UserError(
        .usage, "\(field: "folder"): \(folder) is in the folder of the run \(target.name)",
        hint: "Choose another \(field: "run") name.")
    }
    let backend = try Backends.make()
    let checkpoint = try work.wait("writing \(model.parameterCount) parameters …") {
      try model.write(to: target, replacing: overwrite, on: backend)
    }
    for remark in model.remarks { work.remark(remark) }
    return Answer(
      run: target.name, checkpoint: checkpoint.path, hash: try checkpoint.modelHash, kind: model.kind,
      family: model.family, parts: model.parts.mapValues(\.family), parameters: model.parameterCount,
      width: model.data.width, height: model.data.height, channels: model.data.channels,
      classes: model.data.classNames.count, remarks: model.remarks)
  }

  /// A folder's path without links, with a slash at its end.
  private func resolved(_ path: String) -> String {
    URL(fileURLWithPath: path).standardizedFileURL.resolvingSymlinksInPath().path + "/"
  }
}
