import ArgumentParser
import EaselKit
import Foundation

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train a model.",
    discussion: "Presets:\n" + presetList)

  private static var presetList: String {
    let width = AnyPreset.all.map(\.name.count).max() ?? 0
    return AnyPreset.all.map { preset in
      let space = String(repeating: " ", count: width + 2 - preset.name.count)
      return "  \(preset.name)\(space)\(preset.summary)"
    }.joined(separator: "\n")
  }

  @Argument(help: "A family or a preset.")
  var preset: String

  @Option(help: "A data set's name, or the path of a folder of images (default: Fashion-MNIST).")
  var data: String?

  @Option(help: "The second data set, for families that translate between two.")
  var dataB: String?

  @Option(help: "A YAML file of settings.")
  var config: String?

  @Option(name: .customLong("set"), help: "One setting, KEY=VALUE; may be given again.")
  var settings: [String] = []

  @Option(name: .customLong("run"), help: "The run's name (default: the preset's and a number).")
  var runName: String?

  @Flag(help: "Go on with the run of that name where there is one, with the settings that it has.")
  var resume = false

  @Flag(help: "Delete a run of that name first.")
  var overwrite = false

  @Option(parsing: .unconditional, help: "Checkpoints that are kept besides the best.")
  var keep: String?

  @OptionGroup var length: TrainingLength

  @Option(parsing: .unconditional, help: "Images in a step.")
  var batchSize: String?

  @Option(parsing: .unconditional, help: "The optimizer's learning rate.")
  var learningRate: String?

  @Option(parsing: .unconditional, help: "Of every random number of the run.")
  var seed: String?

  @Option(help: "Resize images to N×N or W×H: N or WxH.")
  var imageSize: String?

  @Option(help: "How images of other proportions come to that size: crop (default), pad or stretch.")
  var fit: ImageFit?

  @Flag(help: "Leave out pictures that cannot be read, and list them.")
  var skipBroken = false

  @Option(help: "A checkpoint whose weights to start from; for consistency the diffusion model to tune.")
  var from: String?

  @Flag(help: "Print the settings, with what they mean, as a YAML file to start from, and stop.")
  var printConfig = false

  @OptionGroup var compute: ComputeOptions
  @OptionGroup var common: CommonOptions

  func run() throws {
    let start = ContinuousClock.now
    if resume, overwrite || runName == nil {
      throw UserError(.usage, "--resume: expected \(overwrite ? "no --overwrite" : "--run with a name") beside it")
    }
    let workspace = try Workspace(common.workspace)
    let preset = try AnyPreset.named(preset)
    var configuration = try preset.configuration()
    if dataB != nil, preset.family.domains == .one {
      let others = modelFamilies.filter { $0.domains != .one }.map { $0.name }
      throw UserError(
        .usage, "--data-b: \(preset.name) learns from one data set",
        hint: "Families that learn from two: \(others.joined(separator: ", ")).")
    }
    if let config { try overlay(config, of: preset, over: &configuration) }
    for assignment in settings { try configuration.set(assignment) }
    try override(&configuration)
    try configuration.set("preset", to: preset.name, origin: "preset")
    let training = try configuration.decode(TrainingSettings.self)
    try training.validate()
    // A run that goes on has its own settings, against which all that was asked for is held.
    let goesOn =
      resume && !overwrite
      ? try !RunFolder(workspace: workspace.path, name: runName ?? "").checkpointSteps.isEmpty : false
    let origin = goesOn ? nil : try origin(of: preset, workspace)
    if !goesOn {
      var base = try preset.configuration()
      try origin?.lay(under: &base, of: preset, workspace)
      try origin?.lay(under: &configuration, of: preset, workspace)
      try preset.requireEffects(of: configuration, over: base) { Console.note($0) }
    }
    if printConfig { return Console.print(text: try configuration.commentedYAML()) }

    let description = try configuration.decode(RunDescription.self)
    let folder = try RunFolder(
      workspace: workspace.path, name: runName ?? RunFolder.unusedName(for: preset.name, workspace: workspace.path))
    let isBegun = try folder.isRun
    if isBegun, !overwrite {
      if folder.isBeingTrained { throw folder.isTakenError }
      if resume, try !folder.checkpointSteps.isEmpty {
        return try goOn(with: folder, configuration, workspace, since: start)
      }
      // One that was stopped before its first checkpoint has nothing to go on from.
      if !resume {
        throw UserError(
          .cannotCreate, "the run \(folder.name) exists already",
          hint: "Go on with it: easel resume \(folder.name). Or choose another --run name, or --overwrite it.")
      }
    }
    try folder.checkWritable()
    let data = try workspace.data(of: description, for: preset)
    for (key, set) in zip(["data", "data-b"], data) { try configuration.set(key, to: set.name, origin: "--\(key)") }
    if let fitted = try preset.fit(&configuration, to: DataDescription(data[0].splits.train)) { Console.note(fitted) }
    try origin?.requireLikeness(of: DataDescription(data[0].splits.train))
    let source = try origin?.checkpoint ?? from.map { try workspace.checkpoints.resolve($0).checkpoint }
    let trainer = try Trainer(
      preset: preset, configuration: configuration, data: data[0].splits, counterpart: data.dropFirst().first?.splits,
      folder: folder, backend: compute.backend.make())
    let session = try TrainingSession(trainer, length: length, since: start, json: common.json)
    if let source { try trainer.takeWeights(from: source) }
    trainer.record(command: TypedCommand.text(in: workspace))
    try trainer.prepareFolder(replacing: isBegun)
    try folder.write(dataPlaces: data.map(\.place))
    try session.run()
  }

  /// The checkpoint of `--from`, where the family takes more of it than its weights; nil for other families.
  ///
  /// - Throws: `UserError`; usage where such a family is to begin with nothing.
  private func origin(of preset: AnyPreset, _ workspace: Workspace) throws -> Origin? {
    guard let needed = preset.family.startingPoint else { return nil }
    if let from { return try Origin(from, workspace) }
    if printConfig { return nil }
    throw UserError(
      .usage, "\(preset.name): expected --from with a checkpoint of \(needed.families[0]) to tune, found none",
      hint: "Train one with: easel train \(needed.example)")
  }

  /// Lays a file of settings over those of a preset.
  ///
  /// - Throws: `UserError`; for a file of another family one that says so, and not which of its settings there are not.
  private func overlay(_ file: String, of preset: AnyPreset, over configuration: inout ConfigurationDocument) throws {
    let result = Result { try configuration.overlay(yamlFile: file) }
    if let other = try? AnyPreset.named(configuration.decode(RunDescription.self).preset),
      other.family.name != preset.family.name
    {
      throw UserError(
        .usage, "--config: \(file) is of \(other.name), expected settings of \(preset.name)",
        hint: "Use it with: easel train \(other.name) --config \(file)")
    }
    try result.get()
  }

  /// What `easel resume` does, once it is sure that nothing else was asked for.
  private func goOn(
    with folder: RunFolder, _ configuration: ConfigurationDocument, _ workspace: Workspace,
    since start: ContinuousClock.Instant
  ) throws {
    let own = try Trainer.configuration(of: folder.newestValid().checkpoint)
    let changes = configuration.changes(from: own)
    // Data are compared by their content, and how long to train is for each session to say.
    let others = Dictionary(uniqueKeysWithValues: changes.map { ($0.key, $0.value) })
    if let change = changes.first(where: { !["data", "data-b", "steps"].contains($0.key) }) {
      throw UserError(
        .usage, "--resume: the run \(folder.name) has \(change.key) \(change.other), not \(change.value)",
        hint:
          "Leave that out, or choose another --run name. Some settings change with: easel resume \(folder.name) --set.")
    }
    var length = length
    if length.steps == nil, length.epochs == nil, length.minutes == nil { length.steps = others["steps"] }
    try Resume.goOn(
      with: folder, in: workspace, length, compute.backend, since: start, json: common.json,
      namesData: data != nil || dataB != nil
    ) { description in
      if let data = others["data"] { description.data = data }
      if let data = others["data-b"] { description.dataB = data }
    }
  }

  /// Lays the options that name a setting over the document.
  private func override(_ configuration: inout ConfigurationDocument) throws {
    let options: [(key: String, value: String?)] = [
      ("data", data), ("data-b", dataB), ("image-size", imageSize), ("fit", fit?.rawValue),
      ("batch-size", batchSize), ("learning-rate", learningRate),
      ("seed", seed), ("precision", compute.precision?.rawValue), ("steps", length.steps), ("keep", keep),
    ]
    for (key, value) in options {
      if let value { try configuration.set(key, to: value, origin: "--\(key)") }
    }
    if skipBroken { try configuration.set("skip-broken", to: "true", origin: "--skip-broken") }
  }
}

/// A checkpoint that a training goes on from, with what it was trained on and set to.
private struct Origin {
  let checkpoint: CheckpointFolder
  private let name: String
  private let state: RunState
  private let configuration: ConfigurationDocument

  init(_ name: String, _ workspace: Workspace) throws {
    self.name = name
    checkpoint = try workspace.checkpoints.resolve(name).checkpoint
    (state, configuration) = (try CheckpointSummary.state(of: checkpoint), try Trainer.configuration(of: checkpoint))
  }

  /// Gives a document the checkpoint's settings, and its data where no others are named.
  func lay(under document: inout ConfigurationDocument, of preset: AnyPreset, _ workspace: Workspace) throws {
    try preset.build(&document, on: configuration, of: .named(state.preset), named: name)
    let own = try configuration.decode(RunDescription.self)
    func set(_ key: RunDescription.CodingKeys, to value: String) throws {
      if document.isSet(key.rawValue) || value.isEmpty { return }
      try document.set(key.rawValue, to: value, origin: "the checkpoint \(name)")
    }
    // Other images come to the size of those that the network knows.
    let size = state.data.description
    try set(.imageSize, to: document.isSet("data") ? "\(size.width)x\(size.height)" : own.imageSize)
    try set(.fit, to: own.fit.rawValue)
    try set(.data, to: workspace.place(of: own.data, "data", of: checkpoint))
    if own.skipBroken { try set(.skipBroken, to: "true") }
  }

  /// - Throws: `UserError` (usage) for images with other channels or, where the network knows classes, other classes.
  func requireLikeness(of data: DataDescription) throws {
    let own = state.data.description
    guard data.channels == own.channels else {
      throw UserError(
        .usage, "--data: expected images of \(own.channels) channels, as \(name) was trained on, found \(data.channels)"
      )
    }
    let isConditional = configuration.given.contains { $0 == ("conditional", "true") }
    guard !isConditional || data.classNames == own.classNames else {
      throw UserError(
        .usage,
        "--data: expected the classes that \(name) was trained on (\(own.list(Array(own.classNames.indices)))), found "
          + (data.classNames.isEmpty ? "none" : data.list(Array(data.classNames.indices))))
    }
  }
}

struct Resume: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Go on with a run from its newest checkpoint.")

  @Argument(help: ArgumentHelp("The run's name.", valueName: "run"))
  var runName: String

  @Option(
    name: .customLong("set"),
    help: "One setting that is another from here on, KEY=VALUE; may be given again.")
  var settings: [String] = []

  @OptionGroup var length: TrainingLength
  @OptionGroup var common: CommonOptions

  @OptionGroup var backend: BackendOptions

  func run() throws {
    let start = ContinuousClock.now
    let workspace = try Workspace(common.workspace)
    let folder = try RunFolder(workspace: workspace.path, name: runName)
    guard try folder.isRun else {
      // The catalogue's message has the known runs and the nearest name; what it finds elsewhere is not to be written to.
      let found = try workspace.checkpoints.resolve(runName).checkpoint
      throw UserError(
        .unavailable, "\(found.path) lies outside of the workspace and is not trained further there",
        hint: "Start a run of your own with: easel train PRESET --from \(runName)")
    }
    try Resume.goOn(
      with: folder, in: workspace, length, backend, changes: settings, since: start, json: common.json)
  }

  /// Trains a run further from its newest checkpoint.
  ///
  /// - Parameters:
  ///   - changes: settings that are other from here on, `KEY=VALUE`.
  ///   - start: when the command began.
  ///   - namesData: whether the data were named anew, so that where the run found them last does not matter.
  ///   - change: what is to be read instead of the data as the run names them.
  static func goOn(
    with folder: RunFolder, in workspace: Workspace, _ length: TrainingLength, _ backend: BackendOptions,
    changes: [String] = [], since start: ContinuousClock.Instant, json: Bool, namesData: Bool = false,
    change: (inout RunDescription) -> Void = { _ in }
  ) throws {
    let lock = try folder.lock()
    try folder.removeLeftovers()
    let lines = try MetricsLog.setAsideDamage(folder.metricsPath)
    if !lines.isEmpty {
      let numbers = lines.prefix(5).map(String.init).joined(separator: ", ") + (lines.count > 5 ? ", …" : "")
      Console.note("\(folder.metricsPath): damaged in line \(numbers): moved to \(folder.metricsPath).damaged")
    }
    let (checkpoint, damaged) = try folder.newestValid()
    for one in damaged { Console.note("\(one.path): passed over: \(one.error.message)") }
    try Trainer.requireResumable(checkpoint)
    var description = try Trainer.configuration(of: checkpoint).decode(RunDescription.self)
    change(&description)
    let data = try workspace.data(
      of: description, for: .named(description.preset), in: namesData ? nil : folder)
    let trainer = try Trainer(
      resuming: checkpoint, changes: changes, data: data[0].splits, counterpart: data.dropFirst().first?.splits,
      folder: folder, lock: lock, backend: backend.make())
    try folder.write(dataPlaces: data.map(\.place))
    if !trainer.differences.isEmpty {
      Console.note("From here on this differs: \(trainer.differences.joined(separator: "; ")).")
    }
    let session = try TrainingSession(trainer, length: length, since: start, json: json)
    trainer.record(command: TypedCommand.text(in: workspace))
    try session.run()
  }
}

/// How long to train.
struct TrainingLength: ParsableArguments {
  @Option(parsing: .unconditional, help: "Stop after so many steps, from the run's beginning.")
  var steps: String?

  @Option(parsing: .unconditional, help: "Stop after so many passes over the images.")
  var epochs: Double?

  @Option(parsing: .unconditional, help: "Stop after so many minutes, the last picture and the checkpoint among them.")
  var minutes: Double?

  /// - Parameter start: when the command began, which minutes count from.
  func limit(_ trainer: Trainer, since start: ContinuousClock.Instant) throws -> TrainingLimit {
    if [steps != nil, epochs != nil, minutes != nil].filter({ $0 }).count > 1 {
      throw UserError(.usage, "--steps, --epochs and --minutes: expected one of them")
    }
    func positive(_ value: Double, _ option: String) throws -> Double {
      guard value.isFinite, value > 0, value < 1e9 else {
        throw UserError(.usage, "\(option): expected a number above 0, found \(value)")
      }
      return value
    }
    if let minutes {
      let gone = (ContinuousClock.now - start) / .seconds(1)
      return TrainingLimit(seconds: max(0, 60 * (try positive(minutes, "--minutes")) - gone))
    }
    if let epochs {
      let images = Double(trainer.state.data.trainingImages) * (try positive(epochs, "--epochs"))
      return TrainingLimit(steps: Int((images / Double(trainer.settings.batchSize)).rounded(.up)))
    }
    guard let steps else { return trainer.remainder ?? TrainingLimit(steps: trainer.settings.steps) }
    guard let number = Int(steps) else {
      throw UserError(.usage, "--steps: expected a whole number, found \(steps.debugDescription)")
    }
    try check(number, "--steps", 1...1_000_000_000)
    return TrainingLimit(steps: number)
  }
}

/// Runs a trainer and shows how it goes.
struct TrainingSession {
  private let trainer: Trainer
  private let limit: TrainingLimit
  private let json: Bool

  /// - Parameter start: when the command began.
  /// - Throws: `UserError` (usage) where the run is as long as asked already.
  init(_ trainer: Trainer, length: TrainingLength, since start: ContinuousClock.Instant, json: Bool) throws {
    (self.trainer, self.json) = (trainer, json)
    var limit = try length.limit(trainer, since: start)
    if let steps = limit.steps, trainer.state.step >= steps {
      throw UserError(
        .usage, "run \(trainer.folder.name) is at step \(trainer.state.step) already",
        hint: "--steps counts from the run's beginning; give a larger number.")
    }
    try Patience.saying("estimating the memory that this takes …") { try trainer.checkMemory() }
    if limit.seconds != nil, length.minutes != nil { limit = try length.limit(trainer, since: start) }
    self.limit = limit
  }

  private struct Report: Encodable {
    var run: String
    var path: String
    var preset: String
    var step: Int
    var loss: Double
    var validationLoss: Double?
    var imagesPerSecond: Double?
    var seconds: Double
  }

  func run() throws {
    let state = trainer.state
    let parameters = trainer.model.components.reduce(0) { $0 + $1.arena.count }
    let data = state.data
    let size = "\(data.description.width)×\(data.description.height)×\(data.description.channels)"
    let sets = ([data] + (data.counterparts ?? [])).map {
      "\($0.name), \($0.trainingImages) images \(size), \($0.validationImages) held out; "
    }
    Console.note(
      "\(trainer.folder.name): \(state.preset), \(parameters) parameters; \(sets.joined())\(state.environment.backend.rawValue), \(state.environment.precision.rawValue), "
        + "up to \(trainer.model.context.backend.threads.count) threads"
        + (state.step > 0 ? "; from step \(state.step)" : ""))
    let plan = trainer.learningRatePlan(until: limit)
    let elapsed = state.elapsed ?? 0
    Console.note(
      plan.summary(from: state.step, share: limit.seconds.map { elapsed / max(1e-9, elapsed + $0) } ?? 0))
    if let warning = plan.warning(from: state.step) { Console.note(warning) }

    if trainer.settings.precision == .auto, state.step == 0 {
      let family = try AnyPreset.named(state.preset).family
      let choice = Precision.choice(on: trainer.model.context.backend, convolves3x3: family.convolves3x3)
      Console.note("Precision auto chose \(choice.type.rawValue): \(choice.reason).")
    }

    var last = Date.distantPast
    var final: TrainingProgress?
    var alarm: String?
    var forecast = Forecast(trainer, plan, limit)
    var patience: Patience?
    let outcome = try trainer.train(until: limit) { phase in
      patience?.end()
      patience = phase.map { Patience($0.text) }
    } report: { progress in
      final = progress
      if let text = forecast.text(progress) {
        if Console.isTerminal { Console.rewriteLine("") }
        Console.note(text)
      }
      if progress.alarm != alarm {
        alarm = progress.alarm
        if Console.isTerminal { Console.rewriteLine("") }
        Console.note("step \(progress.step): \(alarm ?? "the alarm is over")")
      }
      let interval = Console.isTerminal ? 0.2 : 5
      guard Date().timeIntervalSince(last) >= interval else { return }
      last = Date()
      let line = TrainingSession.line(progress)
      if Console.isTerminal { Console.rewriteLine(line) } else { Console.note(line) }
    }
    if let final {
      if Console.isTerminal { Console.rewriteLine("") }
      Console.note(TrainingSession.line(final))
      let leftOut = final.leftOut.map { $0 == .picture ? "the last picture" : "the loss on held-out images" }
      if !leftOut.isEmpty { Console.note("There was no time left for \(leftOut.joined(separator: " and ")).") }
    }
    let path = trainer.folder.checkpointPath(step: trainer.state.step)
    if json {
      try Console.print(
        json: Report(
          run: trainer.folder.name, path: path, preset: state.preset, step: trainer.state.step,
          loss: trainer.state.loss,
          validationLoss: trainer.state.validationLoss, imagesPerSecond: final?.imagesPerSecond,
          seconds: trainer.state.seconds))
    } else {
      Console.print(path: path)
    }
    if let exitCode = StopSignal.exitCode {
      if outcome == .interrupted {
        Console.note("Stopped and saved. Go on with: easel resume \(trainer.folder.name)")
      }
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
    case .firstStep: "the first step, which makes the kernels …"
    case .validation: "judging held-out images …"
    case .picture: "drawing a picture of the progress …"
    case .save: "saving a checkpoint …"
    }
  }
}

/// What a training will come to, told once its first steps have shown how long they take.
private struct Forecast {
  private let plan: LearningRatePlan
  private let settings: TrainingSettings
  private let firstStep: Int
  private let seconds: Double?
  private var steps = 0
  private var isTold = false

  /// Steps that are timed before anything is said.
  private static let timedSteps = 3
  /// Of the steps that a preset is made for, what makes more than noise.
  private static let leastShare = 0.1

  init(_ trainer: Trainer, _ plan: LearningRatePlan, _ limit: TrainingLimit) {
    self.plan = plan
    (settings, firstStep, seconds) = (trainer.settings, trainer.state.step, limit.seconds)
  }

  /// - Returns: nil for nothing new.
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
