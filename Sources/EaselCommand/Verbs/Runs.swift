import ArgumentParser
import EaselKit
import Foundation

struct Runs: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List the runs.",
    discussion: """
      A run is running, complete, stopped (by a signal, or because its process ended) or failed; what is bundled or was \
      exported is for pictures.
      """)

  @OptionGroup var common: CommonOptions

  private struct Row: Encodable {
    var name: String
    var path: String
    var state: String
    /// Bytes.
    var size: Int
    var preset: String?
    var step: Int?
    var loss: Double?
    var validationLoss: Double?
    var best: RunState.Best?
    var imagesPerSecond: Double?
    var problem: String?
  }

  private struct Listing: Encodable { var runs: [Row] }

  func run() throws {
    let workspace = try Workspace(common.workspace)
    let rows = try workspace.checkpoints.runs().map(row)
    if common.json { return try Console.print(json: Listing(runs: rows)) }
    if rows.isEmpty { return Console.note("There are no runs yet. Start one with: easel train diffusion-small") }
    func number(_ value: Double?, _ digits: Int) -> String { value.map { $0.formatted(digits) } ?? "" }
    let cells = rows.map { row in
      [
        row.name, row.preset ?? "", row.state, row.step.map(String.init) ?? "", number(row.loss, 5),
        number(row.validationLoss, 5), row.best.map { String($0.step) } ?? "", number(row.imagesPerSecond, 0),
        "\((Double(row.size) / 1e6).formatted(1)) MB",
      ]
    }
    let header = ["run", "preset", "state", "step", "loss", "held-out", "best step", "images/s", "size"]
    Console.print(text: Console.table(header, cells, rightAlignedFrom: 3))
    for row in rows {
      if let problem = row.problem { Console.note("\(row.name): \(problem)") }
    }
  }

  private func row(_ run: RunFolder) -> Row {
    let status = run.status
    var row = Row(
      name: run.name, path: run.path, state: status?.outcome.rawValue ?? RunStatus.Outcome.stopped.rawValue,
      size: run.size, problem: status?.message)
    var latest: MetricsLog.Record?
    do { latest = try MetricsLog.lastRecord(at: run.metricsPath) } catch { row.problem = error.reason }
    row.imagesPerSecond = latest?.values["images-per-second"] ?? nil
    do {
      guard try !run.checkpointSteps.isEmpty else {
        row.step = latest?.step
        return row
      }
      defer { if status?.outcome == .running, let latest { row.step = max(latest.step, row.step ?? 0) } }
      let state = try CheckpointSummary.state(of: run.newestValid(isHeld: true).checkpoint)
      (row.preset, row.step, row.loss) = (state.preset, state.step, state.loss)
      (row.validationLoss, row.best) = (state.validationLoss, state.best)
      if state.optimizerSteps.isEmpty { row.state = "for pictures" }
    } catch {
      row.problem = error.reason
    }
    return row
  }
}
