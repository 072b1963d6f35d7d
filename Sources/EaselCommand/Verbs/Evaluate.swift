import ArgumentParser
import EaselKit
import Foundation

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Judge a model by its samples, its likelihood or its features.",
    discussion: """
      Samples are held against training images by the features of a classifier: Fréchet and kernel distance, precision, \
      recall, density and coverage, beside the same figures of held-out images. The samples may also come from elsewhere: \
      --array or --images. A sheet shows samples above their nearest training and held-out images, by pixels and by features.

      With --likelihood: the bounds on the likelihood of held-out images. With --probe: how well a linear classifier does on \
      the model's features, on pixels, and on an untrained model's features. A classifier is judged by held-out images.
      """)

  /// What features are taken from.
  enum Features: String, CaseIterable, ExpressibleByArgument {
    case classifier, pixels
  }

  @Argument(help: "A run's name, a run's folder or a checkpoint's folder.")
  var checkpoint: String?

  @Option(help: "Judge a NumPy array [N, H, W, C] instead: numbers from 0 to 1, or whole ones from 0 to 255.")
  var array: String?

  @Option(help: "Judge the pictures in a folder instead.")
  var images: String?

  @Option(help: "What the array's images were asked to be: a NumPy array [N] of whole numbers.")
  var labels: String?

  @Option(
    parsing: .unconditional,
    help: "How many samples, or held-out images for --likelihood (default: 10000; all of an array, folder or data set)."
  )
  var count: Int?

  @Option(parsing: .unconditional, help: "Training images that samples are held against (default: as many).")
  var references: Int?

  @OptionGroup var sampling: SamplingArguments

  @Option(
    help: "The data set to hold samples against (default: the run's own; Fashion-MNIST for --array and --images).")
  var data: String?

  @Option(
    help: ArgumentHelp(
      "classifier, or pixels: principal components of small pictures, for data without a classifier (default: the first "
        + "where there is one for the data's classes)."))
  var features: Features?

  @Option(help: "The checkpoint of the classifier, or of another model with features.")
  var classifier: String?

  @Option(parsing: .unconditional, help: "Principal components of --features pixels.")
  var dimensions = 64

  @Option(parsing: .unconditional, help: "Resamples of each interval.")
  var resamples = 200

  @Flag(help: "Bound the likelihood of held-out images instead.")
  var likelihood = false

  @Option(parsing: .unconditional, help: "Samples an image for the importance-weighted bound; implies --likelihood.")
  var importanceSamples: Int?

  @Flag(help: "Probe the model's features instead.")
  var probe = false

  @Option(parsing: .unconditional, help: "Training images of the probe (default: all).")
  var probeImages: Int?

  @OptionGroup var skipping: SkippingOptions
  @OptionGroup var loading: LoadingOptions

  @Option(help: "The sheet of samples and their neighbours (default: in Samples/, named after the run).")
  var output: String?

  @OptionGroup var common: CommonOptions

  func run() throws {
    try checkOptions()
    let workspace = try Workspace(common.workspace)
    guard let checkpoint else { return try judgeImages(workspace) }
    let loaded = try loading.load(checkpoint, from: workspace)
    if probe { return try probe(loaded, workspace) }
    if likelihood || importanceSamples != nil { return try boundLikelihood(loaded, workspace) }
    if let model = loaded.model as? any Sampling { return try judgeSamples(of: model, loaded, workspace) }
    if loaded.model is any Classifying { return try judgeClassifier(loaded, workspace) }
    if loaded.model is any Likelihood { return try boundLikelihood(loaded, workspace) }
    throw UserError(
      .unavailable, "\(loaded.state.preset) draws no samples, bounds no likelihood and tells no classes",
      hint: "It can: \(loaded.model.capabilities.joined(separator: ", ")).")
  }

  private func checkOptions() throws {
    let sources = [("CHECKPOINT", checkpoint), ("--array", array), ("--images", images)].filter { $0.1 != nil }
    guard sources.count == 1 else {
      let found = sources.isEmpty ? "none" : sources.map(\.0).joined(separator: " and ")
      throw UserError(.usage, "expected a CHECKPOINT, --array or --images, found \(found)")
    }
    if let count { try check(count, "--count", 1...1_000_000) }
    if let references { try check(references, "--references", 1...10_000_000) }
    if let importanceSamples { try check(importanceSamples, "--importance-samples", 1...1_000_000) }
    if let probeImages { try check(probeImages, "--probe-images", 20...100_000_000) }
    try check(dimensions, "--dimensions", 1...PixelFeatureExtractor.longestSide * PixelFeatureExtractor.longestSide * 3)
    try check(resamples, "--resamples", 10...100_000)
    if labels != nil, array == nil { throw UserError(.usage, "--labels belongs to --array") }
    if classifier != nil, features == .pixels {
      throw UserError(.usage, "--classifier and --features pixels: expected one of them")
    }
    if checkpoint == nil, probe || likelihood || importanceSamples != nil {
      throw UserError(.usage, "--probe and --likelihood need the CHECKPOINT of a model")
    }
    if probe, likelihood || importanceSamples != nil {
      throw UserError(.usage, "--probe and --likelihood: expected one of them")
    }
    if probeImages != nil, !probe { throw UserError(.usage, "--probe-images belongs to --probe") }
  }

  private var bootstrap: Bootstrap { Bootstrap(seed: sampling.seed, resamples: resamples) }

  // MARK: Samples

  private func judgeSamples(of model: any Sampling, _ loaded: LoadedModel, _ workspace: Workspace) throws {
    let start = Date()
    let options = try sampling.options(for: model.context.data)
    try model.validate(options)
    let count = count ?? 10_000
    let splits = try loaded.data(data, from: workspace, skipping)
    let judge = try judge(splits, count: count, named: loaded.runName, loaded.model.context.backend, workspace)
    let bar = ProgressBar("sampling")
    let samples = try ImageDataset(drawing: count, from: model, options) { bar.show($0) }
    let drawing =
      [("Count", String(count)), ("Seed", String(options.seed))]
      + model.description(of: options)
      .map { ($0.key, $0.value) }
    try judge.finish(samples, drawing: drawing, loaded: loaded, start: start)
  }

  private func judgeImages(_ workspace: Workspace) throws {
    let start = Date()
    var samples: ImageDataset
    if let array {
      samples = try ImageDataset(array: array)
    } else {
      // Pictures come sorted by class.
      samples = try ImageDataset(folder: images ?? "", skippingBroken: skipping.skipBroken) {
        Workspace.list(skipped: $0, of: images ?? "")
      }.shuffled()
    }
    if let count {
      guard count <= samples.count else {
        throw UserError(.usage, "--count: expected at most the \(samples.count) images there are, found \(count)")
      }
      samples = samples.subset(0..<count)
    }
    let splits = try workspace.data(data, imageSize: samples.imageSize, skippingBroken: skipping.skipBroken).splits
      .converted(channels: samples.channels)
    if let labels { samples = try samples.labelled(byArray: labels, classNames: splits.train.classNames) }
    let path = array ?? images ?? ""
    let name = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
    let backend = try loading.compute.backend.make()
    let judge = try judge(splits, count: samples.count, named: name, backend, workspace)
    try judge.finish(
      samples, drawing: [("Count", String(samples.count)), ("Images", path)], loaded: nil, start: start)
  }

  /// Makes sure that samples can be judged and the sheet be written, before any are drawn.
  private func judge(
    _ splits: DatasetSplits, count: Int, named name: String, _ backend: any Backend, _ workspace: Workspace
  ) throws -> SampleJudge {
    var options = EvaluationOptions()
    (options.references, options.seed, options.resamples) = (references, sampling.seed, resamples)
    let extractor = try extractor(for: splits, backend, workspace) {
      // Before they are fitted, which takes as many.
      try options.check(count: count, data: splits, dimensions: dimensions)
    }
    try options.check(count: count, data: splits, dimensions: extractor.dimensions)
    let path = output ?? "\(workspace.path)/Samples/\(name)-evaluate.png"
    try checkOutput(path)
    return SampleJudge(
      extractor: extractor, splits: splits, options: options, backend: backend, path: path, json: common.json)
  }

  private func extractor(
    for splits: DatasetSplits, _ backend: any Backend, _ workspace: Workspace, checkingPixels check: () throws -> Void
  ) throws -> any FeatureExtractor {
    func pixels() throws -> any FeatureExtractor {
      try check()
      return try PixelFeatureExtractor(fitting: splits.train.shuffled(), dimensions: dimensions, on: backend)
    }
    if features == .pixels { return try pixels() }
    let folder: CheckpointFolder
    do {
      folder = try workspace.checkpoints.resolve(classifier ?? ClassifierFamily.name).checkpoint
    } catch let error as UserError where error.kind == .missingInput && classifier == nil {
      if features == nil {
        Console.note("There is no classifier here to take features from: taking pixels (--features pixels).")
        return try pixels()
      }
      throw UserError(
        .missingInput, "there is no checkpoint named \(ClassifierFamily.name) to take features from",
        hint:
          "Train one: easel train \(ClassifierFamily.name) --data \(splits.train.name) --run \(ClassifierFamily.name). "
          + "Or use --features pixels.")
    }
    // In float32: figures shall not depend on what the processor multiplies best.
    let loaded = try LoadedModel(folder, backend: backend, precision: .float32)
    guard let model = loaded.model as? any FeatureExtracting else {
      throw UserError(
        .unavailable, "\(folder.path): \(loaded.state.preset) has no features",
        hint: "Give a classifier's checkpoint with --classifier.")
    }
    let known = model.context.data.classNames
    if classifier == nil, known != splits.train.classNames || splits.train.labels == nil {
      if features == nil {
        Console.note(
          "The classifier \(folder.path) knows other classes than \(splits.train.name) has: "
            + "taking pixels (--features pixels).")
        return try pixels()
      }
      func list(_ names: [String]) -> String {
        names.isEmpty ? "none" : names.prefix(4).joined(separator: ", ") + (names.count > 4 ? ", …" : "")
      }
      throw UserError(
        .usage,
        "the classifier \(folder.path) knows other classes (\(list(known))) than the data \(splits.train.name) have "
          + "(\(splits.train.labels == nil ? "none" : list(splits.train.classNames)))",
        hint: "Use --features pixels, or a classifier of your own with --classifier.")
    }
    return ModelFeatureExtractor(model, name: loaded.identity, for: splits.train.imageSize)
  }

  // MARK: Held-out images

  private func boundLikelihood(_ loaded: LoadedModel, _ workspace: Workspace) throws {
    guard let model = loaded.model as? any Likelihood else {
      throw UserError(
        .unavailable, "\(loaded.state.preset) bounds no likelihood",
        hint: "It can: \(loaded.model.capabilities.joined(separator: ", ")).")
    }
    let heldOut = try loaded.data(data, from: workspace, skipping).validation
    if let count, count > heldOut.count {
      throw UserError(.usage, "--count: expected at most the \(heldOut.count) held-out images, found \(count)")
    }
    let bar = ProgressBar("likelihood")
    let evaluation = try LikelihoodEvaluation(
      model, heldOut.subset(0..<(count ?? heldOut.count)), importanceSamples: importanceSamples, seed: sampling.seed
    ) { bar.show($0) }
    if common.json {
      return try Console.print(json: HeldOutReport(loaded, data: heldOut.name, likelihood: evaluation))
    }
    Console.print(text: evaluation.text(data: heldOut.name))
  }

  private func judgeClassifier(_ loaded: LoadedModel, _ workspace: Workspace) throws {
    guard let model = loaded.model as? any Classifying else { return }
    let heldOut = try loaded.data(data, from: workspace, skipping).validation
    let images = heldOut.subset(0..<min(count ?? heldOut.count, heldOut.count))
    let extractor = ModelFeatureExtractor(model, name: loaded.identity, for: heldOut.imageSize)
    let bar = ProgressBar("classifying")
    let evaluation = try ClassificationEvaluation(extractor, images, bootstrap: bootstrap) { bar.show($0) }
    if common.json {
      return try Console.print(json: HeldOutReport(loaded, data: heldOut.name, classification: evaluation))
    }
    Console.print(text: evaluation.text(data: heldOut.name))
  }

  private func probe(_ loaded: LoadedModel, _ workspace: Workspace) throws {
    let bar = ProgressBar()
    let evaluation = try ProbeEvaluation(
      loaded, data: loaded.data(data, from: workspace, skipping), trainingImages: probeImages, bootstrap: bootstrap,
      progress: { bar.show($0, $1) })
    if common.json {
      return try Console.print(json: HeldOutReport(loaded, data: evaluation.data, probes: evaluation.probes))
    }
    Console.print(text: evaluation.text)
  }
}

extension LoadedModel {
  /// What a figure says it was made with: the run, the step and the hash.
  fileprivate var identity: String {
    "\(runName) (\(state.preset), step \(state.step), hash \(modelHash.prefix(16)), \(model.context.type.rawValue))"
  }

  fileprivate var runName: String {
    URL(fileURLWithPath: checkpoint.path).deletingLastPathComponent().lastPathComponent
  }

  /// The run's data, or others, of the model's size and channels; says where they are not what the model was trained on.
  fileprivate func data(
    _ nameOrPath: String?, from workspace: Workspace, _ skipping: SkippingOptions
  ) throws -> DatasetSplits {
    let description = state.data.description
    let run = try configuration.decode(RunDescription.self)
    let splits = try workspace.data(
      nameOrPath, or: workspace.place(of: run.data, "data", of: checkpoint), like: description, fit: run.fit,
      skippingBroken: skipping.skipBroken || (nameOrPath == nil && run.skipBroken)
    ).converted(channels: description.channels)
    if splits.train.fingerprint != state.data.fingerprint {
      Console.note("\(splits.train.name) is not what \(runName) was trained on: \(state.data.name), as it was then.")
    }
    return splits
  }
}
