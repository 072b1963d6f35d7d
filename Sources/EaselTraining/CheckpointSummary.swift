import EaselSupport
import Foundation

/// What a checkpoint says about itself, read without making its model.
public struct CheckpointSummary {
  public let state: RunState
  /// Name and shape of every tensor, by name, and the number in a tensor of one.
  public let tensors: [(name: String, shape: [Int], number: Float?)]
  /// `config.yaml`.
  public let configuration: String

  /// - Throws: `UserError` (bad data) naming the file that cannot be read.
  public init(_ checkpoint: CheckpointFolder) throws {
    state = try RunState.read(checkpoint)
    let name = checkpoint.contains(CheckpointFile.weights) ? CheckpointFile.weights : CheckpointFile.average
    let file = try SafetensorsReader(path: checkpoint.path(of: name))
    tensors = try file.names.map { name in
      let shape = file.entries[name]?.shape ?? []
      return (name, shape, shape.reduce(1, *) == 1 ? try file.floats(name).first : nil)
    }
    let path = try checkpoint.path(of: CheckpointFile.configuration)
    guard let text = String(validating: try FileIO.read(path, maximumSize: 1 << 20), as: UTF8.self) else {
      throw UserError(.badData, "\(path): expected UTF-8 text, found other bytes")
    }
    configuration = text
  }

  public var parameters: Int { tensors.reduce(0) { $0 + $1.shape.reduce(1, *) } }

  public static func state(of checkpoint: CheckpointFolder) throws -> RunState { try RunState.read(checkpoint) }

  /// The settings of the training that goes on from a checkpoint.
  ///
  /// - Throws: `UserError` (bad data) naming the file that cannot be read.
  public static func trainingSettings(of checkpoint: CheckpointFolder) throws -> TrainingSettings {
    try LoadedModel.configuration(of: checkpoint, state(of: checkpoint)).configuration.decode(TrainingSettings.self)
  }
}
