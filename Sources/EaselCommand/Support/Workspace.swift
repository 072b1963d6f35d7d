import EaselKit
import Foundation

/// The folder that holds `Data/`, `Checkpoints/` and `Samples/`, and where else data and checkpoints are found.
struct Workspace {
  let path: String

  init(_ path: String?) throws {
    self.path = path ?? FileManager.default.currentDirectoryPath
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: self.path, isDirectory: &isFolder), isFolder.boolValue else {
      throw UserError(
        .missingInput, "--workspace: there is no folder \(self.path)", hint: "Make it first, or leave the option out.")
    }
  }

  /// The workspace, then `../share/easel` beside the installed program, then the source tree the program was built in.
  var roots: [String] {
    var roots = [path]
    let program = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    roots.append(program.deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("share/easel").path)
    var folder = program.deletingLastPathComponent()
    while folder.path != "/" {
      if FileManager.default.fileExists(atPath: folder.appendingPathComponent("Package.swift").path) {
        roots.append(folder.path)
        break
      }
      folder.deleteLastPathComponent()
    }
    return roots.reduce(into: []) { unique, root in if !unique.contains(root) { unique.append(root) } }
  }

  var datasets: DatasetCatalog { DatasetCatalog(searchRoots: roots) }
  var checkpoints: CheckpointCatalog { CheckpointCatalog(roots: roots.map { "\($0)/Checkpoints" }) }

  /// Reads a data set by name or path; nil means Fashion-MNIST, whole where it was imported.
  func data(_ nameOrPath: String?, imageSize: ImageSize?) throws -> (name: String, splits: DatasetSplits) {
    let catalog = datasets
    let name =
      nameOrPath
      ?? (catalog.entries().contains { $0.name == FashionMNIST.name } ? FashionMNIST.name : FashionMNIST.name + "-10k")
    return (name, try catalog.resolve(name, imageSize: imageSize))
  }

  /// Where a picture goes: as asked, else into `Samples/`.
  func picturePath(_ asked: String?, run: String, _ kind: String) -> String {
    asked ?? "\(path)/Samples/\(run)-\(kind).png"
  }
}
