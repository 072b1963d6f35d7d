import EaselSupport
import Foundation

/// A data set, and how its images are prepared.
public struct DataChoice: DeclaredFields {
  /// A name or a path.
  public var data = ""
  public var imageSize: String?
  public var fit = ImageFit.crop
  public var skipBroken = false
  /// Makes captions of the classes' names; see `CaptionTemplate`.
  public var captionTemplate: String?

  public init() {}
  public init(_ data: String) { self.data = data }

  public static let fields: [Field<DataChoice>] = [
    Field("data", \.data, "A name or a path."),
    Field("image-size", \.imageSize, "Resize images to N×N or W×H: N or WxH."),
    Field("fit", \.fit, "How images of other proportions are brought to that size: crop, pad or stretch."),
    Field("skip-broken", \.skipBroken, "Leave out pictures and folders that cannot be read, and list them."),
    Field(
      "caption-template", \.captionTemplate,
      "Describe each picture by its class, such as \"a picture of a {}\"; | separates several wordings."),
  ]

  /// - Throws: `UserError` if there is no such data set, or if it cannot be read.
  func read(_ work: Work) throws -> DatasetSplits {
    let size = try imageSize.map { try ImageSize(parsing: $0) }
    let template = try captionTemplate.map { try CaptionTemplate(parsing: $0) }
    let splits = try work.data(data, imageSize: size, fit: fit, skippingBroken: skipBroken).splits
    return try template.map(splits.captioned) ?? splits
  }
}

extension Work {
  /// Reads a data set by name or path; nil means Fashion-MNIST, the whole of it if it was imported.
  ///
  /// - Returns: the data, the name that finds them again in any copy of the workspace, and the path if the name is not
  ///   enough on this machine.
  func data(
    _ nameOrPath: String?, imageSize: ImageSize?, fit: ImageFit = .crop, skippingBroken: Bool = false
  ) throws -> (name: String, splits: DatasetSplits, place: String?) {
    let catalog = workspace.datasets
    let names = catalog.names
    let asked = nameOrPath ?? (names.contains(FashionMNIST.name) ? FashionMNIST.name : FashionMNIST.name + "-10k")
    let splits = try wait("reading the images of \(asked) …") {
      try catalog.resolve(asked, imageSize: imageSize, fit: fit, skippingBroken: skippingBroken)
    }
    list(skipped: splits.skipped, of: asked)
    for note in splits.notes { remark(note) }
    let description = DataDescription(splits.train)
    if let untrained = description.untrainedClasses {
      remark(
        "\(asked): \(untrained.count) of \(description.classNames.count) classes have no images for training: "
          + description.list(untrained))
    }
    noteCropped(splits, asked)
    if names.contains(asked) { return (asked, splits, nil) }
    let place = URL(fileURLWithPath: asked).standardizedFileURL.path
    return (HandedOn(workspace: workspace.path).path(place), splits, place)
  }

  /// A data set, or a run's own. If the run's own is not on this machine, takes another of the same size and channels
  /// that has the run's classes, leaves out its other classes, and remarks on it: bundled checkpoints are trained on
  /// more images than are bundled.
  ///
  /// - Parameters:
  ///   - asked: a name or path; nil for the run's own.
  ///   - own: the name or path of the run's own.
  ///   - description: what the run's model takes.
  ///   - fit: how pictures of other proportions are brought to its size.
  ///   - skippingBroken: whether pictures that cannot be read are left out, and listed.
  /// - Throws: `UserError` if there are none, or if they cannot be read.
  func data(
    _ asked: String?, or own: String, like description: DataDescription, fit: ImageFit = .crop,
    skippingBroken: Bool = false
  ) throws -> DatasetSplits {
    let catalog = workspace.datasets
    let size = ImageSize(width: description.width, height: description.height)
    let name = asked ?? own
    func read(_ name: String) throws -> DatasetSplits {
      let splits = try catalog.resolve(name, imageSize: size, fit: fit, skippingBroken: skippingBroken)
      list(skipped: splits.skipped, of: name)
      noteCropped(splits, name)
      return splits
    }
    if asked != nil || (try? catalog.path(of: name)) != nil { return try read(name) }
    // No others show what its captions say.
    if name == Shapes.name {
      throw UserError(.missingInput, "the data set \(name) is not here", hint: "Draw it: easel data make \(name)")
    }
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
      remark("\(name) is not here: taking \(found.name), which has the same size.")
      return splits
    }
    if found.classes == wanted {
      remark("\(name) is not here: taking \(found.name), which has the same classes.")
      return splits
    }
    remark("\(name) is not here: taking \(wanted.count) of the \(found.classes.count) classes of \(found.name).")
    return try splits.subset(classes: wanted.compactMap { found.classes.firstIndex(of: $0) })
  }

  /// The data sets of a run, one for each domain of its family.
  ///
  /// - Throws: `UserError`; usage if a family that needs two data sets lacks one.
  func data(of run: RunDescription, for preset: AnyPreset, in folder: RunFolder? = nil) throws -> [(
    name: String, splits: DatasetSplits, place: String?
  )] {
    let places = folder?.dataPlaces ?? [:]
    let template = try run.captionTemplate.isEmpty ? nil : CaptionTemplate(parsing: run.captionTemplate)
    let size = try run.imageSize.isEmpty ? nil : ImageSize(parsing: run.imageSize)
    func read(_ name: String?) throws -> (name: String, splits: DatasetSplits, place: String?) {
      var data = try data(name, imageSize: size, fit: run.fit, skippingBroken: run.skipBroken)
      if let template { data.splits = try data.splits.captioned(by: template) }
      return data
    }
    // Typed paths are relative to the current folder.
    func place(_ name: String, _ key: String) -> String {
      folder == nil ? name : workspace.place(of: name, places[key])
    }
    guard let second = run.dataB else { return [try read(run.data.isEmpty ? nil : place(run.data, "data"))] }
    if !run.data.isEmpty, !second.isEmpty { return try [read(place(run.data, "data")), read(place(second, "data-b"))] }
    if second.isEmpty, let domains = workspace.datasets.domains(of: run.data) {
      remark("\(run.data) holds two data sets: taking \(domains.joined(separator: " and ")).")
      return try domains.map(read)
    }
    throw UserError(
      .usage,
      "\(preset.name) learns to translate between two data sets: expected \(field: "data") and \(field: "data-b")",
      hint:
        "For example: easel train \(preset.name) \(field: "data") FOLDER \(field: "data-b") ANOTHER \(field: "image-size") 64"
    )
  }
}
