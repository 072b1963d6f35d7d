import EaselLayers
import Foundation

/// A consistency model (Song et al. 2023): a U-Net that takes images under any noise to the image at the end of their
/// path, in one pass.
///
/// It is a diffusion model whose training continues with another target (Geng et al. 2024, "Consistency Models Made
/// Easy", arXiv 2406.14548): not the clean image, but the network's own result for the same image under a little less
/// of the same noise. The closer the two noises, the closer f is to the end of the probability flow; with no noise
/// left, the target is that of diffusion.
public final class Consistency: DenoisingModel {
  public let denoiser: Denoiser
  public let components: [Component]
  public let tuning: ConsistencyTuning
  /// The present step's stage.
  private var stage = 0

  public init(_ settings: ConsistencySettings, _ context: ModelContext) throws {
    let scope = Scope()
    tuning = settings.tuning
    denoiser = try Denoiser(settings.diffusion, context, scope)
    components = [try Component("", scope, context)]
  }

  public static let samplers: [DiffusionSampler.Method] = [.consistency]
  public var restorer: DiffusionSampler.Method { .consistency }

  /// Zero-shot editing as in Song et al. 2023: each pass's image gets the known pixels and the next level's noise, so
  /// no step has to be taken back.
  public var inpainter: (method: DiffusionSampler.Method, resampling: RePaintResampling) {
    var resampling = RePaintResampling()
    (resampling.steps, resampling.jump, resampling.rounds) = (16, 16, 1)
    return (.consistency, resampling)
  }

  public func begin(_ step: TrainingStep) { stage = tuning.stage(at: step.progress) }

  /// The distance between the network's results for an image under noise t and under less noise r (without gradient for
  /// r). Held-out images are judged by the last stage, so that losses of all steps can be compared.
  ///
  /// With f = c_skip x + c_out F and the root mean square Δ of f(x_t) − f(x_r): (√(Δ² + c²) − c) / c_out², averaged
  /// over the images. 1 / c_out² is 1 / t² + 1 / σ² of the data.
  public func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    let backend = context.backend
    let lesson = denoiser.lesson(batch, isTraining: tape != nil, draw)
    let stage = tape == nil ? tuning.stages - 1 : stage
    let pairs = levels(batch.count, stage: stage, draw(Denoiser.Draw.level))
    let levels = pairs.map(\.t)
    // Before the recorded pass, so that the memory this one needs is free again by then.
    let target = self.target(lesson, at: pairs.map(\.r))
    let x = lesson.noisy(at: levels)
    let output = denoiser.output(x, of: lesson, at: levels, on: tape)

    // In F's units, where the recorded pass ends: Δ² = c_out² · mean (F − F′)².
    let parts = levels.map(settings.prediction.image)
    let wanted = backend.scaledSum(
      target, by: backend.perSample(levels) { 1 / settings.prediction.image(at: $0).output }, x,
      by: backend.perSample(levels) { -settings.prediction.image(at: $0).x / settings.prediction.image(at: $0).output })
    let sums = sampleLosses(.squaredError, output, wanted)
    let pixels = Double(output.value.count / batch.count)
    var (values, slopes): ([Float], [Float]) = ([], [])
    for (sum, part) in zip(sums.value.values(), parts) {
      let weight = 1 / (part.output * part.output)
      let root = (part.output * part.output * Double(sum) / pixels + tuning.huber * tuning.huber).squareRoot()
      values.append(Float(weight * (root - tuning.huber)))
      slopes.append(Float(0.5 / (root * pixels)))
    }
    let slope = Tensor(slopes, shape: [batch.count], on: backend)
    let distances = sums.linearly(Tensor(values, shape: [batch.count], on: backend)) { $0 * slope }
    let fraction = Tensor(repeating: 1 / Float(batch.count), shape: [batch.count], on: backend)
    return (weightedSum(distances, weights: fraction), tape == nil ? [:] : ["stage": Float(stage)])
  }

  /// Random levels t, and r with less noise; nil if r has so little that only the clean image has less.
  private func levels(_ count: Int, stage: Int, _ draw: RandomDraw) -> [(t: NoiseLevel, r: NoiseLevel?)] {
    let least = schedule.level(0).ratio
    let most = min(schedule.level(schedule.count - 1).ratio, DiffusionSampler.maximumNoise)
    return tuning.noise.draw(count, draw, on: context.backend).map { ratio in
      let t = min(max(ratio, least), most)
      let r = tuning.smallerNoise(than: t, stage: stage)
      return (schedule.level(ratio: t), r < least ? nil : schedule.level(ratio: r))
    }
  }

  /// The network's results for images with less noise, or the clean images if there is no level: `[N, H, W, C]`, a
  /// constant.
  private func target(_ lesson: Denoiser.Lesson, at levels: [NoiseLevel?]) -> Tensor {
    guard levels.contains(where: { $0 != nil }) else { return lesson.images }
    let backend = context.backend
    let filled = levels.map { $0 ?? schedule.level(0) }
    let x = lesson.noisy(at: filled)
    let output = denoiser.output(x, of: lesson, at: filled, on: nil).value
    func known(_ value: (NoiseLevel) -> Double) -> Tensor {
      Tensor(levels.map { Float($0.map(value) ?? 0) }, shape: [levels.count], on: backend)
    }
    let image = backend.scaledSum(
      x, by: known { settings.prediction.image(at: $0).x }, output,
      by: known { settings.prediction.image(at: $0).output })
    let clean = Tensor(levels.map { $0 == nil ? 1 : 0 }, shape: [levels.count], on: backend)
    return backend.scaledSum(
      image, by: Tensor(repeating: 1, shape: [levels.count], on: backend), lesson.images, by: clean)
  }
}
