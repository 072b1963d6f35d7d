import EaselSupport
import EaselTensors
import Foundation

/// A folder of another program's files, written completely or not at all.
public enum WholeFolder {
  /// Fills a temporary folder beside the new one, and renames it once every byte is on the disk.
  ///
  /// - Parameters:
  ///   - path: the new folder.
  ///   - isOwn: whether a folder that is there is the work of an earlier call; others are not replaced. Nil if none may be.
  ///   - fill: writes files and folders into the folder at the path it receives.
  /// - Throws: what `fill` throws; `UserError(.cannotCreate)` if there is something already that may not be replaced,
  ///   or with the path and the reason. What was there before is then unchanged.
  public static func write(
    to path: String, replacing isOwn: Bool?, _ fill: (_ folder: String) throws -> Void
  ) throws {
    let final = URL(fileURLWithPath: path).standardizedFileURL.path
    let exists = FileSystem.exists(final)
    if exists {
      guard let isOwn else {
        throw UserError(
          .cannotCreate, "\(path): is there already",
          hint: "Choose another \(field: "output"), or \(field: "overwrite") it.")
      }
      guard FileSystem.isFolder(final), isOwn else {
        throw UserError(
          .cannotCreate, "\(path): was not exported by Easel, and only such folders are overwritten",
          hint: "Choose another \(field: "output").")
      }
    }
    let (parent, name) = (FileSystem.parent(of: final), final.lastPathComponent)
    let temporary = "\(parent)/\(RunFolder.temporaryPrefix)\(name)-\(getpid())"
    let trash = "\(parent)/.trash-\(name)-\(getpid())"
    try FileSystem.makeFolders(parent)
    do {
      try FileSystem.remove(temporary)
      try FileSystem.makeFolders(temporary)
      try fill(temporary)
      try sync(temporary)
      if exists { try FileSystem.rename(final, to: trash) }
      do {
        try FileSystem.rename(temporary, to: final)
      } catch {
        if exists { try? FileSystem.rename(trash, to: final) }
        throw error
      }
    } catch {
      try? FileSystem.remove(temporary)
      throw error
    }
    try FileSystem.sync(parent)
    try? FileSystem.remove(trash)
  }

  /// Makes a folder in the one that ``write(to:replacing:_:)`` provides.
  public static func makeFolder(_ path: String) throws { try FileSystem.makeFolders(path) }

  private static func sync(_ path: String) throws {
    if FileSystem.isFolder(path) { for name in try FileSystem.list(path) { try sync("\(path)/\(name)") } }
    try FileSystem.sync(path)
  }
}
