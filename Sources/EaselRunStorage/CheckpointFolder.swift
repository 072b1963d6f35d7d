import EaselSupport
import EaselTensors
import Foundation

/// A committed checkpoint: a folder of files with a manifest that vouches for them.
public struct CheckpointFolder: Sendable {
  public let path: String
  public let manifest: Manifest

  /// How many optimizer steps were done when it was written.
  public var step: Int { manifest.step }
  /// A name for exactly these files: the manifest's own SHA-256 in hexadecimal.
  public var hash: String { manifest.hash }
  /// Its files' names, sorted, without the manifest.
  public var fileNames: [String] { manifest.files.keys.sorted() }

  /// Keeps training from removing the checkpoint while it lives; nil if this was not asked for.
  private let hold: CheckpointHold?

  private init(path: String, manifest: Manifest, hold: CheckpointHold?) {
    self.path = path
    self.manifest = manifest
    self.hold = hold
  }

  /// Opens a folder and checks its manifest, but not yet the files; see ``verify(full:)``.
  ///
  /// - Parameters:
  ///   - path: the path of the checkpoint's folder.
  ///   - isHeld: whether training must leave the checkpoint alone while a copy of the value lives. Set it to read a run
  ///     that another process trains.
  /// - Throws: `UserError(.missingInput)` if there is no checkpoint; `.badData` if its manifest is damaged.
  public static func open(_ path: String, isHeld: Bool = false) throws -> CheckpointFolder {
    guard FileSystem.isFolder(path) else {
      throw UserError(.missingInput, "\(path): expected a checkpoint folder, found none")
    }
    let hold = isHeld ? try CheckpointHold(path) : nil
    guard FileSystem.exists("\(path)/\(Manifest.fileName)") else {
      throw UserError(
        .missingInput, "\(path): expected a checkpoint folder, found no \(Manifest.fileName) in it",
        hint: "A checkpoint is a folder such as Checkpoints/<run>/\(stepFolderName(12_000)).")
    }
    return CheckpointFolder(path: path, manifest: try Manifest(folder: path), hold: hold)
  }

  /// The SHA-256, in hexadecimal, of a text and those of the named files that exist.
  package func hash(of names: [String], and text: String) -> String {
    let files = names.sorted().compactMap { name in manifest.files[name].map { "\(name) \($0.sha256)\n" } }
    return SHA256.hexadecimal(of: files.joined() + text)
  }

  public func contains(_ fileName: String) -> Bool { manifest.files[fileName] != nil }

  /// The path of one of the checkpoint's files.
  ///
  /// - Throws: `UserError(.missingInput)` if the checkpoint has no such file.
  public func path(of fileName: String) throws -> String {
    guard contains(fileName) else {
      throw UserError(
        .missingInput, "\(path): expected \(fileName), found only \(fileNames.joined(separator: ", "))")
    }
    return "\(path)/\(fileName)"
  }

  /// Compares the files with the manifest: by size and, if `full`, by SHA-256.
  ///
  /// - Returns: one error per damaged file, with its path, what was expected and what was found; none if all is well.
  public func verify(full: Bool) -> [UserError] {
    fileNames.compactMap { name in
      let filePath = "\(path)/\(name)"
      guard let expected = manifest.files[name] else { return nil }
      guard FileSystem.exists(filePath) else {
        return UserError(.badData, "\(filePath): expected \(expected.size) bytes, found no file")
      }
      do {
        let size = try OpenFile(filePath, for: .reading).size()
        guard size == expected.size else {
          return UserError(.badData, "\(filePath): expected \(expected.size) bytes, found \(size)")
        }
        guard full else { return nil }
        let found = try FileSystem.digest(filePath).sha256
        guard found == expected.sha256 else {
          return UserError(.badData, "\(filePath): expected SHA-256 \(expected.sha256), found \(found)")
        }
        return nil
      } catch {
        return error as? UserError ?? UserError(.inputOutput, "\(filePath): \(error.reason)")
      }
    }
  }
}

/// A checkpoint that was passed over, and the reason.
public struct DamagedCheckpoint: Sendable {
  public let path: String
  public let error: UserError
}

/// The name of a step's folder: `step-00012000`.
func stepFolderName(_ step: Int) -> String {
  let digits = String(step)
  return "step-" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
}

/// The step in a folder's name, or nil if the name is not one that ``stepFolderName(_:)`` gives.
func stepNumber(ofFolder name: String) -> Int? {
  guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), stepFolderName(step) == name else { return nil }
  return step
}
