import EaselLayers

/// A model that draws with a ``Denoiser``, from level to level of noise: what diffusion and consistency models have in
/// common.
///
/// A ``DiffusionSampler`` does its work. The models differ in what their network was trained for, and therefore in
/// which samplers suit it.
public protocol DenoisingModel: SingleLossModel, StepwiseSampling, ImageEncoding, Restoring, Translating, Inpainting,
  TextReading, LikenessSampling
{
  var denoiser: Denoiser { get }
  /// The samplers that its network was trained for.
  static var samplers: [DiffusionSampler.Method] { get }
  /// The sampler that removes noise from given images.
  var restorer: DiffusionSampler.Method { get }
  /// The sampler that fills in missing parts of images, and how often it resamples.
  var inpainter: (method: DiffusionSampler.Method, resampling: RePaintResampling) { get }
}

extension DenoisingModel {
  public var context: ModelContext { denoiser.context }
  public var settings: DiffusionSettings { denoiser.settings }
  public var schedule: NoiseSchedule { denoiser.schedule }

  public func benchmarkPass(_ batch: Batch) {
    _ = denoiser.denoised(
      denoiser.space.encode(batch.tensor(on: context.backend)), at: schedule.level(schedule.count / 2),
      denoiser.guidance(of: batch.count), clips: false)
  }

  /// A sampler's walk with this network. Sample n takes the random numbers of index `first + n`.
  func walk(
    _ x: Tensor, through levels: [NoiseLevel], _ sampler: DiffusionSampler, _ guidance: Denoiser.Guidance,
    seed: UInt64, first: Int, progress: (Double) throws -> Void = { _ in },
    watch: (_ steps: Int, _ x: Tensor) -> Void = { _, _ in }
  ) throws -> Tensor {
    try sampler.walk(x, through: levels) { x, level in
      denoiser.denoised(x, at: level, guidance, clips: denoiser.clips)
    } noise: { step in
      denoiser.normal(x.shape, seed: seed, first: first, draw: step)
    } progress: { steps, x in
      watch(steps, x)
      try progress(Double(steps) / Double(levels.count - 1))
    }
  }
}
