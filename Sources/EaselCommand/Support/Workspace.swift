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
    _ nameOrPath: String?, imageSize: ImageSize?, fit: ImageFit = .crop, skippingBroken: Bool = false
  ) throws -> (name: String, splits: DatasetSplits, place: String?) {
    let catalog = datasets
    let names = catalog.names
    let asked = nameOrPath ?? (names.contains(FashionMNIST.name) ? FashionMNIST.name : FashionMNIST.name + "-10k")
    let splits = try Patience.saying("reading the images of \(asked) …") {
      try catalog.resolve(asked, imageSize: imageSize, fit: fit, skippingBroken: skippingBroken)
    }
    Workspace.list(skipped: splits.skipped, of: asked)
    for note in splits.notes { Console.note(note) }
    let description = DataDescription(splits.train)
    if let untrained = description.untrainedClasses {
      Console.note(
        "\(asked): of \(untrained.count) of \(description.classNames.count) classes there are no images for training: "
          + description.list(untrained))
    }
    Console.noteCropped(splits, asked)
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

  /// Says what was left out of some pictures.
  static func list(skipped: [UserError], of name: String) {
    for broken in skipped.prefix(20) { Console.note("left out: \(broken.message)") }
    if skipped.count > 20 { Console.note("… and \(skipped.count - 20) more") }
    if !skipped.isEmpty { Console.note("Left out of \(name): \(skipped.count) that cannot be read.") }
  }

  /// A data set, or a run's own; where that is not on this machine, another of the same size and channels that has the run's
  /// classes, of which the others are left out, which is announced: bundled checkpoints are trained on more images than are
  /// bundled.
  ///
  /// - Parameters:
  ///   - asked: a name or path; nil for the run's own.
  ///   - own: the name or path of the run's own.
  ///   - description: of what the run's model takes.
  ///   - fit: how pictures of other proportions are brought to its size.
  ///   - skippingBroken: whether pictures that cannot be read are left out, and listed.
  /// - Throws: `UserError` where there are none, or they cannot be read.
  func data(
    _ asked: String?, or own: String, like description: DataDescription, fit: ImageFit = .crop,
    skippingBroken: Bool = false
  ) throws -> DatasetSplits {
    let catalog = datasets
    let size = ImageSize(width: description.width, height: description.height)
    let name = asked ?? own
    func read(_ name: String) throws -> DatasetSplits {
      let splits = try catalog.resolve(name, imageSize: size, fit: fit, skippingBroken: skippingBroken)
      Workspace.list(skipped: splits.skipped, of: name)
      Console.noteCropped(splits, name)
      return splits
    }
    if asked != nil || (try? catalog.path(of: name)) != nil { return try read(name) }
    let wanted = description.classNames
    let alike = catalog.entries().compactMap { entry -> (name: String, classes: [String])? in
      guard let found = try? entry.contents.get(), found.imageSize == size, found.channels == description.channels
      else { return nil }
      return (entry.name, found.classNames)
    }
    guard
      let found = alike.first(where: { $0.classes == wanted })
        ?? alike.first(where: { Set(wanted).isSubset(of: $0.classes) })
    else { return try read(name) }
    let splits = try read(found.name)
    if wanted.isEmpty {
      Console.note("\(name) is not here: taking \(found.name), which has the same size.")
      return splits
    }
    if found.classes == wanted {
      Console.note("\(name) is not here: taking \(found.name), which has the same classes.")
      return splits
    }
    Console.note("\(name) is not here: taking \(wanted.count) of the \(found.classes.count) classes of \(found.name).")
    return try splits.subset(classes: wanted.compactMap { found.classes.firstIndex(of: $0) })
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
    func read(_ name: String?) throws -> (name: String, splits: DatasetSplits, place: String?) {
      try data(name, imageSize: size, fit: run.fit, skippingBroken: run.skipBroken)
    }
    // What was typed is meant from the current folder.
    func place(_ name: String, _ key: String) -> String { folder == nil ? name : self.place(of: name, places[key]) }
    guard let second = run.dataB else { return [try read(run.data.isEmpty ? nil : place(run.data, "data"))] }
    if !run.data.isEmpty, !second.isEmpty { return try [read(place(run.data, "data")), read(place(second, "data-b"))] }
    if second.isEmpty, let domains = datasets.domains(of: run.data) {
      Console.note("\(run.data) holds two data sets: taking \(domains.joined(separator: " and ")).")
      return try domains.map(read)
    }
    throw UserError(
      .usage, "\(preset.name) learns to translate between two data sets: expected --data and --data-b",
      hint: "For example: easel train \(preset.name) --data FOLDER --data-b ANOTHER --image-size 64")
  }
}
