import EaselSupport
import Foundation

/// Trains a run further from its newest checkpoint.
public struct ResumeRequest: Request {
  public static let name = "resume"
  public static let summary = "Go on with a run from its newest checkpoint."

  public var run = ""
  /// Settings to change from here on, as `KEY=VALUE`.
  public var settings: [String] = []
  public var length = TrainingLength()
  public var compute = ComputeChoice()
  /// The command line to record in the run.
  public var command: String?

  public init() {}

  public static let fields: [Field<ResumeRequest>] =
    [
      Field("run", \.run, "The run's name."),
      Field("set", \.settings, "One setting to change from here on, KEY=VALUE; may be repeated."),
      Field("command", \.command, "The command line to record in the run."),
    ] + TrainingLength.fields.map { $0.at(\.length) } + ComputeChoice.fields.map { $0.at(\.compute) }

  public func check(_ check: inout FieldCheck) { length.check(&check) }

  public func answer(_ work: Work) throws -> TrainingAnswer { try session(work).runTellingObserver() }

  /// - Throws: `UserError`.
  func session(_ work: Work) throws -> TrainingSession {
    let start = ContinuousClock.now
    let folder = try RunFolder(workspace: work.workspace.path, name: run)
    guard try folder.isRun else {
      // The catalogue's message has the known runs and the nearest name. Runs that it finds elsewhere must not be
      // written to.
      let found = try work.workspace.checkpoints.resolve(run).checkpoint
      throw UserError(
        .unavailable, "\(found.path) is outside the workspace and is not trained further there",
        hint: "Start a run of your own with: easel train PRESET \(field: "from") \(run)")
    }
    return try session(work, with: folder, since: start)
  }

  /// - Parameters:
  ///   - start: when the request was made.
  ///   - namesData: whether the request names the data, so that their place in the last session does not matter.
  ///   - change: changes the run's description before the data are read, for example to other data.
  func session(
    _ work: Work, with folder: RunFolder, since start: ContinuousClock.Instant, namesData: Bool = false,
    change: (inout RunDescription) -> Void = { _ in }
  ) throws -> TrainingSession {
    let lock = try folder.lock()
    try folder.removeLeftovers()
    let lines = try MetricsLog.setAsideDamage(folder.metricsPath)
    if !lines.isEmpty {
      let numbers = lines.prefix(5).map(String.init).joined(separator: ", ") + (lines.count > 5 ? ", …" : "")
      work.remark("\(folder.metricsPath): damaged in line \(numbers): moved to \(folder.metricsPath).damaged")
    }
    let (checkpoint, damaged) = try folder.newestValid()
    for one in damaged { work.remark("\(one.path): passed over: \(one.error.message)") }
    try Trainer.requireResumable(checkpoint)
    var description = try Trainer.configuration(of: checkpoint).decode(RunDescription.self)
    change(&description)
    let data = try work.data(of: description, for: .named(description.preset), in: namesData ? nil : folder)
    let trainer = try Trainer(
      resuming: checkpoint, changes: settings, data: data[0].splits, counterpart: data.dropFirst().first?.splits,
      folder: folder, lock: lock, backend: compute.backend())
    try folder.write(dataPlaces: data.map(\.place))
    if !trainer.differences.isEmpty {
      work.remark("From here on, this differs: \(trainer.differences.joined(separator: "; ")).")
    }
    let session = try TrainingSession(trainer, length, since: start, work)
    if let command { trainer.record(command: command) }
    return session
  }
}
