import ArgumentParser
import EaselKit
import Foundation

struct DataVerb: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "List, describe, show and import data sets.",
    subcommands: [List.self, Info.self, Grid.self, Import.self], defaultSubcommand: List.self)

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
      let splits = try Workspace(common.workspace).data(data, imageSize: imageSize.map { try ImageSize(parsing: $0) })
        .splits
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
      let train = try workspace.data(data, imageSize: imageSize.map { try ImageSize(parsing: $0) }).splits.train
      let path = output ?? "\(workspace.path)/Samples/\(train.name)-data.png"
      try prepareOutput(path)
      let images = train.images(0..<min(count, train.count))
      try ImageGrid.compose(images, columns: columns).write(to: path)
      if common.json { return try Console.print(json: Report(output: path, count: images.count)) }
      Console.print(path)
    }
  }

  struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Bring a data set into Data/.",
      discussion: """
        fashion-mnist: 60,000 + 10,000 images, from Debian's package dataset-fashion-mnist, installed or fetched with \
        apt-get, or from a folder with its four .gz files.
        """)
    @Argument(help: "fashion-mnist.") var name: String
    @Option(help: "A folder with the files.") var from: String?
    @OptionGroup var common: CommonOptions

    private struct Report: Encodable { var path: String }

    func run() throws {
      guard name == FashionMNIST.name else {
        throw UserError(
          .usage, "there is no import for \(name)",
          hint: "Known: \(FashionMNIST.name). Your own images need no import: "
            + "give their folder's path to --data.")
      }
      let workspace = try Workspace(common.workspace)
      let path = try FashionMNIST.importDataset(from: from, into: "\(workspace.path)/Data") { Console.note($0) }
      if common.json { return try Console.print(json: Report(path: path)) }
      Console.print(path)
    }
  }
}
