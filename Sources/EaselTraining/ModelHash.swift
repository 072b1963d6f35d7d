import EaselText
import Foundation

extension CheckpointFolder {
  /// Identifies the model of a checkpoint, wherever and however long it was trained: SHA-256 over the files that
  /// pictures are made from, the preset, the images' size and classes, the settings except those of the training, and
  /// the parts.
  ///
  /// - Throws: `UserError` if the state or the settings cannot be read.
  public var modelHash: String {
    get throws {
      let state = try RunState.read(self)
      return try modelHash(state, LoadedModel.configuration(of: self, state).configuration)
    }
  }

  func modelHash(_ state: RunState, _ configuration: ConfigurationDocument) throws -> String {
    let others =
      try RunDescription.fields.map(\.key) + TrainingSettings.fields.map(\.key)
      + AnyPreset.named(state.preset).family.parts.map(\.name)
    // Only the settings in the file: settings that a later version adds, at their defaults, do not change the model.
    let settings = configuration.given.filter { !others.contains($0.key) }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let identity = ModelIdentity(
      preset: state.preset, images: state.data.description, settings: Dictionary(uniqueKeysWithValues: settings),
      parts: state.parts?.mapValues(\.modelHash))
    return hash(
      of: [CheckpointFile.weights, CheckpointFile.average] + Vocabulary.files,
      and: String(decoding: try encoder.encode(identity), as: UTF8.self))
  }

  /// Whether a picture's recipe means this checkpoint: by its model's hash or, in older recipes, by the files' hash.
  public func isMeant(by hash: String) -> Bool {
    if self.hash == hash { return true }
    guard let state = try? RunState.read(self) else { return false }
    return state.formerHashes?.contains(hash) ?? false || (try? modelHash) == hash
  }
}

private struct ModelIdentity: Encodable {
  let preset: String
  let images: DataDescription
  let settings: [String: String]
  /// Nil for none, so that the hash of a model without parts is the same as before parts existed.
  let parts: [String: String]?
}
