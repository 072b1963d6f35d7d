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
      "Make a picture again that easel sample made, from the same checkpoint with the same options.", valueName: "png"))
  var recipe: String?

  func run() throws {
    if let recipe { return try again(recipe).run() }
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

    let bar = ProgressBar("sampling")
    var film = Film()
    let images: Tensor
    if animate != nil {
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
    let pictures = images.images()
    var recipe = job.recipe(["Count": String(count), "Columns": String(columns), "Seed": String(options.seed)])
    recipe.settings += job.model.description(of: options)
    if let array {
      try makeFolder(for: array)
      try NPYArray(shape: images.shape.sizes, values: .float32(images.values())).write(to: array)
    }
    if let individual {
      try makeFolder(for: "\(individual)/0.png")
      for (index, picture) in pictures.enumerated() {
        try picture.write(to: String(format: "%@/%05d.png", individual, index), text: recipe.text)
      }
    }
    if let animate { try film.write(to: animate, count: count, columns: columns, text: recipe.text) }
    try job.finish(pictures, columns: columns, recipe, count: count)
  }

  /// This command with the checkpoint and the options that a picture tells.
  private func again(_ recipe: String) throws -> Sample {
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
    if let label = fields["label"], label != SamplingOptions.allLabels { sample.sampling.label = label }
    return sample
  }
}

/// Options of a sampler.
struct SamplingArguments: ParsableArguments {
  @Option(parsing: .unconditional, help: "Steps from noise to image.")
  var steps: Int?

  @Option(help: "ddim, ddpm, dpm++, or heun, which takes two passes a step.")
  var sampler: String?

  @Option(parsing: .unconditional, help: "The noise of ddim's and dpm++'s steps, 0 to 1.")
  var eta: Double?

  @Option(
    parsing: .unconditional,
    help:
      "The class to draw, by number or name, or several in turn, with commas, for models trained with labels (default: all)."
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
