import ArgumentParser
import EaselKit

extension DataVerb {
  struct Grid: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: DataGridRequest.summary)
    @Argument(help: .field(\DataChoice.data)) var data: String?
    @Option(parsing: .unconditional, help: .field(\DataGridRequest.count)) var count = 64
    @Option(parsing: .unconditional, help: .field(\DataGridRequest.columns)) var columns = 8
    @Option(help: .field(\DataChoice.imageSize)) var imageSize: String?
    @Option(help: .field(\DataChoice.fit)) var fit = ImageFit.crop
    @Flag(help: .field(\DataChoice.skipBroken)) var skipBroken = false
    @Option(help: "The picture (default: Samples/<data>-data.png).") var output: String?

    @Option(help: ArgumentHelp("Make a picture again that this verb made.", valueName: "png"))
    var recipe: String?

    @OptionGroup var common: CommonOptions

    private var typed: DataGridRequest {
      DataGridRequest {
        ($0.count, $0.columns, $0.choice.imageSize) = (count, columns, imageSize)
        ($0.choice.data, $0.choice.fit, $0.choice.skipBroken) = (data ?? "", fit, skipBroken)
      }
    }

    func run() throws {
      let desk = try Desk(common)
      let request = try recipe.map { try desk.bench.request(from: $0) { try $0.take(typed, allowing: []) } } ?? typed
      if let output { try Destination(output).check() }
      let answer = try desk.bench.run(request)
      let path = output ?? desk.sample("\(answer.names[0].replacing("/", with: "-"))-data")
      try Destination(path).check()
      try answer.write(to: path)
      guard desk.json else { return Console.print(path: path) }
      try Console.print(json: PictureReport(output: path, count: answer.count, seconds: desk.seconds))
    }
  }
}
