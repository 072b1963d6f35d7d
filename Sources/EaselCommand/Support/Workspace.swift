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

  var datasets: DatasetCatalog { DatasetCatalog(searchRoots: roots) }
  var checkpoints: CheckpointCatalog { CheckpointCatalog(roots: roots.map { "\($0)/Checkpoints" }) }

  /// Reads a data set by name or path; nil means Fashion-MNIST, whole where it was imported.
  ///
  /// - Returns: the data, and the name or whole path under which they are found again from any folder.
  func data(
    _ nameOrPath: String?, imageSize: ImageSize?, fit: ImageFit = .crop, skippingBroken: Bool = false
  ) throws -> (name: String, splits: DatasetSplits) {
    let catalog = datasets
    let names = catalog.names
    let asked = nameOrPath ?? (names.contains(FashionMNIST.name) ? FashionMNIST.name : FashionMNIST.name + "-10k")
    let splits = try catalog.resolve(asked, imageSize: imageSize, fit: fit, skippingBroken: skippingBroken)
    for broken in splits.skipped.prefix(20) { Console.note("left out: \(broken.message)") }
    if splits.skipped.count > 20 { Console.note("… and \(splits.skipped.count - 20) more") }
    if !splits.skipped.isEmpty { Console.note("\(splits.skipped.count) pictures of \(asked) are left out.") }
    Console.noteCropped(splits, asked)
    return (names.contains(asked) ? asked : URL(fileURLWithPath: asked).standardizedFileURL.path, splits)
  }

  /// What a run's data are called; where they are not on this machine, another data set of the same size, channels and
  /// classes, which is announced: bundled checkpoints are trained on more images than are bundled.
  func data(named name: String, or description: DataDescription) -> String {
    let catalog = datasets
    if description.classNames.isEmpty || (try? catalog.path(of: name)) != nil { return name }
    let same = catalog.entries().first { entry in
      guard let found = try? entry.contents.get() else { return false }
      return found.imageSize == ImageSize(width: description.width, height: description.height)
        && found.channels == description.channels && found.classNames == description.classNames
    }
    guard let same else { return name }
    Console.note("\(name) is not here: taking \(same.name), which has the same classes.")
    return same.name
  }

  /// The data sets of a run, one for each domain of its family.
  ///
  /// - Throws: `UserError`; usage where a family of two lacks one.
  func data(of run: RunDescription, for preset: AnyPreset) throws -> [(name: String, splits: DatasetSplits)] {
    let size = try run.imageSize.isEmpty ? nil : ImageSize(parsing: run.imageSize)
    guard let second = run.dataB else {
      let name = run.data.isEmpty ? nil : run.data
      return [try data(name, imageSize: size, fit: run.fit, skippingBroken: run.skipBroken)]
    }
    if run.data.isEmpty || second.isEmpty {
      throw UserError(
        .usage, "\(preset.name) learns to translate between two data sets: expected --data and --data-b",
        hint: "For example: easel train \(preset.name) --data FOLDER --data-b ANOTHER --image-size 64")
    }
    return try [run.data, second].map { try data($0, imageSize: size, fit: run.fit, skippingBroken: run.skipBroken) }
  }
}
