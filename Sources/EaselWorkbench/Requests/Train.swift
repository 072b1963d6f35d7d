import EaselSupport
import Foundation

/// Trains a model.
public struct TrainRequest: Request {
  public static let name = "train"
  public static let summary = "Train a model."

  /// A family or a preset.
  public var preset = ""
  public var data: String?
  public var dataB: String?
  /// A YAML file of settings.
  public var config: String?
  /// Settings, as `KEY=VALUE`.
  public var settings: [String] = []
  public var run: String?
  public var resume = false
  public var overwrite = false
  public var keep: Int?
  public var length = TrainingLength()
  public var batchSize: Int?
  public var learningRate: Float?
  public var seed: UInt64?
  public var imageSize: String?
  public var fit: ImageFit?
  public var skipBroken = false
  public var captionTemplate: String?
  public var from: String?
  public var compute = ComputeChoice()
  /// The command line to record in the run, so that it can be repeated.
  public var command: String?

  public init() {}

  public static let fields: [Field<TrainRequest>] =
    [
      Field("preset", \.preset, "A family or a preset."),
      Field("data", \.data, "A data set's name, or the path of a folder of images (default: Fashion-MNIST)."),
      Field("data-b", \.dataB, "The second data set, for families that translate between two."),
      Field("config", \.config, "A YAML file of settings."),
      Field("set", \.settings, "One setting, KEY=VALUE; may be repeated."),
      Field("run", \.run, "The run's name (default: the preset's and a number)."),
      Field("resume", \.resume, "Go on with the run of that name, if there is one, with the settings that it has."),
      Field("overwrite", \.overwrite, "Delete any run of that name first."),
      Field("keep", \.keep, "How many checkpoints to keep besides the best."),
      Field("batch-size", \.batchSize, "Images per training step."),
      Field("learning-rate", \.learningRate, "The optimizer's learning rate."),
      Field("seed", \.seed, "Random seed of the run."),
      Field("image-size", \.imageSize, "Resize images to N×N or W×H: N or WxH."),
      Field(
        "fit", \.fit, "How images of other proportions are brought to that size: crop (default), pad or stretch."),
      Field("skip-broken", \.skipBroken, "Leave out pictures that cannot be read, and list them."),
      Field(
        "caption-template", \.captionTemplate,
        "Describe each picture by its class, such as \"a picture of a {}\"; | separates several wordings."),
      Field(
        "from", \.from, "A checkpoint whose weights to start from; for consistency, the diffusion model to tune."),
      Field("command", \.command, "The command line to record in the run."),
    ] + TrainingLength.fields.map { $0.at(\.length) } + ComputeChoice.fields.map { $0.at(\.compute) }

  public func check(_ check: inout FieldCheck) {
    length.check(&check)
    check.require(
      !resume || (run != nil && !overwrite),
      "\(field: "resume"): expected \(overwrite ? "no \(field: "overwrite")" : "\(field: "run") with a name") beside it"
    )
  }

  public func answer(_ work: Work) throws -> TrainingAnswer { try session(work).runTellingObserver() }

  /// The request's complete settings, before any data are read.
  ///
  /// - Throws: `UserError` (usage) if settings make no sense or change nothing.
  func configuration(_ work: Work) throws -> (preset: AnyPreset, configuration: ConfigurationDocument) {
    let plan = try plan(work, needsOrigin: false)
    return (plan.preset, plan.configuration)
  }

  /// Prepares the training: reads the data, makes the model and reserves the folder.
  ///
  /// - Throws: `UserError`.
  func session(_ work: Work) throws -> TrainingSession {
    let start = ContinuousClock.now
    var plan = try plan(work, needsOrigin: true)
    let (preset, workspace) = (plan.preset, work.workspace)
    let description = try plan.configuration.decode(RunDescription.self)
    let folder = try RunFolder(
      workspace: workspace.path, name: run ?? RunFolder.unusedName(for: preset.name, workspace: workspace.path))
    let isBegun = try folder.isRun
    if isBegun, !overwrite {
      if folder.isBeingTrained { throw folder.isTakenError }
      if plan.goesOn { return try goOn(with: folder, plan.configuration, work, since: start) }
      // A run that was stopped before its first checkpoint has nothing to continue from.
      if !resume {
        throw UserError(
          .cannotCreate, "the run \(folder.name) exists already",
          hint: "Go on with it: easel resume \(folder.name). Or choose another \(field: "run") name, or "
            + "\(field: "overwrite") it.")
      }
    }
    try folder.checkWritable()
    let data = try work.data(of: description, for: preset)
    for (key, set) in zip(["data", "data-b"], data) {
      try plan.configuration.set(key, to: set.name, origin: .field(key))
    }
    let shown = DataDescription(data[0].splits.train)
    if let fitted = try preset.fit(&plan.configuration, to: shown) { work.remark(fitted) }
    try plan.origin?.requireLikeness(of: shown)
    let source = try plan.origin?.checkpoint ?? from.map { try workspace.checkpoints.resolve($0).checkpoint }
    let parts = try PartCheckpoints(plan.configuration, of: preset) { try work.checkpoint($0) }
    let trainer = try Trainer(
      preset: preset, configuration: plan.configuration, data: data[0].splits,
      counterpart: data.dropFirst().first?.splits, parts: parts, origin: source, folder: folder,
      backend: compute.backend())
    let session = try TrainingSession(trainer, length, since: start, work)
    if let source { try trainer.takeWeights(from: source) }
    if let command { trainer.record(command: command) }
    try trainer.prepareFolder(replacing: isBegun)
    try folder.write(dataPlaces: data.map(\.place))
    return session
  }

  // MARK: Settings

  private struct Plan {
    let preset: AnyPreset
    var configuration: ConfigurationDocument
    let origin: Origin?
    /// Whether the request continues an existing run.
    let goesOn: Bool
  }

  private func plan(_ work: Work, needsOrigin: Bool) throws -> Plan {
    let preset = try AnyPreset.named(preset)
    var configuration = try preset.configuration()
    if dataB != nil, preset.family.domains == .one {
      let others = modelFamilies.filter { $0.domains != .one }.map { $0.name }
      throw UserError(
        .usage, "\(field: "data-b"): \(preset.name) learns from one data set",
        hint: "Families that learn from two: \(others.joined(separator: ", ")).")
    }
    if let config { try overlay(config, of: preset, over: &configuration) }
    for assignment in settings { try configuration.set(assignment) }
    try override(&configuration)
    try configuration.set("preset", to: preset.name, origin: .field("preset"))
    try configuration.decode(TrainingSettings.self).validate()
    // A run that is continued has its own settings; whatever the request asks for is compared with them.
    let goesOn =
      resume && !overwrite
      ? try !RunFolder(workspace: work.workspace.path, name: run ?? "").checkpointSteps.isEmpty : false
    let origin = goesOn ? nil : try origin(of: preset, work.workspace, isNeeded: needsOrigin)
    if !goesOn {
      var base = try preset.configuration()
      try origin?.lay(under: &base, of: preset, work.workspace)
      try origin?.lay(under: &configuration, of: preset, work.workspace)
      try preset.requireEffects(of: configuration, over: base, tell: work.remark)
    }
    return Plan(preset: preset, configuration: configuration, origin: origin, goesOn: goesOn)
  }

  /// The checkpoint to begin from, if the family takes more from it than its weights; nil for other families.
  ///
  /// - Throws: `UserError`; usage if such a family has no checkpoint to begin with.
  private func origin(of preset: AnyPreset, _ workspace: Workspace, isNeeded: Bool) throws -> Origin? {
    guard let needed = preset.family.startingPoint else { return nil }
    if let from { return try Origin(from, workspace) }
    if !isNeeded { return nil }
    throw UserError(
      .usage,
      "\(preset.name): expected \(field: "from") with a checkpoint of \(needed.families[0]) to tune, found none",
      hint: "Train one with: easel train \(needed.example)")
  }

  /// Applies a file of settings over those of a preset.
  ///
  /// - Throws: `UserError`; for a file of another family, one that says so instead of listing unknown settings.
  private func overlay(_ file: String, of preset: AnyPreset, over configuration: inout ConfigurationDocument) throws {
    let result = Result { try configuration.overlay(yamlFile: file) }
    if let other = try? AnyPreset.named(configuration.decode(RunDescription.self).preset),
      other.family.name != preset.family.name
    {
      throw UserError(
        .usage, "\(field: "config"): \(file) has settings of \(other.name), expected those of \(preset.name)",
        hint: "Use it with: easel train \(other.name) \(field: "config") \(file)")
    }
    try result.get()
  }

  /// Applies the fields that name a setting over the document.
  private func override(_ configuration: inout ConfigurationDocument) throws {
    let named: [(key: String, value: (any FieldValue)?)] = [
      ("data", data), ("data-b", dataB), ("image-size", imageSize), ("fit", fit), ("batch-size", batchSize),
      ("learning-rate", learningRate), ("seed", seed), ("precision", compute.precision), ("steps", length.steps),
      ("keep", keep), ("skip-broken", skipBroken ? true : nil), ("caption-template", captionTemplate),
    ]
    for (key, value) in named {
      if let value { try configuration.set(key, to: value.content, origin: .field(key)) }
    }
  }

  /// Continues a run, after checking that nothing else was asked for.
  private func goOn(
    with folder: RunFolder, _ configuration: ConfigurationDocument, _ work: Work,
    since start: ContinuousClock.Instant
  ) throws -> TrainingSession {
    let own = try Trainer.configuration(of: folder.newestValid().checkpoint)
    let changes = configuration.changes(from: own)
    // Data are compared by their content, and each session decides how long to train.
    let others = Dictionary(uniqueKeysWithValues: changes.map { ($0.key, $0.value) })
    if let change = changes.first(where: { !["data", "data-b", "steps"].contains($0.key) }) {
      throw UserError(
        .usage,
        "\(field: "resume"): the run \(folder.name) has \(change.key) \(change.other), not \(change.value)",
        hint:
          "Leave it out, or choose another \(field: "run") name. Some settings can be changed with: easel resume \(folder.name) \(field: "set")."
      )
    }
    var resume = ResumeRequest()
    (resume.run, resume.length, resume.compute, resume.command) = (folder.name, length, compute, command)
    let isOpen = length.steps == nil && length.epochs == nil && length.minutes == nil
    if isOpen, let steps = others["steps"] { resume.length.steps = Int(steps) }
    return try resume.session(work, with: folder, since: start, namesData: data != nil || dataB != nil) {
      if let data = others["data"] { $0.data = data }
      if let data = others["data-b"] { $0.dataB = data }
    }
  }
}

/// A checkpoint that a training begins from, with its settings and what it was trained on.
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

  /// Gives a document the checkpoint's settings, and its data unless others are named.
  func lay(under document: inout ConfigurationDocument, of preset: AnyPreset, _ workspace: Workspace) throws {
    try preset.build(&document, on: configuration, of: .named(state.preset), named: name)
    let own = try configuration.decode(RunDescription.self)
    func set(_ path: PartialKeyPath<RunDescription>, to value: String) throws {
      let key = RunDescription.key(path)
      if document.isSet(key) || value.isEmpty { return }
      try document.set(key, to: value, origin: .place("the checkpoint \(name)"))
    }
    // Other images are resized to the size that the network was trained with.
    let size = state.data.description
    try set(\.imageSize, to: document.isSet("data") ? "\(size.width)x\(size.height)" : own.imageSize)
    try set(\.fit, to: own.fit.rawValue)
    try set(\.data, to: workspace.place(of: own.data, "data", of: checkpoint))
    if own.skipBroken { try set(\.skipBroken, to: "true") }
  }

  /// - Throws: `UserError` (usage) for images with other channels or, if the network knows classes, other classes.
  func requireLikeness(of data: DataDescription) throws {
    let own = state.data.description
    guard data.channels == own.channels else {
      throw UserError(
        .usage,
        "\(field: "data"): expected images of \(own.channels) channels, as \(name) was trained on, found "
          + "\(data.channels)")
    }
    let isConditional = configuration.given.contains { $0 == ("conditional", "true") }
    guard !isConditional || data.classNames == own.classNames else {
      throw UserError(
        .usage,
        "\(field: "data"): expected the classes that \(name) was trained on "
          + "(\(own.list(Array(own.classNames.indices)))), found "
          + (data.classNames.isEmpty ? "none" : data.list(Array(data.classNames.indices))))
    }
  }
}
