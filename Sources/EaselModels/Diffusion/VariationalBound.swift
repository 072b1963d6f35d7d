import EaselLayers
import EaselSupport
import Foundation

/// The variational bound of a diffusion model's likelihood, timestep by timestep (Ho et al. 2020; Nichol and Dhariwal
/// 2021).
///
/// The first timestep's term is the discretised Gaussian's of 8-bit levels. The others are divergences between the
/// posterior, given the image, and the model's step. Both start from the same log-variance, the posterior's own. At the
/// first timestep the variance is zero, so the second's is taken.
package struct VariationalBound {
  let schedule: NoiseSchedule
  let variance: PosteriorVariance

  package init(schedule: NoiseSchedule, variance: PosteriorVariance) {
    (self.schedule, self.variance) = (schedule, variance)
  }

  /// The constants of one timestep's term.
  private struct Step {
    let timestep: Int
    /// The factor of the squared image error in the divergence: that of the mean, divided by the posterior's variance.
    let precision: Double
    /// Logarithms of the variances between which the model chooses.
    let small, large: Double
  }

  private func step(_ timestep: Int) -> Step {
    let posterior = Posterior(from: schedule.level(timestep), to: schedule.level(timestep - 1))
    let second = Posterior(from: schedule.level(1), to: schedule.level(0))
    let small = timestep == 0 ? second.small : posterior.small
    // A fixed large variance begins with the second posterior's too (Ho et al.).
    let large = timestep == 0 && variance == .fixedLarge ? second.small : posterior.large
    return Step(
      timestep: timestep, precision: posterior.mean.image * posterior.mean.image / small, small: log(small),
      large: log(large))
  }

  /// The terms, in nats: float32 `[N]`.
  ///
  /// - Parameters:
  ///   - images: `[N, H, W, C]` in [−1, 1].
  ///   - errors: the images minus the model's predictions; gradients do not reach them.
  ///   - output: the network's output for the variance, −1 to 1, if it learns it.
  ///   - timesteps: one for each image.
  package func terms(_ images: Tensor, errors: Tensor, output: Variable?, timesteps: [Int]) -> Variable {
    let backend = images.backend
    let steps = timesteps.map(step)
    func perSample(_ value: (Step) -> Double) -> Tensor {
      Tensor(steps.map { Float(value($0)) }, shape: [steps.count], on: backend)
    }
    let ones = Tensor(repeating: 1, shape: images.shape, on: backend)
    func everywhere(_ value: (Step) -> Double) -> Variable {
      Variable(backend.scaledSum(ones, by: perSample(value), nil, by: nil))
    }
    /// The logarithm of the variance divided by the posterior's.
    let excess: Variable
    switch variance {
    case .fixedSmall: excess = everywhere { _ in 0 }
    case .fixedLarge: excess = everywhere { $0.large - $0.small }
    case .learnedRange:
      guard let output else { fatalShape("a learned variance needs the network's output") }
      excess =
        scaleSamples(output, by: perSample { ($0.large - $0.small) / 2 })
        + everywhere { ($0.large - $0.small) / 2 }
    }

    // ½ (excess − 1 + (1 + precision · error²) / e^excess)
    let spread = backend.scaledSum(errors * errors, by: perSample(\.precision), ones, by: perSample { _ in 1 })
    let divergence = sumSamples(0.5 * (excess + activate(.exp, -1 * excess) * Variable(spread)))
    let constant = Tensor(repeating: -0.5 * Float(images.count / steps.count), shape: [steps.count], on: backend)
    let later = Variable(perSample { $0.timestep == 0 ? 0 : 1 }) * (divergence + Variable(constant))
    guard steps.contains(where: { $0.timestep == 0 }) else { return later }
    let levels = discretizedGaussian(
      images, mean: Variable(images - errors), logVariance: excess + everywhere(\.small))
    return later + Variable(perSample { $0.timestep == 0 ? 1 : 0 }) * levels
  }

  /// How far the noisiest images are from pure noise, in nats: float32 `[N]`.
  package func prior(_ images: Tensor) -> Tensor {
    let level = schedule.level(schedule.count - 1)
    let (signal, variance) = (level.signal * level.signal, level.sigma * level.sigma)
    let constant = 0.5 * Double(images.count / images.shape[0]) * (variance - 1 - log(variance))
    return images.backend.affine(
      images.backend.sumSamples(images * images), scale: Float(signal / 2), shift: Float(constant))
  }
}

extension Diffusion: LikelihoodBounding {
  /// The bound over all timesteps, one pass of the network each, in bits per dimension: `bits-per-dimension`, the sum
  /// of `vlb` and `prior`; and `decoder`, the first timestep's part of `vlb`.
  ///
  /// A conditional model receives the labels or the first captions, if the images have some.
  public func likelihood(
    _ images: Batch, importanceSamples: Int?, seed: UInt64, progress: (Double) throws -> Void
  ) throws -> [String: [Double]] {
    if importanceSamples != nil {
      throw UserError(.usage, "\(field: "importance-samples"): a diffusion model has no bound that samples tighten")
    }
    guard denoiser.space is PixelSpace else {
      throw UserError(.usage, "a diffusion model of latents has no bound on the likelihood of images")
    }
    let bound = VariationalBound(schedule: schedule, variance: settings.variance)
    let conditions = conditionKind == .nothing ? nil : denoiser.conditions(of: images)
    let names = ["bits-per-dimension", "vlb", "prior", "decoder"]
    let bits = try Chunks.map(images.tensor(signed: true, on: context.backend)) { clean, numbers in
      let guidance = denoiser.guidance(
        of: numbers.count, to: conditions.map { Array($0[numbers]) })
      var sum = Tensor(repeating: 0, shape: [numbers.count], on: context.backend)
      var terms = sum
      for timestep in (0..<schedule.count).reversed() {
        let level = schedule.level(timestep)
        let noise = denoiser.normal(clean.shape, seed: seed, first: numbers.lowerBound, draw: timestep)
        let found = denoiser.denoised(level.add(noise, to: clean), at: level, guidance, clips: true)
        terms =
          bound.terms(
            clean, errors: clean - found.image, output: found.varianceOutput.map { Variable($0) },
            timesteps: [Int](repeating: timestep, count: numbers.count)
          ).value
        sum = sum + terms
        try progress(
          Chunks.fraction(of: 0..<images.count, numbers, 1 - Double(timestep) / Double(schedule.count)))
      }
      let prior = bound.prior(clean)
      let nats = [sum + prior, sum, prior, terms].map { $0.reshaped([numbers.count, 1]) }
      let scale = Float(1 / (log(2) * Double(context.data.shape(1).count)))
      return context.backend.affine(context.backend.concatenate(nats), scale: scale, shift: 0)
    }.values().map(Double.init)
    return Dictionary(
      uniqueKeysWithValues: names.enumerated().map { column, name in
        (name, stride(from: column, to: bits.count, by: names.count).map { bits[$0] })
      })
  }
}
