import EaselSupport
import EaselText
import Foundation

/// A model that another program has saved, in the form that a run has: a family with settings, what its images are, and
/// weights that are read when they are written.
public struct ForeignModel {
  /// The class of the model or the pipeline in the other program.
  public let kind: String
  /// The name of its folder.
  public let name: String
  public let family: String
  public let data: DataDescription
  /// What people should know: what is left out, and what is drawn otherwise.
  public var remarks: [String]
  /// Models that it is built with, by the names of the family's parts.
  public var parts: [String: ForeignModel] = [:]
  var vocabulary: Vocabulary?
  /// The channels of the latents or of the tokens that it gives another model; nil if it gives none.
  var width: Int?
  private let preset: AnyPreset
  private let configuration: ConfigurationDocument
  private let tensors: [SafetensorsWriter.Tensor]

  /// - Parameters:
  ///   - kind: the class in the other program.
  ///   - folder: its folder.
  ///   - family: the family of models.
  ///   - settings: the family's settings.
  ///   - data: what its images are.
  ///   - tensors: all of the model's weights, under the names that checkpoints have.
  ///   - remarks: what people should know.
  /// - Throws: `UserError` if the family has other settings.
  package init<Family: ModelFamily>(
    _ kind: String, in folder: String, _ family: Family.Type, _ settings: Family.Settings, data: DataDescription,
    tensors: [SafetensorsWriter.Tensor], remarks: [String] = []
  ) throws {
    (self.kind, name) = (kind, URL(fileURLWithPath: folder).standardizedFileURL.lastPathComponent)
    (self.family, self.data, self.tensors, self.remarks) = (Family.name, data, tensors, remarks)
    preset = try AnyPreset.named(Family.name)
    var configuration = try preset.configuration()
    let origin = SettingOrigin.place(folder)
    try configuration.set(RunDescription.key(\.preset), to: .text(Family.name), origin: origin)
    try configuration.set(RunDescription.key(\.data), to: .text(name), origin: origin)
    for field in Family.Settings.fields {
      try configuration.set(field.key, to: field.content(of: settings), origin: origin)
    }
    self.configuration = configuration
  }

  /// The number of learned values in the model and its parts.
  public var parameterCount: Int {
    tensors.reduce(0) { $0 + $1.shape.reduce(1, *) } + parts.values.reduce(0) { $0 + $1.parameterCount }
  }

  /// Writes the model as a run of no steps with a checkpoint for pictures.
  ///
  /// - Parameters:
  ///   - folder: becomes the run's folder, completely or not at all; only if a run is replaced, an interruption may
  ///     leave nothing.
  ///   - replacing: whether a run that is there makes way.
  ///   - backend: the backend that this machine computes with.
  /// - Throws: `UserError`: `cannotCreate` if there is a run already or the folder cannot be written; bad data for
  ///   weights that are not finite numbers.
  public func write(to folder: RunFolder, replacing: Bool = false, on backend: any Backend) throws -> CheckpointFolder {
    let existed = folder.exists
    if existed, !replacing {
      throw UserError(
        .cannotCreate, "the run \(folder.name) exists already (\(folder.path))",
        hint: "Choose another \(field: "run") name, or \(field: "overwrite") it.")
    }
    do {
      let lock = try folder.lock()
      defer { withExtendedLifetime(lock) {} }
      try folder.checkSpace(for: 4 * parameterCount)
      if existed {
        // A run must not make way for weights that mean nothing.
        try requireFiniteWeights()
        try folder.clear()
      }
      return try commit(to: folder, inside: "Checkpoints/\(folder.name)", on: backend)
    } catch {
      if !existed { try? folder.delete() }
      throw error
    }
  }

  /// Reads all weights, which refuses those that are not finite numbers.
  private func requireFiniteWeights() throws {
    for tensor in tensors { try tensor.readThrough() }
    for part in parts.values { try part.requireFiniteWeights() }
  }

  /// - Parameter place: the folder's path in its workspace.
  private func commit(to folder: RunFolder, inside place: String, on backend: any Backend) throws -> CheckpointFolder {
    var configuration = configuration
    var records: [String: RunState.Part] = [:]
    for (name, part) in parts {
      let source = "\(place)/parts/\(name)"
      let checkpoint = try part.commit(to: folder.part(name), inside: source, on: backend)
      records[name] = RunState.Part(source: source, modelHash: try checkpoint.modelHash)
      try configuration.set(name, to: .text(source), origin: .place(source))
    }
    var state = RunState(
      preset: family, step: 0, seconds: 0, loss: 0,
      data: RunState.DataRecord(
        name: name, source: name, fingerprint: "", trainingImages: 0, validationImages: 0,
        split: "imported from \(kind)", description: data),
      environment: .init(backend, .float32), optimizerSteps: [:], averageUpdates: [:])
    state.parts = records.isEmpty ? nil : records
    let settings = try configuration.yaml()
    return try folder.commit(step: 0, keep: 1) { temporary in
      try SafetensorsWriter.write(
        tensors, metadata: ["format": "pt", "easel": easelVersion], to: "\(temporary)/\(CheckpointFile.weights)")
      try vocabulary?.write(to: temporary)
      try state.write(to: temporary)
      try RunFolder.write(settings, to: "\(temporary)/\(CheckpointFile.configuration)")
    }
  }
}

extension TensorFile {
  /// All tensors of a network for writing as float32, under the names of a checkpoint's component.
  ///
  /// - Parameters:
  ///   - shapes: the network's tensors: exactly these must be in the file.
  ///   - prefix: put before each name.
  ///   - isUnused: whether a tensor is one that other programs write besides and never read.
  /// - Throws: `UserError` (bad data) naming the first tensor that is missing, is not the network's, or has another
  ///   shape. Numbers that are not finite are refused when they are written.
  func tensors(
    of shapes: [String: Shape], prefix: String = "", passingOver isUnused: (String) -> Bool = { _ in false }
  ) throws -> [SafetensorsWriter.Tensor] {
    func first(of names: [String], _ problem: String) -> UserError {
      let more = names.count > 1 ? ", and \(names.count - 1) more" : ""
      return UserError(
        .badData, "\(path): \(problem) \(names[0])\(more)",
        hint: "The weights belong to another model than the config.json beside them, or to another kind of it.")
    }
    let missing = shapes.keys.filter { entries[$0] == nil }.sorted()
    if !missing.isEmpty { throw first(of: missing, "there is no tensor") }
    let surplus = names.filter { shapes[$0] == nil && !isUnused($0) }
    if !surplus.isEmpty { throw first(of: surplus, "no layer has the tensor") }
    return try shapes.sorted { $0.key < $1.key }.map { name, shape in
      let found = entries[name]?.shape ?? []
      guard found == shape.sizes else {
        throw UserError(
          .badData, "\(path): tensor \(name) has shape \(Shape(found)), expected \(shape)",
          hint: "The weights belong to another model than the config.json beside them.")
      }
      return SafetensorsWriter.Tensor(name: prefix + name, type: .float32, shape: found) { sink in
        try self.finiteFloats(name).withUnsafeBytes(sink)
      }
    }
  }
}
