import EaselSupport
import EaselTensors
import Foundation

/// A run's folder, `Checkpoints/<run>/`: its checkpoints, its metrics and its pictures of progress.
public struct RunFolder: Sendable {
  public let name: String
  public let path: String

  /// The path of the run's metrics; see ``MetricsLog``.
  public var metricsPath: String { "\(path)/metrics.jsonl" }

  /// The path of the same metrics for TensorBoard; see ``EventFile``.
  public var eventsPath: String { "\(path)/events" }

  /// The path of the picture of a step's progress, whether it exists or not.
  public func samplesPath(step: Int) -> String { "\(path)/samples/\(stepFolderName(step)).png" }

  /// The folder of a part of the run's model. It holds one checkpoint, like a run's folder. Creates nothing.
  ///
  /// - Throws: `UserError(.usage)` if the name cannot be that of a folder.
  public func part(_ name: String) throws -> RunFolder {
    try RunFolder(checkpoints: "\(path)/\(Self.partsFolder)", name: name)
  }

  private static let partsFolder = "parts"

  /// The space that the run takes on the disk, in bytes.
  public var size: Int { FileSystem.size(of: path) }

  /// The folder of a run in a workspace; creates nothing.
  ///
  /// - Throws: `UserError(.usage)` if the name cannot be that of a folder inside the workspace.
  public init(workspace: String, name: String) throws {
    try self.init(checkpoints: "\(workspace)/Checkpoints", name: name)
  }

  /// The folder of a run anywhere; creates nothing.
  ///
  /// - Throws: `UserError(.usage)` if the path's last part cannot be the name of a folder, or is a link.
  public init(path: String) throws {
    let url = URL(fileURLWithPath: path).standardizedFileURL
    try self.init(checkpoints: url.deletingLastPathComponent().path, name: url.lastPathComponent)
  }

  /// Whether a checkpoint belongs to this run.
  public func holds(_ checkpoint: CheckpointFolder) -> Bool {
    guard let path = FileSystem.resolved(path), let inside = FileSystem.resolved(checkpoint.path) else { return false }
    return inside == path || FileSystem.parent(of: inside) == path
  }

  /// Whether a checkpoint is somewhere in this run's folder: one of the run's own, or one of its parts'.
  public func contains(_ checkpoint: CheckpointFolder) -> Bool {
    guard let path = FileSystem.resolved(path), let inside = FileSystem.resolved(checkpoint.path) else { return false }
    return inside == path || inside.hasPrefix(path + "/")
  }

  /// Removes the parts that the run's model is not made with any more.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func removeParts(except names: Set<String>) throws {
    let parts = "\(path)/\(Self.partsFolder)"
    guard FileSystem.isFolder(parts) else { return }
    for name in try FileSystem.list(parts) where !names.contains(name) { try FileSystem.remove("\(parts)/\(name)") }
    if names.isEmpty { try FileSystem.remove(parts) }
  }

  /// The folder of a run in a `Checkpoints` folder. That folder may be a link to another disk; the run's may not lead
  /// out of it.
  init(checkpoints: String, name: String) throws {
    try Self.validate(name)
    self.name = name
    path = "\(checkpoints)/\(name)"
    if let target = FileSystem.resolved(path), let parent = FileSystem.resolved(checkpoints),
      target != "\(parent)/\(name)"
    {
      throw UserError(
        .usage, "run \(name): expected a folder in \(parent), found a link to \(target)",
        hint: "Choose another \(field: "run") name, or remove the link.")
    }
  }

  private static func validate(_ name: String) throws {
    let problem: String? =
      if name.isEmpty {
        "is empty"
      } else if name.utf8.count > 128 {
        "is longer than 128 bytes"
      } else if name.hasPrefix(".") || name.hasPrefix("-") {
        "begins with `\(name.prefix(1))`"
      } else if name.contains("/") {
        "contains `/`"
      } else if name.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) {
        "contains a control character"
      } else {
        nil
      }
    if let problem {
      throw UserError(
        .usage, "run name \(name.debugDescription) \(problem)",
        hint: "A run's name becomes a folder in Checkpoints: letters, digits, `-`, `_` and `.` are safe.")
    }
  }

  /// A name that no run has yet, for a run of a preset: `diffusion-small-3`.
  public static func unusedName(for preset: String, workspace: String) -> String {
    var number = 1
    while FileSystem.exists("\(workspace)/Checkpoints/\(preset)-\(number)") { number += 1 }
    return "\(preset)-\(number)"
  }

  /// A run beside this one with an unused name: this one's, or that followed by a number.
  ///
  /// - Throws: `UserError(.missingInput)` if the folder of runs is gone as well.
  public func unusedSibling() throws -> RunFolder {
    let runs = FileSystem.parent(of: path)
    guard FileSystem.isFolder(runs) else { throw UserError(.missingInput, "\(runs): the folder is not there any more") }
    var (name, number) = (name, 1)
    while FileSystem.exists("\(runs)/\(name)") {
      name = "\(self.name)-\(number)"
      number += 1
    }
    return try RunFolder(checkpoints: runs, name: name)
  }

  public var exists: Bool { FileSystem.isFolder(path) }

  /// The steps that have a checkpoint folder, valid or damaged, in ascending order.
  ///
  /// - Throws: `UserError(.inputOutput)` if the folder exists and cannot be listed.
  public var checkpointSteps: [Int] {
    get throws { exists ? try FileSystem.list(path).compactMap(stepNumber(ofFolder:)).sorted() : [] }
  }

  /// Whether this is the folder of a run that was begun, with or without a checkpoint.
  public var isRun: Bool { get throws { try !checkpointSteps.isEmpty || status != nil } }

  /// The path of a step's checkpoint, whether it exists or not.
  public func checkpointPath(step: Int) -> String { "\(path)/\(stepFolderName(step))" }

  /// The newest checkpoint (before a step) with a valid manifest and valid files, and newer ones that are damaged.
  ///
  /// - Parameters:
  ///   - limit: the checkpoint's step must be lower than this.
  ///   - isHeld: as in ``CheckpointFolder/open(_:isHeld:)``, for reading a run that another process may be training. A
  ///     checkpoint that the other process removes meanwhile does not count as damaged, since a newer one exists.
  /// - Throws: `UserError(.missingInput)` if the run has no checkpoint; `.badData` if every one is damaged.
  public func newestValid(
    before limit: Int = .max, isHeld: Bool = false
  ) throws -> (checkpoint: CheckpointFolder, damaged: [DamagedCheckpoint]) {
    try newestValid(before: limit, isHeld: isHeld, listed: {})
  }

  /// - Parameter listed: called after the checkpoints are listed and before they are read.
  package func newestValid(before limit: Int, isHeld: Bool, listed: () throws -> Void) throws -> (
    checkpoint: CheckpointFolder, damaged: [DamagedCheckpoint]
  ) {
    var damaged: [DamagedCheckpoint] = []
    for _ in 0..<Self.maximumListings {
      damaged = []
      var isOutdated = false
      let steps = try checkpointSteps
      try listed()
      for step in steps.reversed() where step < limit {
        let path = checkpointPath(step: step)
        let identity = FileSystem.identity(of: path)
        do {
          let checkpoint = try CheckpointFolder.open(path, isHeld: isHeld)
          guard checkpoint.step == step else {
            throw UserError(.badData, "\(path): expected step \(step) in its manifest, found \(checkpoint.step)")
          }
          if let failure = checkpoint.verify(full: true).first { throw failure }
          return (checkpoint, damaged)
        } catch let error as UserError {
          if identity == nil || FileSystem.identity(of: path) != identity || CheckpointHold.isBeingRemoved(path) {
            isOutdated = true
          } else {
            damaged.append(DamagedCheckpoint(path: path, error: error))
          }
        }
      }
      if !isOutdated { break }
    }
    guard let newest = damaged.first else {
      throw UserError(
        .missingInput, "run \(name) has no checkpoint yet (in \(path))",
        hint: "Begin it anew with: easel train PRESET \(field: "run") \(name) \(field: "overwrite")")
    }
    throw UserError(
      .badData, "run \(name) has \(damaged.count) damaged and no valid checkpoint; the newest: \(newest.error.message)",
      hint: "Restore the run's folder from a copy, or train it anew.")
  }

  /// Each further listing means that a training has removed, in the meantime, what was listed before.
  private static let maximumListings = 1000
}
