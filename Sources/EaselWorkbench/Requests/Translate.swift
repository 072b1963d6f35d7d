import EaselMetrics
import EaselSupport
import Foundation

/// Turns images of one kind into another.
public struct TranslateRequest: PictureRequest {
  public static let name = "translate"
  public static let summary = "Turn images of one kind into another: original, translated and cycled rows."

  public var source = CheckpointChoice()
  public var input = ImageChoice()
  /// Nil for the model's first direction.
  public var direction: String?
  public var strength: Double?
  public var label: String?
  public var prompt: String?
  public var copies = 1
  public var seed: UInt64 = 0
  /// How many held-out images; nil for 16, or for all if each is translated by itself.
  public var count: Int?
  public var columns = 8
  /// Whether the pictures are single translations, each with its image's name, instead of rows of a sheet.
  public var separate = false
  /// The folder that the caller will write these pictures to. An answer that would write one twice or over an original
  /// is refused.
  public var folder: String?
  /// Whether to translate and judge held-out pairs; the third row then shows the true counterparts.
  public var pairs = false
  /// The number of the one image, counted from 0, to translate by itself; nil for all.
  public var only: Int?

  public init() {}

  public static let fields: [Field<TranslateRequest>] =
    CheckpointChoice.fields.map { $0.at(\.source) } + [
      Field("direction", \.direction, "a-to-b, b-to-a, or what else the model has (default: its first)."),
      Field(
        "strength", \.strength, .from(0, to: 1),
        "How much of an image is made anew, 0 to 1, for models that offer it."),
      Field("label", \.label, "The class to translate to, by number or name, for models trained with labels."),
      Field("prompt", \.prompt, "What to translate to, in words, for models trained with captions."),
      Field(
        "copies", \.copies,
        "Translate up to 8 moved and mirrored copies and take the mean: calmer surfaces, for cyclegan and pix2pix."),
      Field("seed", \.seed, "Random seed of the noise."),
      Field(
        "count", \.count, .from(1, to: 1_000_000), "How many held-out images (default: 16; all with a folder)."),
      Field("columns", \.columns, .from(1, to: 1000), "Images in a row."),
      Field(
        "folder", \.folder, "A folder for the translations, each under its image's name, instead of a sheet."),
      Field("separate", \.separate, "Give each translation by itself instead of a sheet."),
      Field("pairs", \.pairs, "Judge by true pairs; the third row shows the true counterparts."),
      Field("only", \.only, .from(0, to: 1_000_000), "Give only the image with this number, from 0, by itself."),
    ] + ImageChoice.fields.map { $0.at(\.input) }

  public static var local: [String] { CheckpointChoice.fields.map(\.key) + ["folder"] }

  public func check(_ check: inout FieldCheck) {
    check.require(label == nil || prompt == nil, "expected a \(field: "label") or a \(field: "prompt"), found both")
    if let prompt { check.prompt(prompt, "prompt") }
    check.require(!(pairs && separate), "\(field: "pairs"): expected a sheet, which shows them, found none")
    check.require(
      !pairs || (input.data == nil && input.images.isEmpty),
      "\(field: "pairs") looks at the run's own data: leave out \(field: "data") and \(field: "images")")
  }

  public func validate(for model: any Translating) throws {
    let direction = try model.direction(options(for: model.context.data))
    if pairs, direction.from == direction.to {
      throw UserError(.usage, "\(field: "pairs"): this model knows one kind of images, which has no pairs")
    }
  }

  private func options(for data: DataDescription) throws -> TranslationOptions {
    let labels = try label.map { try data.labels($0) }
    if let labels, labels.count != 1 {
      throw UserError(.usage, "\(field: "label"): expected one class, found \(labels.count)")
    }
    return TranslationOptions(
      seed: seed, direction: direction, strength: strength,
      condition: labels.map { .label($0[0]) } ?? prompt.map(Condition.text), copies: copies)
  }

  public func answer(_ job: Job<any Translating>) throws -> PictureAnswer {
    let options = try options(for: job.data)
    job.work.remark(onTexts: [prompt].compactMap(\.self), for: job.model)
    let direction = try job.model.direction(options)
    if pairs { return try judge(job, options, direction) }
    let limit = separate ? count : count ?? 16
    let chosen = try input.load(job.work, for: job.loaded, domain: direction.from, limit: limit)
    if let folder { try check(chosen, into: folder) }
    var rows = [chosen.images, try translate(chosen.images, job, options)]
    if !separate, let inverse = direction.inverse {
      var back = options
      back.direction = inverse
      rows.append(try translate(rows[1], job, back))
    }
    if !separate { return try finish(rows, job, options, chosen.source, chosen) }
    return try images(rows[1], job, options, chosen)
  }

  /// - Throws: `UserError` if a picture would be written twice, or over an original.
  private func check(_ chosen: ChosenImages, into folder: String) throws {
    let paths = chosen.names.map { "\(folder)/\($0).png" }
    let groups = Dictionary(grouping: paths.indices, by: { Array(paths[$0].utf8) })
    if let twice = groups.values.first(where: { $0.count > 1 }) {
      let places = chosen.files.isEmpty ? chosen.source : twice.map { chosen.files[$0] }.joined(separator: ", ")
      throw UserError(
        .usage, "\(field: "folder"): \(paths[twice[0]]) would be written twice (\(places))",
        hint: "Translate each of them into a folder of its own.")
    }
    func real(_ path: String) -> [UInt8] { Array(URL(fileURLWithPath: path).resolvingSymlinksInPath().path.utf8) }
    let originals = Set(chosen.files.map(real))
    if let lost = paths.first(where: { originals.contains(real($0)) }) {
      throw UserError(
        .cannotCreate, "\(lost): is one of the images to be translated", hint: "Choose another \(field: "folder").")
    }
  }

  /// Each translation by itself.
  private func images(
    _ made: [Image], _ job: Job<any Translating>, _ options: TranslationOptions, _ chosen: ChosenImages
  ) throws -> PictureAnswer {
    let recipes = try made.indices.map { index in
      var one = self
      (one.only, one.columns) = (index, 1)
      one.input = input.resolved(chosen)
      return job.recipe(one, try one.settings(job, options, chosen.source, count: made.count))
    }
    if let only, only >= made.count {
      throw UserError(.usage, "\(field: "only"): expected 0 to \(made.count - 1), found \(only)")
    }
    var answer = try finish([only.map { [made[$0]] } ?? made], job, options, chosen.source, chosen)
    if let only { answer.recipe = recipes[only] }
    answer.names = only.map { [chosen.names[$0]] } ?? chosen.names
    answer.recipeOfPicture = { recipes[only ?? $0] }
    return answer
  }

  private func translate(
    _ images: [Image], _ job: Job<any Translating>, _ options: TranslationOptions
  ) throws -> [Image] {
    try job.model.translate(
      Batch(images).tensor(on: job.context.backend), options, progress: job.work.progress("translating")
    ).images()
  }

  private func finish(
    _ rows: [[Image]], _ job: Job<any Translating>, _ options: TranslationOptions, _ source: String,
    _ chosen: ChosenImages? = nil, figures: [String: Double] = [:]
  ) throws -> PictureAnswer {
    let count = rows[0].count
    var request = self
    if let chosen { request.input = input.resolved(chosen) }
    return job.picture(
      ImageGrid.alternatingRows(rows, columns: columns), columns: min(columns, count), made: count, figures: figures,
      request, try settings(job, options, source, count: count))
  }

  /// The settings for people.
  private func settings(
    _ job: Job<any Translating>, _ options: TranslationOptions, _ source: String, count: Int
  ) throws -> [(key: String, value: String)] {
    var settings = [
      ("Images", source), ("Count", String(count)), ("Direction", try job.model.direction(options).name),
      ("Seed", String(seed)),
    ].map { (key: $0.0, value: $0.1) }
    if let strength { settings.append(("Strength", String(strength))) }
    if let condition = options.condition { settings += job.data.description(of: [condition]) }
    if copies > 1 { settings.append(("Copies", String(copies))) }
    if let only { settings.append(("Image", String(only))) }
    return settings
  }

  /// Figures: `<direction>.l1`, `.ssim` and `.rank-1`, the same for the untouched images as `…-untouched`, and `pairs`.
  private func judge(
    _ job: Job<any Translating>, _ options: TranslationOptions, _ shown: TranslationDirection
  ) throws -> PictureAnswer {
    let (a, b) = try (
      input.splits(job.work, of: job.loaded, domain: 0), input.splits(job.work, of: job.loaded, domain: 1)
    )
    // Held-out images of the second data set belong to those of the first, as in training if that used pairs.
    let isPaired = try AnyPreset.named(job.loaded.state.preset).family.domains == .paired
    let second =
      isPaired
      ? try DatasetSplits.matched(a, b, isPaired: true).b.validation : try b.validation.inOrder(of: a.validation)
    let domains = [a.validation, second].map { $0.images(0..<$0.count) }
    var figures = ["pairs": Double(second.count)]
    var rows: [[Image]] = []
    for direction in job.model.directions where direction.from != direction.to {
      let (originals, truths) = (domains[direction.from], domains[direction.to])
      var directed = options
      directed.direction = direction.name
      let translated = try translate(originals, job, directed)
      for (suffix, images) in [("", translated), ("-untouched", originals)] {
        figures["\(direction.name).l1\(suffix)"] = meanAbsoluteError(images, truths)
        figures["\(direction.name).ssim\(suffix)"] = meanStructuralSimilarity(images, truths)
        figures["\(direction.name).rank-1\(suffix)"] = retrievalRate(images, truths)
      }
      if direction == shown { rows = [originals, translated, truths].map { Array($0.prefix(count ?? 16)) } }
    }
    return try finish(rows, job, options, "true pairs, held-out", figures: figures)
  }
}
