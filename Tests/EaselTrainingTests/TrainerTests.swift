import EaselSupport
import EaselTestSupport
import EaselTraining
import Foundation
import Testing

/// An autoencoder with infinite gradients at some steps, or a NaN parameter, whose losses on held-out
/// images may be preset.
private final class FaultyModel: Model, ImageEncoding {
  private let inner: any Model & ImageEncoding
  private let settings: FaultySettings
  private var losses: [Float]

  init(_ inner: any Model & ImageEncoding, _ settings: FaultySettings) {
    (self.inner, self.settings, losses) = (inner, settings, settings.heldOut)
  }

  var context: ModelContext { inner.context }
  var components: [Component] { inner.components }

  func trainingStep(_ batch: Batch, _ step: TrainingStep) -> Metrics {
    if (settings.first...settings.last).contains(step.index), step.learningRate > settings.above {
      let gradient = components[0].arena.parameters[1].gradient
      gradient.withMutableFloats { $0[0] = settings.isNaN ? .nan : .infinity }
    }
    let metrics = inner.trainingStep(batch, step)
    if step.index == settings.breaks, step.learningRate > settings.above {
      components[0].arena.parameters[1].value.withMutableFloats { $0[0] = .nan }
    }
    return metrics
  }

  func validationLoss(_ batch: Batch) -> Float {
    losses.isEmpty ? inner.validationLoss(batch) : losses.removeFirst()
  }
  func benchmarkPass(_ batch: Batch) {}
  func decode(_ codes: Tensor) -> Tensor { inner.decode(codes) }
  func encode(_ images: Tensor) -> Tensor { inner.encode(images) }
  func randomCodes(_ range: Range<Int>, seed: UInt64) -> Tensor? { nil }
  var interpolation: Interpolation { .linear }
}

private struct FaultySettings: ModelSettings {
  /// The steps that fail, from 0, while the learning rate is above a bound.
  var first = 0
  var last = 0
  var above: Float = 0
  var isNaN = true
  /// The losses on held-out images, in order; after the last one, and if there are none, the model's own.
  var heldOut: [Float] = []
  /// The step, from 0, after which a parameter is NaN.
  var breaks = -1

  static let fields: [Field<FaultySettings>] = [
    Field("first", \.first, ""), Field("last", \.last, ""), Field("above", \.above, ""), Field("is-nan", \.isNaN, ""),
    Field("held-out", \.heldOut, ""), Field("breaks", \.breaks, ""),
  ]
}

private enum FaultyFamily: ModelFamily {
  static let name = "faulty"
  static let summary = "fails"
  static let presets = [
    Preset(
      "faulty", summary, data: DataDescription(width: 8, height: 8, channels: 1),
      training: TrainingSettings {
        $0.batchSize = 8
        $0.emaDecay = 0.9
        $0.checkpointEvery = 4
        $0.validateEvery = 4
        $0.sampleEvery = 4
      }, model: FaultySettings())
  ]

  static func make(_ settings: FaultySettings, _ context: ModelContext) throws -> any Model {
    let model = try AutoencoderFamily.make(AutoencoderSettings { ($0.baseChannels, $0.latent) = (8, 4) }, context)
    guard let model = model as? any Model & ImageEncoding else { throw UserError(.internalFailure, "no codes") }
    return FaultyModel(model, settings)
  }
}

@Suite struct TrainerTests {
  /// A run in a folder of a test's own.
  private static func train(
    _ folder: ScratchFolder, steps: Int, _ settings: [String] = [],
    report: @escaping @Sendable (TrainingProgress) -> Void = { _ in }
  ) throws -> RunFolder {
    let path = folder.path
    return try onTensors { backend in
      let preset = AnyPreset(FaultyFamily.self, FaultyFamily.presets[0])
      var configuration = try preset.configuration()
      for setting in ["first=-1", "last=-1"] + settings { try configuration.set(setting) }
      let data = DatasetSplits(
        train: noisyImages(64, seed: 1, width: 8, height: 8), validation: noisyImages(8, seed: 2, width: 8, height: 8),
        rule: "made up")
      let run = try RunFolder(workspace: path, name: "run")
      let trainer = try Trainer(
        preset: preset, configuration: configuration, data: data, folder: run, backend: backend)
      #expect(try trainer.train(until: TrainingLimit(steps: steps), report: report) == .complete)
      return run
    }
  }

  private static func values(_ run: RunFolder, _ name: String) throws -> [Int: Double?] {
    let records = try MetricsLog.records(at: run.metricsPath).filter { $0.values[name] != nil }
    return Dictionary(records.map { ($0.step, $0.values[name] ?? nil) }, uniquingKeysWith: { $1 })
  }

  @Test(
    "A step with a gradient that is not finite is skipped and reported, and training ends at the right step",
    arguments: [true, false])
  func leftOut(_ isNaN: Bool) throws {
    let folder = try ScratchFolder()
    let alarms = Collected()
    let run = try Self.train(folder, steps: 8, ["first=5", "last=6", "is-nan=\(isNaN)"]) { progress in
      if let alarm = progress.alarm { alarms.texts.append(alarm) }
    }
    #expect(try run.checkpointSteps == [4, 8])
    #expect(try Self.values(run, "left-out") == [6: 1, 7: 1])
    #expect(alarms.texts.count == 2)
    #expect(alarms.texts[0].hasPrefix("the gradient of encoder"), "\(alarms.texts)")
    // As if these two steps had not happened: the optimizer's count is lower by two, and the parameters are finite.
    let last = try run.newestValid().checkpoint
    let state = try CheckpointSummary.state(of: last)
    #expect(state.optimizerSteps == ["": 6] && state.averageUpdates == ["": 6] && state.rollBacks == nil)
    let weights = try SafetensorsReader(path: last.path(of: "weights.safetensors"))
    #expect(try weights.names.allSatisfy { try weights.floats($0).allSatisfy(\.isFinite) })
    #expect(run.status == RunStatus(.complete))
  }

  @Test("After ten such steps training returns to its checkpoint and goes on with half the learning rate")
  func rollsBack() throws {
    let folder = try ScratchFolder()
    let run = try Self.train(folder, steps: 24, ["first=6", "last=100", "learning-rate=0.001", "above=0.0004"])
    let state = try CheckpointSummary.state(of: run.newestValid().checkpoint)
    // From 0.001 to 0.0005 and, since the fault remains, to 0.00025.
    #expect(state.rollBacks == 2 && state.learningRateFactor == 0.25 && state.step == 24)
    #expect(try Self.values(run, "learning-rate-factor").values.contains(0.25))
    #expect(run.status == RunStatus(.complete))
  }

  @Test(
    "If going back does not help or is not wanted, the run fails and its checkpoint stays",
    arguments: ["roll-back", "stop"])
  func givesUp(_ policy: String) throws {
    let folder = try ScratchFolder()
    expectUserError(.badData, "the gradient of encoder", "is not finite", "learning-rate") {
      try Self.train(folder, steps: 40, ["first=6", "last=100", "on-divergence=\(policy)"])
    }
    let run = try RunFolder(workspace: folder.path, name: "run")
    #expect(run.status?.outcome == .failed)
    #expect(run.status?.message?.contains("the gradient of encoder") == true)
    // Nothing is saved while steps fail.
    #expect(try run.checkpointSteps == [4])
    let checkpoint = try run.newestValid().checkpoint
    let weights = try SafetensorsReader(path: checkpoint.path(of: "weights.safetensors"))
    #expect(try weights.names.allSatisfy { try weights.floats($0).allSatisfy(\.isFinite) })
  }

  @Test("If going back to a checkpoint does not help, it is discarded for the one before")
  func goesFurtherBack() throws {
    let folder = try ScratchFolder()
    let steps = Collected()
    let run = try Self.train(
      folder, steps: 24, ["first=8", "last=100", "learning-rate=0.001", "above=0.0004"]
    ) { progress in
      if progress.alarm?.hasPrefix("back from") == true { steps.texts.append("\(progress.step)") }
    }
    #expect(steps.texts == ["8", "4"])
    let state = try CheckpointSummary.state(of: run.newestValid().checkpoint)
    #expect(state.rollBacks == 2 && state.rolledBackTo == 4 && state.step == 24)
  }

  @Test("A network with a NaN parameter is not saved: training goes back, or fails and names it")
  func brokenParameter() throws {
    let settings = ["breaks=7", "learning-rate=0.001", "above=0.0006"]
    let folder = try ScratchFolder()
    let alarms = Collected()
    let run = try Self.train(folder, steps: 12, settings) { progress in
      if let alarm = progress.alarm { alarms.texts.append(alarm) }
    }
    #expect(alarms.texts.count == 1 && alarms.texts[0].contains("back from step 8, the parameter encoder"))
    let state = try CheckpointSummary.state(of: run.newestValid().checkpoint)
    #expect(state.rollBacks == 1 && state.rolledBackTo == 4 && state.step == 12)

    let other = try ScratchFolder()
    expectUserError(.badData, "step 8: the parameter encoder", "is not finite") {
      try Self.train(other, steps: 12, settings + ["on-divergence=stop"])
    }
    #expect(try RunFolder(workspace: other.path, name: "run").checkpointSteps == [4])
  }

  @Test("Without a checkpoint to go back to the run fails")
  func nothingToGoBackTo() throws {
    let folder = try ScratchFolder()
    expectUserError(.badData, "step 10: ", "is not finite") {
      try Self.train(folder, steps: 40, ["first=0", "last=100", "checkpoint-every=50"])
    }
  }

  @Test("The checkpoint with the lowest held-out loss is kept with the newest")
  func best() throws {
    let folder = try ScratchFolder()
    let run = try Self.train(folder, steps: 24, ["keep=2", "held-out=[0.5, 0.25, 0.75, 0.3, 0.9, 0.8]"])
    #expect(try Set(run.checkpointSteps) == [8, 20, 24])
    let state = try CheckpointSummary.state(of: run.newestValid().checkpoint)
    #expect(state.best?.step == 8 && state.best?.validationLoss == 0.25)
  }

  @Test("The end of a session does not change which checkpoint is the best")
  func bestOfSteadySteps() throws {
    let folder = try ScratchFolder()
    let run = try Self.train(folder, steps: 6, ["held-out=[0.5, 0.25]"])
    let state = try CheckpointSummary.state(of: run.newestValid().checkpoint)
    #expect(try Self.values(run, "validation-loss") == [4: 0.5, 6: 0.25])
    #expect(state.step == 6 && state.best?.step == 4)
  }

  @Test("A step that is not saved because the one before failed is not the best")
  func bestOfSavedSteps() throws {
    let folder = try ScratchFolder()
    // Steps are counted from 0: the one that ends at 8 is skipped, and its loss is the lowest so far.
    let run = try Self.train(folder, steps: 9, ["held-out=[0.5, 0.25, 0.75]", "first=7", "last=7"])
    #expect(try run.checkpointSteps == [4, 9])
    #expect(try CheckpointSummary.state(of: run.newestValid().checkpoint).best?.step == 4)
  }

  @Test("Pictures of the progress are beside the checkpoints and in the events")
  func pictures() throws {
    let folder = try ScratchFolder()
    let run = try Self.train(folder, steps: 8, ["ema-decay=0"])
    let pictures = try [4, 8].map { try Image.read(run.samplesPath(step: $0)) }
    // Eight originals and their reconstructions.
    #expect(pictures.allSatisfy { $0.width == 82 && $0.height == 22 && $0.channels == 1 })
    #expect(pictures[0].pixels[..<(82 * 12)] == pictures[1].pixels[..<(82 * 12)])
    #expect(pictures[0].pixels != pictures[1].pixels)
    #expect(try PNGText.read(run.samplesPath(step: 8))["parameters"]?.contains("Step: 8, Model: faulty") == true)
    let names = try FileManager.default.contentsOfDirectory(atPath: run.eventsPath)
    let events = try contents("\(run.eventsPath)/\(names[0])")
    #expect(events.range(of: try contents(run.samplesPath(step: 8))) != nil)
    #expect(try FileManager.default.contentsOfDirectory(atPath: run.path + "/samples").count == 2)
  }

  @Test("A run whose process is gone is stopped; one that is locked is running")
  func status() throws {
    let folder = try ScratchFolder()
    let run = try RunFolder(workspace: folder.path, name: "run")
    #expect(run.status == nil)
    let lock = try run.lock()
    try run.write(RunStatus(.running))
    #expect(run.status?.outcome == .running && run.isBeingTrained)
    withExtendedLifetime(lock) {}
    _ = consume lock
    #expect(run.status?.outcome == .stopped && !run.isBeingTrained)
  }
}

/// The length of a training, and how it goes on after a signal.
@Suite struct SessionTests {
  fileprivate static let data = DatasetSplits(
    train: noisyImages(44, seed: 1, width: 8, height: 8), validation: noisyImages(8, seed: 2, width: 8, height: 8),
    rule: "made up")

  /// A run of a small autoencoder whose learning rate falls, in a folder of a test's own: new, or gone on with.
  fileprivate static func trainer(
    _ workspace: String, _ name: String, _ settings: [String] = [], on backend: any Backend
  ) throws -> Trainer {
    let run = try RunFolder(workspace: workspace, name: name)
    if try run.isRun {
      return try Trainer(
        resuming: run.newestValid().checkpoint, changes: settings, data: data, folder: run, backend: backend)
    }
    let preset = try AnyPreset.named("autoencoder")
    var configuration = try preset.configuration()
    for setting in [
      "base-channels=8", "latent=4", "batch-size=8", "ema-decay=0.9", "checkpoint-every=4", "validate-every=4",
      "sample-every=4", "learning-rate-decay=linear", "learning-rate=0.01",
    ] + settings { try configuration.set(setting) }
    return try Trainer(preset: preset, configuration: configuration, data: data, folder: run, backend: backend)
  }

  private static func rates(_ workspace: String, _ name: String) throws -> [Int: Double] {
    let log = try RunFolder(workspace: workspace, name: name).metricsPath
    return Dictionary(
      try MetricsLog.records(at: log).compactMap { record in
        (record.values["learning-rate"] ?? nil).map { (record.step, $0) }
      }, uniquingKeysWith: { $1 })
  }

  @Test("The learning rate ends with the training and is recorded; a longer goal stretches it")
  func stretches() throws {
    let folder = try ScratchFolder()
    let path = folder.path
    let summaries = try onTensors { backend -> [String] in
      try [20, 40].map { steps in
        let trainer = try Self.trainer(path, "run", on: backend)
        let limit = TrainingLimit(steps: steps)
        _ = try trainer.train(until: limit) { _ in }
        return trainer.learningRatePlan(until: limit).summary(from: steps - 10)
      }
    }
    #expect(summaries == ["learning rate 0.005, falls to 0 at step 20", "learning rate 0.0025, falls to 0 at step 40"])
    let rates = try Self.rates(path, "run")
    for (step, fraction) in [(1, 1), (10, 11.0 / 20), (20, 1.0 / 20), (30, 11.0 / 40), (40, 1.0 / 40)] {
      #expect(abs(rates[step, default: 0] - 0.01 * fraction) < 1e-6, "\(rates)")
    }
  }

  @Test("A training's owner can advance it step by step, stop it, and go on to the same weights")
  func ownedLoop() throws {
    let folder = try ScratchFolder()
    let path = folder.path
    let (outcomes, steps, hashes) = try onTensors { backend -> ([TrainingOutcome], [Int], [String]) in
      let limit = TrainingLimit(steps: 10)
      _ = try Self.trainer(path, "whole", on: backend).train(until: limit) { _ in }
      var steps: [Int] = []
      // A run is locked as long as its trainer exists.
      func session(atMost count: Int) throws -> TrainingOutcome {
        let loop = try Self.trainer(path, "parts", on: backend).begin(until: limit)
        for _ in 0..<count {
          guard let progress = try loop.advance() else { break }
          steps.append(progress.step)
        }
        return try loop.finish()
      }
      let outcomes = [try session(atMost: 3), try session(atMost: .max)]
      let hashes = try ["whole", "parts"].map {
        try RunFolder(workspace: path, name: $0).newestValid().checkpoint.modelHash
      }
      return (outcomes, steps, hashes)
    }
    #expect(outcomes == [.interrupted, .complete] && steps == Array(1...10))
    #expect(hashes[0] == hashes[1])
  }

  @Test("A training that is cancelled ends at its step and is saved; one that keeps nothing writes nothing")
  func cancelledAndSilent() throws {
    let folder = try ScratchFolder()
    let path = folder.path
    let (outcome, step, before, after) = try onTensors { backend in
      func cancelled() throws -> TrainingOutcome {
        let (trainer, progress) = (try Self.trainer(path, "run", on: backend), Collected())
        trainer.isCancelled = { progress.texts.count >= 2 }
        return try trainer.train(until: TrainingLimit(steps: 10)) { progress.texts.append("\($0.step)") }
      }
      let outcome = try cancelled()
      let run = try RunFolder(workspace: path, name: "run")
      let step = try run.newestValid().checkpoint.step
      func contents() -> [String] {
        (FileManager.default.enumerator(atPath: run.path)?.compactMap { $0 as? String } ?? []).sorted()
      }
      let before = contents()
      let silent = try Self.trainer(path, "run", on: backend)
      silent.writer = SilentRunWriter(run)
      _ = try silent.train(until: TrainingLimit(steps: 9)) { _ in }
      #expect(silent.state.step == 9)
      return (outcome, step, before, contents())
    }
    #expect(outcome == .interrupted && step == 2)
    #expect(before == after && !before.isEmpty)
  }

  @Test("A run goes on with other settings if possible, and records them")
  func changes() throws {
    let folder = try ScratchFolder()
    let path = folder.path
    let texts = try onTensors { backend -> [String] in
      _ = try Self.trainer(path, "run", on: backend).train(until: TrainingLimit(steps: 4)) { _ in }
      let settings = ["learning-rate=0.002", "learning-rate-decay=constant", "clip-norm=1", "checkpoint-every=2"]
      let trainer = try Self.trainer(path, "run", settings, on: backend)
      _ = try trainer.train(until: TrainingLimit(steps: 10)) { _ in }
      let run = trainer.folder
      return try [run.path + "/config.yaml", run.newestValid().checkpoint.path(of: "config.yaml")].map {
        String(decoding: try contents($0), as: UTF8.self)
      }
    }
    for text in texts { #expect(text.contains("learning-rate: 0.002\n") && text.contains("clip-norm: 1\n"), "\(text)") }
    #expect(abs(try Self.rates(path, "run")[10, default: 0] - 0.002) < 1e-8)
    let run = try RunFolder(workspace: path, name: "run")
    #expect(try run.checkpointSteps.suffix(2) == [8, 10])
    for (setting, message) in [
      ("seed=3", "a run cannot go on with another seed"), ("latent=8", "another latent"),
      ("batch-size=4", "another batch"),
      ("optimizer=sgd", "another optimizer"), ("data=other", "another data"), ("ema-decay=0", "a moving average"),
      ("learning-rate=-1", "learning-rate: expected"), ("learnig-rate=1", "there is no setting"),
      ("momentum=0.5", "momentum"), ("schedule-steps=40", "would change nothing"),
    ] {
      expectUserError(.usage, message) { try onTensors { _ = try Self.trainer(path, "run", [setting], on: $0) } }
    }
  }

  @Test("The shortest time is enough for a step and a checkpoint, and for nothing else")
  func noTime() throws {
    let folder = try ScratchFolder()
    let path = folder.path
    let outcome = try onTensors { backend in
      try Self.trainer(path, "run", on: backend).train(until: TrainingLimit(seconds: 1e-9)) { _ in }
    }
    #expect(outcome == .complete)
    let run = try RunFolder(workspace: path, name: "run")
    #expect(try run.checkpointSteps == [1])
    #expect(!FileManager.default.fileExists(atPath: run.path + "/samples"))
    #expect(try MetricsLog.records(at: run.metricsPath).map(\.step) == [1])
  }

  @Test(
    "Whatever a signal cuts short, the run goes on to its goal as if without a signal", .timeLimit(.minutes(10)))
  func interrupted() async {
    await #expect(processExitsWith: .success) { try interruptEverything() }
  }
}

/// Trains a run in one session, and another in sessions that a signal ends during a step, drawing or validation.
///
/// Runs in a separate process, since signals belong to the whole process.
private func interruptEverything() throws {
  let folder = try ScratchFolder()
  let path = folder.path
  try onTensors { backend in
    func check(_ holds: Bool, _ what: String) throws {
      if !holds { throw UserError(.internalFailure, what) }
    }
    let whole = try SessionTests.trainer(path, "whole", on: backend)
    _ = try whole.train(until: TrainingLimit(steps: 12)) { _ in }

    /// A session that receives a stop signal when a phase begins for the `count`th time.
    func session(_ phase: TrainingPhase?, count: Int = 1) throws -> RunState {
      StopSignal.install()
      let trainer = try SessionTests.trainer(path, "parts", on: backend)
      try check(trainer.state.step == 0 || trainer.remainder == TrainingLimit(steps: 12), "no goal")
      var begun = 0
      let outcome = try trainer.train(until: trainer.remainder ?? TrainingLimit(steps: 12)) { now in
        if now == phase, phase != nil { begun += 1 }
        if now == phase, begun == count { raise(SIGTERM) }
      } report: { _ in
      }
      try check(outcome == (phase == nil ? .complete : .interrupted), "\(outcome) after \(String(describing: phase))")
      return trainer.state
    }
    try check(session(.picture).step == 4, "a picture")
    try check(session(.firstStep).step == 4, "a step that was cut short is counted")
    let judged = try session(.validation)
    try check(judged.step == 8 && judged.owesValidation == true, "held-out images")
    try check(session(.validation).owesValidation == true, "held-out images again")
    let end = try session(nil)
    try check(end.step == 12 && end.owesValidation == nil && end.goal == nil, "the end: \(end)")

    try check(end.best == whole.state.best && end.validationLoss == whole.state.validationLoss, "the best")
    let runs = try ["whole", "parts"].map { try RunFolder(workspace: path, name: $0).newestValid().checkpoint }
    for name in ["weights", "ema", "optimizer"] {
      let files = try runs.map { try contents($0.path(of: "\(name).safetensors")) }
      try check(files[0] == files[1], name)
    }
    let losses = try MetricsLog.records(at: RunFolder(workspace: path, name: "parts").metricsPath).filter {
      $0.values["validation-loss"] != nil
    }
    try check(losses.map(\.step) == [4, 8, 12], "losses at \(losses.map(\.step))")
  }
}

@Suite struct MemoryTests {
  private static func trainer(_ preset: String, batch: Int, on backend: any Backend, _ path: String) throws -> Trainer {
    let preset = try AnyPreset.named(preset)
    var configuration = try preset.configuration()
    for setting in ["batch-size=\(batch)", "base-channels=8"] { try configuration.set(setting) }
    let data = DatasetSplits(
      train: noisyImages(96, seed: 1, width: 28, height: 28),
      validation: noisyImages(8, seed: 2, width: 28, height: 28),
      rule: "made up")
    return try Trainer(
      preset: preset, configuration: configuration, data: data, folder: RunFolder(workspace: path, name: "run"),
      backend: backend)
  }

  @Test(
    "A training that does not fit is refused with an accurate estimate and a batch that fits",
    arguments: ["vae", "autoencoder"])
  func refusal(_ preset: String) throws {
    let folder = try ScratchFolder()
    let path = folder.path
    let (peak, message) = try onTensors { backend -> (Int, String) in
      let trainer = try Self.trainer(preset, batch: 64, on: backend, path)
      try trainer.checkMemory()
      _ = try trainer.train(until: TrainingLimit(steps: 2)) { _ in }
      let peak = backend.memory.peakBytes
      do {
        try trainer.checkMemory(available: peak * 7 / 10)
        return (peak, "")
      } catch let error as UserError {
        return (peak, error.description)
      }
    }
    let pattern = #/needs about ([0-9]+) MB .*\s.*batch-size ([0-9]+), or set accumulate=([0-9]+) /#
    let match = try #require(try pattern.firstMatch(in: message), "\(message)")
    let needed = try #require(Double(match.1))
    #expect(abs(needed / (Double(peak) / 1e6) - 1) < 0.25, "\(message), \(peak)")
    let fitting = try #require(Int(match.2))
    let fits = try onTensors { backend -> Int in
      let trainer = try Self.trainer(preset, batch: fitting, on: backend, path + "/smaller")
      _ = try trainer.train(until: TrainingLimit(steps: 2)) { _ in }
      return backend.memory.peakBytes
    }
    #expect(fitting >= 1 && fitting < 64 && fits < peak * 8 / 10, "\(fitting): \(fits) of \(peak)")
  }

  @Test("If not even one image fits, no batch is proposed")
  func nothingFits() throws {
    let folder = try ScratchFolder()
    let path = folder.path
    expectUserError(.unavailable, "Not even one image fits") {
      try onTensors { backend in
        try Self.trainer("vae", batch: 64, on: backend, path).checkMemory(available: 100_000)
      }
    }
  }
}

/// The values that a closure received, on one thread.
private final class Collected: @unchecked Sendable {
  var texts: [String] = []
}
