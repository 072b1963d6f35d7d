import ArgumentParser
import EaselKit
import Foundation

struct Translate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Turn images of one kind into another: original, translated and cycled rows.",
    discussion: """
      A cycled image went there and back again, where the model knows a way back. With --folder, every image is written as \
      a file of its own.

      --pairs judges by held-out images of both data sets, those of one name belonging together, or those of one place where \
      there are no names: how near each translation is to its true counterpart (mean absolute error from 0 to 1, structural similarity), and how often no other \
      image is nearer (rank 1); beside it stand the figures of the untouched images.
      """)

  @OptionGroup var picture: PictureOptions
  @OptionGroup var input: ImageOptions

  @Option(help: "a-to-b, b-to-a, or what else the model has (default: its first).")
  var direction: String?

  @Option(parsing: .unconditional, help: "How much of an image is made anew, 0 to 1, for models with that choice.")
  var strength: Double?

  @Option(
    parsing: .unconditional, help: "The class to translate to, by number or name, for models trained with labels.")
  var label: String?

  @Option(
    parsing: .unconditional,
    help: "Translate up to 8 moved and mirrored copies and take the mean: calmer surfaces, for cyclegan and pix2pix.")
  var copies = 1

  @Option(parsing: .unconditional, help: "Which noise.")
  var seed: UInt64 = 0

  @Option(parsing: .unconditional, help: "How many held-out images (default: 16; with --folder all).")
  var count: Int?

  @Option(parsing: .unconditional, help: "Images in a row.")
  var columns = 8

  @Option(help: "A folder for the translations, each under its image's name, instead of a sheet.")
  var folder: String?

  @Flag(help: "Judge by true pairs; the third row shows the true counterparts.")
  var pairs = false

  private func options(for data: DataDescription) throws -> TranslationOptions {
    let labels = try label.map { try data.labels($0) }
    if let labels, labels.count != 1 { throw UserError(.usage, "--label: expected one class, found \(labels.count)") }
    return TranslationOptions(
      seed: seed, direction: direction, strength: strength, label: labels?[0], copies: copies)
  }

  func run() throws {
    if let count { try check(count, "--count", 1...1_000_000) }
    try check(columns, "--columns", 1...1000)
    for (option, isGiven) in [("--output", picture.output != nil), ("--pairs", pairs)] where isGiven && folder != nil {
      throw UserError(.usage, "\(option): with --folder there is no sheet", hint: "Leave out one of the two.")
    }
    if pairs, input.data != nil || !input.images.isEmpty {
      throw UserError(.usage, "--pairs looks at the run's own data", hint: "Leave out --data and --images.")
    }
    var options = TranslationOptions()
    let job = try picture.begin((any Translating).self, "translate", folder: folder) { model in
      options = try self.options(for: model.context.data)
      let direction = try model.direction(options)
      if pairs, direction.from == direction.to {
        throw UserError(.usage, "--pairs: this model knows one kind of images, which has no pairs")
      }
    }
    if let folder { return try fill(folder, job, options) }
    try pairs ? judge(job, options) : drawSheet(job, options)
  }

  private func translate(_ images: [Image], _ model: any Translating, _ options: TranslationOptions) throws -> [Image] {
    let bar = ProgressBar("translating")
    return try model.translate(tensor(images, for: model), options) { bar.show($0) }.images()
  }

  private func recipe(
    _ job: PictureJob<any Translating>, _ options: TranslationOptions, _ source: String, count: Int
  ) throws -> Recipe {
    var recipe = job.recipe([
      "Images": source, "Count": String(count), "Direction": try job.model.direction(options).name,
      "Seed": String(seed),
    ])
    if let strength { recipe.settings.append(("Strength", String(strength))) }
    if let label = options.label { recipe.settings += job.model.context.data.labelDescription([label]) }
    if copies > 1 { recipe.settings.append(("Copies", String(copies))) }
    return recipe
  }

  // MARK: A sheet

  private func drawSheet(_ job: PictureJob<any Translating>, _ options: TranslationOptions) throws {
    let direction = try job.model.direction(options)
    let chosen = try input.load(from: job.workspace, for: job.loaded, domain: direction.from, limit: count ?? 16)
    var sheets = [chosen.images, try translate(chosen.images, job.model, options)]
    if let inverse = direction.inverse {
      var back = options
      back.direction = inverse
      sheets.append(try translate(sheets[1], job.model, back))
    }
    try finish(sheets, job, options, chosen.source)
  }

  private func finish(
    _ sheets: [[Image]], _ job: PictureJob<any Translating>, _ options: TranslationOptions, _ source: String,
    figures: [String: Double] = [:]
  ) throws {
    let count = sheets[0].count
    try job.finish(
      ImageGrid.alternatingRows(sheets, columns: columns), columns: min(columns, count),
      recipe(job, options, source, count: count), count: count, figures: figures)
  }

  // MARK: A folder

  private func fill(_ folder: String, _ job: PictureJob<any Translating>, _ options: TranslationOptions) throws {
    let chosen = try input.load(
      from: job.workspace, for: job.loaded, domain: job.model.direction(options).from, limit: count)
    let paths = chosen.names.map { "\(folder)/\($0).png" }
    if let twice = Dictionary(grouping: paths.indices, by: { Array(paths[$0].utf8) }).values.first(where: {
      $0.count > 1
    }) {
      let places = chosen.files.isEmpty ? chosen.source : twice.map { chosen.files[$0] }.joined(separator: ", ")
      throw UserError(
        .usage, "--folder: \(paths[twice[0]]) would be written twice (\(places))",
        hint: "Translate them into folders of their own.")
    }
    func real(_ path: String) -> [UInt8] { Array(URL(fileURLWithPath: path).resolvingSymlinksInPath().path.utf8) }
    let originals = Set(chosen.files.map(real))
    if let lost = paths.first(where: { originals.contains(real($0)) }) {
      throw UserError(
        .cannotCreate, "\(lost): is one of the images to be translated", hint: "Choose another --folder.")
    }
    let text = try recipe(job, options, chosen.source, count: chosen.images.count).text
    for (image, path) in zip(try translate(chosen.images, job.model, options), paths) {
      try makeFolder(for: path)
      try image.write(to: path, text: text)
    }
    try job.report(count: paths.count)
  }

  // MARK: Pairs

  private func judge(_ job: PictureJob<any Translating>, _ options: TranslationOptions) throws {
    let (a, b) = try (
      input.splits(of: job.loaded, domain: 0, from: job.workspace),
      input.splits(of: job.loaded, domain: 1, from: job.workspace)
    )
    // What is held out of the second belongs to the first's, as in training where that was with pairs.
    let isPaired = try AnyPreset.named(job.loaded.state.preset).family.domains == .paired
    let second =
      isPaired
      ? try DatasetSplits.matched(a, b, isPaired: true).b.validation : try b.validation.inOrder(of: a.validation)
    let domains = [a.validation, second].map { ImageOptions.Chosen($0, 0..<$0.count) }
    let shown = try job.model.direction(options)
    var figures: [String: Double] = [:]
    var rows: [[String]] = []
    var sheets: [[Image]] = []
    for direction in job.model.directions where direction.from != direction.to {
      let (originals, truths) = (domains[direction.from], domains[direction.to])
      var directed = options
      directed.direction = direction.name
      let translated = try translate(originals.images, job.model, directed)
      for (name, images) in [("", translated), ("-untouched", originals.images)] {
        let error = meanAbsoluteError(images, truths.images)
        let similarity = meanStructuralSimilarity(images, truths.images)
        let found = retrievalRate(images, truths.images)
        for (figure, value) in [("l1", error), ("ssim", similarity), ("rank-1", found)] {
          figures["\(direction.name).\(figure)\(name)"] = value
        }
        rows.append([
          direction.name, name.isEmpty ? "translated" : "untouched", error.formatted(4), similarity.formatted(4),
          "\((100 * found).formatted(1)) %",
        ])
      }
      figures["pairs"] = Double(truths.images.count)
      if direction == shown {
        sheets = [originals.images, translated, truths.images].map { Array($0.prefix(count ?? 16)) }
      }
    }
    Console.note(
      text: Console.table(
        ["\(Int(figures["pairs", default: 0])) pairs", "", "L1", "SSIM", "rank 1"], rows, rightAlignedFrom: 2))
    try finish(sheets, job, options, "true pairs, held-out", figures: figures)
  }
}
