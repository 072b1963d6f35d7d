import EaselSupport
import Foundation

/// Draws new images.
public struct SampleRequest: PictureRequest {
  public static let name = "sample"
  public static let summary = "Draw new images as a grid."

  public var source = CheckpointChoice()
  /// The number of the first image in the seed's series.
  public var first = 0
  /// Nil for eight rows.
  public var count: Int?
  /// Nil for 8, or one for each class if all are drawn.
  public var columns: Int?
  public var sampling = SamplingChoice()
  /// Pictures that the images should be like: files, or folders of them.
  public var like: [String] = []
  /// The SHA-256 that these must have, as in ``ImageChoice``; nil for any.
  public var likeFingerprint: String?
  /// How many candidates are drawn for each image; the one that shows its prompt best, as `clip` sees it, is kept.
  public var bestOf = 1
  /// What compares candidates with prompts.
  public var clip = ClipChoice()
  /// Whether the answer includes a film of how the images came about.
  public var film = false

  public init() {}

  public static let fields: [Field<SampleRequest>] =
    CheckpointChoice.fields.map { $0.at(\.source) } + [
      Field("first", \.first, .from(0, to: 1e12), "The number of the first image in the seed's series."),
      Field("count", \.count, .from(1, to: 100_000), "How many images (default: eight rows)."),
      Field(
        "columns", \.columns, .from(1, to: 1000),
        "Images in a row of the grid (default: 8; one for each class if all are drawn)."),
      Field(
        "like", \.like,
        "Pictures whose variations to draw, for models trained with pictures as conditions; each makes a column."),
      Field("like-sha256", \.likeFingerprint, "The SHA-256 that these must have (default: any)."),
      Field(
        "best-of", \.bestOf, .from(1, to: 100),
        "Draw so many candidates for each image and keep the one that shows its prompt best; needs a clip model."),
      Field("animate", \.film, "Also show the way from noise to the grid, for models that draw in steps."),
    ] + ClipChoice.fields.map { $0.at(\.clip) } + SamplingChoice.fields.map { $0.at(\.sampling) }

  public func check(_ check: inout FieldCheck) {
    sampling.check(&check)
    clip.check(&check)
    check.require(
      like.isEmpty || (sampling.prompts.isEmpty && sampling.label == nil),
      "\(field: "like"): expected no \(field: "prompt") and no \(field: "label") beside it")
    check.require(
      (bestOf > 1) == (clip.checkpoint != nil),
      "\(field: "best-of") and \(field: "clip"): expected both, a number above 1 and a checkpoint, or neither")
    check.require(
      bestOf == 1 || !sampling.prompts.isEmpty, "\(field: "best-of"): expected a \(field: "prompt") to compare with")
    check.require(
      bestOf == 1 || !film, "\(field: "best-of"): a film shows one candidate: leave out \(field: "animate")")
  }

  public func validate(for model: any Sampling) throws {
    var options = try sampling.options(for: model.context.data)
    // Those of pictures are computed later.
    if !like.isEmpty { options.conditions = model.conditionKind.placeholder }
    try model.validate(options)
    if film, !(model is any StepwiseSampling) {
      throw UserError(
        .unavailable, "\(field: "animate"): this model draws an image in one pass, so there is nothing to see",
        hint: "Walk through its codes: easel interpolate \(source.runName) \(field: "animate") FILE.png")
    }
  }

  public func answer(_ job: Job<any Sampling>) throws -> PictureAnswer {
    var options = try sampling.options(for: job.data)
    sampling.remarkOnTexts(for: job.model, job.work)
    // Before anything is drawn that it cannot judge.
    let judge = try clip.load(job.work, of: job.loaded.model)
    var whole = self
    whole.clip = judge?.choice ?? clip
    if !like.isEmpty {
      guard let model = job.model as? any LikenessSampling else {
        throw job.loaded.refusal("draws no variations of pictures")
      }
      let choice = ImageChoice { ($0.images, $0.fingerprint) = (like, likeFingerprint) }
      let chosen = try choice.load(job.work, for: job.loaded)
      options.conditions = try model.conditions(like: chosen.tensor(for: model))
      whole.likeFingerprint = chosen.fingerprint
    }
    let columns = columns ?? job.model.sheetColumns(options)
    // Every condition is drawn.
    let count = count ?? max(8 * columns, options.conditions?.count ?? 0)
    (whole.columns, whole.count, whole.film) = (columns, count, false)
    // The images are kept as numbers, as pixels and in the grid.
    try MachineMemory.require(
      6 * job.data.shape(count).count, for: "a grid of \(count) images",
      hint: "Draw fewer at a time, each with another \(field: "seed").")
    let (range, progress) = (first..<first + count, job.work.progress("sampling"))
    var shown = film ? Film("from noise to the grid", count: count, columns: columns) : nil
    let values: Tensor
    if let model = job.model as? any StepwiseSampling {
      let watch: StepwiseSampling.StepWatcher? =
        film ? { step, _, images in shown?.add(images.images(), to: step) } : nil
      values = try model.sample(range, options, watch: watch, progress: progress)
    } else {
      values = try job.model.sample(range, options, progress: progress)
    }
    let kept = try judge.map { try best(of: values, range, options, by: $0.model, job) } ?? values
    let described = job.model.description(of: options)
    var answer = job.picture(
      kept.images(), columns: columns, film: shown, whole, whole.settings(described))
    answer.values = kept
    answer.recipeOfPicture = { index in
      var one = whole
      (one.first, one.count, one.columns) = (first + index, 1, 1)
      return job.recipe(one, one.settings(described))
    }
    return answer
  }

  /// The best candidate of each image. Candidate c of an image is the one of the seed plus c.
  ///
  /// - Parameter first: the candidates of the seed itself.
  private func best(
    of first: Tensor, _ range: Range<Int>, _ options: SamplingOptions, by judge: any ImageTextEmbedding,
    _ job: Job<any Sampling>
  ) throws -> Tensor {
    let texts = options.conditions(of: range, job.model.conditionKind, in: job.data).map { condition in
      if case .text(let text) = condition { text } else { "" }
    }
    let wanted = judge.embed(texts: texts).values()
    func nearness(_ images: Tensor) -> [Float] {
      let (found, width) = (judge.embed(images: images).values(), judge.embeddingWidth)
      return texts.indices.map { index in
        (index * width..<(index + 1) * width).reduce(0) { $0 + found[$1] * wanted[$1] }
      }
    }
    let best = Tensor(uninitialized: first.shape, on: first.backend)
    first.backend.copy(first, into: best)
    var scores = nearness(first)
    for candidate in 1..<bestOf {
      var options = options
      options.seed &+= UInt64(candidate)
      let others = try job.model.sample(
        range, options, progress: job.work.progress("sampling candidate \(candidate + 1) of \(bestOf)"))
      for (index, score) in nearness(others).enumerated() where score > scores[index] {
        scores[index] = score
        first.backend.copy(others[index..<index + 1], into: best[index..<index + 1])
      }
    }
    return best
  }

  /// The settings for people, once the count and the columns are known.
  private func settings(_ described: [(key: String, value: String)]) -> [(key: String, value: String)] {
    let all = [("Count", count), ("Columns", columns)].map { (key: $0.0, value: String($0.1 ?? 0)) }
    return all + [(key: "Seed", value: String(sampling.seed))]
      + (like.isEmpty
        ? [] : [(key: "Like", value: like.map { URL(fileURLWithPath: $0).lastPathComponent }.joined(separator: ", "))])
      + (bestOf > 1 ? [(key: "Best of", value: String(bestOf))] : [])
      + (first > 0 ? [(key: "First", value: String(first))] : []) + described
  }

  public init(settings: [String: String], of picture: String) throws {
    func number<Number: LosslessStringConvertible>(_ key: String, _ type: Number.Type) throws -> Number? {
      guard let text = settings[key] else { return nil }
      guard let number = Number(text) else {
        throw UserError(.badData, "\(picture): \(key): expected a number, found \(text.debugDescription)")
      }
      return number
    }
    (count, columns) = (try number("count", Int.self), try number("columns", Int.self))
    sampling.seed = try number("seed", UInt64.self) ?? 0
    (sampling.steps, sampling.eta) = (try number("steps", Int.self), try number("eta", Double.self))
    (sampling.sampler, sampling.guidance) = (settings["sampler"], try number("guidance", Float.self))
    // Recipes of earlier versions have numbers instead of names if there is no separate field of numbers.
    if let numbers = settings["label number"] ?? settings["label"], numbers != SamplingOptions.allLabels {
      sampling.label = numbers.split(separator: ",").map { "#\($0)" }.joined(separator: ",")
    }
    film = settings["film"] != nil
    guard let image = try number("image", Int.self) else { return }
    guard (0..<(count ?? 0)).contains(image) else {
      throw UserError(.badData, "\(picture): image: expected one of its \(count ?? 0) images, found \(image)")
    }
    (first, count, columns) = (image, 1, 1)
  }
}
