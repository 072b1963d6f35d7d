import EaselSupport

/// Where a training's records go: all that the loop writes, and where it goes back to.
///
/// A run writes into its folder. What only trains along with another process keeps nothing.
public protocol RunWriter: AnyObject {
  /// Notes what has become of the run.
  func write(_ status: RunStatus) throws
  /// Makes ready to go on after a step; what was written of later ones is void.
  func begin(afterStep step: Int) throws
  func append(step: Int, _ values: [String: Double]) throws
  func append(step: Int, picture: Image, _ recipe: PNGText) throws
  /// Writes a checkpoint, whole or not at all, after all numbers and pictures of its steps are safe.
  ///
  /// - Parameters:
  ///   - step: of the state that is written.
  ///   - keep: older checkpoints that stay besides.
  ///   - best: the step of one that stays in any case.
  ///   - size: about what it takes, in bytes.
  ///   - write: writes the files into a folder.
  func commit(step: Int, keep: Int, best: Int?, size: Int, _ write: (_ folder: String) throws -> Void) throws
  /// - Throws: `UserError` where what is written would not go where the run is any more.
  func requireInPlace() throws
  var hasCheckpoints: Bool { get throws }
  /// The newest checkpoint; the one before where going back to that one did not help, which is then discarded.
  ///
  /// - Parameter step: of the checkpoint that is in doubt.
  func checkpointToReturnTo(doubting step: Int?) throws -> CheckpointFolder
}

/// Writes a run into its folder.
final class FolderRunWriter: RunWriter {
  private let folder: RunFolder
  private let lock: () -> RunLock?
  private var journal: Journal?

  /// - Parameter lock: the run's, once it is taken.
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

/// Keeps nothing: for a process that trains along with the one that writes the run, and goes back to where that one does.
public final class SilentRunWriter: RunWriter {
  private let folder: RunFolder

  /// - Parameter folder: the run's, which another process writes.
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
