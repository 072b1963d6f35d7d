@_exported import EaselModels
@_exported import EaselRunStorage
import EaselSupport
import Foundation

/// What a checkpoint contains besides numbers and settings: `state.json`.
public struct RunState: Codable, Sendable, Equatable {
  /// The data a run was trained on.
  public struct DataRecord: Codable, Sendable, Equatable {
    public var name: String
    public var source: String
    /// SHA-256 over sizes, pixels and labels of the training images.
    public var fingerprint: String
    /// SHA-256 over the captions of the training images; nil if the model does not read them.
    public var captions: String?
    public var trainingImages: Int
    public var validationImages: Int
    /// How the held-out images were chosen.
    public var split: String
    public var description: DataDescription
    /// The records of further domains; nil if there are none.
    public var counterparts: [DataRecord]?
  }

  /// A model from another checkpoint that is a part of the run's model; the run has a copy.
  public struct Part: Codable, Sendable, Equatable {
    /// The checkpoint, as a person named it.
    public var source: String
    /// See `CheckpointFolder.modelHash`.
    public var modelHash: String
  }

  /// A checkpoint and its loss on held-out images.
  public struct Best: Codable, Sendable, Equatable {
    public var step: Int
    public var validationLoss: Double
  }

  /// How long a run should be, according to the latest request.
  public struct Goal: Codable, Sendable, Equatable {
    /// Counted from the run's beginning; nil if only time counts.
    public var steps: Int?
    /// Over all sessions; nil if only steps count.
    public var seconds: Double?
  }

  /// What computed the numbers: the same environment gives the same bytes.
  public struct Environment: Codable, Sendable, Equatable {
    public var easel: String
    public var backend: BackendKind
    public var precision: ScalarType
    public var instructionSet: String
    /// Nil in checkpoints of versions that did not record it.
    public var processor: String?
    public var oneDNN: String?

    public init(_ backend: any Backend, _ type: ScalarType) {
      easel = easelVersion
      self.backend = backend.kind
      precision = type
      instructionSet = InstructionSet.preferred.rawValue
      processor = Processor.name
      oneDNN = backend.kind == .onednn ? Backends.oneDNN.map { "\($0.version) \($0.instructionSet)" } : nil
    }
  }

  /// The format of the checkpoint's layout; nil means the first one, from versions that did not record it.
  ///
  /// The number grows when an older reader would misunderstand a checkpoint. Every version reads all formats up to its
  /// own.
  public private(set) var format: Int? = RunState.currentFormat
  public var preset: String
  public var step: Int
  /// Training time so far, without validation and saving.
  public var seconds: Double
  /// Time of all sessions so far, including everything done in them; nil in checkpoints of versions that did not record
  /// it.
  public var elapsed: Double?
  /// The goal of a run that was stopped; nil if it came to its end.
  public var goal: Goal?
  /// Whether a signal cut short the held-out loss that was due at this step; nil for no.
  public var owesValidation: Bool?
  /// The training loss, averaged over the latest steps.
  public var loss: Double
  public var validationLoss: Double?
  /// The checkpoint with the lowest held-out loss; nil if no loss was computed.
  public var best: Best?
  /// How often training went back to a checkpoint because its numbers were no longer finite; nil for never.
  public var rollBacks: Int?
  /// The step that it last went back to.
  public var rolledBackTo: Int?
  /// The factor of the learning rate since then; nil for 1.
  public var learningRateFactor: Double?
  public var data: DataRecord
  /// The model's parts by name; nil for none.
  public var parts: [String: Part]?
  public var environment: Environment
  /// The command lines that trained it, first to last; nil if none was recorded.
  public var commands: [String]?
  /// The hashes of this checkpoint's files before its record was repaired, since pictures may name them; nil for none.
  public var formerHashes: [String]?
  /// The steps of each component's optimizer, and the updates of its average.
  public var optimizerSteps: [String: Int]
  public var averageUpdates: [String: Int]

  static let fileName = "state.json"
  /// The format that this version writes.
  static let currentFormat = 1

  private struct Header: Decodable { let format: Int? }

  static func read(_ checkpoint: CheckpointFolder) throws -> RunState {
    let path = try checkpoint.path(of: fileName)
    let state: RunState
    do {
      let data = try Data(FileIO.read(path, maximumSize: 1 << 22))
      if let format = try JSONDecoder().decode(Header.self, from: data).format, !(1...currentFormat).contains(format) {
        throw UserError(
          .badData, "\(path): format: expected 1 to \(currentFormat), found \(format)",
          hint: "A newer version of Easel wrote this checkpoint: use that one.")
      }
      state = try JSONDecoder().decode(RunState.self, from: data)
    } catch let error as UserError {
      throw error
    } catch {
      throw UserError(
        .badData, "\(path): not the state of a run: \(error.reason)", hint: "Check the checkpoint with easel verify.")
    }
    try state.validate(path, step: checkpoint.step)
    return state
  }

  /// Hashes vouch for what was written, not for who wrote it, so check the values.
  private func validate(_ path: String, step expected: Int) throws {
    func check(_ isRight: Bool, _ key: String, _ expectation: String) throws {
      if !isRight { throw UserError(.badData, "\(path): \(key): expected \(expectation)") }
    }
    try check(step == expected, "step", "\(expected), as in the manifest, found \(step)")
    try check((0...1_000_000_000).contains(step), "step", "0 to 1000000000, found \(step)")
    for (key, time) in [("seconds", seconds), ("elapsed", elapsed ?? 0), ("goal.seconds", goal?.seconds ?? 0)] {
      try check((0...1e12).contains(time), key, "a time, found \(time)")
    }
    let steps = goal?.steps ?? 1
    try check((1...1_000_000_000).contains(steps), "goal.steps", "1 to 1000000000, found \(steps)")
    let factor = learningRateFactor ?? 1
    try check(factor > 0 && factor <= 1, "learningRateFactor", "a share, found \(factor)")
    for record in data.all {
      let size = record.description
      for (key, value) in [("width", size.width), ("height", size.height)] {
        try check((1...65_535).contains(value), key, "1 to 65535, found \(value)")
      }
      try check([1, 3].contains(size.channels), "channels", "1 or 3, found \(size.channels)")
      for (key, value) in [
        ("trainingImages", record.trainingImages), ("validationImages", record.validationImages),
      ] {
        try check((0...1 << 40).contains(value), key, "a number of images, found \(value)")
      }
    }
    let counts = [rollBacks ?? 0] + Array(optimizerSteps.values) + Array(averageUpdates.values)
    try check(counts.allSatisfy((0...1 << 40).contains), "a count", "a whole number from 0, found \(counts)")
  }

  func write(to folder: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try RunFolder.write(String(decoding: encoder.encode(self), as: UTF8.self), to: "\(folder)/\(RunState.fileName)")
  }
}

/// The version of Easel, which checkpoints and pictures record.
public let easelVersion = "0.1.0"
