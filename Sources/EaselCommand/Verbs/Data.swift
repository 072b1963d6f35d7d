import ArgumentParser
import EaselKit
import Foundation

struct DataVerb: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "List, describe, show, import and pack data sets.",
    subcommands: [List.self, Info.self, Grid.self, Import.self, Pack.self], defaultSubcommand: List.self)

  private struct Row: Encodable {
    var name: String
    var path: String
    var count: Int?
    var width: Int?
    var height: Int?
    var channels: Int?
    var classes: [String]?
    var hasLicense: Bool?
    var problem: String?
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The data sets that can be named.")
    @OptionGroup var common: CommonOptions

    private struct Listing: Encodable { var datasets: [Row] }

    func run() throws {
      let rows = try Workspace(common.workspace).datasets.entries().map { entry -> Row in
        switch entry.contents {
        case .success(let summary):
          Row(
            name: entry.name, path: entry.path, count: summary.count, width: summary.imageSize.width,
            height: summary.imageSize.height, channels: summary.channels, classes: summary.classNames,
            hasLicense: entry.hasLicense)
        case .failure(let error): Row(name: entry.name, path: entry.path, problem: error.message)
        }
      }
      if common.json { return try Console.print(json: Listing(datasets: rows)) }
      for row in rows {
        let figures =
          row.problem
          ?? "\(row.count ?? 0) images \(row.width ?? 0)×\(row.height ?? 0)×\(row.channels ?? 0)"
          + ((row.classes ?? []).isEmpty ? "" : ", \(row.classes?.count ?? 0) classes")
        Console.print("\(row.name)  \(figures)  \(row.path)")
      }
    }
  }

  struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Describe a data set.")
    @Argument(help: "A name or a path.") var data: String
    @Option(help: "Resize images to N×N or W×H: N or WxH.") var imageSize: String?
    @Option(help: "How images of other proportions come to that size: crop, pad or stretch.") var fit = ImageFit.crop
    @OptionGroup var skipping: SkippingOptions
    @OptionGroup var common: CommonOptions

    private struct Description: Encodable {
      var name: String
      var source: String
      var training: Int
      var validation: Int
      var split: String
      var width: Int
      var height: Int
      var channels: Int
      var classes: [String]
      var fingerprint: String
    }

    func run() throws {
      let splits = try Workspace(common.workspace).data(data, imageSize, fit, skipping)
      let train = splits.train
      let description = Description(
        name: train.name, source: train.source, training: train.count, validation: splits.validation.count,
        split: splits.rule, width: train.width, height: train.height, channels: train.channels,
        classes: train.classNames, fingerprint: train.fingerprint)
      if common.json { return try Console.print(json: description) }
      Console.print("name      \(description.name)")
      Console.print("source    \(description.source)")
      Console.print("images    \(train.count) for training, \(splits.validation.count) held out (\(splits.rule))")
      Console.print("size      \(train.width)×\(train.height)×\(train.channels)")
      if !train.classNames.isEmpty { Console.print("classes   \(train.classNames.joined(separator: ", "))") }
      Console.print("SHA-256   \(description.fingerprint)")
    }
  }

  struct Grid: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show a data set's first images.")
    @Argument(help: "A name or a path.") var data: String
    @Option(parsing: .unconditional, help: "How many images.") var count = 64
    @Option(parsing: .unconditional, help: "Images in a row.") var columns = 8
    @Option(help: "Resize images to N×N or W×H: N or WxH.") var imageSize: String?
    @Option(help: "How images of other proportions come to that size: crop, pad or stretch.") var fit = ImageFit.crop
    @OptionGroup var skipping: SkippingOptions
    @Option(help: "The picture (default: Samples/<data>-data.png).") var output: String?
    @OptionGroup var common: CommonOptions

    private struct Report: Encodable {
      var output: String
      var count: Int
    }

    func run() throws {
      try check(count, "--count", 1...100_000)
      try check(columns, "--columns", 1...1000)
      let workspace = try Workspace(common.workspace)
      let train = try workspace.data(data, imageSize, fit, skipping).train
      let name = train.name.replacingOccurrences(of: "/", with: "-")
      let path = output ?? "\(workspace.path)/Samples/\(name)-data.png"
      try checkOutput(path)
      let images = train.images(0..<min(count, train.count))
      try makeFolder(for: path)
      try ImageGrid.compose(images, columns: columns).write(to: path)
      if common.json { return try Console.print(json: Report(output: path, count: images.count)) }
      Console.print(path: path)
    }
  }

  struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Bring a data set into Data/.",
      discussion: """
        fashion-mnist: 60,000 + 10,000 images, from Debian's package dataset-fashion-mnist, or from a folder with its \
        four .gz files.

        emoji: 1,794 emoji in colour as Noto draws them, in nine classes, from ruby-tanuki-emoji.

        emoji-styles: 1,537 emoji drawn by Noto and by gemojione, from ruby-tanuki-emoji and ruby-gemojione: \
        emoji-styles/noto and emoji-styles/gemojione for training without pairs, emoji-styles/noto-paired and \
        emoji-styles/gemojione-paired for training with them.

        Packages are used where they are installed, and else fetched with apt-get and unpacked in a temporary folder; \
        nothing of them is installed or run.
        """)
    @Argument(help: "fashion-mnist, emoji or emoji-styles.") var name: String
    @Option(parsing: .unconditional, help: "The side of the emoji in pixels (default: 64).") var size: Int?
    @Option(help: "A folder with the files, or one that the packages were unpacked into.") var from: String?
    @OptionGroup var common: CommonOptions

    private struct Report: Encodable { var path: String }

    func run() throws {
      let names = DatasetCatalog.importableNames
      guard names.contains(name) else {
        let nearest = nearestName(to: name, among: names).map { "Did you mean \($0)? " } ?? ""
        throw UserError(
          .usage, "there is no import for \(name)",
          hint: "\(nearest)Known: \(names.joined(separator: ", ")). Your own images need no import: "
            + "give their folder's path to --data.")
      }
      if size != nil, name == FashionMNIST.name {
        throw UserError(.usage, "--size: \(name) has one size", hint: "Resize it where it is used, with --image-size.")
      }
      let side = size ?? 64
      try check(side, "--size", Emoji.sizes)
      let folder = "\(try Workspace(common.workspace).path)/Data"
      let path =
        switch name {
        case FashionMNIST.name: try FashionMNIST.importDataset(from: from, into: folder) { Console.note($0) }
        case Emoji.name: try Emoji.importDataset(size: side, from: from, into: folder) { Console.note($0) }
        default: try Emoji.importStyles(size: side, from: from, into: folder) { Console.note($0) }
        }
      if common.json { return try Console.print(json: Report(path: path)) }
      Console.print(path: path)
    }
  }

  struct Pack: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write a data set as sheets: one PNG of all training images, one of the held-out ones.",
      discussion: "Such a folder is small, is read fast, and is a data set like any other: give its path to --data.")
    @Argument(help: "A name or a path.") var data: String
    @Option(help: "The new folder.") var output: String
    @Option(help: "Resize images to N×N or W×H: N or WxH.") var imageSize: String?
    @Option(help: "How images of other proportions come to that size: crop, pad or stretch.") var fit = ImageFit.crop
    @OptionGroup var skipping: SkippingOptions
    @Option(parsing: .unconditional, help: "Only images of these classes, by number or name, with commas.")
    var label: String?
    @OptionGroup var common: CommonOptions

    private struct Report: Encodable {
      var output: String
      var training: Int
      var validation: Int
    }

    func run() throws {
      try checkName(output, option: "--output", is: .folder)
      let workspace = try Workspace(common.workspace)
      var splits = try workspace.data(data, imageSize, fit, skipping)
      if let label { splits = try splits.subset(classes: DataDescription(splits.train).labels(label)) }
      try splits.writeSheets(to: output, original: workspace.datasets.path(of: data))
      if common.json {
        return try Console.print(
          json: Report(output: output, training: splits.train.count, validation: splits.validation.count))
      }
      Console.print(path: output)
    }
  }
}

extension Workspace {
  fileprivate func data(
    _ name: String, _ imageSize: String?, _ fit: ImageFit, _ skipping: SkippingOptions
  ) throws -> DatasetSplits {
    let size = try imageSize.map { try ImageSize(parsing: $0) }
    return try data(name, imageSize: size, fit: fit, skippingBroken: skipping.skipBroken).splits
  }
}
