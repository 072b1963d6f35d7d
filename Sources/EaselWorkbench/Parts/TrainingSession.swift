import EaselSupport
import Foundation

/// A training that is ready to begin: the model is made, the data are read, and the folder is reserved.
public struct TrainingSession {
  public let trainer: Trainer
  public let limit: TrainingLimit
  private let work: Work

  /// - Parameter start: when the request was made.
  /// - Throws: `UserError` (usage) if the run already is as long as asked; unavailable if memory is lacking.
  init(_ trainer: Trainer, _ length: TrainingLength, since start: ContinuousClock.Instant, _ work: Work) throws {
    (self.trainer, self.work) = (trainer, work)
    if let steps = length.limit(trainer, since: start).steps, trainer.state.step >= steps {
      throw UserError(
        .usage, "run \(trainer.folder.name) is at step \(trainer.state.step) already",
        hint: "\(field: "steps") counts from the run's beginning: give a larger number.")
    }
    try work.wait("estimating the memory that this takes …") { try trainer.checkMemory() }
    limit = length.limit(trainer, since: start)
    trainer.isCancelled = work.observer.isCancelled
  }

  /// What people should know about a training before it begins.
  public var remarks: [String] {
    let state = trainer.state
    let parameters = trainer.model.parameterCount
    let sets = ([state.data] + (state.data.counterparts ?? [])).map {
      "\($0.name), \($0.trainingImages) images \(state.data.description.sizeText), \($0.validationImages) held out; "
    }
    let plan = trainer.learningRatePlan(until: limit)
    let elapsed = state.elapsed ?? 0
    var remarks = [
      "\(trainer.folder.name): \(state.preset), \(parameters) parameters; \(sets.joined())"
        + "\(state.environment.backend.rawValue), \(state.environment.precision.rawValue), "
        + "up to \(trainer.model.context.backend.threads.count) threads"
        + (state.step > 0 ? "; from step \(state.step)" : ""),
      plan.summary(from: state.step, fraction: limit.seconds.map { elapsed / max(1e-9, elapsed + $0) } ?? 0),
    ]
    if let warning = plan.warning(from: state.step) { remarks.append(warning) }
    if trainer.settings.precision == .auto, state.step == 0, let preset = try? AnyPreset.named(state.preset) {
      let choice = Precision.choice(on: trainer.model.context.backend, convolves3x3: preset.family.convolves3x3)
      remarks.append("Precision auto chose \(choice.type.rawValue): \(choice.reason).")
    }
    return remarks
  }

  /// Trains to the end and reports progress to the observer.
  func runTellingObserver() throws -> TrainingAnswer {
    let (before, begin) = (trainer.state.step, ContinuousClock.now)
    return try run(report: { progress in
      let shares = [
        limit.steps.map { Double(progress.step - before) / Double(max(1, $0 - before)) },
        limit.seconds.map { (ContinuousClock.now - begin) / .seconds(max(1e-9, $0)) },
      ].compactMap { $0 }
      // An observer stops a training by cancelling, which saves it; what its progress callback throws must not end it.
      try? work.observer.progress("training", min(1, shares.max() ?? 0))
    })
  }

  /// Trains to the end. If the work is cancelled or a signal comes, saves the run so that it can go on later.
  ///
  /// - Parameters:
  ///   - phase: receives the phase that begins and may take long, and nil when it is over.
  ///   - report: called after every step.
  /// - Throws: `UserError`.
  public func run(
    phase: @escaping (TrainingPhase?) -> Void = { _ in }, report: (TrainingProgress) -> Void = { _ in }
  ) throws -> TrainingAnswer {
    var last: TrainingProgress?
    let outcome = try trainer.train(until: limit, phase: phase) { progress in
      last = progress
      report(progress)
    }
    let state = trainer.state
    return TrainingAnswer(
      run: trainer.folder.name, path: trainer.folder.checkpointPath(step: state.step), preset: state.preset,
      step: state.step, loss: state.loss, validationLoss: state.validationLoss,
      imagesPerSecond: last?.imagesPerSecond, seconds: state.seconds, isComplete: outcome == .complete)
  }
}

/// What a training produced.
public struct TrainingAnswer: Sendable {
  public var run: String
  /// The checkpoint's folder.
  public var path: String
  public var preset: String
  public var step: Int
  public var loss: Double
  public var validationLoss, imagesPerSecond: Double?
  /// Training time over all sessions.
  public var seconds: Double
  /// Whether the training reached its end instead of being stopped.
  public var isComplete: Bool
}
