import EaselSupport
import Foundation

/// The checkpoints of the parts that a model is made with: see ``ModelPart``.
public struct PartCheckpoints {
  private struct Entry {
    let part: ModelPart
    /// As a person named it.
    let source: String
    let checkpoint: CheckpointFolder
  }

  private let entries: [Entry]

  /// Those that a configuration names.
  ///
  /// - Parameters:
  ///   - configuration: the settings of a training.
  ///   - preset: what is trained.
  ///   - find: the checkpoint of a name.
  /// - Throws: what `find` throws.
  public init(
    _ configuration: ConfigurationDocument, of preset: AnyPreset, find: (_ name: String) throws -> CheckpointFolder
  ) throws {
    entries = try preset.family.parts.compactMap { part in
      guard let source = configuration.text(of: part.name), !source.isEmpty else { return nil }
      return Entry(part: part, source: source, checkpoint: try find(source))
    }
  }

  /// Those that the run of a checkpoint has.
  ///
  /// - Throws: `UserError`: missing input for one that is not there, bad data for one that is not what the checkpoint was trained
  ///   with.
  init(beside checkpoint: CheckpointFolder, _ state: RunState) throws {
    let parts = try AnyPreset.named(state.preset).family.parts
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

  /// The parts, ready for use and never to be trained.
  ///
  /// - Throws: `UserError`; usage for a model that cannot do what the part has to do.
  func models(on backend: any Backend) throws -> [String: any Model] {
    try Dictionary(
      uniqueKeysWithValues: entries.map { entry in
        let model = try LoadedModel(entry.checkpoint, backend: backend).model
        guard entry.part.fits(model) else {
          throw UserError(
            .usage, "\(entry.part.name): expected a checkpoint for \(entry.part.purpose), found \(entry.source)",
            hint: "Train one with: easel train \(entry.part.example)")
        }
        model.freeze()
        return (entry.part.name, model)
      })
  }

  /// - Throws: `UserError` (usage) if a run that is about to be replaced has one of them.
  func requireOutside(of folder: RunFolder) throws {
    if let entry = entries.first(where: { folder.holds($0.checkpoint) }) {
      throw UserError(
        .usage, "\(entry.part.name): \(entry.source) is in the run \(folder.name), which is to be replaced",
        hint: "Choose another \(field: "run") name.")
    }
  }

  /// Copies the parts into a run, without what only their training needs.
  ///
  /// - Parameters:
  ///   - folder: the run.
  ///   - type: what floats are stored as.
  ///   - backend: whose memory they lie in meanwhile.
  /// - Returns: what the run's checkpoints have to know of them; nil if there are none.
  /// - Throws: `UserError` where a file cannot be read or written.
  func copy(into folder: RunFolder, as type: ElementType, on backend: any Backend) throws -> [String: RunState.Part]? {
    if entries.isEmpty { return nil }
    let handedOn = HandedOn(
      workspace: URL(fileURLWithPath: folder.path).deletingLastPathComponent().deletingLastPathComponent().path)
    return try Dictionary(
      uniqueKeysWithValues: entries.map { entry in
        let place = try folder.part(entry.part.name)
        // The run that goes on has it already.
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
  /// What is wrong with the parts that the run of the checkpoint has; none if all is well.
  public func verifyParts() -> [UserError] {
    do {
      _ = try PartCheckpoints(beside: self, RunState.read(self))
      return []
    } catch {
      return [error as? UserError ?? UserError(.badData, "\(path): \(error.reason)")]
    }
  }

  /// The folder of a part of its run.
  fileprivate func part(_ name: String) throws -> RunFolder {
    try RunFolder(path: URL(fileURLWithPath: path).deletingLastPathComponent().path).part(name)
  }
}
