import EaselLayers
import EaselSupport
import Foundation

/// Compresses images to small latents in which a diffusion model can work (Rombach et al. 2022).
///
/// Inside, images have values −1 to 1. The loss is that of Rombach et al., divided by the numbers in an image: the mean
/// error of reconstructions, plus what the latents cost, plus a perceptual and an adversarial term if there are any.
public final class AutoencoderKL: AdversarialTraining, ImageEncoding {
  public let context: ModelContext
  public let components: [Component]
  public let settings: AutoencoderKLSettings
  private let network: AutoencoderKLNetwork
  private let discriminator: PatchDiscriminator?
  private let perceptual: PerceptualLoss?
  /// 1 / the latents' deviation.
  private let scale: Buffer
  /// Whether the discriminator takes part in the present step.
  private var isJudged = false

  static let componentName = "autoencoder"
  static let scaleName = "scaling_factor"

  /// The purposes that random numbers are drawn for.
  private enum Draw {
    static let code: UInt32 = 0
  }

  /// - Throws: `UserError` (usage) if the images are too small for the discriminator, or do not fit the perceptual
  ///   model.
  public init(_ settings: AutoencoderKLSettings, _ context: ModelContext) throws {
    let data = context.data
    self.settings = settings
    self.context = context
    let scope = Scope()
    network = AutoencoderKLNetwork(settings.network(data), scope)
    scale = scope.buffer(Self.scaleName, [1], initialValue: 1)
    var components = [try Component(Self.componentName, scope, context)]

    let model = context.parts[AutoencoderKLFamily.perceptual] as? any DifferentiableFeatures
    try model?.requireFeatureMaps(of: data)
    perceptual = model.map(PerceptualLoss.init)

    if settings.adversarialWeight > 0 {
      let layers = PatchDiscriminator.layers(settings.discriminatorLayers, width: data.width, height: data.height)
      guard layers > 0 else {
        throw UserError(
          .usage, "a discriminator needs images of at least 6×6 pixels, found \(data.width)×\(data.height)",
          hint: "Make them larger with \(field: "image-size"), or leave out adversarial-weight.")
      }
      let scope = Scope()
      discriminator = PatchDiscriminator(data.channels, width: settings.discriminatorWidth, layers: layers, scope)
      // Another seed: equal ones would begin both networks with the same numbers.
      components.append(
        try Component("discriminator", scope, context, seed: context.seed &+ 1, role: .trainingOnly))
    } else {
      discriminator = nil
    }
    self.components = components
  }

  private var arena: Arena { components[0].arena }

  // MARK: The network

  /// What a pass from images to images gives.
  private struct Pass {
    /// Float32 `[N, H, W, C]`, −1 to 1 and beyond.
    var images: Variable
    /// Float32 `[N, h, w, c]`, without the scaling factor.
    var latents: Tensor
    /// What the latents add to the loss.
    var cost: Variable
    var metrics: Metrics
  }

  /// Encodes and decodes images.
  ///
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`, −1 to 1.
  ///   - noise: standard normal noise of the latents' shape, which draws them from the posterior; nil for its mean.
  private func pass(_ images: Tensor, noise: Tensor?, on tape: Tape?) -> Pass {
    let encoded = network.encode(input(images, on: tape))
    if let quantizer = network.quantizer {
      let latents = encoded.cast(to: .float32)
      let result = quantizer(latents, commitment: settings.commitment)
      return Pass(
        images: decoded(result.quantized), latents: latents.value, cost: result.loss,
        metrics: ["quantization": result.loss.value.item(), "codes-in-use": Float(Set(result.indices).count)])
    }
    let (mean, logVariance) = network.moments(encoded)
    let drawn = noise.map { mean + activate(.exp, 0.5 * logVariance) * Variable($0, on: tape) }
    let divergence = divergence(mean, logVariance)
    return Pass(
      images: decoded(drawn ?? mean), latents: mean.value,
      cost: settings.klWeight / Float(context.data.shape(1).count) * divergence,
      metrics: ["kl": divergence.value.item()])
  }

  /// KL(N(mean, variance) ‖ N(0, 1)) in nats, summed over an image's latents, averaged over images: `[]`.
  private func divergence(_ mean: Variable, _ logVariance: Variable) -> Variable {
    let count = mean.shape[0]
    let sums = sumSamples(activate(.square, mean) + activate(.exp, logVariance) - logVariance)
    let halves = Tensor(repeating: 0.5 / Float(count), shape: [count], on: context.backend)
    return affine(weightedSum(sums, weights: halves), scale: 1, shift: -0.5 * Float(mean.value.count / count))
  }

  private func decoded(_ latents: Variable) -> Variable {
    network.decode(latents.cast(to: context.type), size: (context.data.height, context.data.width)).cast(to: .float32)
  }

  private func input(_ images: Tensor, on tape: Tape? = nil) -> Variable {
    Variable(images.cast(to: context.type), on: tape)
  }

  // MARK: Training

  /// How far reconstructions are from images, both −1 to 1.
  private func error(_ made: Variable, _ images: Tensor) -> (loss: Variable, metrics: Metrics) {
    var loss = elementwiseLoss(settings.reconstruction.loss, made, images)
    var metrics = ["reconstruction": loss.value.item(), "psnr": signalToNoise(made.value, images)]
    if let perceptual {
      let difference = perceptual(made, images)
      metrics["perceptual"] = difference.value.item()
      loss = loss + settings.perceptualWeight * difference
    }
    return (loss, metrics)
  }

  /// Peak signal-to-noise ratio in dB, the mean over images `[N, H, W, C]` from −1 to 1.
  private func signalToNoise(_ made: Tensor, _ images: Tensor) -> Float {
    let numbers = Float(images.count / images.shape[0])
    let ratios = context.backend.loss(.squaredError, made, images).values().map { 10 * log10(4 * numbers / $0) }
    return ratios.reduce(0, +) / Float(ratios.count)
  }

  /// The loss without that of the discriminator.
  ///
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`, −1 to 1.
  ///   - noise: standard normal noise of the latents' shape; nil for none.
  package func loss(_ images: Tensor, noise: Tensor?, on tape: Tape?) -> (
    loss: Variable, metrics: Metrics, made: Variable
  ) {
    let pass = pass(images, noise: noise, on: tape)
    let error = error(pass.images, images)
    var metrics = error.metrics.merging(pass.metrics) { $1 }
    let values = pass.latents.reshaped([1, -1])
    let fraction = 1 / Float(values.count)
    metrics[Moment.mean] = fraction * context.backend.sumSamples(values).item()
    metrics[Moment.square] = fraction * Float(context.backend.sumOfSquares(values))
    return (error.loss + pass.cost, metrics, pass.images)
  }

  func generatorLoss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (
    loss: Variable, metrics: Metrics, made: Tensor
  ) {
    let images = batch.tensor(signed: true, on: context.backend)
    let noise = Tensor(uninitialized: latentShape(batch.count), on: context.backend)
    context.backend.fillNormal(noise, draw(Draw.code))
    var (loss, metrics, made) = loss(images, noise: noise, on: tape)
    if isJudged, let discriminator {
      let fooling = AdversarialLoss.hinge.generator(fake: judgements(of: made, by: discriminator))
      metrics["generator"] = fooling.value.item()
      loss = loss + settings.adversarialWeight * fooling
    }
    return (loss, metrics, made.value)
  }

  func discriminatorLoss(_ batch: Batch, _ made: Tensor, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (
    loss: Variable, metrics: Metrics
  ) {
    guard let discriminator else { fatalError("an autoencoder without a discriminator trained one") }
    let images = batch.tensor(signed: true, on: context.backend)
    let loss = AdversarialLoss.hinge.discriminator(
      real: judgements(of: Variable(images, on: tape), by: discriminator),
      fake: judgements(of: Variable(made, on: tape), by: discriminator), smoothing: 0)
    return (loss, ["discriminator": loss.value.item()])
  }

  /// The judgement of each patch of images: float32 `[patches]`.
  private func judgements(of images: Variable, by discriminator: PatchDiscriminator) -> Variable {
    discriminator(images.cast(to: context.type)).cast(to: .float32).reshaped([-1])
  }

  public func trainingStep(_ batch: Batch, _ step: TrainingStep) -> Metrics {
    isJudged = discriminator != nil && step.progress >= Double(settings.adversarialStart)
    var metrics = alternatingStep(batch, step, isJudged: isJudged)
    let mean = metrics.removeValue(forKey: Moment.mean) ?? 0
    let square = metrics.removeValue(forKey: Moment.square) ?? 0
    measureScale(variance: square - mean * mean, step)
    metrics["scaling-factor"] = scalingFactor
    return metrics
  }

  /// Moments of the latents among a part's metrics, so that those of a batch are their weighted means.
  private enum Moment {
    static let mean = "latent-mean"
    static let square = "latent-square"
  }

  /// The mean error of reconstructions from mean codes, with the perceptual term if there is one.
  public func validationLoss(_ batch: Batch) -> Float {
    arena.withAverage {
      let images = batch.tensor(signed: true, on: context.backend)
      return error(pass(images, noise: nil, on: nil).images, images).loss.value.item()
    }
  }

  // MARK: Scale

  package var scalingFactor: Float { scale.value.item() }

  /// Takes a batch's variance of latents into the running estimate: the mean of the first hundred batches, after that
  /// an average in which a batch has a weight of a hundredth.
  ///
  /// The averaged network follows the trained one so closely that it shares the factor.
  private func measureScale(variance: Float, _ step: TrainingStep) {
    guard variance > 0, variance.isFinite else { return }
    let weight = max(1 / Float(step.index + 1), 0.01)
    let running = (1 - weight) / (scalingFactor * scalingFactor) + weight * variance
    let factor = 1 / running.squareRoot()
    context.backend.fill(scale.value, with: factor)
    arena.withAverage { context.backend.fill(scale.value, with: factor) }
  }

  // MARK: Codes

  /// The images' latents.
  public func encode(_ images: Tensor) -> Tensor { latents(of: images) }
  public func decode(_ codes: Tensor) -> Tensor { images(ofLatents: codes) }
}

extension AutoencoderKL: LatentCoding {
  public func latentShape(_ count: Int) -> Shape {
    let size = network.latentSize(of: (context.data.height, context.data.width))
    return [count, size.height, size.width, settings.latentChannels]
  }

  /// The posterior's mean or, with a codebook, what is quantised, times the scaling factor.
  public func latents(of images: Tensor) -> Tensor {
    Chunks.map(images) { images, _ in
      let encoded = network.encode(input(signed(images)))
      let latents =
        network.quantizer == nil ? network.moments(encoded).mean.value : encoded.value.cast(to: .float32)
      return scalingFactor * latents
    }
  }

  /// With a codebook, latents are quantised first.
  public func images(ofLatents latents: Tensor) -> Tensor {
    Chunks.map(latents) { latents, _ in
      let latents = 1 / scalingFactor * latents
      return unit(decoded(Variable(network.quantizer?.quantize(latents) ?? latents)).value)
    }
  }
}
