import EaselSupport
import Foundation
import Synchronization

/// When training stops.
public struct TrainingLimit: Sendable, Equatable {
  /// Steps from the run's beginning; nil for no such limit.
  public var steps: Int?
  /// Time in this session, in seconds; nil for no such limit.
  public var seconds: Double?

  public init(steps: Int? = nil, seconds: Double? = nil) {
    self.steps = steps
    self.seconds = seconds
  }
}

/// How far a training has come.
public struct TrainingProgress: Sendable {
  /// Steps done, from the run's beginning.
  public var step: Int
  /// The step at which it will stop; nil if time decides.
  public var lastStep: Int?
  /// Passes over the training images.
  public var epoch: Double
  /// The loss, averaged over about the latest hundred steps.
  public var loss: Double
  public var validationLoss: Double?
  /// The speed of training alone, averaged over the latest seconds.
  public var imagesPerSecond: Double
  /// Time left, in seconds.
  public var remaining: Double?
  /// Seconds since the latest checkpoint of this session.
  public var savedAgo: Double?
  /// What is going wrong, as far as the model can tell, or what was not finite in this step.
  public var alarm: String?
  /// Seconds per training step; nil until it is known.
  public var secondsPerStep: Double?
  /// The step at which training will probably end.
  public var expectedLastStep: Int?
  /// What was due after a session's last step and was left out for lack of time.
  public var leftOut: [TrainingPhase] = []
}

/// Parts of a training that may keep people waiting.
public enum TrainingPhase: Sendable {
  /// The first step, which prepares the kernels.
  case firstStep
  case validation, picture, save
}

/// Why a training ended.
public enum TrainingOutcome: Sendable, Equatable {
  case complete
  /// A signal stopped it.
  case interrupted
}

/// A training in progress, one step at a time.
///
///     let loop = try trainer.begin(until: TrainingLimit(steps: 100))
///     while let progress = try loop.advance() { print(progress.loss) }
///     let outcome = try loop.finish()
///
/// The owner may stop at any step: what ``finish()`` saves can go on later.
public final class TrainingLoop {
  private let trainer: Trainer
  private let limit: TrainingLimit
  private let phase: (TrainingPhase?) -> Void
  private let clock = ContinuousClock()
  private var session: SessionClock
  private let elapsedBefore: Double
  private let goal: RunState.Goal
  /// The parts of the work at a session's end.
  private let closing: Set<SessionClock.Part>
  private let isUnwanted: @Sendable () -> Bool
  private var loader: DataLoader
  private var plan: LearningRatePlan
  private var meter: Meter
  private var saved: (step: Int, time: ContinuousClock.Instant)?
  private var failures = 0
  private var ends = false

  private var settings: TrainingSettings { trainer.settings }
  private var state: RunState {
    get { trainer.state }
    set { trainer.state = newValue }
  }

  /// The training's run must be prepared.
  init(_ trainer: Trainer, until limit: TrainingLimit, phase: @escaping (TrainingPhase?) -> Void) throws {
    (self.trainer, self.limit, self.phase) = (trainer, limit, phase)
    let elapsed = trainer.state.elapsed ?? 0
    elapsedBefore = elapsed
    goal = RunState.Goal(steps: limit.steps, seconds: limit.seconds.map { elapsed + $0 })
    session = SessionClock(seconds: limit.seconds)
    closing = trainer.settings.sampleEvery > 0 ? [.validation, .save, .picture] : [.validation, .save]
    session.expect(.save, 0.1 + Double(trainer.checkpointSize) / 400e6)
    plan = trainer.learningRatePlan(until: limit)
    meter = Meter(loss: trainer.state.step > 0 ? trainer.state.loss : nil)
    saved = trainer.state.step > 0 ? (step: trainer.state.step, time: clock.now) : nil
    let (isStopped, deadline) = (trainer.isStopped, session.deadline)
    isUnwanted = { isStopped() || deadline.map { ContinuousClock.now > $0 } ?? false }
    loader = trainer.makeLoader()
    try trainer.writer.begin(afterStep: trainer.state.step)
    state.goal = goal
    if state.owesValidation == true,
      validate(mayBeBest: isDue(settings.validateEvery) && isDue(settings.checkpointEvery))
    {
      state.owesValidation = nil
      if let loss = state.validationLoss {
        try trainer.writer.append(step: state.step, ["validation-loss": loss])
      }
    }
    ends = isDone
  }

  deinit { loader.stop() }

  /// Takes one step and does what is due after it: a held-out loss, a checkpoint, a picture.
  ///
  /// - Returns: the progress; nil if the training has come to its end or was cancelled.
  /// - Throws: the same as ``Trainer/train(until:phase:report:)``.
  public func advance() throws -> TrainingProgress? {
    if ends || trainer.isStopped() { return nil }
    return try trainer.writing { try step() }
  }

  /// Saves the run and records how it ended.
  ///
  /// - Throws: `UserError` if a checkpoint cannot be written.
  public func finish() throws -> TrainingOutcome {
    loader.stop()
    return try trainer.writing {
      try save()
      try trainer.writer.requireInPlace()
      // A signal after the last step has stopped nothing.
      try trainer.writer.write(RunStatus(ends ? .complete : .stopped))
      return ends ? .complete : .interrupted
    }
  }

  /// Steps between lines of `metrics.jsonl`.
  private static let logInterval = 10
  /// After this many steps in a row with a loss or gradient that is not finite, something is done about it.
  private static let patience = 10

  private var isDone: Bool {
    (limit.steps.map { state.step >= $0 } ?? false) || (meter.steps > 0 && session.isOver(closing: closing))
  }

  private func isDue(_ interval: Int) -> Bool { interval > 0 && state.step.isMultiple(of: interval) }

  private var shareOfTime: Double {
    guard let seconds = limit.seconds else { return 0 }
    return (elapsedBefore + session.elapsed) / max(1e-9, elapsedBefore + seconds - session.closing(closing))
  }

  private func validate(mayBeBest: Bool) -> Bool {
    phase(.validation)
    defer { phase(nil) }
    return session.measure(.validation) { trainer.validate(mayBeBest: mayBeBest, unless: isUnwanted) } != nil
  }

  private func save() throws {
    if saved?.step == state.step { return }
    if let broken = trainer.model.parameterWithoutFiniteValue {
      throw UserError(
        .badData, "step \(state.step): the parameter \(broken) is not finite: nothing is saved",
        hint:
          "Lower the learning rate, and go on from the latest checkpoint with: easel resume \(trainer.folder.name)")
    }
    phase(.save)
    defer { phase(nil) }
    state.elapsed = elapsedBefore + session.elapsed
    // A checkpoint saved while steps fail may be unsound, so none makes way for it.
    _ = try session.measure(.save) {
      try trainer.commit(to: trainer.writer, keep: failures == 0 ? settings.keep : .max)
    }
    saved = (state.step, clock.now)
  }

  // MARK: A step

  /// The outcome of a step.
  private struct Result {
    let metrics: Metrics
    let rate: Float
    /// What was not finite; nil if all was.
    var nonFinite: String?
    /// The parameter that is not finite; nil for none.
    var broken: String?
    var isValidated = false
    var isDrawn = false
    var alarm: String?
  }

  private func step() throws -> TrainingProgress? {
    guard var result = try compute() else { return nil }
    // On a stop signal, do only what this step has to do anyway, cut short what can be cut short, and save at the end:
    // a resumed run must match an uninterrupted one.
    ends = isDone
    if ends { state.goal = nil }
    let saves = judge(&result)
    try log(result)
    if result.nonFinite != nil, failures >= TrainingLoop.patience {
      try rollBack(&result)
    } else {
      if saves { try save() }
      try draw(&result)
    }
    return progress(result)
  }

  /// - Returns: nil if the step was abandoned; a session that goes on begins with it.
  private func compute() throws -> Result? {
    if meter.steps == 0 { phase(.firstStep) }
    let start = clock.now
    let batch = loader.next()
    let fraction = shareOfTime
    let rate = plan.rate(at: state.step, fraction: fraction)
    let found = trainer.step(
      on: batch, learningRate: rate, progress: plan.progress(at: state.step, fraction: fraction))
    if meter.steps == 0 { phase(nil) }
    guard let found else { return nil }
    let seconds = (clock.now - start) / .seconds(1)
    state.step += 1
    state.seconds += seconds
    meter.add(loss: Double(found.metrics["loss"] ?? .nan), images: batch.count, seconds: seconds)
    state.loss = meter.loss
    failures = found.nonFinite == nil ? 0 : failures + 1
    session.addStep(seconds)
    if limit.seconds != nil, let step = session.step { expectCosts(step: step) }
    // Check before anything is written by the folder's name.
    try trainer.writer.requireInPlace()
    return Result(metrics: found.metrics, rate: rate, nonFinite: found.nonFinite)
  }

  /// Takes the loss on held-out images if it is due.
  ///
  /// - Returns: whether a checkpoint is due.
  private func judge(_ result: inout Result) -> Bool {
    var validates =
      ends
      ? session.fits(.validation, before: [.save])
      : isDue(settings.validateEvery) && session.fits(.validation, before: closing, steps: 1)
    // Activations swallow NaN: a network that is partly broken may have finite losses and gradients, but learns nothing
    // from them, so it is neither judged nor saved.
    if validates || ends || isDue(settings.checkpointEvery) {
      result.broken = trainer.model.parameterWithoutFiniteValue
    }
    if let broken = result.broken {
      (result.nonFinite, failures, validates) = ("the parameter \(broken)", TrainingLoop.patience, false)
    }
    // Don't save while steps are failing; going back to such a checkpoint would be useless.
    let saves = ends || isDue(settings.checkpointEvery) && failures == 0
    // Only checkpoints at regular steps compete for best, so that where a session ends cannot change the winner.
    let mayBeBest = saves && isDue(settings.validateEvery) && isDue(settings.checkpointEvery)
    result.isValidated = validates && validate(mayBeBest: mayBeBest)
    let owes = validates && !result.isValidated && isDue(settings.validateEvery) && failures == 0
    state.owesValidation = owes ? true : nil
    return saves
  }

  private func log(_ result: Result) throws {
    let isWanted =
      ends || isDue(TrainingLoop.logInterval) || trainer.isStopped() || result.isValidated || state.step == 1
    guard isWanted || result.nonFinite != nil else { return }
    var values = result.metrics.mapValues(Double.init)
    values["smoothed-loss"] = meter.loss
    values["images-per-second"] = meter.imagesPerSecond
    values["elapsed"] = elapsedBefore + session.elapsed
    values["learning-rate"] = Double(result.rate)
    if result.isValidated { values["validation-loss"] = state.validationLoss }
    if result.nonFinite != nil { values["left-out"] = 1 }
    try trainer.writer.append(step: state.step, values)
  }

  /// Goes back to a checkpoint after steps that were not finite.
  private func rollBack(_ result: inout Result) throws {
    let (reached, what) = (state.step, result.nonFinite ?? "")
    let isBroken = result.broken != nil
    try trainer.rollBack(
      because: isBroken
        ? "\(what) is not finite"
        : "\(what) is not finite; this step and the \(TrainingLoop.patience - 1) before it are left out")
    let cause = isBroken ? "\(what) not being finite" : "\(failures) steps having been left out"
    result.alarm =
      "back from step \(reached), \(cause), with \(state.learningRateFactor ?? 1) times the learning rate"
    loader.stop()
    loader = trainer.makeLoader()
    plan = trainer.learningRatePlan(until: limit)
    try trainer.writer.begin(afterStep: state.step)
    try trainer.writer.append(
      step: state.step,
      ["roll-backs": Double(state.rollBacks ?? 0), "learning-rate-factor": state.learningRateFactor ?? 1])
    (failures, saved) = (0, (state.step, clock.now))
    ends = isDone
    state.goal = ends ? nil : goal
  }

  private func draw(_ result: inout Result) throws {
    let draws =
      ends
      ? session.fits(.picture, before: [])
      : isDue(settings.sampleEvery) && session.fits(.picture, before: closing, steps: 1)
    guard draws, settings.sampleEvery > 0 else { return }
    phase(.picture)
    defer { phase(nil) }
    result.isDrawn = try session.measure(.picture) { try trainer.drawProgress(unless: isUnwanted) } != nil
  }

  private func progress(_ result: Result) -> TrainingProgress {
    let perStep = session.elapsed / Double(max(1, meter.steps))
    let left = [
      limit.steps.map { Double($0 - state.step) * perStep }, limit.seconds.map { $0 - session.elapsed },
    ].compactMap { $0 }.min()
    let alarm = result.alarm ?? result.nonFinite.map { "\($0) is not finite, the step is left out" }
    let isDrawn = result.isDrawn || settings.sampleEvery == 0
    return TrainingProgress(
      step: state.step, lastStep: limit.steps,
      epoch: Double(state.step) * Double(settings.batchSize) / Double(state.data.trainingImages), loss: meter.loss,
      validationLoss: state.validationLoss, imagesPerSecond: meter.imagesPerSecond, remaining: left,
      savedAgo: saved.map { (clock.now - $0.time) / .seconds(1) }, alarm: alarm ?? trainer.model.alarm,
      secondsPerStep: session.step,
      expectedLastStep: limit.steps ?? session.expectedSteps(closing: closing).map { state.step + $0 },
      leftOut: ends ? (result.isValidated ? [] : [.validation]) + (isDrawn ? [] : [.picture]) : [])
  }

  /// Guesses the cost of a session's closing parts, until they are measured.
  ///
  /// - Parameter step: the seconds of a training step.
  private func expectCosts(step: Double) {
    // Forward passes only, plus a margin.
    session.expect(
      .validation,
      0.5 * step * Double(trainer.data.validationCount(settings.validationImages)) / Double(settings.batchSize))
    guard settings.sampleEvery > 0, session.costs[.picture] == nil else { return }
    let start = ContinuousClock.now
    let marks = ProgressMarks()
    let isStopped = trainer.isStopped
    let isKnown: @Sendable () -> Bool = { isStopped() || marks.count >= 2 }
    let drawn: Image?? = try? trainer.model.unlessUnwanted(isKnown) {
      try trainer.model.progressPicture(of: trainer.shownImages, captions: trainer.shownCaptions) {
        marks.add((ContinuousClock.now - start) / .seconds(1), $0)
      }
    }
    let whole = (ContinuousClock.now - start) / .seconds(1)
    session.expect(.picture, drawn == nil ? marks.whole ?? whole : whole)
  }
}

/// Records when each share of a picture was done.
private final class ProgressMarks: Sendable {
  private let marks = Mutex<[(seconds: Double, fraction: Double)]>([])

  func add(_ seconds: Double, _ fraction: Double) { marks.withLock { $0.append((seconds, fraction)) } }

  var count: Int { marks.withLock { $0.count } }

  /// Estimates the time for the whole picture, in seconds, from the first two marks: the first pass also prepares
  /// kernels.
  var whole: Double? {
    marks.withLock { marks in
      guard marks.count >= 2, marks[1].fraction > marks[0].fraction else { return nil }
      let (first, second) = (marks[0], marks[1])
      return first.seconds + (second.seconds - first.seconds) / (second.fraction - first.fraction)
        * (1 - first.fraction)
    }
  }
}

/// Smooths the figures of a training.
private struct Meter {
  private(set) var loss: Double
  private(set) var imagesPerSecond = 0.0
  private(set) var steps = 0
  private var hasLoss: Bool

  init(loss: Double?) {
    self.loss = loss ?? 0
    hasLoss = loss != nil
  }

  mutating func add(loss value: Double, images: Int, seconds: Double) {
    steps += 1
    if value.isFinite {
      loss = hasLoss ? loss + 0.02 * (value - loss) : value
      hasLoss = true
    }
    // The first step compiles kernels, so it says nothing about the speed.
    let speed = Double(images) / max(seconds, 1e-9)
    imagesPerSecond = steps <= 2 ? speed : imagesPerSecond + 0.1 * (speed - imagesPerSecond)
  }
}
