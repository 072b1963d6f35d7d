import EaselLayers
import EaselSupport
import Foundation

// How a diffusion or consistency model works on given images: it treats them as points on the way from noise to an
// image.

extension DenoisingModel {
  public var corruption: Corruption { Corruption(.gaussian, strength: 0.3) }

  /// Begins at the timestep with as much noise as the image has, and goes on from there. The latents of a noisy image have
  /// no such noise of their own: they get as much.
  public func restore(
    _ images: Tensor, from corruption: Corruption, seed: UInt64, progress: (Double) throws -> Void
  ) throws -> Tensor {
    guard corruption.kind == .gaussian else {
      throw UserError(
        .usage, "\(field: "corruption"): a diffusion model removes gaussian noise, not \(corruption.kind.rawValue)",
        hint: "Train a denoising-autoencoder for that.")
    }
    // Pixels from 0 to 1 have half the deviation of those from −1 to 1.
    let start = schedule.timestep(forNoise: Double(2 * corruption.strength))
    let sampler = DiffusionSampler(restorer)
    let levels = sampler.levels(
      min(start + 1, settings.samplerSteps), of: schedule, settings.levelSpacing(.trailing), from: start)
    let all = 0..<images.shape[0]
    return denoiser.space.decode(
      try Chunks.map(denoiser.space.encode(images)) { chunk, numbers in
        let first = numbers.lowerBound
        let noisy =
          denoiser.space is PixelSpace
          ? context.backend.affine(chunk, scale: Float(levels[0].signal), shift: 0)
          : levels[0].add(denoiser.normal(chunk.shape, seed: seed, first: first, draw: 0), to: chunk)
        return try walk(
          noisy, through: levels, sampler, denoiser.guidance(of: numbers.count), seed: seed, first: first
        ) {
          try progress(Chunks.fraction(of: all, numbers, $0))
        }
      })
  }
}

extension DenoisingModel {
  /// SDEdit (Meng et al. 2022): adds noise to the image and removes it again.
  public var directions: [TranslationDirection] { [TranslationDirection("redraw")] }

  /// A strength of 1 keeps almost nothing of an image; 0.5 begins in the middle of the timesteps.
  public func translate(_ images: Tensor, _ options: TranslationOptions, progress: (Double) throws -> Void) throws
    -> Tensor
  {
    let strength = options.strength ?? 0.5
    _ = try direction(options)
    var check = FieldCheck()
    check.require((0...1).contains(strength), "\(field: "strength"): expected 0 to 1, found \(strength)")
    check.require(
      options.copies == 1, "\(field: "copies"): a diffusion model draws each copy anew, so their mean would be a blur")
    try check.finish()
    try conditionKind.check(options.condition.map { [$0] }, of: context.data)

    let start = Int((strength * Double(schedule.count)).rounded()) - 1
    guard start >= 0 else { return images }
    let sampler = DiffusionSampler(settings.sampler, variance: settings.variance)
    let steps = max(1, Int((strength * Double(settings.samplerSteps)).rounded(.up)))
    let levels = sampler.levels(min(steps, start + 1), of: schedule, settings.levelSpacing(.trailing), from: start)
    let all = 0..<images.shape[0]
    let made = try Chunks.map(denoiser.space.encode(images)) { chunk, numbers in
      let first = numbers.lowerBound
      let guidance = denoiser.guidance(
        of: numbers.count, to: options.condition.map { [Condition](repeating: $0, count: numbers.count) },
        scale: settings.guidance)
      let noise = denoiser.normal(chunk.shape, seed: options.seed, first: first, draw: 0)
      return try walk(
        levels[0].add(noise, to: chunk), through: levels, sampler, guidance, seed: options.seed, first: first
      ) { try progress(Chunks.fraction(of: all, numbers, $0)) }
    }
    return denoiser.space.decode(made)
  }
}

/// How often RePaint (Lugmayr et al. 2022) goes back and forth: the more often, the better the completed part fits the
/// known one.
public struct RePaintResampling: Sendable {
  /// Levels from noise to image.
  public var steps = 50
  /// How many steps are taken back and repeated.
  public var jump = 5
  /// How often they are taken in total; 1 goes straight on.
  public var rounds = 4

  public init() {}
}

extension DenoisingModel {
  public func inpaint(_ images: Tensor, missing: Tensor, seed: UInt64, progress: (Double) throws -> Void) throws
    -> Tensor
  {
    try inpaint(images, missing: missing, inpainter.resampling, seed: seed, progress: progress)
  }

  /// RePaint: the missing part is drawn by ancestral sampling, while the known part gets fresh noise of each level.
  /// Every few steps, it goes back to the earlier amount of noise and repeats the steps, so that both parts come to
  /// agree.
  ///
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`, 0 to 1.
  ///   - missing: `[N, H, W, 1]`, as in ``Inpainting``.
  ///   - resampling: how often steps are repeated.
  ///   - seed: the seed of the noise.
  ///   - progress: receives the share that is done, 0 to 1.
  /// - Throws: `UserError` (usage) if numbers make no sense.
  public func inpaint(
    _ images: Tensor, missing: Tensor, _ resampling: RePaintResampling, seed: UInt64, progress: (Double) throws -> Void
  ) throws -> Tensor {
    var check = FieldCheck()
    check(resampling.steps, "steps", 1...settings.timesteps)
    check(resampling.jump, "jump", 1...settings.timesteps)
    check(resampling.rounds, "rounds", 1...1000)
    try check.finish()

    let backend = context.backend
    let sampler = DiffusionSampler(inpainter.method, variance: settings.variance)
    let levels = sampler.levels(resampling.steps, of: schedule, settings.levelSpacing())
    let pixels = PixelSpace(context: context).mask(missing)
    let known = backend.affine(pixels, scale: -1, shift: 1)
    let mask = denoiser.space.mask(missing)
    let (all, channels) = (0..<images.shape[0], denoiser.space.channels)
    // The values of missing pixels must not matter. The mask is divided into the same chunks.
    let given = backend.concatenate([denoiser.space.encode(images * known), mask])
    let made = try Chunks.map(given) { chunk, numbers in
      let first = numbers.lowerBound
      let (clean, mask) = (backend.slice(chunk, 0..<channels), backend.slice(chunk, channels..<2 * channels))
      let known = backend.affine(mask, scale: -1, shift: 1)
      let guidance = denoiser.guidance(of: numbers.count)
      var draws = 0
      func noise() -> Tensor {
        draws += 1
        return denoiser.normal(clean.shape, seed: seed, first: first, draw: draws)
      }
      var x = denoiser.normal(clean.shape, seed: seed, first: first, draw: 0)
      for start in stride(from: 0, to: resampling.steps, by: resampling.jump) {
        let block = levels[start...min(start + resampling.jump, resampling.steps)]
        for round in 0..<resampling.rounds {
          if round > 0 { x = block[start].add(noise(), to: x, at: block[block.endIndex - 1]) }
          for (level, next) in zip(block, block.dropFirst()) {
            x = sampler.walk(x, through: [level, next]) { x, level in
              denoiser.denoised(x, at: level, guidance, clips: denoiser.clips)
            } noise: { _ in
              noise()
            }
            x = x * mask + next.add(noise(), to: clean) * known
          }
        }
        try progress(Chunks.fraction(of: all, numbers, Double(block.endIndex - 1) / Double(resampling.steps)))
      }
      return x
    }
    return denoiser.space.decode(made) * pixels + images * known
  }
}
