import EaselMetrics
import EaselSupport

/// Sends images through the latent space and back.
public struct ReconstructRequest: PictureRequest {
  public static let name = "reconstruct"
  public static let summary =
    "Send images through the latent space and back: originals above, reconstructions below."

  public var source = CheckpointChoice()
  public var input = ImageChoice()
  public var count = 16
  public var columns = 8

  public init() {}

  public static let fields: [Field<ReconstructRequest>] =
    CheckpointChoice.fields.map { $0.at(\.source) } + [
      Field("count", \.count, .from(1, to: 100_000), "How many images."),
      Field("columns", \.columns, .from(1, to: 1000), "Images in a row."),
    ] + ImageChoice.fields.map { $0.at(\.input) }

  public func answer(_ job: Job<any ImageEncoding>) throws -> PictureAnswer {
    let chosen = try input.load(job.work, for: job.loaded, limit: count)
    let options = SamplingOptions()
    let codes = try job.model.encode(
      chosen.tensor(for: job.model), options, progress: job.work.progress("encoding"))
    let made = try job.model.decode(codes, options, progress: job.work.progress("decoding")).images()
    let ratio = meanSignalToNoise(made, chosen.images)
    var request = self
    request.input = input.resolved(chosen)
    return job.picture(
      ImageGrid.alternatingRows([chosen.images, made], columns: columns), columns: min(columns, made.count),
      made: made.count, figures: ["psnr": ratio], request,
      [("Images", chosen.source), ("Count", String(made.count)), ("PSNR", "\(ratio.formatted(2)) dB")])
  }
}
