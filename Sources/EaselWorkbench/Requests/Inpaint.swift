import EaselMetrics
import EaselSupport

/// Images with a part made up.
public struct InpaintRequest: PictureRequest {
  public static let name = "inpaint"
  public static let summary =
    "Hide a part of images and let the model fill it in: original, masked and completed rows."

  public var source = CheckpointChoice()
  public var input = ImageChoice()
  public var count = 8
  public var columns = 8
  /// A pattern, or a picture's path.
  public var mask = InpaintingMask.Pattern.randomPatches.rawValue
  /// The share that is missing; nil for what is usual of the pattern.
  public var masked: Double?
  /// Pixels of a random patch's side; nil for the model's own patches', or 4.
  public var patch: Int?
  public var seed: UInt64 = 0

  public init() {}

  public static let fields: [Field<InpaintRequest>] =
    CheckpointChoice.fields.map { $0.at(\.source) } + [
      Field("count", \.count, .from(1, to: 100_000), "How many images."),
      Field("columns", \.columns, .from(1, to: 1000), "Images in a row."),
      Field(
        "mask", \.mask,
        "\(InpaintingMask.Pattern.names), or a picture's path: bright pixels are missing, dark and transparent ones are kept; it comes to the model's size as the images do."
      ),
      Field(
        "masked", \.masked, .above(0, below: 1),
        "The share that is missing (default: 0.75 of random patches, 0.25 at the center, else 0.5)."),
      Field(
        "patch", \.patch, .from(1, to: 1000),
        "Pixels of a random patch's side (default: the model's own patches', or 4)."),
      Field("seed", \.seed, "Which random patches, and which completion."),
    ] + ImageChoice.fields.map { $0.at(\.input) }

  /// Figures: `mse-missing` of missing pixels, `mse-missing-trivial` with the mean of the known ones instead, and `psnr`.
  public func answer(_ job: Job<any Inpainting>) throws -> PictureAnswer {
    let model = job.model
    let hole = try InpaintingMask(
      mask, share: masked, patch: patch ?? model.inpaintingPatch ?? 4, seed: seed, fit: input.fit(for: job.loaded),
      in: job.data)
    if let size = hole.cutFrom {
      job.work.remark(
        "\(field: "mask"): the picture of \(size) has other proportions than the images: cropped to its middle; "
          + "\(field: "fit") pad or stretch keeps all of it.")
    }
    let chosen = try input.load(job.work, for: job.loaded, limit: count)
    let clean = chosen.tensor(for: model)
    let missing = chosen.images.indices.map { hole.missing($0) }
    let completed = try model.inpaint(
      clean, missing: hole.mask(missing.count, on: job.context.backend), seed: seed,
      progress: job.work.progress("inpainting"))
    let pictures = completed.images()
    let figures = [
      "mse-missing": meanSquaredError(completed, clean, where: missing),
      "mse-missing-trivial": meanSquaredError(meansOfKnown(clean, missing), clean, where: missing),
      "psnr": meanSignalToNoise(pictures, chosen.images),
    ]
    var request = self
    request.input = input.resolved(chosen)
    return job.picture(
      ImageGrid.alternatingRows([chosen.images, hole.shown(in: chosen.images), pictures], columns: columns),
      columns: min(columns, pictures.count), made: pictures.count, figures: figures, request,
      [
        ("Images", chosen.source), ("Count", String(pictures.count)), ("Mask", mask), ("Missing", hole.description),
        ("Seed", String(seed)),
      ])
  }

  /// The mean squared error of missing pixels.
  private func meanSquaredError(_ images: Tensor, _ originals: Tensor, where missing: [[Bool]]) -> Double {
    let channels = originals.shape[3]
    let flags = missing.flatMap { $0 }
    var (sum, count) = (0.0, 0)
    for (place, pair) in zip(images.values(), originals.values()).enumerated() where flags[place / channels] {
      sum += Double((pair.0 - pair.1) * (pair.0 - pair.1))
      count += 1
    }
    return sum / Double(max(1, count))
  }

  /// Images of one colour, the mean of an image's known pixels.
  private func meansOfKnown(_ images: Tensor, _ missing: [[Bool]]) -> Tensor {
    let channels = images.shape[3]
    let values = images.values()
    let means = missing.enumerated().flatMap { image, missing -> [Float] in
      let known = missing.indices.filter { !missing[$0] }
      let color = (0..<channels).map { channel in
        known.reduce(Float(0)) { $0 + values[(image * missing.count + $1) * channels + channel] } / Float(known.count)
      }
      return [[Float]](repeating: color, count: missing.count).flatMap { $0 }
    }
    return Tensor(means, shape: images.shape, on: images.backend)
  }
}
