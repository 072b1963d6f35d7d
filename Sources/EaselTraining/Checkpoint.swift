import EaselSupport
import EaselText
import Foundation

/// A model from a checkpoint, ready to make pictures.
public struct LoadedModel {
  /// Which of a checkpoint's weights to use.
  public enum Weights: String, FieldChoice {
    /// The moving average, if there is one: the weights that pictures are made from.
    case ema
    /// The trained values themselves.
    case raw
  }

  public let model: any Model
  public let checkpoint: CheckpointFolder
  public let state: RunState
  public let configuration: ConfigurationDocument
  /// See `CheckpointFolder.modelHash`.
  public let modelHash: String
  /// The weights that were read.
  public let weights: Weights
  /// Differences between this machine and the one that wrote the checkpoint, if they can change the last bits of a
  /// picture.
  public let differences: [String]
  /// What the model is made with.
  let parts: PartCheckpoints

  /// Reads a checkpoint whose hashes were checked.
  ///
  /// - Parameters:
  ///   - checkpoint: the checkpoint to read.
  ///   - backend: the backend that computes.
  ///   - precision: the type of activations; nil for the training's.
  ///   - weights: nil for the average if there is one, otherwise for the trained weights.
  /// - Throws: `UserError`.
  public init(
    _ checkpoint: CheckpointFolder, backend: any Backend, precision: Precision? = nil, weights: Weights? = nil
  ) throws {
    let state = try RunState.read(checkpoint)
    // A forged state.json can claim any size. Check a cheap lower bound of the memory before building the model.
    let data = state.data.description
    try MachineMemory.require(
      1024 * data.width * data.height, for: "drawing images of \(data.width)×\(data.height) pixels",
      hint: "That is the size in the checkpoint's \(RunState.fileName).")
    let type = try LoadedModel.type(precision, state, backend)
    parts = try PartCheckpoints(beside: checkpoint, state)
    let (model, configuration) = try LoadedModel.makeModel(
      checkpoint, state, with: parts, backend: backend, type: type, precision: precision)
    let hasAverage = checkpoint.contains(CheckpointFile.average)
    if weights == .ema, !hasAverage {
      throw UserError(
        .unavailable, "\(checkpoint.path): this run keeps no moving average", hint: "Use \(field: "weights") raw.")
    }
    self.weights = weights ?? (hasAverage ? .ema : .raw)
    let name = self.weights == .ema ? CheckpointFile.average : CheckpointFile.weights
    let file = try SafetensorsReader(path: checkpoint.path(of: name))
    for component in model.components where component.role == .trained {
      try component.arena.useWeights(of: file, prefix: component.prefix)
    }
    modelHash = try checkpoint.modelHash(state, configuration)
    self.model = model
    self.checkpoint = checkpoint
    self.state = state
    self.configuration = configuration
    differences = LoadedModel.differences(state.environment, RunState.Environment(backend, type))
  }

  /// The training's type, unless another is asked for, or unless it is bfloat16 and would be slower here than float32.
  private static func type(_ precision: Precision?, _ state: RunState, _ backend: any Backend) throws -> ScalarType {
    let convolves3x3 = try AnyPreset.named(state.preset).family.convolves3x3
    let usual: Precision = state.environment.precision == .bfloat16 ? .auto : .float32
    return try (precision ?? usual).scalarType(on: backend, convolves3x3: convolves3x3)
  }

  /// The same model before any training, with parameters drawn from another seed.
  public func untrained(seed: UInt64) throws -> any Model {
    let context = model.context
    return try LoadedModel.makeModel(
      checkpoint, state, with: parts, backend: context.backend, type: context.type, seed: seed
    ).0
  }

  /// - Parameters:
  ///   - type: the type of the model's activations.
  ///   - precision: what that of the parts' activations was asked to be; nil for that of their training.
  ///   - seed: the seed of the parameters; nil for the run's own.
  static func makeModel(
    _ checkpoint: CheckpointFolder, _ state: RunState, with parts: PartCheckpoints, backend: any Backend,
    type: ScalarType, precision: Precision? = nil, seed: UInt64? = nil
  ) throws -> (any Model, ConfigurationDocument) {
    let (preset, configuration) = try configuration(of: checkpoint, state)
    let settings = try configuration.decode(TrainingSettings.self)
    let context = ModelContext(
      backend: backend, type: type, seed: seed ?? settings.seed, data: state.data.description,
      parts: try parts.models(on: backend, precision: precision),
      vocabulary: try checkpoint.vocabulary())
    return (try preset.makeModel(configuration, context), configuration)
  }

  static func configuration(of checkpoint: CheckpointFolder, _ state: RunState) throws
    -> (preset: AnyPreset, configuration: ConfigurationDocument)
  {
    let preset = try AnyPreset.named(state.preset)
    var configuration = try preset.configuration()
    try configuration.overlay(yamlFile: checkpoint.path(of: CheckpointFile.configuration))
    return (preset, configuration)
  }

  static func differences(_ recorded: RunState.Environment, _ present: RunState.Environment) -> [String] {
    func difference<Value: Equatable>(_ name: String, _ before: Value, _ now: Value) -> String? {
      before == now ? nil : "\(name) \(before), now \(now)"
    }
    return [
      difference("Easel", recorded.easel, present.easel),
      difference("backend", recorded.backend.rawValue, present.backend.rawValue),
      difference("precision", recorded.precision.rawValue, present.precision.rawValue),
      difference("instruction set", recorded.instructionSet, present.instructionSet),
      difference("oneDNN", recorded.oneDNN ?? "none", present.oneDNN ?? "none"),
    ].compactMap { $0 }
  }
}

extension CheckpointFolder {
  /// What the checkpoint's model knows of texts; nil if it reads none.
  func vocabulary() throws -> Vocabulary? {
    contains(BytePairTokenizer.vocabularyFile) ? try Vocabulary(folder: path) : nil
  }
}

/// The names of the files in a checkpoint.
enum CheckpointFile {
  static let weights = "weights.safetensors"
  static let average = "ema.safetensors"
  static let optimizer = "optimizer.safetensors"
  static let configuration = "config.yaml"
}

extension Model {
  /// Writes everything that a training needs to go on.
  func writeCheckpoint(to folder: String, state: RunState, configuration: ConfigurationDocument) throws {
    let metadata = ["format": "pt", "easel": easelVersion]
    func write(_ name: String, _ entries: (Component) -> [SafetensorsWriter.Tensor]) throws {
      let tensors = components.filter { $0.role != .frozen }.flatMap(entries)
      if tensors.isEmpty { return }
      try SafetensorsWriter.write(tensors, metadata: metadata, to: "\(folder)/\(name)")
    }
    try write(CheckpointFile.weights) { $0.arena.weightEntries(average: false, prefix: $0.prefix) }
    try write(CheckpointFile.average) { $0.arena.weightEntries(average: true, prefix: $0.prefix) }
    try write(CheckpointFile.optimizer) { component in
      (component.optimizer?.state ?? []).enumerated().flatMap { index, buffer in
        component.arena.entries(of: buffer, prefix: "state.\(index).\(component.prefix)")
      }
        + component.trainingState.map { name, tensor in
          SafetensorsWriter.Tensor(
            name: "training.\(component.prefix)\(name)", type: .float32, shape: tensor.shape.sizes
          ) {
            sink in try tensor.withBytes { try sink($0) }
          }
        }
    }
    try context.vocabulary?.write(to: folder)
    try state.write(to: folder)
    try RunFolder.write(configuration.yaml(), to: "\(folder)/\(CheckpointFile.configuration)")
  }

  /// Reads what ``writeCheckpoint(to:state:configuration:)`` wrote.
  func readCheckpoint(_ checkpoint: CheckpointFolder, state: RunState) throws {
    let weights = try SafetensorsReader(path: checkpoint.path(of: CheckpointFile.weights))
    // Plain SGD keeps no moments, so the file may be absent; fail only if something must be read from it.
    let optimizer = Result { try SafetensorsReader(path: checkpoint.path(of: CheckpointFile.optimizer)) }
    let average =
      checkpoint.contains(CheckpointFile.average)
      ? try SafetensorsReader(path: checkpoint.path(of: CheckpointFile.average)) : nil
    for component in components where component.role != .frozen {
      let arena = component.arena
      try arena.loadWeights(average: false, from: weights, prefix: component.prefix)
      if let average { try arena.loadWeights(average: true, from: average, prefix: component.prefix) }
      for (index, buffer) in (component.optimizer?.state ?? []).enumerated() {
        try arena.load(buffer, from: optimizer.get(), prefix: "state.\(index).\(component.prefix)")
      }
      for (name, tensor) in component.trainingState {
        let file = try optimizer.get()
        let numbers = try file.finiteFloats("training.\(component.prefix)\(name)")
        guard numbers.count == tensor.count else {
          throw UserError(
            .badData, "\(file.path): \(name): expected \(tensor.count) numbers, found \(numbers.count)")
        }
        tensor.withMutableFloats { _ = $0.update(fromContentsOf: numbers) }
      }
      component.optimizer?.stepCount = state.optimizerSteps[component.name] ?? 0
      component.averageUpdates = state.averageUpdates[component.name] ?? 0
    }
  }
}
