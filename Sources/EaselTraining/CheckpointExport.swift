import EaselSupport
import Foundation

extension LoadedModel {
  /// Writes a checkpoint for pictures only: the weights that were read, without components that only training needs, the
  /// parts, the settings, and the record of the training. It is a fraction of the size, and training cannot go on from it.
  ///
  /// - Parameters:
  ///   - folder: becomes a run's folder with only this checkpoint, completely or not at all. Only if one with parts is
  ///     replaced, an interruption may leave its checkpoint beside the new parts, which is then refused.
  ///   - type: the type that floats are stored as, `.float32` or `.bfloat16`.
  ///   - replacing: whether the folder may already exist: its checkpoints then make way for this one.
  /// - Throws: `UserError(.cannotCreate)` if the folder already exists, is the run's own, or cannot be written.
  public func export(to folder: RunFolder, as type: ElementType, replacing: Bool = false) throws -> CheckpointFolder {
    let existed = folder.exists
    guard !existed || replacing else {
      throw UserError(
        .cannotCreate, "\(folder.path): is there already",
        hint: "Choose another \(field: "output"), or \(field: "overwrite") it.")
    }
    guard !folder.holds(checkpoint) else {
      throw UserError(
        .cannotCreate, "\(folder.path): is the run's own folder, which an export would replace",
        hint: "Choose another \(field: "output").")
    }
    var state = state
    // Keep nothing that a training could go on from, and no paths of the machine that made it.
    (state.optimizerSteps, state.averageUpdates) = ([:], [:])
    let handedOn = HandedOn(checkpoint)
    state.data = handedOn.record(state.data)
    let settings = try handedOn.configuration(configuration, of: .named(state.preset)).yaml()
    let name = weights == .ema ? CheckpointFile.average : CheckpointFile.weights
    let source = try SafetensorsReader(path: checkpoint.path(of: name))
    let leftOut = model.components.filter { $0.role == .trainingOnly }.map(\.prefix)
    let tensors = try source.names.filter { name in !leftOut.contains(where: name.hasPrefix) }
      .map { try source.tensor($0, floatsAs: type) }
    do {
      let lock = try folder.lock()
      defer { withExtendedLifetime(lock) {} }
      try folder.removeLeftovers()
      state.parts = try parts.copy(into: folder, as: type, on: model.context.backend)
      let exported = try folder.commit(step: state.step, keep: 1) { temporary in
        try SafetensorsWriter.write(tensors, metadata: source.metadata, to: "\(temporary)/\(name)")
        try model.context.vocabulary?.write(to: temporary)
        try state.write(to: temporary)
        try RunFolder.write(settings, to: "\(temporary)/\(CheckpointFile.configuration)")
      }
      try folder.removeCheckpoints(except: state.step)
      try folder.removeParts(except: Set((state.parts ?? [:]).keys))
      return exported
    } catch {
      if !existed { try? folder.delete() }
      throw error
    }
  }
}
