import ArgumentParser
import EaselKit
import Foundation

struct Interpolate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Walk from image to image through the latent space, a row for each walk.",
    discussion: """
      Between two noises where the model draws from noise, else between held-out images; or between two images given.
      Where codes are normal numbers, also along one number after the other, or over the plane of a code of two.
      A diffusion model's walks take --steps, --sampler, --label (a class for each row in turn) and --guidance.
      """)

  enum Path: String, ExpressibleByArgument, CaseIterable {
    case walks
    /// A row for each number of the code, which goes from −3 to 3 while the others stay.
    case dimensions
    /// Codes of two numbers: the quantiles of the one against those of the other.
    case plane
  }

  @OptionGroup var picture: PictureOptions

  @Option(help: "walks, dimensions (a row for each number of the code) or plane (codes of two numbers).")
  var along = Path.walks

  @Option(parsing: .unconditional, help: "Images in a row, both ends included.")
  var frames = 8

  @Option(parsing: .unconditional, help: "Walks (default: 4), or dimensions (default: all).")
  var rows: Int?

  @Option(parsing: .upToNextOption, help: "Two image files to walk between.")
  var images: [String] = []

  @Option(help: "The data set whose held-out images are walked between (default: the run's own).")
  var data: String?

  @Option(help: "How images come to the model's proportions: crop, pad or stretch (default: as in training).")
  var fit: ImageFit?

  @OptionGroup var skipping: SkippingOptions

  @Option(help: "Also write the walks as an animated PNG, to and fro.")
  var animate: String?

  @OptionGroup var sampling: SamplingArguments

  /// Names the noises, or the held-out images.
  private var seed: UInt64 { sampling.seed }

  func run() throws {
    try check(frames, "--frames", 2...1000)
    if let rows { try check(rows, "--rows", 1...1000) }
    if !images.isEmpty, images.count != 2 {
      throw UserError(.usage, "--images: expected two files, found \(images.count)")
    }
    if animate != nil, along == .plane {
      throw UserError(.usage, "--animate: a plane has no beginning and no end", hint: "Leave out one of the two.")
    }
    var options = SamplingOptions()
    var description: [(key: String, value: String)] = []
    let job = try picture.begin((any CodeDecoding).self, "interpolate") { model in
      options = try sampling.options(for: model.context.data)
      description = try model.describe(decoding: options)
    }
    let model = job.model
    if let animate { try checkOutput(animate, option: "--animate") }

    if along != .walks { return try sheet(job) }
    let (codes, ends) = try ends(job, walks: rows ?? 4, options)
    let size = codes.shape[0] == 0 ? 0 : codes.count / codes.shape[0]
    let values = codes.values()
    func code(_ index: Int) -> [Float] { Array(values[index * size..<(index + 1) * size]) }
    let walks = codes.shape[0] / 2
    let stops = (0..<walks).flatMap { row in
      model.interpolation.path(from: code(2 * row), to: code(2 * row + 1), frames: frames).flatMap { $0 }
    }
    let shape = Shape([walks * frames] + codes.shape.sizes.dropFirst())
    let bar = ProgressBar("walking")
    let pictures = try model.decode(
      Tensor(stops, shape: shape, on: model.context.backend), options.repeating(labels: frames)
    ) { bar.show($0) }.images()
    var recipe = job.recipe([
      "Frames": String(frames), "Rows": String(walks), "Seed": String(seed), "Between": ends,
      "Interpolation": model.interpolation.rawValue,
    ])
    recipe.settings += description
    try finish(job, pictures, recipe)
  }

  private func finish(_ job: PictureJob<any CodeDecoding>, _ pictures: [Image], _ recipe: Recipe) throws {
    if let animate {
      var film = Film()
      for (index, picture) in pictures.enumerated() { film.add([picture], to: index % frames) }
      let rows = pictures.count / frames
      try film.write(to: animate, count: rows, columns: min(rows, 8), text: recipe.text, isRoundTrip: true)
    }
    try job.finish(pictures, columns: frames, recipe, count: pictures.count)
  }

  /// Images of codes that one goes through number by number.
  private func sheet(_ job: PictureJob<any CodeDecoding>) throws {
    guard let model = job.model as? any GaussianCodes else {
      throw UserError(
        .unavailable, "--along \(along.rawValue): the codes of \(job.loaded.state.preset) are not normal numbers",
        hint: "Leave out --along.")
    }
    if !images.isEmpty || data != nil {
      throw UserError(.usage, "--along \(along.rawValue) goes through codes: leave out --images and --data")
    }
    let codes: [[Float]]
    switch along {
    case .plane:
      guard model.latent == 2, rows == nil else {
        throw UserError(
          .usage, "--along plane: expected a code of two numbers and no --rows, found \(model.latent) numbers",
          hint: "Train with --set latent=2.")
      }
      let places = (0..<frames).map { normalQuantile((Double($0) + 0.5) / Double(frames)) }
      codes = places.reversed().flatMap { vertical in places.map { [Float($0), Float(vertical)] } }
    default:
      let count = min(rows ?? model.latent, model.latent)
      guard let start = model.randomCodes(0..<1, seed: seed)?.values() else { return }
      codes = (0..<count).flatMap { dimension in
        (0..<frames).map { frame in
          var code = start
          code[dimension] = 6 * Float(frame) / Float(frames - 1) - 3
          return code
        }
      }
    }
    let pictures = model.decode(
      Tensor(codes.flatMap(\.self), shape: [codes.count, model.latent], on: model.context.backend)
    ).images()
    let recipe = job.recipe(["Frames": String(frames), "Seed": String(seed), "Along": along.rawValue])
    try finish(job, pictures, recipe)
  }

  /// Codes of both ends of every walk, one after the other, and what they are.
  private func ends(
    _ job: PictureJob<any CodeDecoding>, walks: Int, _ options: SamplingOptions
  ) throws -> (Tensor, String) {
    let model = job.model
    if images.isEmpty, data == nil, let codes = model.randomCodes(0..<2 * walks, options) {
      return (codes, "noises")
    }
    guard let encoder = model as? any ImageEncoding else {
      throw UserError(
        .unavailable, "\(job.loaded.state.preset) has no codes of given images", hint: "Leave out --images and --data.")
    }
    var input = ImageOptions()
    (input.images, input.data, input.fit, input.skipping) = (images, data, fit, skipping)
    let wanted = images.isEmpty ? 2 * walks : 2
    // Held-out images from a place that the seed chooses.
    let skipped = images.isEmpty ? Int(seed % 1000) * wanted : 0
    let (pictures, name) = try input.load(skipped + wanted, for: job.loaded, from: job.workspace)
    guard pictures.count >= skipped + wanted else {
      throw UserError(
        .usage, "--rows and --seed ask for held-out images \(skipped) to \(skipped + wanted), found \(pictures.count)")
    }
    let given = tensor(Array(pictures[skipped...]), for: model)
    return (try encoder.encode(given, options.repeating(labels: 2)), name)
  }
}

extension SamplingOptions {
  /// Every label for so many images in a row.
  fileprivate func repeating(labels count: Int) -> SamplingOptions {
    var options = self
    options.labels = labels?.flatMap { [Int](repeating: $0, count: count) }
    return options
  }
}

/// The number below which a standard normal one falls with a probability between 0 and 1, to 1e-9: by bisection of the error
/// function.
private func normalQuantile(_ probability: Double) -> Double {
  var (low, high) = (-10.0, 10.0)
  while high - low > 1e-9 {
    let middle = (low + high) / 2
    if erfc(-middle / 2.0.squareRoot()) / 2 < probability { low = middle } else { high = middle }
  }
  return (low + high) / 2
}
