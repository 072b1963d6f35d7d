import EaselSupport
import Foundation

/// Which checkpoint to use, and how to load it as a model.
public struct CheckpointChoice: DeclaredFields {
  /// A run's name, a run's folder or a checkpoint's folder.
  public var checkpoint = ""
  public var weights: LoadedModel.Weights?
  public var compute = ComputeChoice()

  public init() {}
  public init(_ checkpoint: String) { self.checkpoint = checkpoint }

  public static let fields: [Field<CheckpointChoice>] =
    [
      Field("checkpoint", \.checkpoint, "A run's name, a run's folder or a checkpoint's folder."),
      Field("weights", \.weights, "ema (the moving average, the default where there is one) or raw."),
    ] + ComputeChoice.fields.map { $0.at(\.compute) }

  /// A short name: the run's name, followed by the step if a step's folder was named.
  public var runName: String {
    let url = URL(fileURLWithPath: checkpoint)
    let name = url.lastPathComponent
    return name.hasPrefix("step-") ? "\(url.deletingLastPathComponent().lastPathComponent)-\(name)" : name
  }

  /// Loads the model. Remarks on what was passed over, and on what differs from the machine that trained it.
  ///
  /// - Throws: `UserError`.
  public func load(_ work: Work) throws -> LoadedModel {
    if checkpoint.isEmpty {
      throw UserError(.usage, "expected a checkpoint: a run's name, a run's folder or a checkpoint's folder")
    }
    let loaded = try LoadedModel(
      work.checkpoint(checkpoint), backend: compute.backend(), precision: compute.precision, weights: weights)
    if !loaded.differences.isEmpty {
      work.remark(
        "This differs from the training and may change the last digits: \(loaded.differences.joined(separator: "; ")).")
    }
    return loaded
  }

  /// Fills in the checkpoint, the weights and the arithmetic from a picture's recipe if they are not given.
  ///
  /// - Throws: `UserError` if there is no such checkpoint, or if the given one is another.
  mutating func find(_ recipe: RecordedRecipe, in workspace: Workspace) throws {
    let (settings, picture) = (recipe.settings, recipe.picture)
    guard let hash = settings["checkpoint"] else { return }
    if checkpoint.isEmpty {
      guard let found = try workspace.checkpoints.find({ $0.isMeant(by: hash) }) else {
        throw UserError(
          .missingInput,
          "\(picture): made from checkpoint \(hash.prefix(16)) (\(settings["model"] ?? "")), which is not here",
          hint: "It was deleted, or is in another \(field: "workspace").")
      }
      checkpoint = found.path
    } else {
      let found = try workspace.checkpoints.resolve(checkpoint).checkpoint
      guard found.isMeant(by: hash) else {
        let present = try found.modelHash
        throw UserError(
          .badData, "\(picture): made from checkpoint \(hash.prefix(16)), found \(present.prefix(16)) in \(checkpoint)",
          hint: "Leave out the checkpoint to have it searched for.")
      }
    }
    weights = weights ?? settings["weights"].flatMap(LoadedModel.Weights.init)
    compute.precision = compute.precision ?? settings["precision"].flatMap(Precision.init)
    compute.kind = compute.kind ?? settings["backend"].flatMap(BackendKind.init)
  }
}

/// Where and how precisely to compute.
public struct ComputeChoice: DeclaredFields {
  public var precision: Precision?
  public var kind: BackendKind?
  public var threads: Int?

  public init() {}

  public static let fields: [Field<ComputeChoice>] = [
    Field("precision", \.precision, "auto, float32 or bfloat16."),
    Field("backend", \.kind, "onednn or openblas."),
    Field(
      "threads", \.threads, .from(1, to: 1024),
      "Compute threads; they change no result (default: one for each processor that no other easel uses)."),
  ]

  /// - Throws: `UserError` (unavailable) if this machine or this build does not have that backend.
  public func backend() throws -> any Backend { try Backends.make(kind, threads: threads) }
}

extension Work {
  /// The checkpoint with a name. Remarks on the damaged ones that were passed over.
  ///
  /// - Throws: `UserError` with the nearest name if there is no such checkpoint.
  func checkpoint(_ name: String) throws -> CheckpointFolder {
    let (folder, damaged) = try workspace.checkpoints.resolve(name)
    for one in damaged { remark("\(one.path): passed over: \(one.error.message)") }
    return folder
  }
}
