import Foundation

/// Writes a run's numbers and pictures during training: `metrics.jsonl` and TensorBoard's events.
struct Journal {
  private let metrics: MetricsLog
  private let events: EventFile

  /// Goes on after a step; everything written about later steps becomes void.
  ///
  /// - Throws: `UserError` with the path and the reason.
  init(_ folder: RunFolder, fromStep step: Int) throws {
    try MetricsLog.truncate(folder.metricsPath, after: step)
    metrics = try MetricsLog(path: folder.metricsPath)
    events = try EventFile(folder: folder.eventsPath, fromStep: step)
  }

  func append(step: Int, _ values: [String: Double]) throws {
    try metrics.append(step: step, values)
    try events.append(step: step, values)
  }

  func append(step: Int, _ picture: Image, png: [UInt8]) throws {
    try events.append(
      step: step, "samples", png: png, width: picture.width, height: picture.height, channels: picture.channels)
  }

  /// Waits until everything is on the disk. Called with every checkpoint.
  func sync() throws {
    try metrics.sync()
    try events.sync()
  }
}
