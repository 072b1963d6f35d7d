import EaselSupport
import Foundation

/// Lists the data sets that can be named.
public struct DataListRequest: Request {
  public static let name = "data list"
  public static let summary = "List the data sets that can be named."

  public init() {}
  public static let fields: [Field<DataListRequest>] = []

  public struct Row: Encodable {
    public var name, path: String
    public var count, width, height, channels: Int?
    public var classes: [String]?
    public var hasLicense: Bool?
    public var problem: String?
  }

  public struct Answer: Encodable { public var datasets: [Row] }

  public func answer(_ work: Work) throws -> Answer {
    Answer(
      datasets: work.workspace.datasets.entries().map { entry in
        switch entry.contents {
        case .success(let summary):
          Row(
            name: entry.name, path: entry.path, count: summary.count, width: summary.imageSize.width,
            height: summary.imageSize.height, channels: summary.channels, classes: summary.classNames,
            hasLicense: entry.hasLicense)
        case .failure(let error): Row(name: entry.name, path: entry.path, problem: error.message)
        }
      })
  }
}

/// Describes a data set.
public struct DataInfoRequest: Request {
  public static let name = "data info"
  public static let summary = "Describe a data set."

  public var choice = DataChoice()

  public init() {}
  public static let fields: [Field<DataInfoRequest>] = DataChoice.fields.map { $0.at(\.choice) }

  public struct Answer: Encodable {
    public var name, source: String
    public var training, validation: Int
    public var split: String
    public var width, height, channels: Int
    public var classes: [String]
    /// Nil if the data have no captions.
    public var captions: Captions?
    public var fingerprint: String
  }

  public struct Captions: Encodable {
    /// Pictures for training, and held-out ones, that have at least one.
    public var training, validation: Int
    /// Of all pictures.
    public var count: Int
    /// Three pictures for training with theirs, evenly chosen among those that have one.
    public var examples: [Example]
    /// Of the captions of the pictures for training.
    public var fingerprint: String?
  }

  public struct Example: Encodable {
    /// The picture's name, or its number from 0 if it has none.
    public var picture: String
    public var captions: [String]
  }

  public func answer(_ work: Work) throws -> Answer {
    let splits = try choice.read(work)
    let train = splits.train
    return Answer(
      name: train.name, source: train.source, training: train.count, validation: splits.validation.count,
      split: splits.rule, width: train.width, height: train.height, channels: train.channels,
      classes: train.classNames, captions: captions(of: splits), fingerprint: train.fingerprint)
  }

  private func captions(of splits: DatasetSplits) -> Captions? {
    let train = splits.train
    guard let captions = train.annotations.captions else { return nil }
    let heldOut = splits.validation.annotations.captions ?? []
    let described = captions.indices.filter { !captions[$0].isEmpty }
    let most = min(3, described.count)
    let examples = (0..<most).map { described[$0 * described.count / most] }.map {
      Example(picture: train.names.isEmpty ? String($0) : train.names[$0], captions: captions[$0])
    }
    return Captions(
      training: described.count, validation: heldOut.count { !$0.isEmpty },
      count: (captions + heldOut).reduce(0) { $0 + $1.count }, examples: examples,
      fingerprint: train.captionFingerprint)
  }
}

/// Shows a data set's first images as a sheet.
public struct DataGridRequest: RecordedRequest {
  public static let name = "data grid"
  public static let summary = "Show a data set's first images."

  public var choice = DataChoice()
  public var count = 64
  public var columns = 8

  public init() {}

  public static let fields: [Field<DataGridRequest>] =
    DataChoice.fields.map { $0.at(\.choice) } + [
      Field("count", \.count, .from(1, to: 100_000), "How many images."),
      Field("columns", \.columns, .from(1, to: 1000), "Images in a row."),
    ]

  public mutating func find(_ recipe: RecordedRecipe, in workspace: Workspace) throws {}

  public func answer(_ work: Work) throws -> PictureAnswer {
    let train = try choice.read(work).train
    let images = train.images(0..<min(count, train.count))
    let recipe = Recipe(
      self, nil, [("Data", train.name), ("Count", String(images.count)), ("Columns", String(columns))],
      in: work.workspace)
    return PictureAnswer(
      pictures: images, columns: columns, count: images.count, recipe: recipe, remarks: work.remarks,
      names: [train.name])
  }
}

/// Brings a data set from a package or a folder into `Data/`.
public struct DataImportRequest: Request {
  public static let name = "data import"
  public static let summary = "Bring a data set into Data/."

  public var dataset = ""
  /// The side of the emoji in pixels; nil for 64.
  public var size: Int?
  /// Whether the emoji's names and keywords come along.
  public var captions = false
  public var from: String?

  public init() {}

  public static let fields: [Field<DataImportRequest>] = [
    Field("name", \.dataset, "fashion-mnist, emoji or emoji-styles."),
    Field(
      "size", \.size, .from(Double(Emoji.sizes.lowerBound), to: Double(Emoji.sizes.upperBound)),
      "The side of the emoji in pixels (default: 64)."),
    Field("captions", \.captions, "Bring the emoji's names and keywords along, as captions."),
    Field("from", \.from, "A folder with the files, or one that the packages were unpacked into."),
  ]

  public struct Answer: Encodable { public var path: String }

  public func answer(_ work: Work) throws -> Answer {
    let names = DatasetCatalog.importableNames
    guard names.contains(dataset) else {
      let nearest = nearestName(to: dataset, among: names).map { "Did you mean \($0)? " } ?? ""
      throw UserError(
        .usage, "there is no import for \(dataset)",
        hint: "\(nearest)Known: \(names.joined(separator: ", ")). Your own images need no import: "
          + "give their folder's path to \(field: "data").")
    }
    if size != nil, dataset == FashionMNIST.name {
      throw UserError(
        .usage, "\(field: "size"): \(dataset) has one size",
        hint: "Resize it when you use it, with \(field: "image-size").")
    }
    if captions, dataset != Emoji.name {
      throw UserError(.usage, "\(field: "captions"): only \(Emoji.name) has names and keywords, found \(dataset)")
    }
    let (side, folder) = (size ?? 64, "\(work.workspace.path)/Data")
    switch dataset {
    case FashionMNIST.name:
      return Answer(path: try FashionMNIST.importDataset(from: from, into: folder, progress: work.remark))
    case Emoji.name:
      return Answer(
        path: try Emoji.importDataset(
          size: side, captions: captions, from: from, into: folder, progress: work.remark))
    default:
      return Answer(path: try Emoji.importStyles(size: side, from: from, into: folder, progress: work.remark))
    }
  }
}

/// Draws a data set.
public struct DataMakeRequest: Request {
  public static let name = "data make"
  public static let summary = "Draw a data set with captions."

  public var dataset = ""
  public var size = 32
  public var count = 20_000
  public var seed: UInt64 = 0
  /// The new folder; nil for one in `Data/`.
  public var output: String?

  public init() {}

  public static let fields: [Field<DataMakeRequest>] = [
    Field("name", \.dataset, "shapes: one or two coloured shapes, with where they are."),
    Field(
      "size", \.size, .from(Double(Shapes.sizes.lowerBound), to: Double(Shapes.sizes.upperBound)),
      "The side of the pictures in pixels."),
    Field(
      "count", \.count, .from(Double(Shapes.counts.lowerBound), to: Double(Shapes.counts.upperBound)),
      "How many pictures, about a tenth of which are held out."),
    Field("seed", \.seed, "Names the series of pictures."),
    Field("output", \.output, "The new folder (default: one of the data set's name in Data/)."),
  ]

  public struct Answer: Encodable {
    public var output: String
    public var training, validation: Int
    /// Held-out pictures in which the checker finds what their captions say.
    public var readable: Int
  }

  public func answer(_ work: Work) throws -> Answer {
    guard dataset == Shapes.name else {
      throw UserError(
        .usage, "there is nothing to draw called \(dataset)", hint: "Known: \(Shapes.name).")
    }
    let output = output ?? "\(work.workspace.path)/\(DatasetCatalog.folderName)/\(dataset)"
    try Destination(output, is: .folder).checkName()
    if FileManager.default.fileExists(atPath: output) {
      throw UserError(.cannotCreate, "\(output): is there already", hint: "Choose another \(field: "output").")
    }
    guard Shapes.fits(count: count, side: size) else {
      throw UserError(
        .usage, "\(field: "count"): \(count) pictures of \(size)×\(size) do not fit into one PNG file",
        hint: "Make fewer, or make them smaller with \(field: "size").")
    }
    let splits = try work.wait("drawing \(count) pictures …") { Shapes.splits(count: count, side: size, seed: seed) }
    try splits.writeSheets(to: output)
    return Answer(
      output: output, training: splits.train.count, validation: splits.validation.count,
      readable: try work.wait("looking at the pictures …") { Shapes.readable(splits.validation) })
  }
}

/// Writes a data set as sheets: one PNG of all training images, one of the held-out ones.
public struct DataPackRequest: Request {
  public static let name = "data pack"
  public static let summary = "Write a data set as sheets: one PNG of all training images, one of the held-out ones."

  public var choice = DataChoice()
  /// The new folder.
  public var output = ""
  /// Only images of these classes.
  public var label: String?

  public init() {}

  public static let fields: [Field<DataPackRequest>] =
    DataChoice.fields.map { $0.at(\.choice) } + [
      Field("output", \.output, "The new folder."),
      Field("label", \.label, "Only images of these classes, by number or name, with commas."),
    ]

  public struct Answer: Encodable {
    public var output: String
    public var training, validation: Int
  }

  public func answer(_ work: Work) throws -> Answer {
    if output.isEmpty { throw UserError(.usage, "\(field: "output"): expected a new folder's path, found none") }
    try Destination(output, is: .folder).checkName()
    var splits = try choice.read(work)
    if let label { splits = try splits.subset(classes: DataDescription(splits.train).labels(label)) }
    try splits.writeSheets(to: output, original: work.workspace.datasets.path(of: choice.data))
    return Answer(output: output, training: splits.train.count, validation: splits.validation.count)
  }
}
