import ArgumentParser
import EaselKit
import Foundation

struct Sample: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Draw new images as a grid.")

  @OptionGroup var picture: PictureOptions

  @Option(parsing: .unconditional, help: "How many images (default: eight rows).")
  var count: Int?

  @Option(
    parsing: .unconditional, help: "Images in a row of the grid (default: 8; one for each class where all are drawn).")
  var columns: Int?

  @OptionGroup var sampling: SamplingArguments

  @Option(help: "Also write the images as a NumPy array [N, H, W, C], float32, 0 to 1.")
  var array: String?

  @Option(help: "Also write each image into a folder.")
  var individual: String?

  @Option(help: "Also write the way from noise to the grid as an animated PNG, for models that draw in steps.")
  var animate: String?

  @Option(
    help: ArgumentHelp(
      "Make a picture again that easel sample made, a grid, one of --individual or a film, from the same checkpoint with the same options.",
      valueName: "png"))
  var recipe: String?

  /// What a picture shows of the images that are drawn.
  private enum Part {
    case grid, film
    case image(Int)

    /// What tells it from the grid in a recipe.
    var settings: [(key: String, value: String)] {
      switch self {
      case .grid: []
      case .film: [("Film", "from noise to the grid")]
      case .image(let index): [("Image", String(index))]
      }
    }
  }

  func run() throws {
    guard let recipe else { return try draw(.grid) }
    let (sample, part) = try again(recipe)
    try sample.draw(part)
  }

  private func draw(_ part: Part) throws {
    if let count { try check(count, "--count", 1...100_000) }
    if let columns { try check(columns, "--columns", 1...1000) }
    var options = SamplingOptions()
    let job = try picture.begin((any Sampling).self, "sample") { model in
      options = try sampling.options(for: model.context.data)
      try model.validate(options)
    }
    let columns = columns ?? job.model.sheetColumns(options)
    let count = count ?? 8 * columns
    // As numbers, as pixels and in the grid.
    try MachineMemory.require(
      6 * job.model.context.data.shape(count).count, for: "a grid of \(count) images",
      hint: "Draw fewer at a time, with another --seed each.")
    if let array { try checkOutput(array, option: "--array", is: .array) }
    if let individual {
      try checkName(individual, option: "--individual", is: .folder)
      try checkOutput("\(individual)/0.png", option: "--individual")
    }
    if let animate { try checkOutput(animate, option: "--animate") }

    var recipe = job.recipe(["Count": String(count), "Columns": String(columns), "Seed": String(options.seed)])
    recipe.settings += job.model.description(of: options)
    func text(_ part: Part) -> PNGText {
      var recipe = recipe
      recipe.settings += part.settings
      return recipe.text
    }
    let bar = ProgressBar("sampling")
    if case .image(let index) = part {
      let images = try job.model.sample(index..<index + 1, options) { bar.show($0) }.images()
      try makeFolder(for: job.path)
      try images[0].write(to: job.path, text: text(part))
      return try job.report(count: 1)
    }

    var film = Film()
    var isFilm = animate != nil
    if case .film = part { isFilm = true }
    let images: Tensor
    if isFilm {
      guard let model = job.model as? any StepwiseSampling else {
        throw UserError(
          .unavailable,
          "--animate: \(job.loaded.state.preset) draws an image in one pass, of which there is nothing to see",
          hint: "Walk through its codes: easel interpolate \(picture.source.runName) --animate FILE.png")
      }
      images = try model.sample(
        0..<count, options, watch: { film.add($2.images(), to: $0) }, progress: { bar.show($0) })
    } else {
      images = try job.model.sample(0..<count, options) { bar.show($0) }
    }
    if case .film = part {
      try film.write(to: job.path, count: count, columns: columns, text: text(.film))
      return try job.report(count: count)
    }
    let pictures = images.images()
    if let array {
      try makeFolder(for: array)
      try NPYArray(shape: images.shape.sizes, values: .float32(images.values())).write(to: array)
    }
    if let individual {
      try makeFolder(for: "\(individual)/0.png")
      for (index, picture) in pictures.enumerated() {
        try picture.write(to: String(format: "%@/%05d.png", individual, index), text: text(.image(index)))
      }
    }
    if let animate { try film.write(to: animate, count: count, columns: columns, text: text(.film)) }
    try job.finish(pictures, columns: columns, recipe, count: count)
  }

  /// This command with the checkpoint and the options that a picture tells, and what the picture shows.
  private func again(_ recipe: String) throws -> (Sample, Part) {
    let asked: [(String, Bool)] = [
      ("--count", count != nil), ("--columns", columns != nil), ("--steps", sampling.steps != nil),
      ("--sampler", sampling.sampler != nil), ("--eta", sampling.eta != nil), ("--label", sampling.label != nil),
      ("--guidance", sampling.guidance != nil), ("--seed", sampling.seed != 0),
    ]
    if let (option, _) = asked.first(where: \.1) {
      throw UserError(.usage, "\(option): with --recipe the picture tells it", hint: "Leave out one of the two.")
    }
    let fields = try Recipe.fields(of: recipe, verb: "sample")
    func number<Number: LosslessStringConvertible>(_ key: String, _ type: Number.Type) throws -> Number? {
      guard let text = fields[key] else { return nil }
      guard let number = Number(text) else {
        throw UserError(.badData, "\(recipe): \(key): expected a number, found \(text.debugDescription)")
      }
      return number
    }
    var sample = self
    sample.recipe = nil
    try sample.picture.source.find(fields, named: recipe, in: Workspace(picture.common.workspace))
    (sample.count, sample.columns) = (try number("count", Int.self), try number("columns", Int.self))
    sample.sampling.seed = try number("seed", UInt64.self) ?? 0
    (sample.sampling.steps, sample.sampling.eta) = (try number("steps", Int.self), try number("eta", Double.self))
    (sample.sampling.sampler, sample.sampling.guidance) = (fields["sampler"], try number("guidance", Float.self))
    // Where there are no numbers beside names, in recipes of earlier versions, numbers stand instead of names.
    if let numbers = fields["label number"] ?? fields["label"], numbers != SamplingOptions.allLabels {
      sample.sampling.label = numbers.split(separator: ",").map { "#\($0)" }.joined(separator: ",")
    }
    let part: Part
    if let image = try number("image", Int.self) {
      guard (0..<(sample.count ?? 0)).contains(image) else {
        throw UserError(.badData, "\(recipe): image: expected one of its \(sample.count ?? 0) images, found \(image)")
      }
      part = .image(image)
    } else if fields["film"] != nil {
      part = .film
    } else {
      return (sample, .grid)
    }
    let others = [("--array", array), ("--individual", individual), ("--animate", animate)]
    if let option = others.first(where: { $0.1 != nil }) {
      throw UserError(
        .usage, "\(option.0): \(recipe) is one picture or a film of several, and so is what is made again",
        hint: "Leave it out, or give the grid's file.")
    }
    return (sample, part)
  }
}

/// Options of a sampler.
struct SamplingArguments: ParsableArguments {
  @Option(parsing: .unconditional, help: "Steps from noise to image.")
  var steps: Int?

  @Option(help: "ddim, ddpm, dpm++, or heun, which takes two passes a step; consistency models have one of their own.")
  var sampler: String?

  @Option(parsing: .unconditional, help: "The noise of ddim's and dpm++'s steps, 0 to 1.")
  var eta: Double?

  @Option(
    parsing: .unconditional,
    help:
      "The class to draw, by number or name, or several in turn, with commas, for models trained with labels (default: all; none in walks)."
  )
  var label: String?

  @Option(parsing: .unconditional, help: "How strongly labels count: 1 is as trained, 0 not at all.")
  var guidance: Float?

  @Option(parsing: .unconditional, help: "Names the series of images.")
  var seed: UInt64 = 0

  /// The options for a model of some data.
  ///
  /// - Throws: `UserError` (usage) for a class that the data do not have.
  func options(for data: DataDescription) throws -> SamplingOptions {
    SamplingOptions(
      seed: seed, steps: steps, sampler: sampler, labels: try label.map { try data.labels($0) }, guidance: guidance,
      eta: eta)
  }
}
