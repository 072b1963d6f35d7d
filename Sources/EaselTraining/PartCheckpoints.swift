import EaselSupport
import Foundation

/// The checkpoints of a model's parts: see ``/EaselModels/ModelPart``.
public struct PartCheckpoints {
  private struct Entry {
    let part: ModelPart
    /// The checkpoint, as a person named it.
    let source: String
    let checkpoint: CheckpointFolder
  }

  private let entries: [Entry]

  /// Finds the checkpoints that a configuration names.
  ///
  /// - Parameters:
  ///   - configuration: the settings of a training.
  ///   - preset: the preset to train.
  ///   - find: finds a checkpoint by name.
  /// - Throws: the errors of `find`; one that is missing is named by its setting.
  public init(
    _ configuration: ConfigurationDocument, of preset: AnyPreset, find: (_ name: String) throws -> CheckpointFolder
  ) throws {
    entries = try preset.family.parts.compactMap { part in
      guard let source = configuration.text(of: part.name), !source.isEmpty else { return nil }
      do {
        return Entry(part: part, source: source, checkpoint: try find(source))
      } catch let error as UserError where error.kind == .missingInput {
        throw UserError(
          .missingInput, "\(part.name): \(error.message)",
          hint: (error.hint.map { $0 + " " } ?? "")
            + "A run for \(part.purpose) is made with: easel train \(part.example) \(field: "run") \(source)")
      }
    }
  }

  /// Opens the parts in the run of a checkpoint.
  ///
  /// - Throws: `UserError`: missing input if a part is missing, bad data if it is not the one that the checkpoint was
  ///   trained with.
  init(beside checkpoint: CheckpointFolder, _ state: RunState) throws {
    // Only a model with parts needs its family: others are verified without it.
    let parts = try state.parts == nil ? [] : AnyPreset.named(state.preset).family.parts
    entries = try (state.parts ?? [:]).sorted { $0.key < $1.key }.compactMap { name, record in
      guard let part = parts.first(where: { $0.name == name }) else { return nil }
      let folder = try checkpoint.part(name)
      guard folder.exists else {
        throw UserError(
          .missingInput, "\(folder.path): expected the \(name) that \(checkpoint.path) was trained with, found nothing",
          hint: "Copy a checkpoint together with the parts folder of its run.")
      }
      let found = try folder.newestValid(isHeld: true).checkpoint
      guard try found.modelHash == record.modelHash else {
        throw UserError(
          .badData,
          "\(folder.path): expected the model \(record.modelHash.prefix(16)), which \(checkpoint.path) was trained with, "
            + "found \(try found.modelHash.prefix(16))")
      }
      return Entry(part: part, source: record.source, checkpoint: found)
    }
  }

  /// Loads the parts, frozen, so that they cannot be trained.
  ///
  /// - Parameters:
  ///   - backend: the backend that computes.
  ///   - precision: the type of activations; nil for that of each part's training.
  /// - Throws: `UserError`; usage for a model that is not suitable for the part.
  func models(on backend: any Backend, precision: Precision? = nil) throws -> [String: any Model] {
    try Dictionary(
      uniqueKeysWithValues: entries.map { entry in
        let model = try LoadedModel(entry.checkpoint, backend: backend, precision: precision).model
        guard entry.part.fits(model) else {
          throw UserError(
            .usage, "\(entry.part.name): expected a checkpoint for \(entry.part.purpose), found \(entry.source)",
            hint: "Train one with: easel train \(entry.part.example)")
        }
        model.freeze()
        return (entry.part.name, model)
      })
  }

  /// Checks that no part belongs to a run that is about to be replaced.
  ///
  /// - Throws: `UserError` (usage) if one does.
  func requireOutside(of folder: RunFolder) throws {
    if let entry = entries.first(where: { folder.contains($0.checkpoint) }) {
      throw UserError(
        .usage, "\(entry.part.name): \(entry.source) is in the run \(folder.name), which is to be replaced",
        hint: "Choose another \(field: "run") name.")
    }
  }

  /// Copies the parts into a run, without what only their training needs.
  ///
  /// - Parameters:
  ///   - folder: the run.
  ///   - type: the type in which floats are stored.
  ///   - backend: the backend whose memory holds them meanwhile.
  /// - Returns: the record of the parts for the run's checkpoints; nil if there are none.
  /// - Throws: `UserError` if a file cannot be read or written.
  func copy(into folder: RunFolder, as type: ElementType, on backend: any Backend) throws -> [String: RunState.Part]? {
    if entries.isEmpty { return nil }
    let handedOn = HandedOn(
      workspace: URL(fileURLWithPath: folder.path).deletingLastPathComponent().deletingLastPathComponent().path)
    return try Dictionary(
      uniqueKeysWithValues: entries.map { entry in
        let place = try folder.part(entry.part.name)
        // A run that goes on already has it.
        let isThere = place.holds(entry.checkpoint)
        let copy =
          isThere
          ? entry.checkpoint
          : try LoadedModel(entry.checkpoint, backend: backend).export(to: place, as: type, replacing: true)
        return (entry.part.name, RunState.Part(source: handedOn.path(entry.source), modelHash: try copy.modelHash))
      })
  }
}

extension CheckpointFolder {
  /// The problems with the parts in the checkpoint's run; empty if there are none.
  public func verifyParts() -> [UserError] {
    do {
      _ = try PartCheckpoints(beside: self, RunState.read(self))
      return []
    } catch {
      return [error as? UserError ?? UserError(.badData, "\(path): \(error.reason)")]
    }
  }

  /// The folder of a part in the checkpoint's run.
  fileprivate func part(_ name: String) throws -> RunFolder {
    try RunFolder(path: URL(fileURLWithPath: path).deletingLastPathComponent().path).part(name)
  }
}
