import EaselLayers
import EaselSupport
import Foundation

/// A generative adversarial network (Goodfellow et al. 2014): a generator that turns codes into images, and a
/// discriminator, or critic, that learns to tell them from real ones.
///
/// Inside, images have values −1 to 1. A training step is one of the discriminator's; after a number of these, the
/// generator takes its own steps.
public final class GAN: GaussianCodes {
  public let context: ModelContext
  public let components: [Component]
  public let settings: GANSettings
  private let generator: Generator
  private let discriminator: Discriminator
  private let augmentation: DifferentiableAugmentation
  private var diversity: DiversityMonitor?

  private var generatorComponent: Component { components[0] }
  private var discriminatorComponent: Component { components[1] }
  private var isConditional: Bool { settings.conditional != .none }
  public var conditionKind: ConditionKind { isConditional ? .classes : .nothing }

  /// The purposes that random numbers are drawn for; the generator's further steps have the same number again.
  private enum Draw {
    static let code: UInt32 = 0
    static let realChange: UInt32 = 1
    static let fakeChange: UInt32 = 2
    static let generatorChange: UInt32 = 3
    static let between: UInt32 = 4
    static let count: UInt32 = 5
  }

  /// The steps between checks of the diversity, and the images that are checked.
  private static let monitorInterval = 100
  private static let monitoredImages = 64

  public init(_ settings: GANSettings, _ context: ModelContext) throws {
    if settings.conditional != .none, context.data.classNames.isEmpty {
      throw UserError(
        .usage, "conditional: expected data with labels, found none",
        hint: "Set conditional=none, or put the images into one folder for each class.")
    }
    self.settings = settings
    self.context = context
    augmentation = DifferentiableAugmentation(changes: Set(settings.augment))
    let (generatorScope, discriminatorScope) = (Scope(), Scope())
    generator = Generator(
      context.data, latent: settings.latent, baseChannels: settings.baseChannels,
      classCount: settings.conditional == .none ? 0 : context.data.classNames.count, generatorScope)
    discriminator = Discriminator(
      context.data, baseChannels: settings.baseChannels, hasNorms: settings.discriminatorNorm,
      hasSpectralNorm: settings.spectralNorm, conditioning: settings.conditional, discriminatorScope)
    components = [
      try Component("generator", generatorScope, context),
      try Component("discriminator", discriminatorScope, context, seed: context.seed &+ 1, role: .trainingOnly),
    ]
  }

  // MARK: Training

  /// A part of a batch during a training step.
  private struct Part {
    let images: Batch
    let real: Tensor
    let labels: Tensor?
    /// Generated images, on the generator's tape.
    var fake: Variable
  }

  public func trainingStep(_ batch: Batch, _ step: TrainingStep) -> Metrics {
    var metrics: Metrics = [:]
    var parts = batch.parts(step.settings.accumulate).map { images in
      let labels = isConditional ? images.labels.map { Tensor($0, on: context.backend) } : nil
      return Part(
        images: images, real: images.tensor(signed: true, on: context.backend).cast(to: context.type), labels: labels,
        fake: fake(images.count, labels, step.draw(Draw.code, for: images)))
    }
    iterateSpectralNorms()
    for part in parts { trainDiscriminator(part, step, &metrics) }
    metrics["discriminator-gradient-norm"] = step.update(
      discriminatorComponent, loss: metrics["discriminator"] ?? .nan, rate: settings.discriminatorRate)
    if settings.loss == .wasserstein { clipWeights() }

    var norm = metrics["discriminator-gradient-norm"] ?? 0
    if (step.index + 1).isMultiple(of: settings.discriminatorSteps) {
      for turn in 0..<settings.generatorSteps {
        let first = UInt32(turn) * Draw.count
        if turn > 0 {
          for index in parts.indices {
            let draw = step.draw(first + Draw.code, for: parts[index].images)
            parts[index].fake = fake(parts[index].real.shape[0], parts[index].labels, draw)
          }
        }
        iterateSpectralNorms()
        metrics["generator"] = 0
        for part in parts {
          trainGenerator(part, step.draw(first + Draw.generatorChange, for: part.images), &metrics)
        }
        norm = step.update(generatorComponent, loss: metrics["generator"] ?? .nan)
        metrics["generator-gradient-norm"] = norm
      }
    }
    metrics["loss"] = metrics["discriminator"]
    // If either network fails, the run does.
    metrics["gradient-norm"] = norm.isFinite ? metrics["discriminator-gradient-norm"] : norm
    if (step.index + 1).isMultiple(of: GAN.monitorInterval) { watchDiversity(batch, &metrics) }
    return metrics
  }

  /// Images from random codes, on a tape for the generator.
  private func fake(_ count: Int, _ labels: Tensor?, _ draw: RandomDraw) -> Variable {
    let codes = Tensor(uninitialized: [count, settings.latent], on: context.backend)
    context.backend.fillNormal(codes, draw)
    return generate(codes, labels: labels, on: Tape())
  }

  /// Adds a part's gradients to the discriminator's parameters.
  private func trainDiscriminator(_ part: Part, _ step: TrainingStep, _ metrics: inout Metrics) {
    func changed(_ images: Tensor, _ purpose: UInt32) -> Tensor {
      augmentation(Variable(images), step.draw(purpose, for: part.images)).value
    }
    var place: Tensor?
    if settings.loss == .wassersteinGradientPenalty {
      let numbers = Tensor(uninitialized: [part.real.shape[0]], on: context.backend)
      context.backend.fillUniform(numbers, step.draw(Draw.between, for: part.images))
      place = numbers
    }
    let parts = discriminatorLoss(
      real: changed(part.real, Draw.realChange), fake: changed(part.fake.value, Draw.fakeChange), labels: part.labels,
      between: place, fraction: part.images.fraction)
    for (name, value) in parts { metrics[name, default: 0] += part.images.fraction * value }
  }

  /// The discriminator's loss on given images; its gradient is added to the parameters.
  ///
  /// - Parameters:
  ///   - place: wgan-gp only: the position on the line from the generated (0) to the real image (1) where the gradient
  ///     is taken, `[N]`.
  ///   - fraction: a factor for the gradient.
  package func discriminatorLoss(
    real: Tensor, fake: Tensor, labels: Tensor?, between place: Tensor?, fraction: Float = 1
  ) -> Metrics {
    let tape = Tape()
    let realScores = discriminator(Variable(real, on: tape), labels: labels).scores
    let fakeScores = discriminator(Variable(fake, on: tape), labels: labels).scores
    let loss = settings.loss.discriminator(real: realScores, fake: fakeScores, smoothing: settings.labelSmoothing)
    tape.backward(from: loss, seed: fraction)
    var metrics = [
      "discriminator": loss.value.item(), "real-score": mean(realScores.value), "fake-score": mean(fakeScores.value),
    ]
    let (penalty, images): (GradientPenalty, Tensor)
    switch settings.loss {
    case .wassersteinGradientPenalty:
      guard let place else { fatalShape("wgan-gp needs places between real and generated images") }
      let rest = context.backend.affine(place, scale: -1, shift: 1)
      penalty = .distanceFromOne(weight: settings.penalty)
      images = context.backend.scaledSum(real, by: place, fake, by: rest)
    case .r1: (penalty, images) = (.squaredLength(weight: settings.penalty), real)
    default: return metrics
    }
    let cost = penalty.accumulate(
      discriminator, of: discriminatorComponent.arena, at: images, labels: labels, fraction: fraction)
    metrics["penalty"] = cost
    metrics["discriminator", default: 0] += cost
    return metrics
  }

  /// Adds a part's gradients to the generator's parameters.
  private func trainGenerator(_ part: Part, _ change: RandomDraw, _ metrics: inout Metrics) {
    guard let tape = part.fake.tape else { return }
    let loss = generatorLoss(fake: augmentation(part.fake, change), labels: part.labels)
    tape.backward(from: loss, seed: part.images.fraction)
    metrics["generator", default: 0] += part.images.fraction * loss.value.item()
  }

  /// The generator's loss on its own images; the discriminator's parameters are constants.
  package func generatorLoss(fake: Variable, labels: Tensor?) -> Variable {
    discriminatorComponent.arena.isFrozen = true
    defer { discriminatorComponent.arena.isFrozen = false }
    return settings.loss.generator(fake: discriminator(fake, labels: labels).scores)
  }

  /// Images in [−1, 1] from codes `[N, latent]`, as in training.
  package func generate(_ codes: Tensor, labels: Tensor?, on tape: Tape) -> Variable {
    generator(Variable(codes.cast(to: context.type), on: tape), labels: labels, BatchNorm.training)
  }

  /// What a training step begins with.
  package func iterateSpectralNorms() { discriminator.iterateSpectralNorms() }

  private func clipWeights() {
    let values = discriminatorComponent.arena.values
    context.backend.copy(values.clamped(-settings.weightClip, settings.weightClip), into: values)
    values.storage.markModified()
  }

  private func mean(_ x: Tensor) -> Float { x.values().reduce(0, +) / Float(max(1, x.count)) }

  // MARK: Watching

  public var alarm: String? { diversity?.alarm }

  /// Uses the same codes every time, so that the figures follow the generator and not the draw.
  private func watchDiversity(_ batch: Batch, _ metrics: inout Metrics) {
    let count = min(GAN.monitoredImages, batch.count)
    let monitor = DiversityMonitor(
      generated: generated(0..<count, SamplingOptions(), .validation),
      real: batch.tensor(on: context.backend), labels: batch.labels)
    metrics["diversity"] = monitor.spread
    metrics["class-entropy"] = monitor.classEntropy
    diversity = monitor
  }

  /// The sliced Wasserstein distance (Rabin et al. 2011) between these images and the same number of generated ones,
  /// along random directions of pixels: how far apart sorted projections are, in units of the range 0 to 1.
  public func validationLoss(_ batch: Batch) -> Float {
    generatorComponent.arena.withAverage {
      let real = batch.tensor(on: context.backend)
      let fake = generated(0..<batch.count, SamplingOptions(), .validation)
      let size = real.count / batch.count
      let directions = Tensor(uninitialized: [GAN.directions, size], on: context.backend)
      context.backend.fillNormal(directions, RandomDraw(seed: 0, stream: .validation, draw: 1))
      func sorted(_ images: Tensor) -> [[Float]] {
        let values = context.backend.linear(
          images.reshaped([batch.count, size]), weight: directions, bias: nil, residual: nil
        ).values()
        return (0..<GAN.directions).map { direction in
          stride(from: direction, to: values.count, by: GAN.directions).map { values[$0] }.sorted()
        }
      }
      let distances = zip(sorted(real), sorted(fake)).map { a, b in
        zip(a, b).reduce(Float(0)) { $0 + abs($1.0 - $1.1) } / Float(batch.count)
      }
      return distances.reduce(0, +) / Float(GAN.directions) / Float(size).squareRoot()
    }
  }

  private static let directions = 64

  /// Gives the averaged generator statistics like those of the trained one: the mean over fresh batches (Brock et al.
  /// 2018's standing statistics).
  public func refreshAverageStatistics(until isEnough: () -> Bool) {
    guard generatorComponent.arena.average != nil else { return }
    generatorComponent.arena.withAverage {
      for number in 0..<16 {
        if number > 0, isEnough() { break }
        let range = number * 128..<(number + 1) * 128
        let codes = codes(range, .validation, seed: 0)
        _ = generator(
          Variable(codes.cast(to: context.type)), labels: labels(range, SamplingOptions()),
          .batch(momentum: 1 / Float(number + 1)))
      }
    }
  }

  // MARK: Images

  public var latent: Int { settings.latent }
  public var interpolation: Interpolation { .spherical }

  private func codes(_ range: Range<Int>, _ stream: RandomStream, seed: UInt64) -> Tensor {
    let codes = Tensor(uninitialized: [range.count, latent], on: context.backend)
    context.backend.fillNormal(codes, RandomDraw(seed: seed, stream: stream, index: UInt64(range.lowerBound)))
    return codes
  }

  private func labels(_ range: Range<Int>, _ options: SamplingOptions) -> Tensor? {
    guard isConditional else { return nil }
    return Tensor(options.conditions(of: range, conditionKind, in: context.data).map(\.classIndex), on: context.backend)
  }

  private func generated(_ range: Range<Int>, _ options: SamplingOptions, _ stream: RandomStream) -> Tensor {
    images(codes(range, stream, seed: options.seed), labels(range, options))
  }

  /// From codes to images, 0 to 1.
  private func images(_ codes: Tensor, _ labels: Tensor?) -> Tensor {
    let images = generator(Variable(codes.cast(to: context.type)), labels: labels, .running).value.cast(to: .float32)
    return context.backend.affine(images, scale: 0.5, shift: 0.5)
  }

  public func decode(_ codes: Tensor) -> Tensor {
    // Classes go by an image's number, which a code does not have, so a conditional model decodes codes without a
    // class.
    Chunks.map(codes) { codes, numbers in
      images(codes, isConditional ? Tensor([Int32](repeating: -1, count: numbers.count), on: context.backend) : nil)
    }
  }

  public func benchmarkPass(_ batch: Batch) { _ = generated(0..<batch.count, SamplingOptions(), .sampling) }

  public func validate(_ options: SamplingOptions) throws {
    try options.refuse(except: isConditional ? ["label"] : [])
    try conditionKind.check(options.conditions, of: context.data)
  }

  public func sample(_ range: Range<Int>, _ options: SamplingOptions, progress: (Double) throws -> Void) throws
    -> Tensor
  {
    try validate(options)
    return try Chunks.series(
      range, of: options.chunk, shape: context.data.shape, on: context.backend, progress: progress
    ) {
      generated($0, options, .sampling)
    }
  }

  public func columns(_ options: SamplingOptions) -> Int? {
    options.columns(conditionKind, in: context.data)
  }

  public func description(of options: SamplingOptions) -> [(key: String, value: String)] {
    options.description(of: conditionKind, in: context.data)
  }
}
