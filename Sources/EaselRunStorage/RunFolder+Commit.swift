import EaselSupport
import EaselTensors
import Foundation

/// Writing: a checkpoint exists completely or not at all, whenever the machine stops.
extension RunFolder {
  // Names that begin with a dot never collide with those of steps, and no reader looks at them.
  static let temporaryPrefix = ".tmp-"
  private static let trashPrefix = ".trash-"

  /// Creates the run's folder.
  ///
  /// - Throws: `UserError(.cannotCreate)` with the path and the reason.
  public func create() throws {
    for folder in try FileSystem.makeFolders(path) { try FileSystem.sync(FileSystem.parent(of: folder)) }
  }

  /// Makes sure, before hours of training, that checkpoints can be written here; changes nothing.
  ///
  /// - Parameters:
  ///   - bytes: the space that is needed on the disk.
  ///   - lock: the run's lock, if this process holds it; otherwise the function takes it while it runs.
  /// - Throws: `UserError(.cannotCreate)` with the path and the reason; `.unavailable` if another process trains the
  ///   run.
  public func checkWritable(reserving bytes: Int = 0, holding lock: RunLock? = nil) throws {
    let created = try FileSystem.makeFolders(path)
    // Holding the lock ensures that nobody else uses the folders that are removed.
    let lock = try lock ?? self.lock()
    defer {
      for folder in created.reversed() { rmdir(folder) }
      withExtendedLifetime(lock) {}
    }
    do {
      let probe = "\(path)/\(Self.temporaryPrefix)probe-\(getpid())"
      let renamed = "\(path)/\(Self.trashPrefix)probe-\(getpid())"
      defer {
        try? FileSystem.remove(probe)
        try? FileSystem.remove(renamed)
      }
      try FileSystem.makeFolders(probe)
      do {
        let file = try OpenFile("\(probe)/probe", for: .writing)
        try file.write("easel")
        try file.sync()
      }
      try FileSystem.rename(probe, to: renamed)
      try checkSpace(for: bytes)
    } catch let error as UserError {
      throw UserError(.cannotCreate, error.message, hint: error.hint)
    }
  }

  /// Makes sure that the disk has enough room.
  ///
  /// - Throws: `UserError(.cannotCreate)` with the path, what is needed and what is free.
  public func checkSpace(for bytes: Int) throws {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { throw FileSystem.failure("examine", path) }
    let (free, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
    guard overflow || free >= UInt64(max(bytes, 0)) else {
      throw UserError(
        .cannotCreate, "\(path): expected \(bytes) bytes free for its checkpoints, found \(free)",
        hint: "Free some space on that disk, or choose another place with \(field: "workspace").")
    }
  }

  /// Writes a checkpoint into a temporary folder and renames it once every byte is on the disk. Then removes the oldest
  /// checkpoints.
  ///
  /// - Parameters:
  ///   - step: how many optimizer steps are done; a checkpoint of the same step is replaced.
  ///   - keep: how many valid checkpoints up to this step are kept, including this one; at least 1.
  ///   - best: the step of a checkpoint that is kept besides.
  ///   - lock: the run's lock; nothing is written if the folder is no longer the locked one.
  ///   - write: writes the checkpoint's files (no folders) into the folder at the path it receives.
  /// - Throws: what `write` throws, or `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  ///   Earlier checkpoints are then untouched, and the temporary folder is removed.
  @discardableResult
  public func commit(
    step: Int, keep: Int, best: Int? = nil, holding lock: RunLock? = nil, write: (_ folder: String) throws -> Void
  ) throws -> CheckpointFolder {
    if let lock { try lock.requireInPlace() } else { try create() }
    let temporary = "\(path)/\(Self.temporaryPrefix)\(stepFolderName(step))-\(getpid())"
    let final = checkpointPath(step: step)
    do {
      try FileSystem.remove(temporary)
      try FileSystem.makeFolders(temporary)
      try write(temporary)
      try seal(temporary, step: step)
      try lock?.requireInPlace()
      try putInPlace(temporary, as: final)
    } catch {
      try? FileSystem.remove(temporary)
      throw error
    }
    try FileSystem.sync(path)
    try lock?.requireInPlace()
    removeOldest(upTo: step, keep: keep, best: best)
    return try CheckpointFolder.open(final)
  }

  /// Writes a text file into the folder that ``commit(step:keep:best:holding:write:)`` provides.
  ///
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  public static func write(_ text: String, to path: String) throws {
    try OpenFile(path, for: .writing).write(text)
  }

  /// Writes a folder's files to the disk, then the manifest that vouches for them.
  private func seal(_ folder: String, step: Int) throws {
    for name in try FileSystem.list(folder) { try FileSystem.sync("\(folder)/\(name)") }
    let manifest = try Manifest(step: step, folder: folder)
    let file = try OpenFile("\(folder)/\(Manifest.fileName)", for: .writing)
    try file.write(manifest.text)
    try file.sync()
    try FileSystem.sync(folder)
  }

  /// Renames the finished folder. An existing one of that name (a damaged one, if a run resumes from an older step)
  /// makes way.
  private func putInPlace(_ folder: String, as final: String) throws {
    guard FileSystem.exists(final) else { return try FileSystem.rename(folder, to: final) }
    let trash = try moveToTrash(final)
    do {
      try FileSystem.rename(folder, to: final)
    } catch {
      try? FileSystem.rename(trash, to: final)
      throw error
    }
    try? FileSystem.remove(trash)
  }

  /// Removes checkpoints that are older than the `keep` newest ones; damaged ones do not count. Checkpoints after
  /// `step` stay: they belong to a future that a resumed run has left, and are replaced when the run gets there.
  ///
  /// If something cannot be removed, training goes on: the next commit and ``removeLeftovers()`` try again.
  private func removeOldest(upTo step: Int, keep: Int, best: Int?) {
    var kept = 0
    for candidate in ((try? checkpointSteps) ?? []).reversed() where candidate <= step {
      let path = checkpointPath(step: candidate)
      if kept >= max(keep, 1) {
        if candidate == best { continue }
        // A process that reads it now can read it to the end.
        guard let hold = try? CheckpointHold(path, exclusive: true) else { continue }
        if let trash = try? moveToTrash(path) { try? FileSystem.remove(trash) }
        withExtendedLifetime(hold) {}
      } else if let checkpoint = try? CheckpointFolder.open(path), checkpoint.verify(full: false).isEmpty {
        kept += 1
      }
    }
  }

  /// Removes every checkpoint except that of a step.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func removeCheckpoints(except step: Int) throws {
    for other in try checkpointSteps where other != step {
      try FileSystem.remove(moveToTrash(checkpointPath(step: other)))
    }
  }

  /// Renames a checkpoint before it is deleted, so that a half-deleted one is never taken for a damaged one.
  private func moveToTrash(_ checkpoint: String) throws -> String {
    let trash = "\(path)/\(Self.trashPrefix)\(checkpoint.lastPathComponent)-\(getpid())"
    try FileSystem.remove(trash)
    try FileSystem.rename(checkpoint, to: trash)
    return trash
  }

  /// Removes what a process left behind when it was stopped during a commit. First puts back a checkpoint that had made
  /// way for one that never came. Take ``lock()`` before: another process's commit looks the same.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func removeLeftovers() throws {
    guard exists else { return }
    for folder in [path, "\(path)/samples"] where FileSystem.isFolder(folder) {
      for name in try FileSystem.list(folder) {
        let leftover = "\(folder)/\(name)"
        if name.hasPrefix(Self.trashPrefix), let checkpoint = try? CheckpointFolder.open(leftover),
          !FileSystem.exists(checkpointPath(step: checkpoint.step)), checkpoint.verify(full: true).isEmpty
        {
          try FileSystem.rename(leftover, to: checkpointPath(step: checkpoint.step))
        } else if name.hasPrefix(Self.temporaryPrefix) || name.hasPrefix(Self.trashPrefix) {
          try FileSystem.remove(leftover)
        }
      }
    }
  }

  /// Removes everything in the run's folder except the folder itself, which the lock holds. Take ``lock()`` first.
  ///
  /// Trash is gone for every reader at once. If this process is stopped, the next start deletes it for good.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func clear() throws {
    let trash = "\(path)/\(Self.trashPrefix)run-\(getpid())"
    try FileSystem.remove(trash)
    try FileSystem.makeFolders(trash)
    for name in try FileSystem.list(path) where name != trash.lastPathComponent {
      try FileSystem.rename("\(path)/\(name)", to: "\(trash)/\(name)")
    }
    try FileSystem.sync(path)
    try FileSystem.remove(trash)
  }

  /// Deletes the run and all its checkpoints.
  ///
  /// - Throws: `UserError` if another process trains the run, or if something cannot be deleted.
  public func delete() throws {
    let lock = try lock()
    defer { withExtendedLifetime(lock) {} }
    try FileSystem.remove(path)
  }

  /// Removes a checkpoint from which nothing must go on.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func discard(_ checkpoint: CheckpointFolder) throws {
    try FileSystem.remove(moveToTrash(checkpoint.path))
  }

  /// Reserves the run for this process until the lock is released or the process ends. Creates the run's folder.
  ///
  /// - Throws: `UserError(.unavailable)` if another process trains the run.
  public func lock() throws -> RunLock {
    while true {
      try create()
      let lock = try RunLock(run: self)
      // Another process may have removed the folder it had made before this one locked it.
      if lock.isInPlace { return lock }
    }
  }

  /// The error for a process that finds the run taken.
  public var isTakenError: UserError {
    UserError(
      .unavailable, "run \(name) is being trained by another process (\(path))",
      hint: "Wait for it, stop it, or choose another \(field: "run") name.")
  }

  /// Whether a process is training the run now.
  public var isBeingTrained: Bool {
    do {
      let folder = try OpenFile(path, for: .folder)
      return flock(folder.descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
    } catch {
      return false
    }
  }

  /// Writes the picture of a step's progress into the run's folder.
  ///
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  public func write(samples png: [UInt8], step: Int) throws {
    let path = samplesPath(step: step)
    try FileSystem.makeFolders(FileSystem.parent(of: path))
    try FileSystem.replace(path, with: png)
  }
}

/// A process's exclusive hold on a run, released with the object; if the process dies, the kernel releases it.
public final class RunLock: Sendable {
  private let run: RunFolder
  private let folder: OpenFile

  fileprivate init(run: RunFolder) throws {
    self.run = run
    folder = try OpenFile(run.path, for: .folder)
    // A process that only checks whether the run is being trained also holds it for a moment, so try again.
    var attempts = 0
    while flock(folder.descriptor, LOCK_EX | LOCK_NB) != 0 {
      guard errno == EWOULDBLOCK else { throw FileSystem.failure("lock", run.path) }
      attempts += 1
      if attempts < 10 {
        usleep(50_000)
        continue
      }
      throw run.isTakenError
    }
  }

  /// Whether the run's path still leads to the locked folder. It may have been moved or deleted, and another may have
  /// taken its place.
  public var isInPlace: Bool { folder.isOpen(at: run.path) }

  /// The run at its folder's present path; nil if the folder was deleted, or is where no run can be.
  public var movedRun: RunFolder? {
    guard let path = folder.presentPath, let moved = try? RunFolder(path: path) else { return nil }
    return folder.isOpen(at: moved.path) ? moved : nil
  }

  /// - Throws: `UserError(.inputOutput)` if ``isInPlace`` is false.
  public func requireInPlace() throws {
    guard isInPlace else {
      throw UserError(
        .inputOutput, "\(run.path): the run's folder was moved or deleted while it was being trained",
        hint: "Stop a training before its folder is touched.")
    }
  }
}

/// Keeps a checkpoint from being removed while it is read, by a lock on its folder that is released with the object.
final class CheckpointHold: Sendable {
  private let folder: OpenFile

  /// - Throws: `UserError` if the folder is gone or if others hold it.
  init(_ path: String, exclusive: Bool = false) throws {
    folder = try OpenFile(path, for: .folder)
    // If a file system knows no locks, readers have to be quick.
    if flock(folder.descriptor, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0, errno == EWOULDBLOCK {
      throw FileSystem.failure("lock", path)
    }
    guard folder.isOpen(at: path) else {
      errno = ENOENT
      throw FileSystem.failure("open", path, kind: .missingInput)
    }
  }

  /// Whether training is removing the checkpoint at this moment.
  static func isBeingRemoved(_ path: String) -> Bool {
    guard let folder = try? OpenFile(path, for: .folder) else { return false }
    return flock(folder.descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
  }
}
