import ArgumentParser
import EaselKit
import Foundation

struct PlotVerb: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: PlotRequest.name,
    abstract: PlotRequest.summary,
    discussion: """
      Prints the last, the least and the greatest number of each curve. Runs may still be training.
      """)

  @Argument(help: .field(\PlotRequest.runs)) var runs: [String]
  @Option(help: .field(\PlotRequest.metrics)) var metric: [String] = []
  @Option(help: .field(\PlotRequest.abscissa)) var by = PlotRequest.Abscissa.step
  @Option(help: .field(\PlotRequest.logarithms)) var log = PlotRequest.Logarithms.none
  @Option(parsing: .unconditional, help: .field(\PlotRequest.smoothing)) var smooth = PlotRequest().smoothing
  @Option(parsing: .unconditional, help: .field(\PlotRequest.width)) var width = PlotRequest().width
  @Option(parsing: .unconditional, help: .field(\PlotRequest.height)) var height = PlotRequest().height
  @Option(help: "The picture (default: in Samples/, named after the first run).") var output: String?
  @OptionGroup var common: CommonOptions

  func run() throws {
    let desk = try Desk(common)
    let name = runs.first.map { URL(fileURLWithPath: $0).lastPathComponent } ?? ""
    let output = Destination(self.output ?? desk.sample("\(name)-plot"))
    try output.check()
    let answer = try desk.bench.run(
      PlotRequest {
        ($0.runs, $0.abscissa, $0.logarithms, $0.smoothing) = (runs, by, log, smooth)
        ($0.width, $0.height) = (width, height)
        if !metric.isEmpty { $0.metrics = metric }
      })
    try answer.write(to: output.path)
    if desk.json { return try Console.print(json: Report(output: output.path, curves: answer.curves)) }
    let rows = answer.curves.map { curve in
      [curve.run, curve.metric, String(curve.points)]
        + [curve.last, curve.minimum, curve.maximum].map(\.significant)
    }
    let header = ["run", "metric", "points", "last", "least", "greatest"]
    Console.note(text: Console.table(header, rows, rightAlignedFrom: 2))
    Console.print(path: output.path)
  }

  /// What was drawn, for `--json`.
  private struct Report: Encodable {
    var output: String
    var curves: [PlotAnswer.Summary]
  }
}

extension PlotRequest.Abscissa: ExpressibleByArgument {}
extension PlotRequest.Logarithms: ExpressibleByArgument {}
