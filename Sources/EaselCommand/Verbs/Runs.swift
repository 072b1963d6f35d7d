import ArgumentParser
import EaselKit

struct Runs: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: RunsRequest.summary,
    discussion: """
      A run is running, complete, stopped (by a signal, or because its process ended) or failed. Bundled and exported \
      checkpoints are for pictures.
      """)

  @OptionGroup var common: CommonOptions

  func run() throws {
    let desk = try Desk(common)
    let answer = try desk.bench.run(RunsRequest())
    if desk.json { return try Console.print(json: answer) }
    if answer.runs.isEmpty {
      return Console.note("There are no runs yet. Start one with: easel train diffusion-small")
    }
    func number(_ value: Double?, _ digits: Int) -> String { value.map { $0.formatted(digits) } ?? "" }
    let cells = answer.runs.map { row in
      [
        row.name, row.preset ?? "", row.state, row.step.map(String.init) ?? "", number(row.loss, 5),
        number(row.validationLoss, 5), row.best.map { String($0.step) } ?? "", number(row.imagesPerSecond, 0),
        "\((Double(row.size) / 1e6).formatted(1)) MB",
      ]
    }
    let header = ["run", "preset", "state", "step", "loss", "held-out", "best step", "images/s", "size"]
    Console.print(text: Console.table(header, cells, rightAlignedFrom: 3))
    for row in answer.runs {
      if let problem = row.problem { Console.note("\(row.name): \(problem)") }
    }
  }
}
