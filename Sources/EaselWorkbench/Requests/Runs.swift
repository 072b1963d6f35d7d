import EaselSupport

/// Lists the runs.
public struct RunsRequest: Request {
  public static let name = "runs"
  public static let summary = "List the runs."

  public init() {}
  public static let fields: [Field<RunsRequest>] = []

  public struct Row: Encodable {
    public var name, path: String
    /// `running`, `complete`, `stopped`, `failed`, or `for pictures`.
    public var state: String
    /// Size in bytes.
    public var size: Int
    public var preset: String?
    public var step: Int?
    public var loss, validationLoss: Double?
    public var best: RunState.Best?
    public var imagesPerSecond: Double?
    public var problem: String?
  }

  public struct Answer: Encodable { public var runs: [Row] }

  public func answer(_ work: Work) throws -> Answer { Answer(runs: try work.workspace.checkpoints.runs().map(row)) }

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
