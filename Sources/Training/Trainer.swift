import Foundation

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
  let configuration: ConfigurationDocument
  private let data: TrainingData
  /// Held while training: two processes must not write one run.
  private var lock: RunLock?
  private var isPrepared = false

  /// Steps in a row whose loss or gradient is not finite, after which something is done about it.
  private static let patience = 10
  private static let mostRollBacks = 3

  /// A new run.
  ///
  /// - Parameter counterpart: the second domain's images, for families of two.
  /// - Throws: `UserError` where settings and data do not fit.
  public init(
    preset: AnyPreset, configuration: ConfigurationDocument, data: DatasetSplits, counterpart: DatasetSplits? = nil,
    folder: RunFolder, backend: any Backend
  ) throws {
    let data = try TrainingData(data, counterpart, for: preset)
    settings = try configuration.decode(TrainingSettings.self)
    try settings.validate()
    let type = try settings.precision.scalarType(on: backend)
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
  /// - Parameter lock: the run's, taken before the checkpoint was looked for, so that no other process moves on meanwhile.
  /// - Throws: `UserError` where the checkpoint or the data are not what they were.
  public init(
    resuming checkpoint: CheckpointFolder, data: DatasetSplits, counterpart: DatasetSplits? = nil, folder: RunFolder,
    lock: RunLock? = nil, backend: any Backend
  ) throws {
    try Trainer.requireResumable(checkpoint)
    let state = try RunState.read(checkpoint)
    let data = try TrainingData(data, counterpart, for: .named(state.preset))
    for (found, expected) in zip(data.record.all, state.data.all) where found.fingerprint != expected.fingerprint {
      throw UserError(
        .badData,
        "the data \(found.source) are not those that the run was trained on: "
          + "\(expected.trainingImages) images with hash \(expected.fingerprint.prefix(12)) expected, "
          + "\(found.trainingImages) with \(found.fingerprint.prefix(12)) found",
        hint: "Put the original data back, or start a new run with --from \(checkpoint.path).")
    }
    let precision = Precision(rawValue: state.environment.precision.rawValue) ?? .auto
    let type = try precision.scalarType(on: backend)
    let recorded: ConfigurationDocument
    (model, recorded) = try LoadedModel.makeModel(checkpoint, state, backend: backend, type: type)
    configuration = try Trainer.handedOn(folder).configuration(recorded)
    settings = try configuration.decode(TrainingSettings.self)
    try settings.validate()
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
        hint: "Build on it with: easel train PRESET --from \(checkpoint.path)")
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
        hint: "Choose another --run name.")
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
  /// - Parameter report: told after every step.
  /// - Throws: `UserError` when a checkpoint cannot be written or the numbers are not finite any more; the latest checkpoint is
  ///   then as it was.
  public func train(until limit: TrainingLimit, report: (TrainingProgress) -> Void) throws -> TrainingOutcome {
    if !isPrepared { try prepareFolder() }
    try folder.write(RunStatus(.running))
    do {
      let outcome = try StopSignal.deferred { try run(until: limit, report: report) }
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

  /// What ``train(until:report:)`` does between the beginning and the end.
  private func run(until limit: TrainingLimit, report: (TrainingProgress) -> Void) throws -> TrainingOutcome {
    var journal = try Journal(folder, fromStep: state.step)
    var loader = makeLoader()
    defer { loader.stop() }

    let clock = ContinuousClock()
    let start = clock.now
    var meter = Meter(loss: state.step > 0 ? state.loss : nil)
    var saved = state.step > 0 ? (step: state.step, time: clock.now) : nil
    var failures = 0

    func elapsed() -> Double { (clock.now - start) / .seconds(1) }
    func isDone() -> Bool {
      (limit.steps.map { state.step >= $0 } ?? false) || (limit.seconds.map { elapsed() >= $0 } ?? false)
    }
    func save() throws {
      if saved?.step == state.step { return }
      try journal.sync()
      // What is saved while steps fail may be unsound: nothing makes way for it.
      try commit(to: folder, keep: failures == 0 ? settings.keep : .max, holding: lock)
      saved = (state.step, clock.now)
    }

    while !isDone(), StopSignal.received == nil {
      let stepStart = clock.now
      let batch = loader.next()
      let (result, obstacle) = step(on: batch)
      let seconds = (clock.now - stepStart) / .seconds(1)
      state.step += 1
      state.seconds += seconds
      meter.add(loss: Double(result["loss"] ?? .nan), images: batch.count, seconds: seconds)
      state.loss = meter.loss
      failures = obstacle == nil ? 0 : failures + 1
      // Before anything is written by the folder's name.
      try lock?.requireInPlace()

      // A signal adds nothing to what this step has to do but the save after the loop: who sends it may not wait long, and the run
      // is to go on as if there had been none.
      let ends = isDone()
      func isDue(_ interval: Int) -> Bool { interval > 0 && state.step.isMultiple(of: interval) }
      let validates = ends || isDue(settings.validateEvery)
      // What is saved while steps fail would be no place to go back to.
      let saves = ends || isDue(settings.checkpointEvery) && failures == 0
      // Nor may where a session ends decide which checkpoint is the best.
      let mayBeBest = saves && isDue(settings.validateEvery) && isDue(settings.checkpointEvery)
      if validates { judge(mayBeBest: mayBeBest) }
      if ends || isDue(Trainer.logInterval) || StopSignal.received != nil || validates || state.step == 1
        || obstacle != nil
      {
        var values = result.mapValues(Double.init)
        values["smoothed-loss"] = meter.loss
        values["images-per-second"] = meter.imagesPerSecond
        if validates { values["validation-loss"] = state.validationLoss }
        if obstacle != nil { values["left-out"] = 1 }
        try journal.append(step: state.step, values)
      }
      var alarm = obstacle.map { "\($0) is not finite, the step is left out" }
      if let obstacle, failures >= Trainer.patience {
        let reached = state.step
        try rollBack(because: obstacle)
        alarm =
          "back from step \(reached), \(failures) steps having been left out, with \(state.learningRateFactor ?? 1) "
          + "times the learning rate"
        loader.stop()
        loader = makeLoader()
        journal = try Journal(folder, fromStep: state.step)
        try journal.append(
          step: state.step,
          ["roll-backs": Double(state.rollBacks ?? 0), "learning-rate-factor": state.learningRateFactor ?? 1])
        (failures, saved) = (0, (state.step, clock.now))
      } else {
        if saves { try save() }
        if settings.sampleEvery > 0, ends || isDue(settings.sampleEvery) { try draw(into: journal) }
      }

      let perStep = elapsed() / Double(max(1, meter.steps))
      let left = [
        limit.steps.map { Double($0 - state.step) * perStep }, limit.seconds.map { $0 - elapsed() },
      ].compactMap { $0 }.min()
      report(
        TrainingProgress(
          step: state.step, lastStep: limit.steps,
          epoch: Double(state.step) * Double(settings.batchSize) / Double(state.data.trainingImages), loss: meter.loss,
          validationLoss: state.validationLoss, imagesPerSecond: meter.imagesPerSecond, remaining: left,
          savedAgo: saved.map { (clock.now - $0.time) / .seconds(1) },
          alarm: alarm ?? model.alarm))
    }
    // A signal that came after the last step has stopped nothing.
    let outcome = isDone() ? TrainingOutcome.complete : .interrupted
    try save()
    return outcome
  }

  private func makeLoader() -> DataLoader {
    DataLoader(
      data.images.train, batchSize: settings.batchSize, seed: settings.seed, augmentation: settings.augmentation,
      counterpart: data.counterpart.map { ($0.train, data.isPaired) }, startingAtStep: state.step)
  }

  private func step(on batch: Batch) -> (metrics: Metrics, obstacle: String?) {
    var settings = settings
    settings.learningRate *= Float(state.learningRateFactor ?? 1)
    return model.guardedStep(batch, TrainingStep(index: state.step, settings: settings))
  }

  /// Takes the loss on held-out images, and notes a step that may be the best where none was better.
  private func judge(mayBeBest: Bool) {
    model.settleAverage()
    let loss = validationLoss()
    state.validationLoss = loss.isFinite ? loss : nil
    if mayBeBest, loss < state.best?.validationLoss ?? .infinity {
      state.best = RunState.Best(step: state.step, validationLoss: loss)
    }
  }

  /// Draws what the model can do by now, always of the same noise or images.
  private func draw(into journal: Journal) throws {
    model.settleAverage()
    let images = data.images.validation
    guard let picture = try model.progressPicture(of: images.images(0..<min(8, images.count))) else { return }
    let weights = model.components.contains { $0.arena.average != nil } ? "ema" : "raw"
    let recipe: PNGText = [
      "parameters": "easel train\nStep: \(state.step), Model: \(state.preset), Seed: 0, Weights: \(weights), "
        + "Version: easel \(easelVersion)"
    ]
    let png = try picture.pngData(text: recipe)
    try lock?.requireInPlace()
    try folder.write(samples: png, step: state.step)
    try journal.append(step: state.step, picture, png: png)
  }

  /// Goes back to the latest checkpoint, to go on from there with half the learning rate.
  ///
  /// - Throws: `UserError` where there is no such checkpoint, or where that was done often enough or is not wanted.
  private func rollBack(because obstacle: String) throws {
    let rollBacks = (state.rollBacks ?? 0) + 1
    let factor = (state.learningRateFactor ?? 1) / 2
    guard settings.onDivergence == .rollBack, rollBacks <= Trainer.mostRollBacks, try !folder.checkpointSteps.isEmpty
    else {
      throw UserError(
        .badData,
        "step \(state.step): \(obstacle) is not finite; this step and the \(Trainer.patience - 1) before it are left out",
        hint: "Lower the learning rate: easel train … --learning-rate \(settings.learningRate * Float(factor))")
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
    model.settleAverage()
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

  /// The first held-out images, as batches in order, and how many they are.
  func validation(_ limit: Int, batchSize: Int) -> (count: Int, batches: [Batch]) {
    let count = min(limit, images.validation.count, counterpart?.validation.count ?? .max)
    func batches(_ splits: DatasetSplits) -> SequentialBatches {
      splits.validation.subset(0..<count).batches(of: batchSize)
    }
    guard let counterpart else { return (count, Array(batches(images))) }
    return (count, zip(batches(images), batches(counterpart)).map { $0.with(counterpart: $1) })
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
