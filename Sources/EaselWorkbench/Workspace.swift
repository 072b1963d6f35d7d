import EaselSupport
import Foundation

/// The folder that holds `Data/`, `Checkpoints/` and `Samples/`, and the other places where data and checkpoints are
/// found.
public struct Workspace: Sendable {
  public let path: String

  /// - Parameter path: nil for the current folder.
  /// - Throws: `UserError` (missing input) if there is no such folder.
  public init(_ path: String? = nil) throws {
    self.path = path ?? FileManager.default.currentDirectoryPath
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: self.path, isDirectory: &isFolder), isFolder.boolValue else {
      throw UserError(
        .missingInput, "\(field: "workspace"): there is no folder \(self.path)",
        hint: "Make it first, or leave the option out.")
    }
  }

  /// The workspace, then `../share/easel` beside the installed program, then the source tree that the program was built
  /// in.
  public var roots: [String] {
    var roots = [path]
    let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    var folder = program.deletingLastPathComponent()
    roots.append(folder.deletingLastPathComponent().appendingPathComponent("share/easel").path)
    while folder.path != "/" {
      if FileManager.default.fileExists(atPath: folder.appendingPathComponent("Package.swift").path) {
        roots.append(folder.path)
        break
      }
      folder.deleteLastPathComponent()
    }
    return roots.reduce(into: []) { unique, root in if !unique.contains(root) { unique.append(root) } }
  }

  public var datasets: DatasetCatalog { DatasetCatalog(searchRoots: roots) }
  public var checkpoints: CheckpointCatalog { CheckpointCatalog(roots: roots.map { "\($0)/Checkpoints" }) }

  /// Where the data are that a checkpoint was trained on. Its run may have recorded a path on this machine; a name that
  /// is no data set's is a path relative to the workspace.
  func place(of name: String, _ key: String, of checkpoint: CheckpointFolder) -> String {
    let run = URL(fileURLWithPath: checkpoint.path).deletingLastPathComponent().path
    return place(of: name, (try? RunFolder(path: run))?.dataPlaces[key])
  }

  func place(of name: String, _ recorded: String?) -> String {
    let files = FileManager.default
    if let recorded, files.fileExists(atPath: recorded) { return recorded }
    if name.isEmpty || datasets.names.contains(name) { return name }
    let inside = URL(fileURLWithPath: path).appendingPathComponent(name).path
    return files.fileExists(atPath: inside) ? inside : name
  }
}
