import EaselModels
import EaselRunStorage
import EaselTestSupport
import Foundation
import Testing

@Suite struct PresetTests {
  @Test(
    "Networks have the same number of parameters as PyTorch's",
    arguments: [
      ("diffusion-base", 8_949_761), ("diffusion-small", 3_939_393), ("diffusion-edm", 3_939_393),
      ("diffusion-quick", 1_806_401),
      ("consistency", 3_939_393),
      ("diffusion-cifar10", 35_746_307),
      ("autoencoder", 593_825), ("denoising-autoencoder", 593_825), ("vae", 794_561), ("gan", 1_611_202),
      ("autoencoder-kl", 952_799), ("autoencoder-kl-128", 992_607),
      ("cyclegan", 9_459_592),
      // 1,310,928 minus the positions, which are not learned.
      ("masked-autoencoder", 1_301_520),
    ])
  func parameterCount(_ name: String, _ expected: Int) throws {
    let preset = try AnyPreset.named(name)
    let count = try onTensors { backend in
      let model = try preset.makeModel(preset.configuration(), .float32(on: backend, preset.data))
      return model.components.map(\.arena.count).reduce(0, +)
    }
    #expect(count == expected)
  }

  @Test("Every preset's settings are valid", arguments: AnyPreset.all)
  func presetsAreValid(_ preset: AnyPreset) throws {
    let document = try preset.configuration()
    try document.decode(TrainingSettings.self).validate()
    try document.settings(of: preset).validate()
    #expect(!preset.summary.isEmpty)
    #expect(preset.name.hasPrefix(preset.family.name))
  }

  @Test("A file to start from explains every key and reads as the preset", arguments: AnyPreset.all)
  func commentedFile(_ preset: AnyPreset) throws {
    let document = try preset.configuration()
    let text = try document.commentedYAML()
    let blocks = text.split(separator: "\n\n").map { $0.split(separator: "\n") }
    #expect(blocks.count == document.keys.count)
    for (block, key) in zip(blocks, document.keys) {
      #expect(block[0].count > 6 && block[0].hasPrefix("# ") && block[1].hasPrefix("\(key):"), "\(block)")
    }
    #expect(text.contains("# the update rule; one of sgd, rmsprop, adam, adamw\noptimizer: "))
    let folder = try ScratchFolder()
    var read = try preset.configuration()
    try read.overlay(yamlFile: folder.write(text, to: "settings.yaml"))
    #expect(try read.yaml() == document.yaml())
  }

  @Test("A preset's YAML restores the preset, over any other of its family", arguments: AnyPreset.all)
  func yamlRoundTrip(_ preset: AnyPreset) throws {
    let folder = try ScratchFolder()
    let path = folder.file("settings.yaml")
    let original = try preset.configuration(data: "fashion-mnist", imageSize: "28×20")
    try Data(original.yaml().utf8).write(to: URL(fileURLWithPath: path))
    for other in AnyPreset.all where other.family == preset.family {
      var document = try other.configuration()
      try document.overlay(yamlFile: path)
      #expect(try document.yaml() == original.yaml())
      #expect(try document.decode(TrainingSettings.self) == original.decode(TrainingSettings.self))
      let run = try document.decode(RunDescription.self)
      #expect(run.preset == preset.name && run.data == "fashion-mnist" && run.imageSize == "28×20")
    }
  }

  @Test("Keys are kebab-case", arguments: AnyPreset.all)
  func kebabCase(_ preset: AnyPreset) throws {
    let keys = try preset.configuration().keys
    #expect(keys.count > 25)
    for key in keys { #expect(key.wholeMatch(of: /[a-z0-9]+(-[a-z0-9]+)*/) != nil, "\(key)") }
  }

  @Test func namesAreUniqueAndFound() throws {
    let all = AnyPreset.all
    #expect(Set(all.map(\.name)).count == all.count)
    for preset in all { #expect(try AnyPreset.named(preset.name).name == preset.name) }
    #expect(try AnyPreset.named("diffusion").name == "diffusion-small")
    expectUserError(.usage, "difusion-base", "Did you mean diffusion-base?") { try AnyPreset.named("difusion-base") }
    expectUserError(.usage, "xyzzy", "Known:", "autoencoder", "diffusion") { try AnyPreset.named("xyzzy") }
  }

  // MARK: Nonsense

  @Test(
    "Nonsense in the training settings is refused by key",
    arguments: [
      "batch-size=0", "batch-size=-3", "batch-size=100000", "accumulate=0", "accumulate=1000", "learning-rate=0",
      "learning-rate=-1", "learning-rate=.nan", "learning-rate=.inf", "beta1=1", "beta1=-0.1", "beta2=1", "beta2=.nan",
      "epsilon=0", "momentum=1", "momentum=-1", "weight-decay=-1", "weight-decay=.nan", "clip-norm=-1",
      "warmup-steps=-1", "schedule-steps=0", "ema-decay=1", "ema-decay=-0.5", "shift=-1", "steps=0",
      "checkpoint-every=0", "validate-every=0", "validation-images=0", "keep=0", "seed=-1", "optimizer=adamm",
      "learning-rate-decay=steps", "precision=float16", "flip=maybe", "nesterov=2", "decay-vectors=5",
    ])
  func trainingNonsense(_ assignment: String) throws {
    try expectRefusal(of: assignment, by: "diffusion-small") { try $0.decode(TrainingSettings.self).validate() }
  }

  @Test(
    "Nonsense in a diffusion model's settings is refused by key",
    arguments: [
      "channels=[]", "channels=[8, 8, 8, 8, 8, 8, 8, 8, 8]", "channels=32,60,128", "channels=0", "channels=-8",
      "channels=8192", "layers-per-block=0", "layers-per-block=17", "attention-levels=3", "attention-levels=-1",
      "attention-head-width=-1", "attention-head-width=24", "groups=0", "groups=-8", "norm-epsilon=0",
      "norm-epsilon=.nan", "frequency-shift=16", "frequency-shift=.nan", "frequency-shift=.inf",
      "downsample-padding=2", "downsample-padding=-1", "dropout=1", "dropout=-0.1", "timesteps=1", "timesteps=1000000",
      "label-dropout=1", "label-dropout=-1", "sampler-steps=0", "sampler-steps=1001", "noise-schedule=quadratic",
      "prediction=noise", "variance=learned", "sampler=eular", "spacing=even", "clip=sometimes", "conditional=3",
      "noise-schedule=edm", "data-deviation=0", "data-deviation=.nan", "augment=1.5", "augment=-0.1", "augment=.nan",
      "guidance=-1", "guidance=.inf", "sampler-eta=1.5", "sampler-eta=-1", "sampler-eta=.nan",
    ])
  func diffusionNonsense(_ assignment: String) throws {
    try expectRefusal(of: assignment, by: "diffusion-small") { try $0.decode(DiffusionSettings.self).validate() }
  }

  @Test(
    "Settings without effect are refused",
    arguments: [
      ("autoencoder", ["momentum=0.9"], "sgd"), ("autoencoder", ["optimizer=sgd", "nesterov=true"], "a momentum"),
      ("autoencoder", ["optimizer=sgd", "beta1=0.5"], "adam"), ("gan", ["optimizer=rmsprop", "beta2=0.5"], "adam"),
      ("autoencoder", ["optimizer=sgd", "epsilon=0.1"], "rmsprop"),
      ("autoencoder", ["decay-vectors=false"], "weight-decay"),
      ("gan", ["schedule-steps=100"], "learning-rate-decay"), ("autoencoder", ["tied=true"], "architecture=linear"),
      ("vae", ["architecture=linear", "base-channels=8"], "convolutional"), ("vae", ["sigma=0.2"], "likelihood"),
      ("vae", ["beta=0", "free-bits=1"], "a beta"), ("gan", ["penalty=3"], "r1"),
      ("gan", ["weight-clip=1"], "wasserstein"),
      ("gan", ["loss=hinge", "label-smoothing=0.1"], "cross-entropies"),
      ("cyclegan", ["cycle=0", "identity=1"], "a cycle"),
      ("diffusion-small", ["guidance=3"], "conditional=true"),
      ("consistency", ["spacing=trailing"], "a diffusion model"), ("consistency", ["sampler-eta=0.5"], "dpm++"),
      ("diffusion-small", ["label-dropout=0.3"], "conditional=true"),
      ("diffusion-small", ["data-deviation=0.3"], "edm"),
      ("diffusion-small", ["sampler=heun", "sampler-eta=0.5"], "ddim"),
      ("diffusion-small", ["channels=[32]", "attention-levels=[0]", "downsample-padding=0"], "more than one level"),
    ])
  func idleSettings(_ name: String, _ assignments: [String], _ need: String) throws {
    let preset = try AnyPreset.named(name)
    var document = try preset.configuration()
    for assignment in assignments { try document.set(assignment) }
    let last = try #require(assignments.last)
    expectUserError(.usage, "\(last.key): ", "would change nothing", need) {
      try preset.requireEffects(of: document, over: preset.configuration()) { _ in }
    }
    // A file may have every key; those without effect are reported.
    let folder = try ScratchFolder()
    var read = try preset.configuration()
    try read.overlay(
      yamlFile: folder.write(
        assignments.map { $0.replacingOccurrences(of: "=", with: ": ") }.joined(separator: "\n"), to: "settings.yaml"))
    var told: [String] = []
    try preset.requireEffects(of: read, over: preset.configuration()) { told.append($0) }
    #expect(told.count == 1 && told[0].contains(last.key) && told[0].contains("settings.yaml"), "\(told)")
  }

  @Test("Settings without effect in a preset or its own file are accepted", arguments: AnyPreset.all)
  func presetsHaveEffects(_ preset: AnyPreset) throws {
    let folder = try ScratchFolder()
    var document = try preset.configuration()
    try document.overlay(yamlFile: folder.write(preset.configuration().yaml(), to: "settings.yaml"))
    for setting in ["momentum=0", "optimizer=sgd", "learning-rate-decay=constant"] { try document.set(setting) }
    try preset.requireEffects(of: document, over: preset.configuration()) { Issue.record("told: \($0)") }
  }

  @Test("Diffusion presets adapt to larger images, unless a person has set these settings")
  func fitting() throws {
    let preset = try AnyPreset.named("diffusion-edm")
    func fitted(_ side: Int, _ assignments: String...) throws -> (note: String?, model: DiffusionSettings, batch: Int) {
      var document = try preset.configuration()
      for assignment in assignments { try document.set(assignment) }
      let note = try preset.fit(&document, to: DataDescription(width: side, height: side / 2, channels: 3))
      return (
        note, try document.decode(DiffusionSettings.self), try document.decode(TrainingSettings.self).batchSize
      )
    }
    for side in [28, 32, 41] {
      let own = try fitted(side)
      #expect(own.note == nil && own.model.channels == [32, 64, 128] && own.batch == 64)
    }
    let larger = try fitted(64)
    #expect(larger.model.channels == [16, 32, 64, 128] && larger.model.attentionLevels == [3] && larger.batch == 16)
    #expect(larger.note?.contains("64×32") == true && larger.note?.contains("batch-size=16") == true)
    for set in ["batch-size=8", "channels=[8, 8]", "attention-levels=[1]"] { #expect(try fitted(64, set).note == nil) }
    // The settings are valid for every size.
    for preset in AnyPreset.all {
      for side in [64, 128, 4096] {
        var document = try preset.configuration()
        _ = try preset.fit(&document, to: DataDescription(width: side, height: side, channels: 3))
        try document.settings(of: preset).validate()
        try document.decode(TrainingSettings.self).validate()
      }
    }
  }

  @Test("The edm schedule has no timesteps to learn a variance for")
  func learnedVarianceNeedsTimesteps() {
    let settings = DiffusionSettings {
      $0.noiseSchedule = .edm
      $0.prediction = .velocity
      $0.variance = .learnedRange
      $0.groups = 8
    }
    expectUserError(.usage, "variance", "learned-range", "edm") { try settings.validate() }
  }

  @Test("A frequency shift may not use up all of an odd network's frequencies")
  func frequencyShiftOfOddWidth() {
    let settings = DiffusionSettings {
      $0.channels = [3]
      $0.groups = 3
      $0.attentionLevels = []
      $0.frequencyShift = 1
    }
    // One frequency, divided by 1 − 1, gives NaN.
    expectUserError(.usage, "frequency-shift") { try settings.validate() }
  }

  @Test(
    "Nonsense in an autoencoder's settings is refused by key",
    arguments: [
      "latent=0", "latent=100000", "base-channels=0", "base-channels=12", "base-channels=8192",
      "architecture=deep", "latent=many",
    ])
  func autoencoderNonsense(_ assignment: String) throws {
    try expectRefusal(of: assignment, by: "autoencoder") { try $0.decode(AutoencoderSettings.self).validate() }
  }

  @Test(
    "Nonsense in the settings of an autoencoder of small latents is refused by key",
    arguments: [
      "kind=ae", "channels=[]", "channels=[8, 12]", "channels=0", "layers-per-block=0", "latent-channels=0",
      "latent-channels=2000", "groups=0", "reconstruction=l3", "kl-weight=-1", "kl-weight=.nan", "codes=1",
      "codes=100000", "commitment=-1", "perceptual-weight=-1", "perceptual-weight=.nan", "adversarial-weight=-1",
      "adversarial-weight=.inf", "adversarial-start=1", "adversarial-start=-0.1", "discriminator-width=0",
      "discriminator-layers=7", "middle-attention=some",
    ])
  func autoencoderKLNonsense(_ assignment: String) throws {
    try expectRefusal(of: assignment, by: "autoencoder-kl") { try $0.decode(AutoencoderKLSettings.self).validate() }
  }

  @Test(
    "Nonsense in a masked autoencoder's settings is refused by key",
    arguments: [
      "patch=0", "patch=1000", "masked=0", "masked=1", "masked=-0.5", "masked=.nan", "width=0", "width=130",
      "width=10000",
      "heads=0", "heads=3", "depth=0", "decoder-width=30", "decoder-heads=7", "decoder-depth=0", "mlp-ratio=0",
      "drop-path=1", "drop-path=-0.1", "drop-path=.nan", "rezero=perhaps", "norm-pix-loss=2", "learned-positions=some",
    ])
  func maskedAutoencoderNonsense(_ assignment: String) throws {
    try expectRefusal(of: assignment, by: "masked-autoencoder") {
      try $0.decode(MaskedAutoencoderSettings.self).validate()
    }
  }

  @Test(
    "Nonsense in a consistency model's settings is refused by key",
    arguments: [
      "stages=0", "stages=21", "shrink=1", "shrink=.nan", "huber=0", "huber=-1", "huber=.nan", "noise-mean=11",
      "noise-mean=.nan", "noise-deviation=0", "noise-deviation=.inf", "sampler=ddim", "prediction=sample",
      "variance=learned-range", "channels=0", "guidance=-1",
    ])
  func consistencyNonsense(_ assignment: String) throws {
    try expectRefusal(of: assignment, by: "consistency") { try $0.decode(ConsistencySettings.self).validate() }
  }

  @Test("A diffusion model cannot be set to draw as a consistency model")
  func samplerOfDiffusion() throws {
    try expectRefusal(of: "sampler=consistency", by: "diffusion-edm") {
      try $0.decode(DiffusionSettings.self).validate()
    }
  }

  // MARK: Starting points

  private func tuned(
    from source: String, _ sourceSettings: [String] = [], setting own: [String] = []
  ) throws -> ConsistencySettings {
    let (preset, other) = (try AnyPreset.named("consistency"), try AnyPreset.named(source))
    var (document, checkpoint) = (try preset.configuration(), try other.configuration())
    let folder = try ScratchFolder()
    for setting in sourceSettings { try checkpoint.set(setting) }
    // As read from a checkpoint: every key comes from the file.
    var read = try other.configuration()
    try read.overlay(yamlFile: folder.write(checkpoint.yaml(), to: "config.yaml"))
    for setting in own { try document.set(setting) }
    try preset.build(&document, on: read, of: other, named: "base")
    return try document.decode(ConsistencySettings.self)
  }

  @Test("A consistency model has the network and the noise of the diffusion model that it is tuned from")
  func startingPoint() throws {
    let settings = try tuned(
      from: "diffusion-quick", ["augment=0.1", "guidance=2", "dropout=0.3", "sampler-steps=99", "batch-size=7"],
      setting: ["guidance=3", "channels=[32, 64, 96]"])
    #expect(settings.diffusion.channels == [32, 64, 96] && settings.diffusion.layersPerBlock == 1)
    #expect(settings.diffusion.conditional && settings.diffusion.augment == 0.1 && settings.diffusion.dropout == 0.3)
    #expect(settings.diffusion.noiseSchedule == .edm && settings.diffusion.prediction == .velocity)
    // A person may set what is not fixed, and the settings for drawing are the consistency model's own.
    #expect(settings.diffusion.guidance == 3)
    #expect(settings.diffusion.sampler == .consistency && settings.diffusion.samplerSteps == 2)
    try settings.validate()
    // A consistency model can be tuned further in the same way.
    #expect(try tuned(from: "consistency", ["channels=[8, 16]"]).diffusion.channels == [8, 16])
    // With variance-preserving schedules the network is of the same kind if it predicts velocity.
    try tuned(from: "diffusion-small", ["prediction=velocity"]).validate()
  }

  @Test("Settings that a checkpoint fixes cannot be changed, and other families' checkpoints are refused")
  func startingPointRefusals() throws {
    expectUserError(.usage, "channels: expected [32, 64, 96], as the checkpoint base has it, found [8]") {
      try tuned(from: "diffusion-quick", setting: ["channels=[8]"])
    }
    expectUserError(.usage, "from: expected a checkpoint of diffusion", "base of vae", "easel train diffusion-edm") {
      try tuned(from: "vae")
    }
    expectUserError(.usage, "prediction: expected velocity", "epsilon") {
      try tuned(from: "diffusion-small").validate()
    }
    // Families that need no checkpoint take no settings from one.
    let preset = try AnyPreset.named("diffusion-small")
    var document = try preset.configuration()
    let before = try document.yaml()
    try preset.build(&document, on: AnyPreset.named("vae").configuration(), of: .named("vae"), named: "base")
    #expect(try document.yaml() == before)
  }

  @Test("A model cannot be made from nonsense settings", arguments: ["channels=32,60,128", "groups=0", "timesteps=1"])
  func makeModelValidates(_ assignment: String) throws {
    let preset = try AnyPreset.named("diffusion-small")
    expectUserError(.usage, assignment.key) {
      try onTensors { backend in
        var document = try preset.configuration()
        try document.set(assignment)
        _ = try preset.makeModel(document, .float32(on: backend, preset.data))
      }
    }
  }

  private func expectRefusal(
    of assignment: String, by preset: String, sourceLocation: SourceLocation = #_sourceLocation,
    validate: (ConfigurationDocument) throws -> Void
  ) throws {
    var document = try AnyPreset.named(preset).configuration()
    try validate(document)
    try document.set(assignment)
    expectUserError(.usage, assignment.key, sourceLocation: sourceLocation) { try validate(document) }
  }
}

extension String {
  /// The part before the equals sign.
  fileprivate var key: String { String(prefix { $0 != "=" }) }
}

extension ConfigurationDocument {
  /// The settings of the model itself.
  fileprivate func settings(of preset: AnyPreset) throws -> any ModelSettings {
    func settings<Family: ModelFamily>(_: Family.Type) throws -> any ModelSettings { try decode(Family.Settings.self) }
    return try settings(preset.family)
  }
}

extension AnyPreset: CustomTestStringConvertible {
  public var testDescription: String { name }
}
