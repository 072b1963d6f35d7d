import EaselMetrics
import EaselSupport
import Foundation

/// Judges a model by its samples, its likelihood, its features or its reconstructions, or judges images from elsewhere.
public struct EvaluateRequest: RecordedRequest {
  public static let name = "evaluate"
  public static let summary = "Judge a model by its samples, its likelihood, its features or its reconstructions."

  /// The source of the features.
  public enum Features: String, FieldChoice {
    case classifier, pixels
  }

  public var source = CheckpointChoice()
  /// A NumPy array whose images are judged instead.
  public var array: String?
  /// A folder whose pictures are judged instead.
  public var images: String?
  /// The classes that the array's images were meant to show.
  public var labels: String?
  public var count: Int?
  public var references: Int?
  public var sampling = SamplingChoice()
  public var data: String?
  public var features: Features?
  public var classifier: String?
  public var dimensions = 64
  public var resamples = 200
  public var likelihood = false
  public var importanceSamples: Int?
  public var probe = false
  public var probeImages: Int?
  /// Whether a model of captions is judged by how well its pictures show them.
  public var captions = false
  /// What tells how well pictures and captions fit.
  public var clip = ClipChoice()
  public var template: String?
  public var skipBroken = false

  public init() {}

  public static let fields: [Field<EvaluateRequest>] =
    CheckpointChoice.fields.map { $0.at(\.source) } + [
      Field(
        "array", \.array, "Judge a NumPy array [N, H, W, C] instead: numbers from 0 to 1, or integers from 0 to 255."),
      Field("images", \.images, "Judge the pictures in a folder instead."),
      Field("labels", \.labels, "The classes that the array's images should show: a NumPy array [N] of integers."),
      Field(
        "count", \.count, .from(1, to: 1_000_000),
        "How many samples, or held-out images for a likelihood (default: 10000; all of an array, folder or data set), pairs to find each other (default: 256), or captions to draw (default: 500)."
      ),
      Field(
        "references", \.references, .from(1, to: 10_000_000),
        "How many training images to compare samples with (default: as many as samples)."),
      Field(
        "data", \.data,
        "The data set to compare samples with (default: the run's own; Fashion-MNIST for an array or a folder)."),
      Field(
        "features", \.features,
        "classifier, or pixels: principal components of small pictures, for data without a classifier (default: classifier, if there is one for the data's classes)."
      ),
      Field("classifier", \.classifier, "The checkpoint of the classifier, or of another model with features."),
      Field(
        "dimensions", \.dimensions,
        .from(1, to: Double(PixelFeatureExtractor.longestSide * PixelFeatureExtractor.longestSide * 3)),
        "How many principal components of the pixels to take as features."),
      Field("resamples", \.resamples, .from(10, to: 100_000), "How many resamples each interval takes."),
      Field("likelihood", \.likelihood, "Bound the likelihood of held-out images instead."),
      Field(
        "importance-samples", \.importanceSamples, .from(1, to: 1_000_000),
        "Samples per image for the importance-weighted bound on the likelihood."),
      Field("probe", \.probe, "Probe the model's features instead."),
      Field(
        "probe-images", \.probeImages, .from(20, to: 100_000_000), "Training images for the probe (default: all)."),
      Field(
        "captions", \.captions,
        "Draw held-out captions instead, and judge how well the pictures show them: by a clip model, and for shapes by finding them."
      ),
      Field(
        "caption-template", \.template,
        "How a model of texts is told a class, such as \"a picture of a {}\"; | separates wordings that are averaged (default: as in training, or \"a picture of a {}\")."
      ),
      Field("skip-broken", \.skipBroken, "Leave out pictures and folders that cannot be read, and list them."),
    ] + ClipChoice.fields.map { $0.at(\.clip) } + SamplingChoice.fields.map { $0.at(\.sampling) }

  public func check(_ check: inout FieldCheck) {
    sampling.check(&check)
    clip.check(&check)
    let sources = [
      ("a checkpoint", source.checkpoint.isEmpty ? nil : source.checkpoint), (String(field: "array"), array),
      (String(field: "images"), images),
    ].filter { $0.1 != nil }
    let found = sources.isEmpty ? "none" : sources.map(\.0).joined(separator: " and ")
    check.require(
      sources.count == 1, "expected a checkpoint, \(field: "array") or \(field: "images"), found \(found)")
    check.require(labels == nil || array != nil, "\(field: "labels") belongs to \(field: "array")")
    check.require(
      classifier == nil || features != .pixels,
      "\(field: "classifier") and \(field: "features") pixels: expected one of them")
    let (probe, likelihood) = (String(field: "probe"), String(field: "likelihood"))
    check.require(
      !source.checkpoint.isEmpty || !(self.probe || boundsLikelihood),
      "\(probe) and \(likelihood) need the checkpoint of a model")
    check.require(
      [self.probe, boundsLikelihood, captions].count { $0 } <= 1,
      "expected one of \(probe), \(likelihood) and \(field: "captions")")
    check.require(
      !captions || !source.checkpoint.isEmpty, "\(field: "captions") needs the checkpoint of a model")
    check.require(clip.checkpoint == nil || captions, "\(field: "clip") belongs to \(field: "captions")")
    for (key, isGiven) in [
      ("features", features != nil), ("classifier", classifier != nil), ("references", references != nil),
      ("caption-template", template != nil),
    ] where captions {
      check.require(!isGiven, "\(field: key): it has no part in \(field: "captions")")
    }
    check.require(
      !captions || (sampling.prompts.isEmpty && sampling.label == nil),
      "\(field: "captions") draws those of the data: leave out \(field: "prompt")")
    check.require(probeImages == nil || self.probe, "\(field: "probe-images") belongs to \(probe)")
  }

  private var boundsLikelihood: Bool { likelihood || importanceSamples != nil }
  private var bootstrap: Bootstrap { Bootstrap(seed: sampling.seed, resamples: resamples) }

  public static func isOffered(by model: any Model) -> Bool {
    model is any Sampling || model is any LikelihoodBounding || model is any FeatureExtracting
      || model is any ImageEncoding || model is any ImageTextEmbedding
  }

  public mutating func find(_ recipe: RecordedRecipe, in workspace: Workspace) throws {
    if array == nil, images == nil { try source.find(recipe, in: workspace) }
  }

  /// What the sheet is named after: the run, the array or the folder.
  public var subject: String {
    let path = array ?? images ?? source.runName
    return URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
  }

  public func answer(_ work: Work) throws -> EvaluateAnswer {
    if source.checkpoint.isEmpty {
      let backend = try source.compute.backend()
      return try work.computing(on: backend) { try judgeImages(work, backend) }
    }
    let loaded = try source.load(work)
    return try work.computing(with: loaded.model) { try judge(loaded, work) }
  }

  private func judge(_ loaded: LoadedModel, _ work: Work) throws -> EvaluateAnswer {
    var answer = EvaluateAnswer(loaded)
    let what = LazyData { try loaded.data(data, work, skippingBroken: skipBroken) }
    if probe {
      guard loaded.model is any FeatureExtracting else { throw loaded.refusal("has no features to probe") }
      answer.probes = try ProbeEvaluation(
        loaded, data: what.splits(), trainingImages: probeImages, bootstrap: bootstrap,
        progress: { try work.progress($0)($1) })
      answer.data = answer.probes?.data ?? ""
    } else if captions {
      try judgeCaptions(loaded, work, what, &answer)
    } else if boundsLikelihood {
      try boundLikelihood(loaded, work, what, &answer)
    } else if let model = loaded.model as? any Sampling {
      try judgeSamples(of: model, loaded, work, what, &answer)
    } else if let model = loaded.model as? any ImageTextEmbedding {
      try judgeTexts(of: model, loaded, work, what.splits(), &answer)
    } else if let model = loaded.model as? any Classifying {
      let heldOut = try what.splits().validation
      let images = heldOut.subset(0..<min(count ?? heldOut.count, heldOut.count))
      let extractor = ModelFeatureExtractor(model, name: loaded.identity, for: heldOut.imageSize)
      answer.classification = try ClassificationEvaluation(
        extractor, images, bootstrap: bootstrap, progress: work.progress("classifying"))
      answer.data = heldOut.name
    } else if loaded.model is any LikelihoodBounding {
      try boundLikelihood(loaded, work, what, &answer)
    } else if let model = loaded.model as? any ImageEncoding {
      let heldOut = try what.splits().validation
      answer.reconstruction = try ReconstructionEvaluation(
        model, heldOut.subset(0..<min(count ?? heldOut.count, heldOut.count)), progress: work.progress("reconstructing")
      )
      answer.data = heldOut.name
    } else {
      var refusal = loaded.refusal(
        "draws no samples, bounds no likelihood, tells no classes and reconstructs no images")
      if loaded.model is any FeatureExtracting {
        refusal = UserError(refusal.kind, refusal.message, hint: "Judge its features with \(field: "probe").")
      }
      throw refusal
    }
    answer.remarks = work.remarks
    return answer
  }

  /// Judges a model of images and texts on held-out images: by their captions and by the names of their classes.
  private func judgeTexts(
    of model: any ImageTextEmbedding, _ loaded: LoadedModel, _ work: Work, _ data: DatasetSplits,
    _ answer: inout EvaluateAnswer
  ) throws {
    let heldOut = data.validation
    guard heldOut.annotations.captions != nil || heldOut.labels != nil else {
      throw UserError(
        .usage,
        "expected data with captions or classes to judge \(loaded.state.preset) by, found neither in \(heldOut.name)")
    }
    if heldOut.annotations.captions != nil {
      answer.retrieval = try RetrievalEvaluation(
        model, heldOut, limit: count ?? 256, bootstrap: bootstrap, progress: work.progress("finding pairs"))
    }
    if heldOut.labels != nil, heldOut.classNames.count >= 2 {
      let trained = try loaded.configuration.decode(RunDescription.self).captionTemplate
      let text = template ?? (trained.isEmpty ? "a picture of a {}" : trained)
      answer.template = text
      answer.classification = try ClassificationEvaluation(
        model, heldOut, CaptionTemplate(parsing: text), bootstrap: bootstrap, progress: work.progress("classifying"))
    }
    answer.data = heldOut.name
  }

  private func boundLikelihood(
    _ loaded: LoadedModel, _ work: Work, _ data: LazyData, _ answer: inout EvaluateAnswer
  ) throws {
    guard let model = loaded.model as? any LikelihoodBounding else {
      throw loaded.refusal("bounds no likelihood")
    }
    let heldOut = try data.splits().validation
    if let count, count > heldOut.count {
      throw UserError(
        .usage, "\(field: "count"): expected at most the \(heldOut.count) held-out images, found \(count)")
    }
    answer.likelihood = try LikelihoodEvaluation(
      model, heldOut.subset(0..<(count ?? heldOut.count)), importanceSamples: importanceSamples, seed: sampling.seed,
      progress: work.progress("likelihood"))
    answer.data = heldOut.name
  }

  private func judgeCaptions(
    _ loaded: LoadedModel, _ work: Work, _ data: LazyData, _ answer: inout EvaluateAnswer
  ) throws {
    guard let model = loaded.model as? any Sampling, model.conditionKind.takesTexts else {
      throw loaded.refusal("draws by no captions")
    }
    let judge = try clip.load(work, of: loaded.model)
    var whole = self
    whole.clip = judge?.choice ?? clip
    let heldOut = try loaded.captioned(data.splits()).validation
    let count = min(count ?? 500, heldOut.count)
    let options = try sampling.options(for: loaded.model.context.data)
    let (evaluation, pictures) = try CaptionEvaluation.judging(
      model, by: heldOut.subset(0..<count), options,
      judge: judge.map { ($0.model, $0.loaded.identity) }, bootstrap: bootstrap,
      progress: work.progress("drawing captions"))
    answer.captions = evaluation
    answer.data = heldOut.name
    answer.drawing = [("Count", String(count)), ("Seed", String(options.seed))] + model.description(of: options)
    let shown = Array(pictures.prefix(64))
    answer.sheet = PictureAnswer(
      pictures: shown, columns: 8, count: count,
      recipe: Recipe(whole, loaded, answer.drawing + [("Data", heldOut.name)], in: work.workspace),
      remarks: work.remarks)
  }

  // MARK: Samples

  private func judgeSamples(
    of model: any Sampling, _ loaded: LoadedModel, _ work: Work, _ data: LazyData, _ answer: inout EvaluateAnswer
  ) throws {
    var options = try sampling.options(for: model.context.data)
    let (count, splits) = (count ?? 10_000, try loaded.captioned(data.splits()))
    var drawing = [(key: "Count", value: String(count)), (key: "Seed", value: String(options.seed))]
    let captions = splits.train.shuffled().annotations.captions?.compactMap(\.first) ?? []
    if options.conditions == nil, model.conditionKind.takesTexts, !captions.isEmpty {
      drawing += model.description(of: options) + [("Prompts", "captions of training images")]
      // Pictures of nothing in particular would be like those of the data only by chance.
      options.conditions = captions.prefix(count).map(Condition.text)
    } else {
      drawing += model.description(of: options)
    }
    try model.validate(options)
    let judge = try judge(splits, count: count, loaded.model.context.backend, work)
    let samples = try ImageDataset(drawing: count, from: model, options, progress: work.progress("sampling"))
    try judge.finish(samples, drawing, self, loaded, work, &answer)
  }

  private func judgeImages(_ work: Work, _ backend: any Backend) throws -> EvaluateAnswer {
    var samples: ImageDataset
    let path = array ?? images ?? ""
    if let array {
      samples = try ImageDataset(array: array)
    } else {
      // A folder's pictures are sorted by class.
      samples = try ImageDataset(folder: path, skippingBroken: skipBroken) { work.list(skipped: $0, of: path) }
        .shuffled()
    }
    if let count {
      guard count <= samples.count else {
        throw UserError(
          .usage, "\(field: "count"): expected at most the \(samples.count) images there are, found \(count)")
      }
      samples = samples.subset(0..<count)
    }
    let splits = try work.data(data, imageSize: samples.imageSize, skippingBroken: skipBroken).splits
      .converted(channels: samples.channels)
    if let labels { samples = try samples.labelled(byArray: labels, classNames: splits.train.classNames) }
    var answer = EvaluateAnswer(nil)
    try judge(splits, count: samples.count, backend, work).finish(
      samples, [("Count", String(samples.count)), ("Images", path)], self, nil, work, &answer)
    answer.remarks = work.remarks
    return answer
  }

  /// Makes sure that samples can be judged, before any are drawn.
  private func judge(
    _ splits: DatasetSplits, count: Int, _ backend: any Backend, _ work: Work
  ) throws -> SampleJudge {
    var options = EvaluationOptions()
    (options.references, options.seed, options.resamples) = (references, sampling.seed, resamples)
    let extractor = try extractor(for: splits, backend, work) {
      // Check before the features are fitted, which takes as many images.
      try options.check(count: count, data: splits, dimensions: dimensions)
    }
    try options.check(count: count, data: splits, dimensions: extractor.dimensions)
    return SampleJudge(extractor: extractor, splits: splits, options: options, backend: backend)
  }

  private func extractor(
    for splits: DatasetSplits, _ backend: any Backend, _ work: Work, checkingPixels check: () throws -> Void
  ) throws -> any FeatureExtractor {
    func pixels() throws -> any FeatureExtractor {
      try check()
      return try PixelFeatureExtractor(fitting: splits.train.shuffled(), dimensions: dimensions, on: backend)
    }
    if features == .pixels { return try pixels() }
    let advice = "\(field: "features") pixels"
    let folder: CheckpointFolder
    do {
      folder = try work.workspace.checkpoints.resolve(classifier ?? ClassifierFamily.name).checkpoint
    } catch let error as UserError where error.kind == .missingInput && classifier == nil {
      if features == nil {
        work.remark("There is no classifier here to take features from: taking pixels (\(advice)).")
        return try pixels()
      }
      throw UserError(
        .missingInput, "there is no checkpoint named \(ClassifierFamily.name) to take features from",
        hint:
          "Train one: easel train \(ClassifierFamily.name) \(field: "data") \(splits.train.name) \(field: "run") "
          + "\(ClassifierFamily.name). Or use \(advice).")
    }
    // In float32, so that figures do not depend on what the processor multiplies best.
    let loaded = try LoadedModel(folder, backend: backend, precision: .float32)
    guard let model = loaded.model as? any FeatureExtracting else {
      throw UserError(
        .unavailable, "\(folder.path): \(loaded.state.preset) has no features",
        hint: "Give a classifier's checkpoint with \(field: "classifier").")
    }
    let known = model.context.data.classNames
    if classifier == nil, known != splits.train.classNames || splits.train.labels == nil {
      if features == nil {
        work.remark(
          "The classifier \(folder.path) knows other classes than \(splits.train.name) has: "
            + "taking pixels (\(advice)).")
        return try pixels()
      }
      func list(_ names: [String]) -> String {
        names.isEmpty ? "none" : names.prefix(4).joined(separator: ", ") + (names.count > 4 ? ", …" : "")
      }
      throw UserError(
        .usage,
        "the classifier \(folder.path) knows other classes (\(list(known))) than the data \(splits.train.name) have "
          + "(\(splits.train.labels == nil ? "none" : list(splits.train.classNames)))",
        hint: "Use \(advice), or a classifier of your own with \(field: "classifier").")
    }
    return ModelFeatureExtractor(model, name: loaded.identity, for: splits.train.imageSize)
  }
}

/// The result of one of the evaluations, of a model or of images.
public struct EvaluateAnswer {
  /// The model that was judged; nil for images from elsewhere.
  public var checkpoint, hash: String?
  public var data = ""
  public var samples: SampleEvaluation?
  /// How the samples were drawn, or where they came from.
  public var drawing: [(key: String, value: String)] = []
  /// Samples above their nearest training and held-out images, by pixels and by features.
  public var sheet: PictureAnswer?
  public var likelihood: LikelihoodEvaluation?
  public var classification: ClassificationEvaluation?
  /// How a model that was shown no classes was told them; nil for others.
  public var template: String?
  public var retrieval: RetrievalEvaluation?
  public var reconstruction: ReconstructionEvaluation?
  public var probes: ProbeEvaluation?
  public var captions: CaptionEvaluation?
  public var remarks: [String] = []

  init(_ loaded: LoadedModel?) { (checkpoint, hash) = (loaded?.checkpoint.path, loaded?.modelHash) }
}

/// Takes samples from pictures to figures and a sheet.
private struct SampleJudge {
  let extractor: any FeatureExtractor
  let splits: DatasetSplits
  let options: EvaluationOptions
  let backend: any Backend

  func finish(
    _ samples: ImageDataset, _ drawing: [(key: String, value: String)], _ request: EvaluateRequest,
    _ loaded: LoadedModel?, _ work: Work, _ answer: inout EvaluateAnswer
  ) throws {
    let evaluation = try SampleEvaluation(samples, data: splits, by: extractor, options, on: backend) {
      try work.progress($0)($1)
    }
    let recipe = Recipe(
      request, loaded,
      drawing + [
        ("Rows", "samples; nearest training and held-out images by pixels; the same by features"),
        ("Features", evaluation.extractor.name), ("Data", evaluation.data),
      ], in: work.workspace)
    (answer.samples, answer.drawing, answer.data) = (evaluation, drawing, evaluation.data)
    answer.sheet = PictureAnswer(
      pictures: evaluation.sheet.flatMap { $0 }, columns: evaluation.sheet.first?.count ?? 1, count: samples.count,
      recipe: recipe, remarks: work.remarks)
  }
}

/// Data that are read when they are first needed.
private struct LazyData {
  let splits: () throws -> DatasetSplits
  init(_ splits: @escaping () throws -> DatasetSplits) { self.splits = splits }
}

extension LoadedModel {
  /// How a figure names its model: the run, the step and the hash.
  fileprivate var identity: String {
    "\(runName) (\(state.preset), step \(state.step), hash \(modelHash.prefix(16)), \(model.context.type.rawValue))"
  }

  fileprivate var runName: String {
    URL(fileURLWithPath: checkpoint.path).deletingLastPathComponent().lastPathComponent
  }

  /// The run's data or others, in the model's size and channels. Remarks if they are not what the model was trained on.
  fileprivate func data(_ nameOrPath: String?, _ work: Work, skippingBroken: Bool) throws -> DatasetSplits {
    let description = state.data.description
    let run = try configuration.decode(RunDescription.self)
    let splits = try work.data(
      nameOrPath, or: work.workspace.place(of: run.data, "data", of: checkpoint), like: description, fit: run.fit,
      skippingBroken: skippingBroken || (nameOrPath == nil && run.skipBroken)
    ).converted(channels: description.channels)
    if splits.train.fingerprint != state.data.fingerprint {
      work.remark("\(splits.train.name) is not what \(runName) was trained on: \(state.data.name), as it was then.")
    }
    return splits
  }

  /// The data with captions of their classes' names, if the model was trained with such.
  fileprivate func captioned(_ splits: DatasetSplits) throws -> DatasetSplits {
    let template = try configuration.decode(RunDescription.self).captionTemplate
    if template.isEmpty || splits.train.labels == nil { return splits }
    return try splits.captioned(by: CaptionTemplate(parsing: template))
  }
}
