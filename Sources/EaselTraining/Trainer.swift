import EaselSupport
import Foundation
import Synchronization

/// When training stops.
public struct TrainingLimit: Sendable, Equatable {
  /// Steps from the run's beginning; nil for no such limit.
  public var steps: Int?
  /// Time in this session; nil for no such limit.
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
  /// The step at which it will stop; nil where time decides.
  public var lastStep: Int?
  /// Passes over the training images.
  public var epoch: Double
  /// Averaged over about the latest hundred steps.
  public var loss: Double
  public var validationLoss: Double?
  /// Training alone, averaged over the latest seconds.
  public var imagesPerSecond: Double
  /// Time left, in seconds.
  public var remaining: Double?
  /// Seconds since the latest checkpoint of this session.
  public var savedAgo: Double?
  /// What is going wrong, as far as the model can tell, or what was not finite in this step.
  public var alarm: String?
  /// Of a training step, in seconds; nil until it is known.
  public var secondsPerStep: Double?
  /// Where training will end, as far as can be told by now.
  public var expectedLastStep: Int?
  /// What the last step of a session was to have and there was no time for.
  public var leftOut: [TrainingPhase] = []
}

/// What a training does that may keep people waiting.
public enum TrainingPhase: Sendable {
  /// It makes the kernels.
  case firstStep
  case validation, picture, save
}

/// Why a training ended.
public enum TrainingOutcome: Sendable, Equatable {
  case complete
  /// A signal asked for it.
  case interrupted
}

/// One run: a model, its data, its folder, and the loop that trains it.
///
/// A run is a function of its settings, data and environment: the same again gives the same checkpoints, also when it was
/// stopped and resumed on the way.
public final class Trainer {
  public let model: any Model
  public let folder: RunFolder
  public let settings: TrainingSettings
  public private(set) var state: RunState
  /// Asked before every operation, by any thread: whether to stop, as after a signal. The run is saved then.
  public var isCancelled: @Sendable () -> Bool = { false }
  let configuration: ConfigurationDocument
  private let data: TrainingData
  /// Held while training: two processes must not write one run.
  private var lock: RunLock?
  private var isPrepared = false
  /// The step whose average is complete: see ``Model/refreshAverageStatistics()``.
  private var settledStep: Int?

  /// Steps in a row whose loss or gradient is not finite, after which something is done about it.
  private static let patience = 10
  private static let mostRollBacks = 3

  /// A new run.
  ///
  /// - Parameters:
  ///   - preset: what is trained.
  ///   - configuration: its settings.
  ///   - data: its images.
  ///   - counterpart: the second domain's images, for families of two.
  ///   - folder: the run's.
  ///   - backend: what computes.
  /// - Throws: `UserError` where settings and data do not fit.
  public init(
    preset: AnyPreset, configuration: ConfigurationDocument, data: DatasetSplits, counterpart: DatasetSplits? = nil,
    folder: RunFolder, backend: any Backend
  ) throws {
    let data = try TrainingData(data, counterpart, for: preset)
    settings = try configuration.decode(TrainingSettings.self)
    try settings.validate()
    let type = try settings.precision.scalarType(on: backend, convolves3x3: preset.family.convolves3x3)
    let context = ModelContext(backend: backend, type: type, seed: settings.seed, data: data.record.description)
    model = try preset.makeModel(configuration, context)
    try Trainer.requireMemory(for: model)
    model.prepareForTraining(settings)
    self.folder = folder
    self.configuration = configuration
    self.data = data
    state = RunState(
      preset: preset.name, step: 0, seconds: 0, loss: 0, validationLoss: nil,
      data: Trainer.handedOn(folder).record(data.record), environment: .init(backend, type), optimizerSteps: [:],
      averageUpdates: [:])
  }

  /// A run that goes on from a checkpoint of its own.
  ///
  /// - Parameters:
  ///   - checkpoint: the one that it goes on from.
  ///   - changes: settings that are other from here on, `KEY=VALUE`.
  ///   - data: its images.
  ///   - counterpart: the second domain's images, for families of two.
  ///   - folder: the run's.
  ///   - lock: the run's, taken before the checkpoint was looked for, so that no other process moves on meanwhile.
  ///   - backend: what computes.
  /// - Throws: `UserError` where the checkpoint or the data are not what they were, or a setting cannot change.
  public init(
    resuming checkpoint: CheckpointFolder, changes: [String] = [], data: DatasetSplits,
    counterpart: DatasetSplits? = nil, folder: RunFolder, lock: RunLock? = nil, backend: any Backend
  ) throws {
    try Trainer.requireResumable(checkpoint)
    var state = try RunState.read(checkpoint)
    let data = try TrainingData(data, counterpart, for: .named(state.preset))
    for (found, expected) in zip(data.record.all, state.data.all) where found.fingerprint != expected.fingerprint {
      throw UserError(
        .badData,
        "the data \(found.source) are not those that the run was trained on: "
          + "\(expected.trainingImages) images with hash \(expected.fingerprint.prefix(12)) expected, "
          + "\(found.trainingImages) with \(found.fingerprint.prefix(12)) found"
          + found.description.orderNote(beside: expected.description),
        hint: "Put the original data back, or start a new run with \(field: "from") \(checkpoint.path).")
    }
    let precision = Precision(rawValue: state.environment.precision.rawValue) ?? .auto
    let type = try precision.scalarType(on: backend)
    let recorded: ConfigurationDocument
    (model, recorded) = try LoadedModel.makeModel(checkpoint, state, backend: backend, type: type)
    let own = try Trainer.handedOn(folder).configuration(recorded)
    configuration = try own.changed(changes, for: .named(state.preset))
    settings = try configuration.decode(TrainingSettings.self)
    try settings.validate()
    // A rate that somebody has chosen is meant as it is.
    if configuration.changes(from: own).contains(where: { $0.key == TrainingSettings.key(\.learningRate) }) {
      state.learningRateFactor = nil
    }
    try Trainer.requireMemory(for: model)
    model.prepareForTraining(settings)
    try model.readCheckpoint(checkpoint, state: state)
    self.state = state
    self.state.data = Trainer.handedOn(folder).record(state.data)
    self.folder = folder
    self.data = data
    self.lock = lock
  }

  /// Refuses a checkpoint that training cannot go on from.
  ///
  /// - Throws: `UserError(.unavailable)` with what to do instead.
  public static func requireResumable(_ checkpoint: CheckpointFolder) throws {
    guard checkpoint.contains(CheckpointFile.weights), try !RunState.read(checkpoint).optimizerSteps.isEmpty else {
      throw UserError(
        .unavailable, "\(checkpoint.path): holds weights for pictures only, training cannot go on from it",
        hint: "Build on it with: easel train PRESET \(field: "from") \(checkpoint.path)")
    }
  }

  /// Notes the command line of a training, for whoever wants to repeat it.
  public func record(command: String) { state.commands = (state.commands ?? []) + [command] }

  /// The run's workspace, whose paths alone may be handed on.
  private static func handedOn(_ folder: RunFolder) -> HandedOn {
    HandedOn(workspace: URL(fileURLWithPath: folder.path).deletingLastPathComponent().deletingLastPathComponent().path)
  }

  /// What a checkpoint's run was set to.
  public static func configuration(of checkpoint: CheckpointFolder) throws -> ConfigurationDocument {
    try LoadedModel.configuration(of: checkpoint, RunState.read(checkpoint)).configuration
  }

  /// What is left of the length that the run was to have when it was stopped; nil where it is new or came to its end.
  public var remainder: TrainingLimit? {
    guard let goal = state.goal else { return nil }
    let limit = TrainingLimit(steps: goal.steps, seconds: goal.seconds.map { $0 - (state.elapsed ?? 0) })
    return (limit.steps ?? .max) > state.step && (limit.seconds ?? .infinity) > 0 ? limit : nil
  }

  /// The learning rate over a training of a given length.
  public func learningRatePlan(until limit: TrainingLimit) -> LearningRatePlan {
    LearningRatePlan(settings, factor: state.learningRateFactor ?? 1, until: limit)
  }

  /// What has changed since the run's latest checkpoint that can change its numbers.
  public var differences: [String] {
    LoadedModel.differences(state.environment, .init(model.context.backend, model.context.type))
  }

  /// Starts from another run's weights (its average where it has one) instead of random ones.
  public func takeWeights(from checkpoint: CheckpointFolder) throws {
    let name = checkpoint.contains(CheckpointFile.average) ? CheckpointFile.average : CheckpointFile.weights
    let file = try SafetensorsReader(path: checkpoint.path(of: name))
    for component in model.components {
      // An average, and a checkpoint for pictures, are without what only training needs.
      if component.isForTrainingOnly, !file.names.contains(where: { $0.hasPrefix(component.prefix) }) { continue }
      try component.arena.loadWeights(average: false, from: file, prefix: component.prefix)
      if component.arena.average != nil { component.arena.startAverage() }
    }
  }

  /// Proves that the run's folder can be written, and reserves it for this process.
  ///
  /// - Parameter replacing: whether what is there makes way.
  /// - Throws: `UserError`: `cannotCreate` with the path and the reason, or where another process has begun the run meanwhile.
  public func prepareFolder(replacing: Bool = false) throws {
    let needed = checkpointSize * (settings.keep + 1)
    try folder.checkWritable(reserving: max(0, needed - (replacing ? folder.size : 0)), holding: lock)
    if lock == nil { lock = try folder.lock() }
    if replacing { try folder.clear() }
    try folder.removeLeftovers()
    if state.step == 0, try folder.isRun {
      throw UserError(
        .cannotCreate, "the run \(folder.name) was begun by another process meanwhile (\(folder.path))",
        hint: "Choose another \(field: "run") name.")
    }
    try folder.write(configuration: configuration.yaml())
    isPrepared = true
  }

  /// About what a checkpoint takes on the disk, in bytes.
  private var checkpointSize: Int {
    model.components.reduce(0) { sum, component in
      sum + component.arena.count * 4 * (2 + (component.optimizer?.state.count ?? 0))
    }
  }

  /// Trains until a limit or a signal, saving on the way and at the end.
  ///
  /// A limit of time holds for all that is done: the last picture, the loss on held-out images and the checkpoint are within it.
  ///
  /// - Parameters:
  ///   - limit: where the training ends.
  ///   - phase: told what begins that may take long, and with nil that it is over.
  ///   - report: told after every step.
  /// - Throws: `UserError` when a checkpoint cannot be written or the numbers are not finite any more; the latest checkpoint is
  ///   then as it was.
  public func train(
    until limit: TrainingLimit, phase: (TrainingPhase?) -> Void = { _ in }, report: (TrainingProgress) -> Void
  ) throws -> TrainingOutcome {
    if !isPrepared { try prepareFolder() }
    try folder.write(RunStatus(.running))
    do {
      let outcome = try StopSignal.deferred { try run(until: limit, phase: phase, report: report) }
      try lock?.requireInPlace()
      try folder.write(RunStatus(outcome == .complete ? .complete : .stopped))
      return outcome
    } catch {
      // Whatever has failed, and whoever has the run's place now, is not this run's business then.
      if let lock, !lock.isInPlace { throw saveElsewhere(lock) }
      try? folder.write(RunStatus(.failed, message: error.reason))
      throw error
    }
  }

  /// Saves a run whose folder is not where it was: in the folder where it is now, or in a new one where it was deleted.
  ///
  /// - Returns: the error to end with.
  private func saveElsewhere(_ lock: RunLock) -> UserError {
    let moved = lock.movedRun
    let change = moved.map { "moved to \($0.path)" } ?? "deleted or moved out of reach"
    let problem = "\(folder.path): the run's folder was \(change) while it was being trained"
    do {
      let place = try moved ?? folder.unusedSibling()
      try place.create()
      try commit(to: place, keep: .max, holding: nil)
      try place.write(configuration: configuration.yaml())
      try place.write(RunStatus(.stopped))
      let isBeside =
        (place.path as NSString).deletingLastPathComponent == (folder.path as NSString).deletingLastPathComponent
      return UserError(
        .inputOutput, "\(problem); step \(state.step) is saved in \(place.path)",
        hint: isBeside
          ? "Go on with: easel resume \(place.name)" : "Move it into a workspace's Checkpoints folder to go on with it."
      )
    } catch {
      return UserError(
        .inputOutput, "\(problem), and step \(state.step) cannot be saved: \(error.reason)")
    }
  }

  /// What ``train(until:phase:report:)`` does between the beginning and the end.
  private func run(
    until limit: TrainingLimit, phase: (TrainingPhase?) -> Void, report: (TrainingProgress) -> Void
  ) throws -> TrainingOutcome {
    var journal = try Journal(folder, fromStep: state.step)
    var loader = makeLoader()
    defer { loader.stop() }

    let clock = ContinuousClock()
    var session = SessionClock(seconds: limit.seconds)
    let elapsedBefore = state.elapsed ?? 0
    let goal = RunState.Goal(steps: limit.steps, seconds: limit.seconds.map { elapsedBefore + $0 })
    state.goal = goal
    var plan = learningRatePlan(until: limit)
    var meter = Meter(loss: state.step > 0 ? state.loss : nil)
    var saved = state.step > 0 ? (step: state.step, time: clock.now) : nil
    var failures = 0
    // What a session ends with.
    let closing: Set<SessionClock.Part> =
      settings.sampleEvery > 0 ? [.validation, .save, .picture] : [.validation, .save]
    session.expect(.save, 0.1 + Double(checkpointSize) / 400e6)
    let deadline = session.deadline
    let isStopped = isStopped
    let isUnwanted: @Sendable () -> Bool = {
      isStopped() || deadline.map { ContinuousClock.now > $0 } ?? false
    }

    func isDone() -> Bool {
      (limit.steps.map { state.step >= $0 } ?? false) || (meter.steps > 0 && session.isOver(closing: closing))
    }
    func isDue(_ interval: Int) -> Bool { interval > 0 && state.step.isMultiple(of: interval) }
    func shareOfTime() -> Double {
      guard let seconds = limit.seconds else { return 0 }
      return (elapsedBefore + session.elapsed) / max(1e-9, elapsedBefore + seconds - session.closing(closing))
    }
    func validate(mayBeBest: Bool) -> Bool {
      phase(.validation)
      defer { phase(nil) }
      return session.measure(.validation) { self.validate(mayBeBest: mayBeBest, unless: isUnwanted) } != nil
    }
    func save() throws {
      if saved?.step == state.step { return }
      if let broken = model.parameterWithoutFiniteValue {
        throw UserError(
          .badData, "step \(state.step): the parameter \(broken) is not finite: nothing is saved",
          hint: "Lower the learning rate, and go on from the latest checkpoint with: easel resume \(folder.name)")
      }
      phase(.save)
      defer { phase(nil) }
      try journal.sync()
      state.elapsed = elapsedBefore + session.elapsed
      // What is saved while steps fail may be unsound: nothing makes way for it.
      _ = try session.measure(.save) {
        try commit(to: folder, keep: failures == 0 ? settings.keep : .max, holding: lock)
      }
      saved = (state.step, clock.now)
    }

    if state.owesValidation == true,
      validate(mayBeBest: isDue(settings.validateEvery) && isDue(settings.checkpointEvery))
    {
      state.owesValidation = nil
      if let loss = state.validationLoss { try journal.append(step: state.step, ["validation-loss": loss]) }
    }
    var ends = isDone()
    while !ends, !isStopped() {
      if meter.steps == 0 { phase(.firstStep) }
      let stepStart = clock.now
      let batch = loader.next()
      let share = shareOfTime()
      let rate = plan.rate(at: state.step, share: share)
      let result = step(
        on: batch, learningRate: rate, progress: plan.progress(at: state.step, share: share))
      if meter.steps == 0 { phase(nil) }
      // One that was given up was not: a session that goes on begins with it.
      guard case (let metrics, var nonFinite)? = result else { break }
      let seconds = (clock.now - stepStart) / .seconds(1)
      state.step += 1
      state.seconds += seconds
      meter.add(loss: Double(metrics["loss"] ?? .nan), images: batch.count, seconds: seconds)
      state.loss = meter.loss
      failures = nonFinite == nil ? 0 : failures + 1
      session.addStep(seconds)
      if limit.seconds != nil, let step = session.step { expectCosts(&session, step: step) }
      // Before anything is written by the folder's name.
      try lock?.requireInPlace()

      // A signal adds nothing to what this step has to do but the save after the loop, and cuts short what it may: the run is to
      // go on as if there had been none.
      ends = isDone()
      if ends { state.goal = nil }
      var validates =
        ends
        ? session.fits(.validation, before: [.save])
        : isDue(settings.validateEvery) && session.fits(.validation, before: closing, steps: 1)
      // Activations swallow NaN: a network that is broken in part may have finite losses and gradients, but learns nothing from
      // them and is neither judged nor saved.
      let broken = validates || ends || isDue(settings.checkpointEvery) ? model.parameterWithoutFiniteValue : nil
      if let broken { (nonFinite, failures, validates) = ("the parameter \(broken)", Trainer.patience, false) }
      // What is saved while steps fail would be no place to go back to.
      let saves = ends || isDue(settings.checkpointEvery) && failures == 0
      // Nor may where a session ends decide which checkpoint is the best.
      let mayBeBest = saves && isDue(settings.validateEvery) && isDue(settings.checkpointEvery)
      let isValidated = validates && validate(mayBeBest: mayBeBest)
      let owes = validates && !isValidated && isDue(settings.validateEvery) && failures == 0
      state.owesValidation = owes ? true : nil
      if ends || isDue(Trainer.logInterval) || isStopped() || isValidated || state.step == 1
        || nonFinite != nil
      {
        var values = metrics.mapValues(Double.init)
        values["smoothed-loss"] = meter.loss
        values["images-per-second"] = meter.imagesPerSecond
        values["learning-rate"] = Double(rate)
        if isValidated { values["validation-loss"] = state.validationLoss }
        if nonFinite != nil { values["left-out"] = 1 }
        try journal.append(step: state.step, values)
      }
      var isDrawn = false
      var alarm = nonFinite.map { "\($0) is not finite, the step is left out" }
      if let nonFinite, failures >= Trainer.patience {
        let reached = state.step
        let cause = broken != nil ? "\(nonFinite) not being finite" : "\(failures) steps having been left out"
        try rollBack(
          because: broken != nil
            ? "\(nonFinite) is not finite"
            : "\(nonFinite) is not finite; this step and the \(Trainer.patience - 1) before it are left out")
        alarm =
          "back from step \(reached), \(cause), with \(state.learningRateFactor ?? 1) times the learning rate"
        loader.stop()
        loader = makeLoader()
        plan = learningRatePlan(until: limit)
        journal = try Journal(folder, fromStep: state.step)
        try journal.append(
          step: state.step,
          ["roll-backs": Double(state.rollBacks ?? 0), "learning-rate-factor": state.learningRateFactor ?? 1])
        (failures, saved) = (0, (state.step, clock.now))
        ends = isDone()
        state.goal = ends ? nil : goal
      } else {
        if saves { try save() }
        let draws =
          ends
          ? session.fits(.picture, before: [])
          : isDue(settings.sampleEvery) && session.fits(.picture, before: closing, steps: 1)
        if draws, settings.sampleEvery > 0 {
          phase(.picture)
          defer { phase(nil) }
          isDrawn = try session.measure(.picture) { try drawProgress(into: journal, unless: isUnwanted) } != nil
        }
      }

      let perStep = session.elapsed / Double(max(1, meter.steps))
      let left = [
        limit.steps.map { Double($0 - state.step) * perStep }, limit.seconds.map { $0 - session.elapsed },
      ].compactMap { $0 }.min()
      report(
        TrainingProgress(
          step: state.step, lastStep: limit.steps,
          epoch: Double(state.step) * Double(settings.batchSize) / Double(state.data.trainingImages), loss: meter.loss,
          validationLoss: state.validationLoss, imagesPerSecond: meter.imagesPerSecond, remaining: left,
          savedAgo: saved.map { (clock.now - $0.time) / .seconds(1) },
          alarm: alarm ?? model.alarm, secondsPerStep: session.step,
          expectedLastStep: limit.steps ?? session.expectedSteps(closing: closing).map { state.step + $0 },
          leftOut: ends
            ? (isValidated ? [] : [.validation]) + (isDrawn || settings.sampleEvery == 0 ? [] : [.picture]) : []
        ))
    }
    try save()
    // A signal that came after the last step has stopped nothing.
    return ends ? .complete : .interrupted
  }

  /// Whether a signal has come or the owner wants no more.
  private var isStopped: @Sendable () -> Bool {
    let isCancelled = isCancelled
    return { StopSignal.received != nil || isCancelled() }
  }

  private func makeLoader() -> DataLoader {
    DataLoader(
      data.images.train, batchSize: settings.batchSize, seed: settings.seed, augmentation: settings.augmentation,
      counterpart: data.counterpart.map { ($0.train, data.isPaired) }, startingAtStep: state.step)
  }

  /// - Returns: nil for a step that a signal has cut short, of which nothing remains.
  private func step(
    on batch: Batch, learningRate: Float, progress: Double
  ) -> (metrics: Metrics, nonFinite: String?)? {
    let step = TrainingStep(index: state.step, settings: settings, learningRate: learningRate, progress: progress)
    return model.guardedStep(batch, step, unless: isStopped).map { ($0.metrics, $0.nonFinite) }
  }

  /// Guesses what a session has to end with, until it is measured.
  ///
  /// - Parameter step: what a training step takes, in seconds.
  private func expectCosts(_ session: inout SessionClock, step: Double) {
    // Forwards only, and somewhat more to be sure.
    session.expect(
      .validation, 0.5 * step * Double(data.validationCount(settings.validationImages)) / Double(settings.batchSize))
    guard settings.sampleEvery > 0, session.costs[.picture] == nil else { return }
    let start = ContinuousClock.now
    let marks = ProgressMarks()
    let isStopped = isStopped
    let isKnown: @Sendable () -> Bool = { isStopped() || marks.count >= 2 }
    let drawn: Image?? = try? model.unlessUnwanted(isKnown) {
      try model.progressPicture(of: shownImages) { marks.add((ContinuousClock.now - start) / .seconds(1), $0) }
    }
    let whole = (ContinuousClock.now - start) / .seconds(1)
    session.expect(.picture, drawn == nil ? marks.whole ?? whole : whole)
  }

  /// The held-out images that pictures of the progress are made of.
  private var shownImages: [Image] {
    let images = data.images.validation
    return images.images(0..<min(8, images.count))
  }

  private func refreshAverageStatistics() {
    if settledStep == state.step { return }
    model.refreshAverageStatistics(until: isStopped)
    // What a signal has cut short is good enough for pictures, and made anew before anything is compared.
    settledStep = isStopped() ? nil : state.step
  }

  /// Takes the loss on held-out images, and notes a step that may be the best where none was better.
  ///
  /// - Returns: nil where it was given up.
  private func validate(mayBeBest: Bool, unless isUnwanted: @escaping @Sendable () -> Bool) -> Void? {
    if isUnwanted() { return nil }
    refreshAverageStatistics()
    guard let loss = model.unlessUnwanted(isUnwanted, validationLoss) else { return nil }
    state.validationLoss = loss.isFinite ? loss : nil
    if mayBeBest, loss < state.best?.validationLoss ?? .infinity {
      state.best = RunState.Best(step: state.step, validationLoss: loss)
    }
    return ()
  }

  /// Draws what the model can do by now, always of the same noise or images.
  ///
  /// - Returns: nil where it was given up.
  private func drawProgress(into journal: Journal, unless isUnwanted: @escaping @Sendable () -> Bool) throws -> Void? {
    if isUnwanted() { return nil }
    refreshAverageStatistics()
    guard let drawn = try model.unlessUnwanted(isUnwanted, { try model.progressPicture(of: shownImages) }) else {
      return nil
    }
    guard let picture = drawn else { return () }
    let weights = model.components.contains { $0.arena.average != nil } ? "ema" : "raw"
    let recipe: PNGText = [
      "parameters": "easel train\nStep: \(state.step), Model: \(state.preset), Seed: 0, Weights: \(weights), "
        + "Version: easel \(easelVersion)"
    ]
    let png = try picture.pngData(text: recipe)
    try lock?.requireInPlace()
    try folder.write(samples: png, step: state.step)
    try journal.append(step: state.step, picture, png: png)
    return ()
  }

  /// Goes back to the latest checkpoint, to go on from there with half the learning rate.
  ///
  /// - Throws: `UserError` where there is no such checkpoint, or where that was done often enough or is not wanted.
  private func rollBack(because cause: String) throws {
    let rollBacks = (state.rollBacks ?? 0) + 1
    let factor = (state.learningRateFactor ?? 1) / 2
    guard settings.onDivergence == .rollBack, rollBacks <= Trainer.mostRollBacks, try !folder.checkpointSteps.isEmpty
    else {
      throw UserError(
        .badData,
        "step \(state.step): \(cause)",
        hint:
          "Lower the learning rate: easel train … \(field: "learning-rate") \(settings.learningRate * Float(factor))")
    }
    var checkpoint = try folder.newestValid().checkpoint
    // Where going back there did not help, the checkpoint itself may be what is wrong.
    if checkpoint.step == state.rolledBackTo, let older = try? folder.newestValid(before: checkpoint.step).checkpoint {
      try folder.discard(checkpoint)
      checkpoint = older
    }
    var restored = try RunState.read(checkpoint)
    try model.readCheckpoint(checkpoint, state: restored)
    (restored.rollBacks, restored.rolledBackTo) = (rollBacks, checkpoint.step)
    restored.learningRateFactor = factor
    (restored.commands, restored.seconds) = (state.commands, state.seconds)
    state = restored
    settledStep = nil
  }

  /// Steps between lines of `metrics.jsonl`.
  private static let logInterval = 10

  /// The mean loss over the first held-out images, by the average's weights where there is an average.
  public func validationLoss() -> Double {
    let (count, batches) = data.validation(settings.validationImages, batchSize: min(64, settings.batchSize))
    let sum = batches.reduce(0.0) { $0 + Double(model.validationLoss($1)) * Double($1.count) }
    return sum / Double(max(1, count))
  }

  private func commit(to folder: RunFolder, keep: Int, holding lock: RunLock?) throws {
    refreshAverageStatistics()
    state.environment = .init(model.context.backend, model.context.type)
    for component in model.components {
      state.optimizerSteps[component.name] = component.optimizer?.stepCount
      state.averageUpdates[component.name] = component.averageUpdates
    }
    try folder.checkSpace(for: checkpointSize)
    _ = try folder.commit(step: state.step, keep: keep, best: state.best?.step, holding: lock) { temporary in
      try model.writeCheckpoint(to: temporary, state: state, configuration: configuration)
    }
  }
}

/// What a run learns from, of one domain or two.
private struct TrainingData {
  let images: DatasetSplits
  let counterpart: DatasetSplits?
  let isPaired: Bool
  let record: RunState.DataRecord

  /// - Throws: `UserError` where there are not as many data sets as the family takes, or they do not fit together.
  init(_ images: DatasetSplits, _ counterpart: DatasetSplits?, for preset: AnyPreset) throws {
    isPaired = preset.family.domains == .paired
    switch (preset.family.domains, counterpart) {
    case (.one, nil):
      (self.images, self.counterpart) = (images, nil)
    case (.unpaired, let counterpart?), (.paired, let counterpart?):
      let matched = try DatasetSplits.matched(images, counterpart, isPaired: isPaired)
      (self.images, self.counterpart) = (matched.a, matched.b)
    case (.one, _): throw UserError(.usage, "\(preset.name) learns from one data set, found two")
    case (_, nil): throw UserError(.usage, "\(preset.name) learns from two data sets, found one")
    }
    var record = RunState.DataRecord(self.images)
    record.counterparts = self.counterpart.map { [RunState.DataRecord($0)] }
    self.record = record
  }

  /// How many held-out images a loss is taken over.
  func validationCount(_ limit: Int) -> Int {
    min(limit, images.validation.count, counterpart?.validation.count ?? .max)
  }

  /// The first held-out images, as batches in order, and how many they are.
  func validation(_ limit: Int, batchSize: Int) -> (count: Int, batches: [Batch]) {
    let count = validationCount(limit)
    func batches(_ splits: DatasetSplits) -> SequentialBatches {
      splits.validation.subset(0..<count).batches(of: batchSize)
    }
    guard let counterpart else { return (count, Array(batches(images))) }
    return (count, zip(batches(images), batches(counterpart)).map { $0.with(counterpart: $1) })
  }
}

extension DataDescription {
  /// Says where the same classes come in another order, as numbers did in earlier versions.
  fileprivate func orderNote(beside expected: DataDescription) -> String {
    guard classNames != expected.classNames, classNames.sorted() == expected.classNames.sorted() else { return "" }
    func list(_ description: DataDescription) -> String { description.list(Array(description.classNames.indices)) }
    return "; the classes are the same in another order: \(list(expected)) then, \(list(self)) now"
  }
}

extension RunState.DataRecord {
  fileprivate init(_ data: DatasetSplits) {
    self.init(
      name: data.train.name, source: data.train.source, fingerprint: data.train.fingerprint,
      trainingImages: data.train.count, validationImages: data.validation.count, split: data.rule,
      description: DataDescription(data.train), counterparts: nil)
  }

  /// This and those of further domains.
  var all: [RunState.DataRecord] { [self] + (counterparts ?? []) }
}

/// When which share of a picture was done.
private final class ProgressMarks: Sendable {
  private let marks = Mutex<[(seconds: Double, share: Double)]>([])

  func add(_ seconds: Double, _ share: Double) { marks.withLock { $0.append((seconds, share)) } }

  var count: Int { marks.withLock { $0.count } }

  /// What the whole picture will take, in seconds, by the first two marks: the first pass also makes kernels.
  var whole: Double? {
    marks.withLock { marks in
      guard marks.count >= 2, marks[1].share > marks[0].share else { return nil }
      let (first, second) = (marks[0], marks[1])
      return first.seconds + (second.seconds - first.seconds) / (second.share - first.share) * (1 - first.share)
    }
  }
}

/// Smooths what a training shows.
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
    // The first step compiles kernels: it says nothing of the speed.
    let speed = Double(images) / max(seconds, 1e-9)
    imagesPerSecond = steps <= 2 ? speed : imagesPerSecond + 0.1 * (speed - imagesPerSecond)
  }
}
