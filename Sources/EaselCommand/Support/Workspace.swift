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
  /// - Returns: the data, the name under which they are found again in any copy of the workspace, and the path where that is
  ///   not enough on this machine.
  func data(
    _ nameOrPath: String?, imageSize: ImageSize?, skippingBroken: Bool = false
  ) throws -> (name: String, splits: DatasetSplits, place: String?) {
    let catalog = datasets
    let names = catalog.names
    let asked = nameOrPath ?? (names.contains(FashionMNIST.name) ? FashionMNIST.name : FashionMNIST.name + "-10k")
    let splits = try catalog.resolve(asked, imageSize: imageSize, skippingBroken: skippingBroken)
    for broken in splits.skipped.prefix(20) { Console.note("left out: \(broken.message)") }
    if splits.skipped.count > 20 { Console.note("… and \(splits.skipped.count - 20) more") }
    if !splits.skipped.isEmpty { Console.note("\(splits.skipped.count) pictures of \(asked) are left out.") }
    if names.contains(asked) { return (asked, splits, nil) }
    let place = URL(fileURLWithPath: asked).standardizedFileURL.path
    return (HandedOn(workspace: path).path(place), splits, place)
  }

  /// Where the data are that a checkpoint was trained on: its run may know a place on this machine, and what is no data set's name
  /// is a path from the workspace.
  func place(of name: String, _ key: String, of checkpoint: CheckpointFolder) -> String {
    let run = URL(fileURLWithPath: checkpoint.path).deletingLastPathComponent().path
    return place(of: name, (try? RunFolder(path: run))?.dataPlaces[key])
  }

  private func place(of name: String, _ recorded: String?) -> String {
    let files = FileManager.default
    if let recorded, files.fileExists(atPath: recorded) { return recorded }
    if name.isEmpty || datasets.names.contains(name) { return name }
    let inside = URL(fileURLWithPath: path).appendingPathComponent(name).path
    return files.fileExists(atPath: inside) ? inside : name
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
  ///
  /// - Parameter folder: the run's, if it knows where they are.
  func data(of run: RunDescription, for preset: AnyPreset, in folder: RunFolder? = nil) throws -> [(
    name: String, splits: DatasetSplits, place: String?
  )] {
    let places = folder?.dataPlaces ?? [:]
    let size = try run.imageSize.isEmpty ? nil : ImageSize(parsing: run.imageSize)
    guard let second = run.dataB else {
      return [
        try data(
          run.data.isEmpty ? nil : place(of: run.data, places["data"]), imageSize: size, skippingBroken: run.skipBroken)
      ]
    }
    if run.data.isEmpty || second.isEmpty {
      throw UserError(
        .usage, "\(preset.name) learns to translate between two data sets: expected --data and --data-b",
        hint: "For example: easel train \(preset.name) --data FOLDER --data-b ANOTHER --image-size 64")
    }
    return try [(run.data, "data"), (second, "data-b")].map {
      try data(place(of: $0, places[$1]), imageSize: size, skippingBroken: run.skipBroken)
    }
  }
}
