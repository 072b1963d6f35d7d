import EaselLayers
import EaselSupport
import Foundation

/// A variational autoencoder (Kingma and Welling 2014; Rezende et al. 2014): its codes have a known distribution, so
/// that random codes are images too.
///
/// The loss is the negative evidence lower bound in nats, summed over pixels and latent numbers, averaged over the
/// batch: reconstruction + β · KL.
public final class VariationalAutoencoder: SingleLossModel, GaussianCodes, ImageEncoding {
  public let context: ModelContext
  public let components: [Component]
  public let settings: VariationalAutoencoderSettings
  private let coder: ImageCoder
  private let likelihood: PixelLikelihood

  /// The purposes that random numbers are drawn for.
  private enum Draw {
    static let code: UInt32 = 0
    static let binarization: UInt32 = 1
  }

  public init(_ settings: VariationalAutoencoderSettings, _ context: ModelContext) throws {
    self.settings = settings
    self.context = context
    let scope = Scope()
    coder = ImageCoder(
      settings.architecture, context.data, outputs: 2 * settings.latent, latent: settings.latent,
      baseChannels: settings.baseChannels, scope)
    likelihood = PixelLikelihood(settings.likelihood, sigma: settings.sigma, scope["decoder"])
    components = [try Component("", scope, context)]
  }

  // MARK: The bound

  /// The two terms of the negative bound, and what they were made from.
  private struct Bound {
    /// −log p(x | z) of each image: `[N]`.
    var reconstruction: Variable
    /// KL(q(z | x) ‖ N(0, 1)) of each image and latent number: `[N, latent]`.
    var divergence: Variable
    /// The posterior's mean.
    var mean: Tensor
  }

  /// q(z | x): mean and log-variance, float32 `[N, latent]`.
  private func posterior(_ images: Tensor, on tape: Tape?) -> (mean: Variable, logVariance: Variable) {
    let parts = splitChannels(
      coder.encoder(Variable(images.cast(to: context.type), on: tape)).cast(to: .float32), into: 2)
    return (parts[0], clamp(parts[1], -30, 20))
  }

  private func output(_ codes: Variable) -> Variable { coder.decoder(codes.cast(to: context.type)).cast(to: .float32) }

  /// The bound at one code for each image, drawn from its posterior by standard normal noise `[N, latent]`.
  private func bound(_ images: Tensor, shown: Tensor, noise: Tensor, on tape: Tape?) -> Bound {
    let (mean, logVariance) = posterior(shown, on: tape)
    let code = mean + activate(.exp, 0.5 * logVariance) * Variable(noise, on: tape)
    return Bound(
      reconstruction: likelihood.negativeLogLikelihood(output(code), images),
      divergence: affine(
        0.5 * (activate(.square, mean) + activate(.exp, logVariance) - logVariance), scale: 1, shift: -0.5),
      mean: mean.value)
  }

  private func noise(_ count: Int, _ draw: RandomDraw) -> Tensor {
    let noise = Tensor(uninitialized: [count, latent], on: context.backend)
    context.backend.fillNormal(noise, draw)
    return noise
  }

  // MARK: Training

  public func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    let images = trained(batch.tensor(on: context.backend), draw(Draw.binarization))
    return loss(images, noise: noise(batch.count, draw(Draw.code)), step: batch.number, on: tape)
  }

  /// The loss at given noise `[N, latent]`.
  package func loss(_ images: Tensor, noise: Tensor, step: Int, on tape: Tape?) -> (loss: Variable, metrics: Metrics) {
    let bound = bound(images, shown: images, noise: noise, on: tape)
    let samples = images.shape[0]
    let fraction = 1 / Float(samples)
    let reconstruction = weightedSum(
      bound.reconstruction, weights: Tensor(repeating: fraction, shape: [samples], on: context.backend))

    // The mean over the batch of each latent number's divergence; below the free bits it costs as much as the free
    // bits.
    let divergences = meanOfRows(bound.divergence.value)
    let beta = settings.beta * warmUp(at: step)
    let weights = divergences.map { $0 > settings.freeBits ? beta * fraction : 0 }
    let charged = weightedSum(
      bound.divergence.reshaped([-1]),
      weights: Tensor((0..<samples).flatMap { _ in weights }, shape: [samples * latent], on: context.backend))
    let free = divergences.reduce(Float(0)) { $0 + ($1 > settings.freeBits ? 0 : beta * settings.freeBits) }
    let divergence = divergences.reduce(0, +)
    return (
      affine(reconstruction + charged, scale: 1, shift: free),
      [
        "reconstruction": reconstruction.value.item(), "kl": divergence,
        "elbo": -reconstruction.value.item() - divergence, "active-units": Float(activeUnits(bound.mean)),
      ]
    )
  }

  /// The share of β in a step; it rises linearly over the warm-up (Bowman et al. 2016).
  private func warmUp(at step: Int) -> Float {
    settings.klWarmupSteps == 0 ? 1 : min(1, Float(step + 1) / Float(settings.klWarmupSteps))
  }

  /// The images as they are trained on: if the settings ask for it, each pixel is black or white with its own
  /// probability.
  private func trained(_ images: Tensor, _ draw: RandomDraw) -> Tensor {
    settings.binarize ? binarized(images, draw) : images
  }

  private func binarized(_ images: Tensor, _ draw: RandomDraw) -> Tensor {
    let numbers = Tensor(uninitialized: images.shape, on: context.backend)
    context.backend.fillUniform(numbers, draw)
    return Tensor(
      zip(images.values(), numbers.values()).map { $1 < $0 ? 1 : 0 }, shape: images.shape, on: context.backend)
  }

  /// −ELBO, without β, warm-up and free bits.
  public func validationLoss(_ batch: Batch) -> Float {
    components[0].arena.withAverage {
      let figures = terms(batch, seed: 0)
      return Float(-figures.elbo.reduce(0, +) / Double(batch.count))
    }
  }

  /// The mean of each column of `[N, C]`.
  private func meanOfRows(_ x: Tensor) -> [Float] {
    let sums = Tensor(repeating: 0, shape: [x.shape.last], on: context.backend)
    context.backend.sumRows(x, into: sums)
    return sums.values().map { $0 / Float(max(1, x.shape[0])) }
  }

  /// Latent numbers whose posterior mean depends on the image: its variance over images is above 0.01 (Burda et al.
  /// 2016).
  private func activeUnits(_ means: Tensor) -> Int {
    zip(meanOfRows(means * means), meanOfRows(means)).count { $0 - $1 * $1 > 0.01 }
  }

  public func benchmarkPass(_ batch: Batch) { _ = images(codes(0..<batch.count, seed: 0)) }

  // MARK: Codes

  public var latent: Int { settings.latent }
  public var interpolation: Interpolation { .linear }

  /// The posterior's mean.
  public func encode(_ images: Tensor) -> Tensor {
    Chunks.map(images) { images, _ in posterior(images, on: nil).mean.value }
  }

  /// The likelihood's mean.
  public func decode(_ codes: Tensor) -> Tensor { Chunks.map(codes) { codes, _ in images(codes) } }

  private func images(_ codes: Tensor) -> Tensor { likelihood.mean(output(Variable(codes)).value) }
}

extension VariationalAutoencoder: LikelihoodBounding {
  /// Figures of each image in nats: `elbo` and its parts `reconstruction` and `kl`, both to be subtracted; with
  /// importance samples also `iwae`, the bound of Burda et al. 2016. The discretised logistic, the only likelihood of
  /// 8-bit pixels, also gives `bits-per-dimension`. One figure is of the whole batch: `active-units`.
  ///
  /// A Bernoulli likelihood is measured on images binarised by their own levels, always in the same way. The encoder
  /// receives what it was trained on.
  public func likelihood(
    _ batch: Batch, importanceSamples: Int?, seed: UInt64, progress: (Double) throws -> Void
  ) throws -> [String: [Double]] {
    if let importanceSamples, importanceSamples < 1 {
      throw UserError(.usage, "\(field: "importance-samples"): expected at least 1, found \(importanceSamples)")
    }
    let (images, shown) = measured(batch, seed: seed)
    let parts = terms(batch, seed: seed)
    var figures = [
      "elbo": parts.elbo, "reconstruction": parts.reconstruction, "kl": parts.divergence,
      "active-units": [Double(activeUnits(posterior(shown, on: nil).mean.value))],
    ]
    let bits = -1 / (log(2) * Double(context.data.shape(1).count))
    if settings.likelihood == .discretizedLogistic { figures["bits-per-dimension"] = parts.elbo.map { $0 * bits } }
    if let importanceSamples {
      let (mean, logVariance) = posterior(shown, on: nil)
      let iwae = try (0..<batch.count).map { index in
        let bound = importanceWeightedBound(
          images[index..<index + 1], mean: mean.value[index], logVariance: logVariance.value[index],
          samples: importanceSamples,
          RandomDraw(seed: seed, stream: .sampling, draw: UInt32(truncatingIfNeeded: batch.number * 10_000 + index)))
        try progress(Double(index + 1) / Double(batch.count))
        return bound
      }
      figures["iwae"] = iwae
      if settings.likelihood == .discretizedLogistic { figures["iwae-bits-per-dimension"] = iwae.map { $0 * bits } }
    }
    return figures
  }

  /// The images of a batch for measuring their likelihood, and as the encoder receives them.
  private func measured(_ batch: Batch, seed: UInt64) -> (images: Tensor, shown: Tensor) {
    let grey = batch.tensor(on: context.backend)
    guard settings.likelihood == .bernoulli else { return (grey, grey) }
    let binary = binarized(
      grey,
      RandomDraw(seed: seed, stream: .validation, index: UInt64(batch.number) * 1_000_000, draw: Draw.binarization))
    return (binary, settings.binarize ? binary : grey)
  }

  /// ELBO, −log p(x | z) and KL of each image of a batch.
  private func terms(_ batch: Batch, seed: UInt64) -> (elbo: [Double], reconstruction: [Double], divergence: [Double]) {
    let (images, shown) = measured(batch, seed: seed)
    let draw = RandomDraw(seed: seed, stream: .validation, index: UInt64(batch.number) * 1_000_000, draw: Draw.code)
    let bound = bound(images, shown: shown, noise: noise(batch.count, draw), on: nil)
    let reconstruction = bound.reconstruction.value.values().map(Double.init)
    let divergence = context.backend.sumSamples(bound.divergence.value).values().map(Double.init)
    return (zip(reconstruction, divergence).map { -$0 - $1 }, reconstruction, divergence)
  }

  /// log 1/K Σ p(x | z) p(z) / q(z | x) over K codes from q, of one image `[1, H, W, C]`.
  private func importanceWeightedBound(
    _ image: Tensor, mean: Tensor, logVariance: Tensor, samples: Int, _ draw: RandomDraw
  ) -> Double {
    let (means, logVariances) = (mean.values(), logVariance.values())
    let deviations = logVariances.map { exp(0.5 * $0) }
    let logDeterminant = logVariances.reduce(0.0) { $0 + 0.5 * Double($1) }
    let pixels = image.values()
    var logWeights: [Double] = []
    let most = 500
    for start in stride(from: 0, to: samples, by: most) {
      let count = min(most, samples - start)
      var draw = draw
      draw.index += UInt64(start)
      let noises = noise(count, draw).values()
      let codes = noises.indices.map { means[$0 % latent] + deviations[$0 % latent] * noises[$0] }
      let copies = Tensor(
        (0..<count).flatMap { _ in pixels }, shape: Shape([count] + image.shape.sizes.dropFirst()),
        on: context.backend)
      let output = output(Variable(Tensor(codes, shape: [count, latent], on: context.backend)))
      let reconstruction = likelihood.negativeLogLikelihood(output, copies).value.values()
      for sample in 0..<count {
        // log p(z) − log q(z | x): what remains of both normals' constants.
        var ratio = logDeterminant
        for place in sample * latent..<(sample + 1) * latent {
          ratio += 0.5 * (Double(noises[place]) * Double(noises[place]) - Double(codes[place]) * Double(codes[place]))
        }
        logWeights.append(ratio - Double(reconstruction[sample]))
      }
    }
    let largest = logWeights.max() ?? 0
    return largest + log(logWeights.reduce(0) { $0 + exp($1 - largest) } / Double(samples))
  }
}
