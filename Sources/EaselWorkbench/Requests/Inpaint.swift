import EaselMetrics
import EaselSupport

/// Hides a part of images and lets the model fill it in.
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
  /// The share that is missing; nil for the pattern's usual one.
  public var masked: Double?
  /// The side of a random patch in pixels; nil for the model's own patch size, or 4.
  public var patch: Int?
  public var seed: UInt64 = 0

  public init() {}

  public static let fields: [Field<InpaintRequest>] =
    CheckpointChoice.fields.map { $0.at(\.source) } + [
      Field("count", \.count, .from(1, to: 100_000), "How many images."),
      Field("columns", \.columns, .from(1, to: 1000), "Images in a row."),
      Field(
        "mask", \.mask,
        "\(InpaintingMask.Pattern.names), or a picture's path: bright pixels are missing, dark and transparent ones are kept; it is resized as the images are."
      ),
      Field(
        "masked", \.masked, .above(0, below: 1),
        "The share that is missing (default: 0.75 of random patches, 0.25 at the center, else 0.5)."),
      Field(
        "patch", \.patch, .from(1, to: 1000),
        "The side of a random patch in pixels (default: the model's own patch size, or 4)."),
      Field("seed", \.seed, "Random seed of the patches and of the completion."),
    ] + ImageChoice.fields.map { $0.at(\.input) }

  /// Figures: `mse-missing` over missing pixels, `mse-missing-trivial` if they were the mean of the known ones, and
  /// `psnr`.
  public func answer(_ job: Job<any Inpainting>) throws -> PictureAnswer {
    let model = job.model
    let hole = try InpaintingMask(
      mask, fraction: masked, patch: patch ?? model.inpaintingPatch ?? 4, seed: seed, fit: input.fit(for: job.loaded),
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

  /// The mean squared error over missing pixels.
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

  /// Images of one colour each: the mean of the image's known pixels.
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
