import EaselSupport
import Foundation

/// Draws the metrics of runs as curves.
public struct PlotRequest: Request {
  public static let name = "plot"
  public static let summary = "Draw the losses or other metrics of runs as curves."

  /// What the curves are drawn over.
  public enum Abscissa: String, FieldChoice {
    case step
    /// Everything that was done in the run's sessions, in minutes.
    case time
    /// Training images, counted each time they were shown.
    case images
  }

  /// The axes on which numbers stand by their logarithms.
  public enum Logarithms: String, FieldChoice {
    case none, x, y, both
  }

  /// Runs' names or folders.
  public var runs: [String] = []
  /// Names of numbers in the runs' `metrics.jsonl`.
  public var metrics: [String] = Self.losses
  public var abscissa = Abscissa.step
  public var logarithms = Logarithms.none
  /// The share of a curve over which each of its points is averaged; 0 for none.
  public var smoothing = 0.02
  /// The plot's sides in pixels.
  public var width = 960
  public var height = 600

  private static let losses = ["loss", "validation-loss"]

  public init() {}

  public static let fields: [Field<PlotRequest>] = [
    Field("run", \.runs, "Runs' names, or runs' folders."),
    Field("metric", \.metrics, "A number in the runs' metrics.jsonl; may be repeated."),
    Field("by", \.abscissa, "What the curves are drawn over: step, time (in minutes) or images."),
    Field("log", \.logarithms, "The axes that are logarithmic: none, x, y or both."),
    Field(
      "smooth", \.smoothing, .from(0, to: 1),
      "The share of a curve over which each of its points is averaged; the points themselves stay pale behind it."),
    Field("width", \.width, .from(200, to: 8192), "The plot's width in pixels."),
    Field("height", \.height, .from(150, to: 8192), "The plot's height in pixels."),
  ]

  public func check(_ check: inout FieldCheck) {
    check.require(!runs.isEmpty, "expected a run's name, found none")
    check.require(!metrics.isEmpty, "\(field: "metric"): expected a metric's name, found none")
  }

  public func answer(_ work: Work) throws -> PlotAnswer {
    let histories = try runs.map { try History(work.workspace.checkpoints.run($0)) }
    for metric in metrics where !histories.contains(where: { $0.has(metric) }) {
      // Held-out losses are drawn if there are any.
      if metrics == Self.losses, metric != metrics[0] { continue }
      let known = Set(histories.flatMap(\.names)).sorted()
      throw UserError(
        .usage, "\(field: "metric"): \(runs.joined(separator: ", ")) has no \(metric)",
        hint: (nearestName(to: metric, among: known).map { "Did you mean \($0)? " } ?? "")
          + (known.isEmpty ? "There are no metrics yet." : "Known: \(known.joined(separator: ", "))."))
    }
    let horizontal =
      switch abscissa {
      case .step: "step"
      case .time: "minutes"
      case .images: "images"
      }
    var plot = Plot(
      runs.count == 1 ? histories[0].title : "",
      PlotAxis(horizontal, logarithms == .x || logarithms == .both ? .logarithmic : .linear),
      PlotAxis(
        metrics == Self.losses ? "loss" : metrics.joined(separator: ", "),
        logarithms == .y || logarithms == .both ? .logarithmic : .linear))
    var summaries: [PlotAnswer.Summary] = []
    for (run, history) in zip(runs, histories) {
      for metric in metrics {
        let points = try history.points(of: metric, by: abscissa)
        guard let last = points.last, let least = points.map(\.y).min(), let most = points.map(\.y).max() else {
          if metrics != Self.losses { work.remark("\(run) has no \(metric)") }
          continue
        }
        let name = runs.count == 1 ? metric : metrics.count == 1 ? run : "\(run), \(metric)"
        plot.curves += curves(name, points)
        summaries.append(
          PlotAnswer.Summary(
            run: run, metric: metric, points: points.count, last: last.y, minimum: least, maximum: most))
      }
    }
    guard plot.shownCount > 0 else {
      throw UserError(
        .usage, "\(runs.joined(separator: ", ")): there is no point to draw",
        hint: logarithms == .none ? nil : "On a logarithmic axis, only numbers above 0 have a place.")
    }
    return PlotAnswer(
      image: plot.image(width: width, height: height), curves: summaries,
      text: Recipe(
        self, nil, [("Runs", runs.joined(separator: " ")), ("Metrics", metrics.joined(separator: " "))],
        in: work.workspace
      ).text)
  }

  /// A curve, with its points behind it if they are averaged.
  private func curves(_ name: String, _ points: [Plot.Point]) -> [Plot.Curve] {
    let few = 30
    let reach = Int(smoothing * Double(points.count) / 2)
    guard reach > 0 else { return [Plot.Curve(name, points: points, isMarked: points.count <= few)] }
    var sums = [0.0]
    for point in points { sums.append(sums[sums.count - 1] + point.y) }
    let means = points.indices.map { index in
      // As many on both sides, so that the ends are not drawn inwards.
      let side = min(reach, index, points.count - 1 - index)
      let range = index - side..<index + side + 1
      return Plot.Point(points[index].x, (sums[range.upperBound] - sums[range.lowerBound]) / Double(range.count))
    }
    var background = Plot.Curve(name, points: points)
    background.isBackground = true
    return [background, Plot.Curve(name, points: means)]
  }

  /// A run's metrics.
  private struct History {
    private let run: RunFolder
    private let records: [MetricsLog.Record]
    let title: String

    init(_ run: RunFolder) throws {
      self.run = run
      records = try MetricsLog.records(at: run.metricsPath)
      let preset = try? CheckpointSummary.state(of: run.newestValid(isHeld: true).checkpoint).preset
      title = [run.name, preset].compactMap(\.self).joined(separator: ": ")
    }

    var names: [String] { records.flatMap { $0.values.keys } }

    func has(_ metric: String) -> Bool { records.contains { ($0.values[metric] ?? nil) != nil } }

    /// - Throws: `UserError`; unavailable if the run's log has no times, or its settings cannot be read.
    func points(of metric: String, by abscissa: Abscissa) throws -> [Plot.Point] {
      let scale = abscissa == .images ? try imagesPerStep() : 1
      let points = records.compactMap { record -> Plot.Point? in
        guard let value = record.values[metric] ?? nil else { return nil }
        switch abscissa {
        case .step, .images: return Plot.Point(scale * Double(record.step), value)
        case .time: return (record.values["elapsed"] ?? nil).map { Plot.Point($0 / 60, value) }
        }
      }
      guard abscissa != .time || !points.isEmpty || !has(metric) else {
        throw UserError(
          .unavailable, "\(field: "by"): \(run.metricsPath) has no times: an earlier version wrote it",
          hint: "Draw it over step or images.")
      }
      return points
    }

    private func imagesPerStep() throws -> Double {
      Double(try CheckpointSummary.trainingSettings(of: run.newestValid(isHeld: true).checkpoint).batchSize)
    }
  }
}

/// Curves of metrics.
public struct PlotAnswer {
  /// A curve, in numbers.
  public struct Summary: Codable, Sendable {
    public var run, metric: String
    public var points: Int
    public var last, minimum, maximum: Double
  }

  public var image: Image
  public var curves: [Summary]
  /// What was drawn, for the picture's file.
  public var text: PNGText

  /// Writes the plot; makes the folder if it is missing.
  ///
  /// - Throws: `UserError` (cannot create).
  public func write(to path: String) throws {
    try FileOutput.makeFolder(for: path)
    try image.write(to: path, text: text)
  }
}
