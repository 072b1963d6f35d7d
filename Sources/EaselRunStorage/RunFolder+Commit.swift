import EaselSupport
import EaselTensors
import Foundation

/// Writing: a checkpoint is either wholly there or not at all, whenever the machine stops.
extension RunFolder {
  // Names that begin with a dot never collide with a step's, and no reader looks at them.
  static let temporaryPrefix = ".tmp-"
  private static let trashPrefix = ".trash-"

  /// Creates the run's folder.
  ///
  /// - Throws: `UserError(.cannotCreate)` with the path and the reason.
  public func create() throws {
    for folder in try FileSystem.makeFolders(path) { try FileSystem.sync(FileSystem.parent(of: folder)) }
  }

  /// Proves, before hours of training, that checkpoints can be written here; leaves everything as it was.
  ///
  /// - Parameters:
  ///   - bytes: what has to fit on the disk.
  ///   - lock: the run's, where this process has it; it is taken for as long as this lasts otherwise.
  /// - Throws: `UserError(.cannotCreate)` with the path and the reason; `.unavailable` where another process trains the run.
  public func checkWritable(reserving bytes: Int = 0, holding lock: RunLock? = nil) throws {
    let created = try FileSystem.makeFolders(path)
    // Nobody else has taken the folders that are removed: that needs the lock.
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

  /// Makes sure that the disk has room.
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

  /// Writes a checkpoint: into a temporary folder first, which takes its name once every byte is on the disk. Then removes
  /// the oldest checkpoints.
  ///
  /// - Parameters:
  ///   - step: optimizer steps done; a checkpoint of the same step is replaced.
  ///   - keep: how many valid checkpoints up to this step stay, this one among them; at least 1.
  ///   - best: the step of one that stays besides.
  ///   - lock: the run's; nothing is written once the folder is not the locked one any more.
  ///   - write: puts the checkpoint's files (no folders) into the folder whose path it is given.
  /// - Throws: what `write` throws, or `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason; the
  ///   checkpoints that were there before are then untouched and the temporary folder is gone.
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

  /// Writes a file of text into the folder that ``commit(step:keep:best:holding:write:)`` gives.
  ///
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  public static func write(_ text: String, to path: String) throws {
    try OpenFile(path, for: .writing).write(text)
  }

  /// Brings a folder's files to the disk, then the manifest that vouches for them.
  private func seal(_ folder: String, step: Int) throws {
    for name in try FileSystem.list(folder) { try FileSystem.sync("\(folder)/\(name)") }
    let manifest = try Manifest(step: step, folder: folder)
    let file = try OpenFile("\(folder)/\(Manifest.fileName)", for: .writing)
    try file.write(manifest.text)
    try file.sync()
    try FileSystem.sync(folder)
  }

  /// Renames the finished folder; one of that name (a damaged one, when a run is resumed from an older step) makes way.
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

  /// Removes what is older than the `keep` newest checkpoints; damaged ones do not count. Checkpoints after `step` stay:
  /// they belong to a future that a resumed run has left, and are replaced when it gets there.
  ///
  /// What cannot be removed is no reason to stop training: the next commit and ``removeLeftovers()`` try again.
  private func removeOldest(upTo step: Int, keep: Int, best: Int?) {
    var kept = 0
    for candidate in ((try? checkpointSteps) ?? []).reversed() where candidate <= step {
      let path = checkpointPath(step: candidate)
      if kept >= max(keep, 1) {
        if candidate == best { continue }
        // Whoever reads it now reads it to the end.
        guard let hold = try? CheckpointHold(path, exclusive: true) else { continue }
        if let trash = try? moveToTrash(path) { try? FileSystem.remove(trash) }
        withExtendedLifetime(hold) {}
      } else if let checkpoint = try? CheckpointFolder.open(path), checkpoint.verify(full: false).isEmpty {
        kept += 1
      }
    }
  }

  /// Removes every checkpoint but that of a step.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func removeCheckpoints(except step: Int) throws {
    for other in try checkpointSteps where other != step {
      try FileSystem.remove(moveToTrash(checkpointPath(step: other)))
    }
  }

  /// Renames a checkpoint, so that a half-deleted one is never taken for a damaged one.
  private func moveToTrash(_ checkpoint: String) throws -> String {
    let trash = "\(path)/\(Self.trashPrefix)\(checkpoint.lastPathComponent)-\(getpid())"
    try FileSystem.remove(trash)
    try FileSystem.rename(checkpoint, to: trash)
    return trash
  }

  /// Removes what a process that was stopped in the middle of a commit has left, having put back a checkpoint that had made way
  /// for one that never came. Take ``lock()`` first: another process's commit looks the same.
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

  /// Removes everything that the run has, its folder excepted, which the lock holds. Take ``lock()`` first.
  ///
  /// What lies in the trash is gone for every reader at once, and for good at the next start if this one is stopped.
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

  /// Deletes the run with all its checkpoints.
  ///
  /// - Throws: `UserError` where another process trains it, or where something cannot be deleted.
  public func delete() throws {
    let lock = try lock()
    defer { withExtendedLifetime(lock) {} }
    try FileSystem.remove(path)
  }

  /// Removes a checkpoint that nothing is to go on from.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func discard(_ checkpoint: CheckpointFolder) throws {
    try FileSystem.remove(moveToTrash(checkpoint.path))
  }

  /// Takes the run for this process alone, until the lock is released or the process ends. Creates the run's folder.
  ///
  /// - Throws: `UserError(.unavailable)` where another process trains the run.
  public func lock() throws -> RunLock {
    while true {
      try create()
      let lock = try RunLock(run: self)
      // Another process may have removed the folder that it had made, before it was locked.
      if lock.isInPlace { return lock }
    }
  }

  /// What whoever comes second is told.
  public var isTakenError: UserError {
    UserError(
      .unavailable, "run \(name) is being trained by another process (\(path))",
      hint: "Wait for it, stop it, or choose another \(field: "run") name.")
  }

  /// Whether a process trains the run now.
  public var isBeingTrained: Bool {
    do {
      let folder = try OpenFile(path, for: .folder)
      return flock(folder.descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
    } catch {
      return false
    }
  }

  /// Puts the picture of a step's progress into the run's folder.
  ///
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  public func write(samples png: [UInt8], step: Int) throws {
    let path = samplesPath(step: step)
    try FileSystem.makeFolders(FileSystem.parent(of: path))
    try FileSystem.replace(path, with: png)
  }
}

/// A process's exclusive hold on a run, given up when the object goes; the kernel releases it if the process dies.
public final class RunLock: Sendable {
  private let run: RunFolder
  private let folder: OpenFile

  fileprivate init(run: RunFolder) throws {
    self.run = run
    folder = try OpenFile(run.path, for: .folder)
    // Whoever only looks whether the run is being trained holds it for a moment too.
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

  /// Whether the run's path leads to the folder that is locked: it may have been moved or deleted, and another may have its
  /// place.
  public var isInPlace: Bool { folder.isOpen(at: run.path) }

  /// The run where its folder is now; nil where it was deleted, or lies where no run can be.
  public var movedRun: RunFolder? {
    guard let path = folder.presentPath, let moved = try? RunFolder(path: path) else { return nil }
    return folder.isOpen(at: moved.path) ? moved : nil
  }

  /// - Throws: `UserError(.inputOutput)` where ``isInPlace`` is false.
  public func requireInPlace() throws {
    guard isInPlace else {
      throw UserError(
        .inputOutput, "\(run.path): the run's folder was moved or deleted while it was being trained",
        hint: "Stop a training before its folder is touched.")
    }
  }
}

/// Keeps a checkpoint from being removed while it is read, by a lock on its folder that goes with the object.
final class CheckpointHold: Sendable {
  private let folder: OpenFile

  /// - Throws: `UserError` where the folder is gone, or others hold it.
  init(_ path: String, exclusive: Bool = false) throws {
    folder = try OpenFile(path, for: .folder)
    // Where a file system knows no locks, who reads has to be quick.
    if flock(folder.descriptor, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0, errno == EWOULDBLOCK {
      throw FileSystem.failure("lock", path)
    }
    guard folder.isOpen(at: path) else {
      errno = ENOENT
      throw FileSystem.failure("open", path, kind: .missingInput)
    }
  }

  /// Whether training removes the checkpoint at this moment.
  static func isBeingRemoved(_ path: String) -> Bool {
    guard let folder = try? OpenFile(path, for: .folder) else { return false }
    return flock(folder.descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
  }
}
