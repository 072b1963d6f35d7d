import EaselSupport
import EaselTensors
import Foundation

/// The runs that a command line can name: those of the workspace, then those beside the installed program.
public struct CheckpointCatalog: Sendable {
  /// `Checkpoints` folders; a run in an earlier folder hides runs of the same name in later ones.
  public let roots: [String]

  public init(roots: [String]) { self.roots = roots }

  /// Every run that has a checkpoint, or was started to have one, sorted by name. Skips roots that do not exist.
  ///
  /// - Throws: `UserError(.inputOutput)` if a root cannot be listed.
  public func runs() throws -> [RunFolder] {
    var found: [String: RunFolder] = [:]
    for root in roots where FileSystem.isFolder(root) {
      for name in try FileSystem.list(root) where found[name] == nil {
        // What cannot be a run's name (a stray hidden folder, a link that leads out) is no run. Neither is a folder
        // that cannot be read (a disk's lost+found).
        if let run = try? RunFolder(checkpoints: root, name: name), (try? run.isRun) == true {
          found[name] = run
        }
      }
    }
    return found.values.sorted { $0.name < $1.name }
  }

  /// Finds the checkpoint that a command line's CHECKPOINT means: a run's name or folder (its newest valid checkpoint),
  /// or a checkpoint's folder.
  ///
  /// - Returns: the checkpoint, with its files checked, and newer ones that were passed over as damaged. Training
  ///   leaves the checkpoint alone as long as the value exists.
  /// - Throws: `UserError(.missingInput)`, with the known runs and the nearest name, if nothing is found; `.badData` if
  ///   it is damaged.
  public func resolve(_ argument: String) throws -> (checkpoint: CheckpointFolder, damaged: [DamagedCheckpoint]) {
    let named = try runs(named: argument)
    // A run without a checkpoint does not hide one that has some.
    if let run = try named.first(where: { try !$0.checkpointSteps.isEmpty }) ?? named.first {
      return try run.newestValid(isHeld: true)
    }
    if FileSystem.isFolder(argument) {
      if let run = try runFolder(at: argument) { return try run.newestValid(isHeld: true) }
      let checkpoint = try CheckpointFolder.open(argument, isHeld: true)
      if let failure = checkpoint.verify(full: true).first { throw failure }
      return (checkpoint, [])
    }
    throw try unknown(argument)
  }

  /// Finds a run by its name or folder, whether it has a checkpoint or not.
  ///
  /// - Throws: `UserError(.missingInput)`, with the known runs and the nearest name, if there is none.
  public func run(_ argument: String) throws -> RunFolder {
    guard let run = try runs(named: argument).first ?? runFolder(at: argument) else { throw try unknown(argument) }
    return run
  }

  /// The runs of a name, in the order of the roots.
  private func runs(named name: String) throws -> [RunFolder] {
    try roots.compactMap { try? RunFolder(checkpoints: $0, name: name) }.filter { try $0.isRun }
  }

  /// The newest checkpoint of the wanted kind, at any step, of the first run that has one; nil if there is none.
  ///
  /// - Throws: `UserError(.inputOutput)` if a folder cannot be listed.
  public func find(_ isWanted: (CheckpointFolder) -> Bool) throws -> CheckpointFolder? {
    for run in try runs() {
      for step in try run.checkpointSteps.reversed() {
        if let checkpoint = try? CheckpointFolder.open(run.checkpointPath(step: step)), isWanted(checkpoint) {
          return checkpoint
        }
      }
    }
    return nil
  }

  /// The run with this path as its folder, if it holds checkpoints.
  private func runFolder(at path: String) throws -> RunFolder? {
    guard let resolved = FileSystem.resolved(path) else { return nil }
    let name = resolved.lastPathComponent
    guard let run = try? RunFolder(checkpoints: FileSystem.parent(of: resolved), name: name) else { return nil }
    return try run.isRun ? run : nil
  }

  private func unknown(_ argument: String) throws -> UserError {
    let names = try runs().map(\.name)
    let known = names.isEmpty ? "There are no runs yet." : "Known runs: \(names.joined(separator: ", "))."
    let suggestion = nearestName(to: argument, among: names).map { "Did you mean \($0)? " } ?? ""
    return UserError(
      .missingInput, "no run and no checkpoint folder is named \(argument) (searched \(roots.joined(separator: ", ")))",
      hint: suggestion + known)
  }
}
