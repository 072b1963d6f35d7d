@_exported import EaselModels
@_exported import EaselRunStorage
import EaselSupport
import Foundation

/// What a checkpoint knows besides numbers and settings: `state.json`.
public struct RunState: Codable, Sendable, Equatable {
  /// The data a run was trained on.
  public struct DataRecord: Codable, Sendable, Equatable {
    public var name: String
    public var source: String
    /// SHA-256 over sizes, pixels and labels of the training images.
    public var fingerprint: String
    public var trainingImages: Int
    public var validationImages: Int
    /// How the held-out images were chosen.
    public var split: String
    public var description: DataDescription
    /// Those of further domains; nil where there are none.
    public var counterparts: [DataRecord]?
  }

  /// A model of another checkpoint that the run's is made with; the run has a copy.
  public struct Part: Codable, Sendable, Equatable {
    /// The checkpoint, as it was named.
    public var source: String
    /// See `CheckpointFolder.modelHash`.
    public var modelHash: String
  }

  /// A checkpoint and its loss on held-out images.
  public struct Best: Codable, Sendable, Equatable {
    public var step: Int
    public var validationLoss: Double
  }

  /// How long a run is to be, as it was asked for the last time.
  public struct Goal: Codable, Sendable, Equatable {
    /// From the run's beginning; nil where only time counts.
    public var steps: Int?
    /// Of all sessions; nil where only steps count.
    public var seconds: Double?
  }

  /// What the numbers were computed with: the same again gives the same bytes.
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

  /// Which layout of checkpoints this is; nil in those of versions that did not record it, which are of the first.
  ///
  /// It grows when a reader of before would misunderstand a checkpoint. Every version reads all formats up to its own.
  public private(set) var format: Int? = RunState.currentFormat
  public var preset: String
  public var step: Int
  /// Training time so far, validation and saving left out.
  public var seconds: Double
  /// Time of all sessions so far, with all that was done in them; nil in checkpoints of versions that did not record it.
  public var elapsed: Double?
  /// What a run that was stopped goes on to; nil for one that came to its end.
  public var goal: Goal?
  /// Whether the loss on held-out images that this step had due was cut short by a signal; nil for no.
  public var owesValidation: Bool?
  /// The training loss, averaged over the latest steps.
  public var loss: Double
  public var validationLoss: Double?
  /// The checkpoint with the lowest loss on held-out images; nil where none was looked at.
  public var best: Best?
  /// How often training went back to a checkpoint because its numbers were not finite any more; nil for never.
  public var rollBacks: Int?
  /// The step that it went back to the last time.
  public var rolledBackTo: Int?
  /// What the learning rate is multiplied by since then; nil for 1.
  public var learningRateFactor: Double?
  public var data: DataRecord
  /// By their names; nil for none.
  public var parts: [String: Part]?
  public var environment: Environment
  /// The command lines that trained it, first to last; nil where none was recorded.
  public var commands: [String]?
  /// Hashes of the files that this checkpoint had before its record was mended, which pictures may name; nil for none.
  public var formerHashes: [String]?
  /// Steps of each component's optimizer, and updates of its average.
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

  /// Hashes vouch for what was written, not for who wrote it.
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
