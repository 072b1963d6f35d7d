import EaselSupport

/// Writes a training's records, everything that the loop produces, and provides the checkpoint to go back to.
///
/// A run writes into its folder. A process that only trains along with another one keeps nothing.
public protocol RunWriter: AnyObject {
  /// Records how the run ended, or that it is running.
  func write(_ status: RunStatus) throws
  /// Prepares to go on after a step; everything written about later steps becomes void.
  func begin(afterStep step: Int) throws
  func append(step: Int, _ values: [String: Double]) throws
  func append(step: Int, picture: Image, _ recipe: PNGText) throws
  /// Writes a checkpoint, completely or not at all, after all numbers and pictures of its steps are safe.
  ///
  /// - Parameters:
  ///   - step: the step of the state.
  ///   - keep: how many older checkpoints are kept besides.
  ///   - best: the step of a checkpoint that is kept in any case.
  ///   - size: its approximate size in bytes.
  ///   - write: writes the files into a folder.
  func commit(step: Int, keep: Int, best: Int?, size: Int, _ write: (_ folder: String) throws -> Void) throws
  /// - Throws: `UserError` if what is written would no longer go where the run is.
  func requireInPlace() throws
  var hasCheckpoints: Bool { get throws }
  /// The newest checkpoint. If going back to that one did not help, discards it and returns the one before.
  ///
  /// - Parameter step: the step of the checkpoint in doubt.
  func checkpointToReturnTo(doubting step: Int?) throws -> CheckpointFolder
}

/// Writes a run into its folder.
final class FolderRunWriter: RunWriter {
  private let folder: RunFolder
  private let lock: () -> RunLock?
  private var journal: Journal?

  /// - Parameter lock: the run's lock, once it is taken.
  init(_ folder: RunFolder, lock: @escaping () -> RunLock?) { (self.folder, self.lock) = (folder, lock) }

  func write(_ status: RunStatus) throws { try folder.write(status) }

  func begin(afterStep step: Int) throws { journal = try Journal(folder, fromStep: step) }

  func append(step: Int, _ values: [String: Double]) throws { try journal?.append(step: step, values) }

  func append(step: Int, picture: Image, _ recipe: PNGText) throws {
    let png = try picture.pngData(text: recipe)
    try requireInPlace()
    try folder.write(samples: png, step: step)
    try journal?.append(step: step, picture, png: png)
  }

  func commit(step: Int, keep: Int, best: Int?, size: Int, _ write: (_ folder: String) throws -> Void) throws {
    try journal?.sync()
    try folder.checkSpace(for: size)
    _ = try folder.commit(step: step, keep: keep, best: best, holding: lock(), write: write)
  }

  func requireInPlace() throws { try lock()?.requireInPlace() }

  var hasCheckpoints: Bool { get throws { try !folder.checkpointSteps.isEmpty } }

  func checkpointToReturnTo(doubting step: Int?) throws -> CheckpointFolder {
    let newest = try folder.newestValid().checkpoint
    guard newest.step == step, let older = try? folder.newestValid(before: newest.step).checkpoint else {
      return newest
    }
    try folder.discard(newest)
    return older
  }
}

/// Keeps nothing. It is for a process that trains along with the one that writes the run, and goes back to the same
/// checkpoints.
public final class SilentRunWriter: RunWriter {
  private let folder: RunFolder

  /// - Parameter folder: the folder of the run, which another process writes.
  public init(_ folder: RunFolder) { self.folder = folder }

  public func write(_ status: RunStatus) {}
  public func begin(afterStep step: Int) {}
  public func append(step: Int, _ values: [String: Double]) {}
  public func append(step: Int, picture: Image, _ recipe: PNGText) {}
  public func commit(step: Int, keep: Int, best: Int?, size: Int, _ write: (_ folder: String) throws -> Void) {}
  public func requireInPlace() {}
  public var hasCheckpoints: Bool { get throws { try !folder.checkpointSteps.isEmpty } }

  public func checkpointToReturnTo(doubting step: Int?) throws -> CheckpointFolder {
    let newest = try folder.newestValid().checkpoint
    guard newest.step == step else { return newest }
    return (try? folder.newestValid(before: newest.step).checkpoint) ?? newest
  }
}
