import EaselSupport
import EaselText
import Foundation
import Synchronization

/// A run: a model, its data, its folder, and the loop that trains it.
///
/// A run is a function of its settings, data and environment: the same ones give the same checkpoints, even if the run
/// was stopped and resumed on the way.
public final class Trainer {
  public let model: any Model
  public let folder: RunFolder
  public let settings: TrainingSettings
  public internal(set) var state: RunState
  /// Asked by any thread before every operation whether to stop, as after a signal. The run is then saved.
  public var isCancelled: @Sendable () -> Bool = { false }
  let configuration: ConfigurationDocument
  let data: TrainingData
  /// The checkpoints of the model's parts.
  let parts: PartCheckpoints
  /// Held while training: two processes must not write one run.
  private(set) var lock: RunLock?
  /// Where the run's records go: into its folder, unless the owner wants them elsewhere or nowhere.
  public lazy var writer: any RunWriter = FolderRunWriter(folder) { [unowned self] in self.lock }
  private var isPrepared = false
  /// The step at which the average was completed; see ``Model/refreshAverageStatistics()``.
  private var settledStep: Int?

  /// After this many steps in a row with a loss or gradient that is not finite, something is done about it.
  static let patience = 10
  private static let maximumRollBacks = 3

  /// Makes a new run.
  ///
  /// - Parameters:
  ///   - preset: the preset to train.
  ///   - configuration: its settings.
  ///   - data: its images.
  ///   - counterpart: the second domain's images, for families of two.
  ///   - parts: the checkpoints of the parts that the settings name; nil if these are paths of checkpoints' folders.
  ///   - origin: the checkpoint whose weights the run will start from; nil for random ones. A model that reads texts keeps
  ///     its tokenizer.
  ///   - folder: the run's folder.
  ///   - backend: the backend that computes.
  /// - Throws: `UserError` if settings and data do not fit together.
  public init(
    preset: AnyPreset, configuration: ConfigurationDocument, data: DatasetSplits, counterpart: DatasetSplits? = nil,
    parts: PartCheckpoints? = nil, origin: CheckpointFolder? = nil, folder: RunFolder, backend: any Backend
  ) throws {
    let data = try TrainingData(data, counterpart, for: preset)
    settings = try configuration.decode(TrainingSettings.self)
    try settings.validate()
    let type = try settings.precision.scalarType(on: backend, convolves3x3: preset.family.convolves3x3)
    self.parts = try parts ?? PartCheckpoints(configuration, of: preset) { try CheckpointFolder.open($0) }
    let models = try self.parts.models(on: backend)
    let vocabulary = try preset.vocabulary(
      configuration, captions: data.images.train.annotations.captions, parts: models
    ).map { learned in
      // A text encoder of another checkpoint comes with its tokenizer.
      let isPart = models.values.contains { $0 is any TextEncoding }
      return try isPart ? learned : origin?.vocabulary()?.adding(wordsOf: learned) ?? learned
    }
    let context = ModelContext(
      backend: backend, type: type, seed: settings.seed, data: data.record.description, parts: models,
      vocabulary: vocabulary)
    model = try preset.makeModel(configuration, context)
    try Trainer.requireMemory(for: model)
    model.prepareForTraining(settings)
    self.folder = folder
    let handedOn = Trainer.handedOn(folder)
    self.configuration = try handedOn.configuration(configuration, of: preset)
    self.data = data
    state = RunState(
      preset: preset.name, step: 0, seconds: 0, loss: 0, validationLoss: nil,
      data: handedOn.record(vocabulary == nil ? data.record : data.captionedRecord),
      environment: .init(backend, type), optimizerSteps: [:],
      averageUpdates: [:])
  }

  /// Makes a run that goes on from its own checkpoint.
  ///
  /// - Parameters:
  ///   - checkpoint: the checkpoint to go on from.
  ///   - changes: settings that change from here on, `KEY=VALUE`.
  ///   - data: its images.
  ///   - counterpart: the second domain's images, for families of two.
  ///   - folder: the run's folder.
  ///   - lock: the run's lock, taken before the checkpoint was looked for, so that no other process goes on in between.
  ///   - backend: the backend that computes.
  /// - Throws: `UserError` if the checkpoint or the data have changed, or if a setting cannot change.
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
    if let expected = state.data.captions, expected != data.captionedRecord.captions {
      throw UserError(
        .badData,
        "the captions of \(data.record.source) are not those that the run was trained with: expected the hash "
          + "\(expected.prefix(12)), found \(data.captionedRecord.captions?.prefix(12) ?? "no captions")",
        hint: "Put the original captions back, or start a new run with \(field: "from") \(checkpoint.path).")
    }
    let precision = Precision(rawValue: state.environment.precision.rawValue) ?? .auto
    let type = try precision.scalarType(on: backend)
    let recorded: ConfigurationDocument
    parts = try PartCheckpoints(beside: checkpoint, state)
    (model, recorded) = try LoadedModel.makeModel(checkpoint, state, with: parts, backend: backend, type: type)
    let own = try Trainer.handedOn(folder).configuration(recorded, of: .named(state.preset))
    configuration = try own.changed(changes, for: .named(state.preset))
    settings = try configuration.decode(TrainingSettings.self)
    try settings.validate()
    // A learning rate that a person has chosen is not lowered.
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

  /// Records the command line of a training, so that it can be repeated.
  public func record(command: String) { state.commands = (state.commands ?? []) + [command] }

  /// The run's workspace; only paths inside it may be handed on.
  private static func handedOn(_ folder: RunFolder) -> HandedOn {
    HandedOn(workspace: URL(fileURLWithPath: folder.path).deletingLastPathComponent().deletingLastPathComponent().path)
  }

  /// The settings of a checkpoint's run.
  public static func configuration(of checkpoint: CheckpointFolder) throws -> ConfigurationDocument {
    try LoadedModel.configuration(of: checkpoint, RunState.read(checkpoint)).configuration
  }

  /// The rest of the length that the run had when it was stopped; nil if it is new or came to its end.
  public var remainder: TrainingLimit? {
    guard let goal = state.goal else { return nil }
    let limit = TrainingLimit(steps: goal.steps, seconds: goal.seconds.map { $0 - (state.elapsed ?? 0) })
    return (limit.steps ?? .max) > state.step && (limit.seconds ?? .infinity) > 0 ? limit : nil
  }

  /// The learning rate over a training of a given length.
  public func learningRatePlan(until limit: TrainingLimit) -> LearningRatePlan {
    LearningRatePlan(settings, factor: state.learningRateFactor ?? 1, until: limit)
  }

  /// Changes since the run's latest checkpoint that can affect its numbers.
  public var differences: [String] {
    LoadedModel.differences(state.environment, .init(model.context.backend, model.context.type))
  }

  /// Starts from another run's weights (its average, if it has one) instead of random ones.
  public func takeWeights(from checkpoint: CheckpointFolder) throws {
    let name = checkpoint.contains(CheckpointFile.average) ? CheckpointFile.average : CheckpointFile.weights
    let file = try SafetensorsReader(path: checkpoint.path(of: name))
    for component in model.components {
      // An average, and a checkpoint for pictures, do not contain what only training needs.
      if component.role == .trainingOnly, !file.names.contains(where: { $0.hasPrefix(component.prefix) }) { continue }
      try component.arena.loadWeights(average: false, from: file, prefix: component.prefix)
      if component.arena.average != nil { component.arena.startAverage() }
    }
  }

  /// Makes sure that the run's folder can be written, and reserves it for this process.
  ///
  /// - Parameter replacing: whether an existing run makes way.
  /// - Throws: `UserError`: `cannotCreate` with the path and the reason, or if another process has begun the run
  ///   meanwhile.
  public func prepareFolder(replacing: Bool = false) throws {
    let needed = checkpointSize * (settings.keep + 1)
    try folder.checkWritable(reserving: max(0, needed - (replacing ? folder.size : 0)), holding: lock)
    if lock == nil { lock = try folder.lock() }
    if replacing {
      try parts.requireOutside(of: folder)
      try folder.clear()
    }
    try folder.removeLeftovers()
    if state.step == 0, try folder.isRun {
      throw UserError(
        .cannotCreate, "the run \(folder.name) was begun by another process meanwhile (\(folder.path))",
        hint: "Choose another \(field: "run") name.")
    }
    state.parts = try parts.copy(into: folder, as: .float32, on: model.context.backend)
    try folder.write(configuration: configuration.yaml())
    isPrepared = true
  }

  /// The approximate size of a checkpoint on the disk, in bytes.
  var checkpointSize: Int {
    model.components.lazy.filter { $0.role != .frozen }.reduce(0) { sum, component in
      sum + component.arena.count * 4 * (2 + (component.optimizer?.state.count ?? 0))
    }
  }

  /// Trains until a limit or a signal, and saves on the way and at the end.
  ///
  /// A time limit includes everything: the last picture, the held-out loss and the checkpoint.
  ///
  /// - Parameters:
  ///   - limit: where the training ends.
  ///   - phase: receives the phase that begins and may take long, and nil when it is over.
  ///   - report: called after every step.
  /// - Throws: `UserError` if a checkpoint cannot be written or if the numbers are no longer finite; the latest
  ///   checkpoint is then unchanged.
  public func train(
    until limit: TrainingLimit, phase: @escaping (TrainingPhase?) -> Void = { _ in },
    report: (TrainingProgress) -> Void
  ) throws -> TrainingOutcome {
    try StopSignal.deferred {
      let loop = try begin(until: limit, phase: phase)
      while let progress = try loop.advance() { report(progress) }
      return try loop.finish()
    }
  }

  /// Begins a training that its owner advances step by step and then finishes.
  ///
  /// - Parameters:
  ///   - limit: where the training ends by itself.
  ///   - phase: receives the phase that begins and may take long, and nil when it is over.
  /// - Throws: `UserError` if the run cannot be written.
  public func begin(
    until limit: TrainingLimit, phase: @escaping (TrainingPhase?) -> Void = { _ in }
  ) throws -> TrainingLoop {
    if !isPrepared { try prepareFolder() }
    return try writing {
      try writer.write(RunStatus(.running))
      return try TrainingLoop(self, until: limit, phase: phase)
    }
  }

  /// Does a part of a training; if it fails, records that in the run's folder.
  func writing<Result>(_ work: () throws -> Result) throws -> Result {
    do {
      return try work()
    } catch {
      // If the run's place is gone or taken, save elsewhere, whatever has failed, and leave the new owner alone.
      if let lock, !lock.isInPlace { throw saveElsewhere(lock) }
      try? writer.write(RunStatus(.failed, message: error.reason))
      throw error
    }
  }

  /// Saves a run whose folder is not where it was: in the folder's new place, or in a new folder if it was deleted.
  ///
  /// - Returns: the error to end with.
  private func saveElsewhere(_ lock: RunLock) -> UserError {
    let moved = lock.movedRun
    let change = moved.map { "moved to \($0.path)" } ?? "deleted or moved out of reach"
    let problem = "\(folder.path): the run's folder was \(change) while it was being trained"
    do {
      let place = try moved ?? folder.unusedSibling()
      try place.create()
      // The parts may have been deleted with the run: its weights are saved all the same.
      var lacksParts = false
      if moved == nil {
        let copied = Result { try parts.copy(into: place, as: .float32, on: model.context.backend) }
        if let copied = try? copied.get() { state.parts = copied } else { lacksParts = !(state.parts ?? [:]).isEmpty }
      }
      try commit(to: FolderRunWriter(place) { nil }, keep: .max)
      try place.write(configuration: configuration.yaml())
      try place.write(RunStatus(.stopped))
      let isBeside =
        (place.path as NSString).deletingLastPathComponent == (folder.path as NSString).deletingLastPathComponent
      if lacksParts {
        return UserError(
          .inputOutput, "\(problem); step \(state.step) is saved in \(place.path), without the parts of its model",
          hint: "To go on with it, copy the run's parts folder to \(place.path)/parts.")
      }
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

  /// Whether a signal has come or the owner has cancelled.
  var isStopped: @Sendable () -> Bool {
    let isCancelled = isCancelled
    return { StopSignal.received != nil || isCancelled() }
  }

  func makeLoader() -> DataLoader {
    DataLoader(
      data.images.train, batchSize: settings.batchSize, seed: settings.seed, augmentation: settings.augmentation,
      counterpart: data.counterpart.map { ($0.train, data.isPaired) }, startingAtStep: state.step)
  }

  /// - Returns: nil if a signal has cut the step short; nothing remains of it.
  func step(
    on batch: Batch, learningRate: Float, progress: Double
  ) -> (metrics: Metrics, nonFinite: String?)? {
    let step = TrainingStep(index: state.step, settings: settings, learningRate: learningRate, progress: progress)
    return model.guardedStep(batch, step, unless: isStopped).map { ($0.metrics, $0.nonFinite) }
  }

  /// The held-out images used for pictures of the progress.
  var shownImages: [Image] {
    let images = data.images.validation
    return images.images(0..<min(8, images.count))
  }

  /// What a model of captions draws as a picture of the progress: the first captions of these images.
  var shownCaptions: [String] {
    guard model.context.vocabulary != nil else { return [] }
    return data.images.validation.annotations.captions?.prefix(8).compactMap(\.first) ?? []
  }

  private func refreshAverageStatistics() {
    if settledStep == state.step { return }
    model.refreshAverageStatistics(until: isStopped)
    // Statistics that a signal has cut short are good enough for pictures, but are computed again before anything is
    // compared.
    settledStep = isStopped() ? nil : state.step
  }

  /// Computes the loss on held-out images. If none was better, records the step, provided that it may be the best.
  ///
  /// - Returns: nil if it was abandoned.
  func validate(mayBeBest: Bool, unless isUnwanted: @escaping @Sendable () -> Bool) -> Void? {
    if isUnwanted() { return nil }
    refreshAverageStatistics()
    guard let loss = model.unlessUnwanted(isUnwanted, validationLoss) else { return nil }
    state.validationLoss = loss.isFinite ? loss : nil
    if mayBeBest, loss < state.best?.validationLoss ?? .infinity {
      state.best = RunState.Best(step: state.step, validationLoss: loss)
    }
    return ()
  }

  /// Draws what the model can do so far, always from the same noise or images.
  ///
  /// - Returns: nil if it was abandoned.
  func drawProgress(unless isUnwanted: @escaping @Sendable () -> Bool) throws -> Void? {
    if isUnwanted() { return nil }
    refreshAverageStatistics()
    let captions = shownCaptions
    let result = try model.unlessUnwanted(isUnwanted) {
      try model.progressPicture(of: shownImages, captions: captions)
    }
    guard let drawn = result else { return nil }
    guard let picture = drawn else { return () }
    let weights = model.components.contains { $0.arena.average != nil } ? "ema" : "raw"
    let recipe: PNGText = [
      "parameters": "easel train\nStep: \(state.step), Model: \(state.preset), Seed: 0, Weights: \(weights), "
        + (captions.isEmpty ? "" : "Prompt: \(captions.map(\.debugDescription).joined(separator: ",")), ")
        + "Version: easel \(easelVersion)"
    ]
    try writer.append(step: state.step, picture: picture, recipe)
    return ()
  }

  /// Goes back to the latest checkpoint, to go on from there with half the learning rate.
  ///
  /// - Throws: `UserError` if there is no such checkpoint, or if training may not or should not go back again.
  func rollBack(because cause: String) throws {
    let rollBacks = (state.rollBacks ?? 0) + 1
    let factor = (state.learningRateFactor ?? 1) / 2
    guard settings.onDivergence == .rollBack, rollBacks <= Trainer.maximumRollBacks, try writer.hasCheckpoints
    else {
      throw UserError(
        .badData,
        "step \(state.step): \(cause)",
        hint:
          "Lower the learning rate: easel train … \(field: "learning-rate") \(settings.learningRate * Float(factor))")
    }
    // If going back to a checkpoint did not help, the checkpoint itself may be wrong.
    let checkpoint = try writer.checkpointToReturnTo(doubting: state.rolledBackTo)
    var restored = try RunState.read(checkpoint)
    try model.readCheckpoint(checkpoint, state: restored)
    (restored.rollBacks, restored.rolledBackTo) = (rollBacks, checkpoint.step)
    restored.learningRateFactor = factor
    (restored.commands, restored.seconds) = (state.commands, state.seconds)
    state = restored
    settledStep = nil
  }

  /// Steps between lines of `metrics.jsonl`.
  static let logInterval = 10

  /// The mean loss over the first held-out images, with the average's weights if there is an average.
  public func validationLoss() -> Double {
    let (count, batches) = data.validation(settings.validationImages, batchSize: min(64, settings.batchSize))
    let sum = batches.reduce(0.0) { $0 + Double(model.validationLoss($1)) * Double($1.count) }
    return sum / Double(max(1, count))
  }

  func commit(to writer: any RunWriter, keep: Int) throws {
    refreshAverageStatistics()
    state.environment = .init(model.context.backend, model.context.type)
    for component in model.components {
      state.optimizerSteps[component.name] = component.optimizer?.stepCount
      state.averageUpdates[component.name] = component.averageUpdates
    }
    try writer.commit(step: state.step, keep: keep, best: state.best?.step, size: checkpointSize) { temporary in
      try model.writeCheckpoint(to: temporary, state: state, configuration: configuration)
    }
  }
}

/// What a run learns from: one domain or two.
struct TrainingData {
  let images: DatasetSplits
  let counterpart: DatasetSplits?
  let isPaired: Bool
  let record: RunState.DataRecord

  /// - Throws: `UserError` if there are not as many data sets as the family takes, or if they do not fit together.
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

  /// The record for a run of a model that reads captions.
  var captionedRecord: RunState.DataRecord {
    var record = record
    record.captions = images.train.captionFingerprint
    return record
  }

  /// How many held-out images the loss is averaged over.
  func validationCount(_ limit: Int) -> Int {
    min(limit, images.validation.count, counterpart?.validation.count ?? .max)
  }

  /// The first held-out images in order, as batches, and their number.
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
  /// Notes that the same classes are in another order, as they were in earlier versions.
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

  /// This record and those of further domains.
  var all: [RunState.DataRecord] { [self] + (counterparts ?? []) }
}
