import EaselLayers
import Foundation

/// A denoising diffusion model (Ho et al. 2020): a U-Net that learns to predict images from noisy ones.
///
/// Optionally it learns the variance of its steps (Nichol and Dhariwal 2021).
public final class Diffusion: DenoisingModel {
  public let denoiser: Denoiser
  public let components: [Component]

  public init(_ settings: DiffusionSettings, _ context: ModelContext) throws {
    let scope = Scope()
    denoiser = try Denoiser(settings, context, scope)
    components = [try Component("", scope, context)]
  }

  public static let samplers: [DiffusionSampler.Method] = [.ddpm, .ddim, .euler, .dpm, .heun]
  public var restorer: DiffusionSampler.Method { .ddim }
  public var inpainter: (method: DiffusionSampler.Method, resampling: RePaintResampling) {
    (.ddpm, RePaintResampling())
  }

  /// The mean squared error of the prediction at a random level of noise for each image; if the variance is learned,
  /// with its share of the variational bound.
  public func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    let backend = context.backend
    let lesson = denoiser.lesson(batch, isTraining: tape != nil, draw)
    let levels = schedule.trainingLevels(batch.count, draw(Denoiser.Draw.level), on: backend)
    let target = backend.scaledSum(
      lesson.images, by: backend.perSample(levels) { settings.prediction.target(at: $0).image }, lesson.noise,
      by: backend.perSample(levels) { settings.prediction.target(at: $0).noise })
    let output = denoiser.output(lesson.noisy(at: levels), of: lesson, at: levels, on: tape)
    guard settings.variance == .learnedRange else { return (elementwiseLoss(.squaredError, output, target), [:]) }

    let parts = splitChannels(output, into: 2)
    let simple = elementwiseLoss(.squaredError, parts[0], target)
    // The bound trains only the variance.
    let errors = backend.scaledSum(
      target - parts[0].value, by: backend.perSample(levels) { settings.prediction.image(at: $0).output }, nil, by: nil)
    let terms = VariationalBound(schedule: schedule, variance: settings.variance).terms(
      lesson.images, errors: errors, output: parts[1], timesteps: levels.map { Int($0.condition) })
    let bound = weightedSum(terms, weights: backend.perSample(levels) { _ in boundWeight / Double(batch.count) })
    return (simple + bound, ["simple": simple.value.item(), "bound": bound.value.item()])
  }

  /// The weight of an image's term of the variational bound, in nats: 0.001 of the bound in bits per dimension. Of the
  /// bound's T terms, an image has one.
  private var boundWeight: Double {
    0.001 * Double(schedule.count) / (log(2) * Double(context.data.shape(1).count))
  }
}
