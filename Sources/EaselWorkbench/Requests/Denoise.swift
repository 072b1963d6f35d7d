import EaselMetrics
import EaselSupport

/// Damages images and restores them.
public struct DenoiseRequest: PictureRequest {
  public static let name = "denoise"
  public static let summary = "Damage images and restore them: clean, damaged and restored rows."

  public var source = CheckpointChoice()
  public var input = ImageChoice()
  public var count = 8
  public var columns = 8
  /// Nil for the kind that the model was trained for.
  public var corruption: Corruption.Kind?
  /// The noise's standard deviation, or the share of damaged pixels; nil for the model's.
  public var noise: Float?
  /// Another checkpoint whose reconstructions are also measured.
  public var beside: String?
  public var seed: UInt64 = 0

  public init() {}

  public static let fields: [Field<DenoiseRequest>] =
    CheckpointChoice.fields.map { $0.at(\.source) } + [
      Field("count", \.count, .from(1, to: 100_000), "How many images."),
      Field("columns", \.columns, .from(1, to: 1000), "Images in a row."),
      Field(
        "corruption", \.corruption,
        "gaussian, salt-and-pepper or squares (default: what the model was trained for)."),
      Field(
        "noise", \.noise,
        "The noise's standard deviation (black to white is 1), or the share of pixels (default: the model's)."),
      Field("beside", \.beside, "Another run whose reconstructions of the damaged images are also measured."),
      Field("seed", \.seed, "Random seed of the noise."),
    ] + ImageChoice.fields.map { $0.at(\.input) }

  public func validate(for model: any Restoring) throws {
    var check = FieldCheck()
    damage(for: model).check(&check, String(field: "noise"))
    try check.finish()
  }

  private func damage(for model: any Restoring) -> Corruption {
    Corruption(corruption ?? model.corruption.kind, strength: noise ?? model.corruption.strength)
  }

  /// Figures: `psnr-…` in dB and `ssim-…` of `noisy`, `blurred`, `restored` and, if asked for, `beside`; and
  /// `blur-deviation`, in pixels, of the Gaussian blur that comes closest to the clean images.
  public func answer(_ job: Job<any Restoring>) throws -> PictureAnswer {
    let (model, damage) = (job.model, damage(for: job.model))
    let chosen = try input.load(job.work, for: job.loaded, limit: count)
    let clean = chosen.tensor(for: model)
    // Draw 1 000 000 is beyond the draws that a sampler's own steps use.
    let noisy = damage.apply(to: clean, RandomDraw(seed: seed, stream: .sampling, draw: 1_000_000))
    let restored = try model.restore(noisy, from: damage, seed: seed, progress: job.work.progress("restoring")).images()
    let noisyImages = noisy.images()
    let blur = BestBlur(of: noisy, clean: chosen.images)
    var figures = ["blur-deviation": blur.deviation]
    func note(_ name: String, _ values: RestorationFigures) {
      (figures["psnr-\(name)"], figures["ssim-\(name)"]) = (values.psnr, values.ssim)
    }
    note("noisy", RestorationFigures(noisyImages, clean: chosen.images))
    note("blurred", blur.figures)
    if let beside {
      note("beside", RestorationFigures(try reconstructions(of: noisy, by: beside, job), clean: chosen.images))
    }
    note("restored", RestorationFigures(restored, clean: chosen.images))
    var request = self
    request.input = input.resolved(chosen)
    return job.picture(
      ImageGrid.alternatingRows([chosen.images, noisyImages, restored], columns: columns),
      columns: min(columns, restored.count), made: restored.count, figures: figures, request,
      [
        ("Images", chosen.source), ("Count", String(restored.count)), ("Corruption", damage.kind.rawValue),
        ("Noise", String(damage.strength)), ("Seed", String(seed)),
      ])
  }

  /// What another model, for the same images, makes of the damaged ones.
  private func reconstructions(of noisy: Tensor, by name: String, _ job: Job<any Restoring>) throws -> [Image] {
    var other = source
    other.checkpoint = name
    let loaded = try other.load(job.work)
    guard let model = loaded.model as? any ImageEncoding else {
      throw UserError(.unavailable, "\(field: "beside"): \(loaded.state.preset) cannot reconstruct")
    }
    let (found, expected) = (loaded.state.data.description, job.data)
    guard found.shape(1) == expected.shape(1) else {
      throw UserError(
        .usage, "\(field: "beside"): \(name) takes images of \(found.sizeText), expected \(expected.sizeText)")
    }
    return try job.work.computing(with: model) {
      let images = Tensor(noisy.values(), shape: noisy.shape, on: model.context.backend)
      return model.decode(model.encode(images)).images()
    }
  }
}
