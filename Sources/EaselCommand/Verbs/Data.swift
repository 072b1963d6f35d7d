import ArgumentParser
import EaselKit

struct DataVerb: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "List, describe, show, import, draw and pack data sets.",
    subcommands: [List.self, Info.self, Grid.self, Import.self, Make.self, Pack.self], defaultSubcommand: List.self)

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: DataListRequest.summary)
    @OptionGroup var common: CommonOptions

    func run() throws {
      let desk = try Desk(common)
      try desk.bench.run(DataListRequest()).print(desk)
    }
  }

  struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: DataInfoRequest.summary)
    @OptionGroup var data: DataOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
      let desk = try Desk(common)
      try desk.bench.run(DataInfoRequest { $0.choice = data.choice }).print(desk)
    }
  }

  struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: DataImportRequest.summary,
      discussion: """
        fashion-mnist: 60,000 + 10,000 images, from Debian's package dataset-fashion-mnist, or from a folder with its \
        four .gz files.

        emoji: Noto's 1,794 emoji in colour, in nine classes, from ruby-tanuki-emoji. With --captions, Unicode's names \
        and keywords too, from unicode-cldr-core.

        emoji-styles: 1,537 emoji drawn by Noto and by gemojione, from ruby-tanuki-emoji and ruby-gemojione: \
        emoji-styles/noto and emoji-styles/gemojione for training without pairs, emoji-styles/noto-paired and \
        emoji-styles/gemojione-paired for training with them.

        Installed packages are used as they are. Others are fetched with apt-get and unpacked in a temporary folder; \
        nothing in them is installed or run.
        """)
    @Argument(help: .field(\DataImportRequest.dataset)) var name: String
    @Option(parsing: .unconditional, help: .field(\DataImportRequest.size)) var size: Int?
    @Flag(help: .field(\DataImportRequest.captions)) var captions = false
    @Option(help: .field(\DataImportRequest.from)) var from: String?
    @OptionGroup var common: CommonOptions

    func run() throws {
      let desk = try Desk(common)
      let answer = try desk.bench.run(
        DataImportRequest { ($0.dataset, $0.size, $0.captions, $0.from) = (name, size, captions, from) })
      desk.json ? try Console.print(json: answer) : Console.print(path: answer.path)
    }
  }

  struct Pack: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: DataPackRequest.summary,
      discussion: "Such a folder is small and fast to read. It is a data set like any other: give its path to --data.")
    @OptionGroup var data: DataOptions
    @Option(help: .field(\DataPackRequest.output)) var output: String
    @Option(parsing: .unconditional, help: .field(\DataPackRequest.label)) var label: String?
    @OptionGroup var common: CommonOptions

    func run() throws {
      let desk = try Desk(common)
      let answer = try desk.bench.run(
        DataPackRequest { ($0.choice, $0.output, $0.label) = (data.choice, output, label) })
      desk.json ? try Console.print(json: answer) : Console.print(path: answer.output)
    }
  }
}
