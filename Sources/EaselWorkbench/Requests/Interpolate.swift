import EaselMetrics
import EaselSupport
import Foundation

/// Walks through the space of a model's codes.
public struct InterpolateRequest: PictureRequest {
  public static let name = "interpolate"
  public static let summary = "Walk from image to image through the latent space, a row for each walk."

  public enum Path: String, FieldChoice {
    case walks
    /// A row for each number of the code, which goes from −3 to 3 while the others stay fixed.
    case dimensions
    /// For codes of two numbers: the quantiles of one against those of the other.
    case plane
    /// From one condition to another through the vectors of pictures and texts; each row is another noise.
    case conditions
  }

  public var source = CheckpointChoice()
  public var along = Path.walks
  public var frames = 8
  /// Nil for 4 walks, or all dimensions.
  public var rows: Int?
  public var input = ImageChoice()
  public var sampling = SamplingChoice()
  /// Two pictures to walk between through their vectors.
  public var like: [String] = []
  /// The SHA-256 that these must have, as in ``ImageChoice``; nil for any.
  public var likeFingerprint: String?
  /// Whether the answer includes a film of the walks.
  public var film = false

  public init() {}

  public static let fields: [Field<InterpolateRequest>] =
    CheckpointChoice.fields.map { $0.at(\.source) } + [
      Field(
        "along", \.along,
        "walks, dimensions (a row for each number of the code), plane (codes of two numbers), or conditions (between two prompts or two pictures, for models trained with pictures as conditions)."
      ),
      Field("like", \.like, "Two pictures whose vectors are the ends of a walk along conditions."),
      Field("like-sha256", \.likeFingerprint, "The SHA-256 that these must have (default: any)."),
      Field("frames", \.frames, .from(2, to: 1000), "Images in a row, including both ends."),
      Field("rows", \.rows, .from(1, to: 1000), "Walks (default: 4), or dimensions (default: all)."),
      Field("animate", \.film, "Also show the walks as a film, to and fro."),
    ] + ImageChoice.fields.map { $0.at(\.input) } + SamplingChoice.fields.map { $0.at(\.sampling) }

  public func check(_ check: inout FieldCheck) {
    sampling.check(&check)
    check.require(
      input.images.isEmpty || input.images.count == 2,
      "\(field: "images"): expected two files, found \(input.images.count)")
    check.require(
      along != .conditions || [like.count, sampling.prompts.count] == [0, 2]
        || [like.count, sampling.prompts.count] == [2, 0],
      "\(field: "along") conditions: expected two of \(field: "prompt") or two of \(field: "like")")
    check.require(like.isEmpty || along == .conditions, "\(field: "like") belongs to \(field: "along") conditions")
    check.require(!film || along != .plane, "\(field: "animate"): a plane has no beginning and no end")
    let isOfImages = !input.images.isEmpty || input.data != nil
    check.require(
      along == .walks || !isOfImages,
      "\(field: "along") \(along.rawValue) does not go between images: leave out \(field: "images") and \(field: "data")"
    )
  }

  public func validate(for model: any CodeDecoding) throws {
    var options = try sampling.options(for: model.context.data)
    // Those of pictures are computed later.
    if !like.isEmpty, let model = model as? any Sampling { options.conditions = model.conditionKind.placeholder }
    _ = try model.describe(decoding: options)
  }

  public func answer(_ job: Job<any CodeDecoding>) throws -> PictureAnswer {
    sampling.remarkOnTexts(for: job.model, job.work)
    switch along {
    case .walks: return try walk(job)
    case .conditions: return try conditionWalk(job)
    case .dimensions, .plane: return try sheet(job)
    }
  }

  private func finish(
    _ job: Job<any CodeDecoding>, _ pictures: [Image], _ request: InterpolateRequest,
    _ settings: [(key: String, value: String)]
  ) -> PictureAnswer {
    var shown: Film?
    if film {
      let rows = pictures.count / frames
      var made = Film("to and fro", count: rows, columns: min(rows, 8), isRoundTrip: true)
      for (index, picture) in pictures.enumerated() { made.add([picture], to: index % frames) }
      shown = made
    }
    var request = request
    request.film = false
    return job.picture(pictures, columns: frames, film: shown, request, settings)
  }

  // MARK: Walks

  private func walk(_ job: Job<any CodeDecoding>) throws -> PictureAnswer {
    let (model, options) = (job.model, try sampling.options(for: job.data))
    let walks = input.images.isEmpty ? rows ?? 4 : 1
    let (codes, ends, chosen) = try ends(job, walks: walks, options)
    let size = codes.count / codes.shape[0]
    let values = codes.values()
    func code(_ index: Int) -> [Float] { Array(values[index * size..<(index + 1) * size]) }
    let stops = (0..<walks).flatMap { row in
      model.interpolation.path(from: code(2 * row), to: code(2 * row + 1), frames: frames).flatMap { $0 }
    }
    let shape = Shape([walks * frames] + codes.shape.sizes.dropFirst())
    let pictures = try model.decode(
      Tensor(stops, shape: shape, on: job.context.backend), options.repeating(frames),
      progress: job.work.progress("walking")
    ).images()
    var request = self
    if let chosen { request.input = input.resolved(chosen) }
    let settings = [
      ("Frames", String(frames)), ("Rows", String(walks)), ("Seed", String(sampling.seed)), ("Between", ends),
      ("Interpolation", model.interpolation.rawValue),
    ]
    return finish(
      job, pictures, request,
      settings.map { (key: $0.0, value: $0.1) } + (try model.describe(decoding: options)))
  }

  /// The codes of both ends of every walk, one after the other, with a description and the images that they encode.
  private func ends(
    _ job: Job<any CodeDecoding>, walks: Int, _ options: SamplingOptions
  ) throws -> (codes: Tensor, name: String, chosen: ChosenImages?) {
    if input.images.isEmpty, input.data == nil, let codes = job.model.randomCodes(0..<2 * walks, options) {
      return (codes, "noises", nil)
    }
    guard let encoder = job.model as? any ImageEncoding else {
      throw UserError(
        .unavailable, "\(job.loaded.state.preset) has no codes of given images",
        hint: "Leave out \(field: "images") and \(field: "data").")
    }
    // Held-out images from an index that the seed chooses.
    let wanted = 2 * walks
    let first = input.images.isEmpty ? Int(sampling.seed % 1000) * wanted : 0
    let chosen = try input.load(job.work, for: job.loaded, from: first, limit: wanted)
    guard chosen.images.count >= wanted else {
      throw UserError(
        .usage,
        "\(field: "rows") and \(field: "seed") ask for held-out images \(first) to \(first + wanted), found "
          + "\(first + chosen.images.count)")
    }
    let codes = try encoder.encode(
      chosen.tensor(for: encoder), options.repeating(2), progress: job.work.progress("encoding"))
    return (codes, chosen.source, chosen)
  }

  // MARK: Conditions

  /// From one condition to the other, with the same noise in a row.
  private func conditionWalk(_ job: Job<any CodeDecoding>) throws -> PictureAnswer {
    guard let model = job.model as? any LikenessSampling & CodeDecoding else {
      throw job.loaded.refusal("has no vectors of pictures and texts to walk between")
    }
    var (request, options) = (self, try sampling.options(for: job.data))
    let ends: [Condition]
    if like.isEmpty {
      ends = try model.conditions(of: sampling.prompts)
    } else {
      let choice = ImageChoice { ($0.images, $0.fingerprint) = (like, likeFingerprint) }
      let chosen = try choice.load(job.work, for: job.loaded)
      guard chosen.images.count == 2 else {
        throw UserError(.usage, "\(field: "like"): expected two pictures, found \(chosen.images.count)")
      }
      ends = try model.conditions(like: chosen.tensor(for: model))
      request.likeFingerprint = chosen.fingerprint
    }
    let vectors = ends.compactMap { if case .embedding(let vector) = $0 { vector } else { nil } }
    let path = Interpolation.spherical.path(from: vectors[0], to: vectors[1], frames: frames)
    options.conditions = path.map(Condition.embedding)
    let rows = rows ?? 4
    guard let codes = model.randomCodes(0..<rows, options) else { return try walk(job) }
    let repeated = Tensor(
      uninitialized: Shape([rows * frames] + codes.shape.sizes.dropFirst()), on: job.context.backend)
    for index in 0..<rows * frames {
      let row = index / frames
      job.context.backend.copy(codes[row..<row + 1], into: repeated[index..<index + 1])
    }
    let pictures = try model.decode(repeated, options, progress: job.work.progress("walking")).images()
    let between =
      like.isEmpty ? sampling.prompts.map(\.debugDescription) : like.map { URL(fileURLWithPath: $0).lastPathComponent }
    return finish(
      job, pictures, request,
      [
        ("Frames", String(frames)), ("Rows", String(rows)), ("Seed", String(sampling.seed)),
        ("Between", between.joined(separator: " and ")), ("Along", along.rawValue),
      ].map { (key: $0.0, value: $0.1) })
  }

  // MARK: Sheets

  /// Decodes codes while they vary number by number.
  private func sheet(_ job: Job<any CodeDecoding>) throws -> PictureAnswer {
    guard let model = job.model as? any GaussianCodes else {
      throw UserError(
        .unavailable,
        "\(field: "along") \(along.rawValue): the codes of \(job.loaded.state.preset) are not normal numbers",
        hint: "Leave out \(field: "along").")
    }
    let codes = try along == .plane ? plane(model.latent) : dimensions(model)
    let pictures = try model.decode(
      Tensor(codes.flatMap(\.self), shape: [codes.count, model.latent], on: job.context.backend),
      SamplingOptions(), progress: job.work.progress("walking")
    ).images()
    return finish(
      job, pictures, self,
      [("Frames", String(frames)), ("Seed", String(sampling.seed)), ("Along", along.rawValue)])
  }

  private func plane(_ latent: Int) throws -> [[Float]] {
    guard latent == 2, rows == nil else {
      throw UserError(
        .usage,
        "\(field: "along") plane: expected a code of two numbers and no \(field: "rows"), found \(latent) numbers",
        hint: "Train with \(field: "set") latent=2.")
    }
    let places = (0..<frames).map { normalQuantile((Double($0) + 0.5) / Double(frames)) }
    return places.reversed().flatMap { vertical in places.map { [Float($0), Float(vertical)] } }
  }

  private func dimensions(_ model: any GaussianCodes) -> [[Float]] {
    guard let start = model.randomCodes(0..<1, seed: sampling.seed)?.values() else { return [] }
    return (0..<min(rows ?? model.latent, model.latent)).flatMap { dimension in
      (0..<frames).map { frame in
        var code = start
        code[dimension] = 6 * Float(frame) / Float(frames - 1) - 3
        return code
      }
    }
  }
}

extension SamplingOptions {
  /// Every condition for so many images in a row.
  fileprivate func repeating(_ count: Int) -> SamplingOptions {
    var options = self
    options.conditions = conditions?.flatMap { [Condition](repeating: $0, count: count) }
    return options
  }
}
