import EaselSupport

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
    public var fingerprint: String
  }

  public func answer(_ work: Work) throws -> Answer {
    let splits = try choice.read(work)
    let train = splits.train
    return Answer(
      name: train.name, source: train.source, training: train.count, validation: splits.validation.count,
      split: splits.rule, width: train.width, height: train.height, channels: train.channels,
      classes: train.classNames, fingerprint: train.fingerprint)
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
  public var from: String?

  public init() {}

  public static let fields: [Field<DataImportRequest>] = [
    Field("name", \.dataset, "fashion-mnist, emoji or emoji-styles."),
    Field(
      "size", \.size, .from(Double(Emoji.sizes.lowerBound), to: Double(Emoji.sizes.upperBound)),
      "The side of the emoji in pixels (default: 64)."),
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
    let (side, folder) = (size ?? 64, "\(work.workspace.path)/Data")
    switch dataset {
    case FashionMNIST.name:
      return Answer(path: try FashionMNIST.importDataset(from: from, into: folder, progress: work.remark))
    case Emoji.name:
      return Answer(path: try Emoji.importDataset(size: side, from: from, into: folder, progress: work.remark))
    default:
      return Answer(path: try Emoji.importStyles(size: side, from: from, into: folder, progress: work.remark))
    }
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
