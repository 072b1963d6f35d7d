import EaselLayers
import EaselSupport
import Foundation

// What a diffusion or consistency model does with images that it is given: it takes them for what stands somewhere on the way
// from noise.

extension DenoisingModel {
  public var corruption: Corruption { Corruption(.gaussian, strength: 0.3) }

  /// Begins at the timestep that has as much noise as the image, and goes on from there.
  public func restore(
    _ images: Tensor, from corruption: Corruption, seed: UInt64, progress: (Double) throws -> Void
  ) throws -> Tensor {
    guard corruption.kind == .gaussian else {
      throw UserError(
        .usage, "\(field: "corruption"): a diffusion model takes gaussian noise away, not \(corruption.kind.rawValue)",
        hint: "Train a denoising-autoencoder for that.")
    }
    // Pixels 0…1 have half the deviation of −1…1.
    let start = schedule.timestep(forNoise: Double(2 * corruption.strength))
    let sampler = DiffusionSampler(restorer)
    let levels = sampler.levels(min(start + 1, settings.samplerSteps), of: schedule, .trailing, from: start)
    let noisy = context.backend.affine(denoiser.signed(images), scale: Float(levels[0].signal), shift: 0)
    let all = 0..<images.shape[0]
    return denoiser.unit(
      try Chunks.map(noisy) { chunk, numbers in
        try walk(
          chunk, through: levels, sampler, denoiser.guidance(of: numbers.count), seed: seed, first: numbers.lowerBound
        ) {
          try progress(Chunks.share(of: all, numbers, $0))
        }
      })
  }
}

extension DenoisingModel {
  /// SDEdit (Meng et al. 2022): noise is added to the image and taken away again.
  public var directions: [TranslationDirection] { [TranslationDirection("redraw")] }

  /// A strength of 1 keeps next to nothing of an image, 0.5 begins in the middle of the timesteps.
  public func translate(_ images: Tensor, _ options: TranslationOptions, progress: (Double) throws -> Void) throws
    -> Tensor
  {
    let strength = options.strength ?? 0.5
    _ = try direction(options)
    var check = FieldCheck()
    check.require((0...1).contains(strength), "\(field: "strength"): expected 0 to 1, found \(strength)")
    check.require(
      options.copies == 1, "\(field: "copies"): a diffusion model draws each copy anew, their mean would be a blur")
    try check.finish()
    try SamplingOptions.check(
      options.condition.map { [$0] }, of: context.data, isConditional: settings.conditional)

    let start = Int((strength * Double(schedule.count)).rounded()) - 1
    guard start >= 0 else { return images }
    let sampler = DiffusionSampler(settings.sampler, variance: settings.variance)
    let steps = max(1, Int((strength * Double(settings.samplerSteps)).rounded(.up)))
    let levels = sampler.levels(min(steps, start + 1), of: schedule, .trailing, from: start)
    let all = 0..<images.shape[0]
    let made = try Chunks.map(denoiser.signed(images)) { chunk, numbers in
      let first = numbers.lowerBound
      let guidance = denoiser.guidance(
        of: numbers.count, to: options.condition.map { [Condition](repeating: $0, count: numbers.count) },
        scale: settings.guidance)
      let noise = denoiser.normal(chunk.shape, seed: options.seed, first: first, draw: 0)
      return try walk(
        levels[0].add(noise, to: chunk), through: levels, sampler, guidance, seed: options.seed, first: first
      ) { try progress(Chunks.share(of: all, numbers, $0)) }
    }
    return denoiser.unit(made)
  }
}

/// How RePaint (Lugmayr et al. 2022) goes to and fro: the more, the better what is made up fits to what is known.
public struct RePaintResampling: Sendable {
  /// Levels from noise to image.
  public var steps = 50
  /// Steps that are taken again, from as far back.
  public var jump = 5
  /// How often they are taken in all; 1 goes straight on.
  public var rounds = 4

  public init() {}
}

extension DenoisingModel {
  public func inpaint(_ images: Tensor, missing: Tensor, seed: UInt64, progress: (Double) throws -> Void) throws
    -> Tensor
  {
    try inpaint(images, missing: missing, inpainter.resampling, seed: seed, progress: progress)
  }

  /// RePaint: what is missing is drawn by ancestral sampling, while what is known is given the noise of each level anew. Every
  /// few steps go back to as much noise as before and are taken again, so that both parts come to agree.
  ///
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`, 0 to 1.
  ///   - missing: `[N, H, W, 1]`, as in ``Inpainting``.
  ///   - resampling: how often steps are taken again.
  ///   - seed: of the noise.
  ///   - progress: told the share done, 0 to 1.
  /// - Throws: `UserError` (usage) for numbers that make no sense.
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
    let levels = sampler.levels(resampling.steps, of: schedule, settings.spacing)
    let mask = Tensor(
      missing.values().flatMap { [Float](repeating: $0, count: context.data.channels) }, shape: images.shape,
      on: backend)
    let known = backend.affine(mask, scale: -1, shift: 1)
    let (all, channels) = (0..<images.shape[0], context.data.channels)
    // What stands where pixels are missing must not matter. The mask goes along in the same chunks.
    let made = try Chunks.map(backend.concatenate([denoiser.signed(images * known), mask])) { chunk, numbers in
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
              denoiser.denoised(x, at: level, guidance, clips: settings.clip)
            } noise: { _ in
              noise()
            }
            x = x * mask + next.add(noise(), to: clean) * known
          }
        }
        try progress(Chunks.share(of: all, numbers, Double(block.endIndex - 1) / Double(resampling.steps)))
      }
      return x
    }
    return denoiser.unit(made) * mask + images * known
  }
}
