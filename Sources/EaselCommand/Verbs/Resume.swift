import ArgumentParser
import EaselKit

struct Resume: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: ResumeRequest.summary)

  @Argument(help: ArgumentHelp(ResumeRequest.explanation(\.run), valueName: "run")) var runName: String
  @Option(name: .customLong("set"), help: .field(\ResumeRequest.settings)) var settings: [String] = []
  @OptionGroup var length: LengthOptions
  @OptionGroup var common: CommonOptions
  @OptionGroup var backend: BackendOptions

  func run() throws {
    let desk = try Desk(common)
    let request = ResumeRequest {
      ($0.run, $0.settings, $0.length, $0.compute) = (runName, settings, length.choice, backend.choice)
      $0.command = TypedCommand.text(in: desk.bench.workspace)
    }
    try TrainingReport(desk.bench.begin(request), json: desk.json).run()
  }
}
