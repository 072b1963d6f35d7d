import EaselKit
import Foundation

/// Shows a training to the person at the terminal.
struct TrainingReport {
  private let session: TrainingSession
  private let json: Bool

  private struct Report: Encodable {
    var run, path, preset: String
    var step: Int
    var loss: Double
    var validationLoss, imagesPerSecond: Double?
    var seconds: Double
  }

  init(_ session: TrainingSession, json: Bool) { (self.session, self.json) = (session, json) }

  /// Trains, shows progress, and prints the checkpoint's folder.
  ///
  /// - Throws: `UserError`; ``Interrupted`` after a signal.
  func run() throws {
    for remark in session.remarks { Console.note(remark) }
    var last = Date.distantPast
    var final: TrainingProgress?
    var alarm: String?
    var forecast = Forecast(session)
    var patience: Patience?
    let answer = try session.run { phase in
      patience?.end()
      patience = phase.map { Patience($0.text) }
    } report: { progress in
      final = progress
      if let text = forecast.text(progress) { Console.noteBelow(text) }
      if progress.alarm != alarm {
        alarm = progress.alarm
        Console.noteBelow("step \(progress.step): \(alarm ?? "back to normal")")
      }
      let interval = Console.isTerminal ? 0.2 : 5
      guard Date().timeIntervalSince(last) >= interval else { return }
      last = Date()
      let line = TrainingReport.line(progress)
      if Console.isTerminal { Console.rewriteLine(line) } else { Console.note(line) }
    }
    if let final {
      Console.noteBelow(TrainingReport.line(final))
      let leftOut = final.leftOut.map { $0 == .picture ? "the last picture" : "the loss on held-out images" }
      if !leftOut.isEmpty { Console.note("There was no time left for \(leftOut.joined(separator: " and ")).") }
    }
    if json {
      try Console.print(
        json: Report(
          run: answer.run, path: answer.path, preset: answer.preset, step: answer.step, loss: answer.loss,
          validationLoss: answer.validationLoss, imagesPerSecond: answer.imagesPerSecond, seconds: answer.seconds))
    } else {
      Console.print(path: answer.path)
    }
    if let exitCode = StopSignal.exitCode {
      if !answer.isComplete { Console.note("Stopped and saved. Go on with: easel resume \(answer.run)") }
      throw Interrupted(exitCode: exitCode)
    }
  }

  private static func line(_ progress: TrainingProgress) -> String {
    var parts = [
      "step \(progress.step)" + (progress.lastStep.map { "/\($0)" } ?? ""), "epoch \(progress.epoch.formatted(1))",
      "loss \(progress.loss.formatted(5))",
    ]
    if let validation = progress.validationLoss { parts.append("held-out \(validation.formatted(5))") }
    parts.append("\(progress.imagesPerSecond.formatted(0)) images/s")
    if let remaining = progress.remaining, remaining >= 0.5 { parts.append("\(duration(remaining)) left") }
    if let ago = progress.savedAgo { parts.append("saved \(duration(ago)) ago") }
    return parts.joined(separator: "  ")
  }
}

extension TrainingPhase {
  fileprivate var text: String {
    switch self {
    case .firstStep: "the first step, which prepares the kernels …"
    case .validation: "judging held-out images …"
    case .picture: "drawing a picture of the progress …"
    case .save: "saving a checkpoint …"
    }
  }
}

/// What to expect of a training, said once its first steps have shown how long they take.
private struct Forecast {
  private let plan: LearningRatePlan
  private let settings: TrainingSettings
  private let firstStep: Int
  private let seconds: Double?
  private var steps = 0
  private var isTold = false

  /// How many steps are timed before anything is said.
  private static let timedSteps = 3
  /// The share of a preset's steps below which results are rough.
  private static let leastShare = 0.1

  init(_ session: TrainingSession) {
    let trainer = session.trainer
    plan = trainer.learningRatePlan(until: session.limit)
    (settings, firstStep, seconds) = (trainer.settings, trainer.state.step, session.limit.seconds)
  }

  /// - Returns: nil if there is nothing new to say.
  mutating func text(_ progress: TrainingProgress) -> String? {
    steps += 1
    guard !isTold, let seconds, steps >= Forecast.timedSteps, let last = progress.expectedLastStep,
      let perStep = progress.secondsPerStep
    else { return nil }
    isTold = true
    var lines = [
      "about \(last - firstStep) steps in \(duration(seconds)), \(perStep.formatted(perStep < 1 ? 2 : 1)) s each"
    ]
    let least = Int(Double(settings.steps) * Forecast.leastShare)
    if last < least {
      lines.append(
        "Expect rough results: this preset is made for \(settings.steps) steps. More in the same time: "
          + "a smaller --batch-size (now \(settings.batchSize)), a smaller --image-size, or fewer channels.")
    }
    if let warning = plan.warning(from: firstStep, expected: last) { lines.append(warning) }
    return lines.joined(separator: "\n")
  }
}
