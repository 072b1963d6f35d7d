import EaselLayers
import EaselSupport

/// Learns to translate between two kinds of images without pairs (Zhu et al. 2017): a generator for each direction, a
/// discriminator for each kind, and the requirement that a translation there and back gives the same image.
///
/// Inside, images have values −1 to 1. Kind *a* is that of the run's first data set, kind *b* that of its second.
public final class CycleGAN: AdversarialTranslation {
  public let context: ModelContext
  public let components: [Component]
  public let settings: CycleGANSettings
  private let aToB, bToA: ResidualGenerator
  private let judgeA, judgeB: PatchDiscriminator
  private let poolA, poolB: ImagePool
  private let augmentation: DifferentiableAugmentation

  /// The purposes that random numbers are drawn for.
  private enum Draw {
    static let poolA: UInt32 = 0
    static let poolB: UInt32 = 1
    /// Changes to the images that the discriminators see, by the images' role.
    static let foolingA: UInt32 = 2
    static let foolingB: UInt32 = 3
    static let realA: UInt32 = 4
    static let realB: UInt32 = 5
    static let fakeA: UInt32 = 6
    static let fakeB: UInt32 = 7
  }

  /// - Throws: `UserError` (usage) if the images are too small.
  public init(_ settings: CycleGANSettings, _ context: ModelContext) throws {
    let (data, backend) = (context.data, context.backend)
    let layers = PatchDiscriminator.layers(settings.discriminatorLayers, width: data.width, height: data.height)
    guard layers > 0 else {
      throw UserError(
        .usage, "cyclegan needs images of at least 6×6 pixels, found \(data.width)×\(data.height)",
        hint: "Make them larger with \(field: "image-size").")
    }
    self.settings = settings
    self.context = context
    let (generators, discriminators) = (Scope(), Scope())
    let blocks = settings.residualBlocks ?? (max(data.width, data.height) <= 128 ? 6 : 9)
    func generator(_ name: String) -> ResidualGenerator {
      ResidualGenerator(
        data.channels, width: settings.generatorWidth, blocks: blocks, upsampling: settings.upsampling,
        generators[name])
    }
    func discriminator(_ name: String) -> PatchDiscriminator {
      PatchDiscriminator(
        data.channels, width: settings.discriminatorWidth, layers: layers, discriminators[name])
    }
    (aToB, bToA) = (generator("a-to-b"), generator("b-to-a"))
    (judgeA, judgeB) = (discriminator("a"), discriminator("b"))
    func pool() -> ImagePool { ImagePool(capacity: settings.poolSize, of: data, on: backend) }
    (poolA, poolB) = (pool(), pool())
    augmentation = DifferentiableAugmentation(changes: Set(settings.augment))
    components = [
      try Component("generators", generators, context),
      // Another seed: equal ones would begin both networks with the same numbers.
      try Component("discriminators", discriminators, context, seed: context.seed &+ 1, role: .trainingOnly),
    ]
    components[1].trainingState = poolA.state("pool-a") + poolB.state("pool-b")
  }

  // MARK: Training

  public func trainingStep(_ batch: Batch, _ step: TrainingStep) -> Metrics { alternatingStep(batch, step) }

  func generatorLoss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (
    loss: Variable, metrics: Metrics, made: (a: Tensor, b: Tensor)
  ) {
    func judgement(_ discriminator: PatchDiscriminator, _ images: Variable, _ change: UInt32) -> Variable {
      settings.adversarialLoss.real(discriminator(augmentation(images, draw(change)).cast(to: context.type)))
    }
    let (a, b) = domains(of: batch)
    let images = translations(a, b, on: tape)
    let errors = errors(images, a, b)
    let (foolingA, foolingB) = (
      judgement(judgeA, images.fakeA, Draw.foolingA), judgement(judgeB, images.fakeB, Draw.foolingB)
    )
    var metrics = errors.metrics
    metrics["generator-a"] = foolingA.value.item()
    metrics["generator-b"] = foolingB.value.item()
    return (foolingA + foolingB + errors.loss, metrics, (images.fakeA.value, images.fakeB.value))
  }

  func discriminatorLoss(
    _ batch: Batch, _ made: (a: Tensor, b: Tensor), on tape: Tape?, draw: (UInt32) -> RandomDraw
  ) -> (loss: Variable, metrics: Metrics) {
    func judgement(
      _ discriminator: PatchDiscriminator, _ real: Tensor, _ fake: Tensor, _ changes: (real: UInt32, fake: UInt32)
    ) -> Variable {
      func changed(_ images: Tensor, _ change: UInt32) -> Variable {
        Variable(augmentation(Variable(images), draw(change)).value, on: tape)
      }
      let images = joinSamples([changed(real, changes.real), changed(fake, changes.fake)])
      return settings.adversarialLoss.halfReal(discriminator(images.cast(to: context.type)))
    }
    let (a, b) = domains(of: batch)
    let errorA = judgement(judgeA, a, poolA.exchange(made.a, draw(Draw.poolA)), (Draw.realA, Draw.fakeA))
    let errorB = judgement(judgeB, b, poolB.exchange(made.b, draw(Draw.poolB)), (Draw.realB, Draw.fakeB))
    return (errorA + errorB, ["discriminator-a": errorA.value.item(), "discriminator-b": errorB.value.item()])
  }

  /// Images in the various paths through the generators, float32.
  private struct Translations {
    var fakeA, fakeB: Variable
    /// Translated there and back.
    var cycledA, cycledB: Variable
    /// Through the generator that should leave them alone; nil if that is not wanted.
    var sameA, sameB: Variable?
  }

  /// Runs images through the generators, with as many as possible in one batch: three passes for six paths.
  private func translations(_ a: Tensor, _ b: Tensor, on tape: Tape?) -> Translations {
    let (a, b) = (Variable(a.cast(to: context.type), on: tape), Variable(b.cast(to: context.type), on: tape))
    func pass(_ generator: ResidualGenerator, _ parts: [Variable]) -> [Variable] {
      splitSamples(generator(joinSamples(parts)), parts.map { $0.shape[0] })
    }
    let asksForSame = settings.identity > 0
    let fakeB = pass(aToB, [a])[0]
    let likeA = pass(bToA, [b, fakeB.cast(to: context.type)] + (asksForSame ? [a] : []))
    let likeB = pass(aToB, [likeA[0].cast(to: context.type)] + (asksForSame ? [b] : []))
    return Translations(
      fakeA: likeA[0], fakeB: fakeB, cycledA: likeA[1], cycledB: likeB[0], sameA: asksForSame ? likeA[2] : nil,
      sameB: asksForSame ? likeB[1] : nil)
  }

  /// The weighted absolute errors of images that should have come back unchanged.
  private func errors(_ images: Translations, _ a: Tensor, _ b: Tensor) -> (loss: Variable, metrics: Metrics) {
    let cycle = elementwiseLoss(.absoluteError, images.cycledA, a) + elementwiseLoss(.absoluteError, images.cycledB, b)
    var (total, metrics) = (settings.cycle * cycle, ["cycle": cycle.value.item()])
    if let sameA = images.sameA, let sameB = images.sameB {
      let identity = elementwiseLoss(.absoluteError, sameA, a) + elementwiseLoss(.absoluteError, sameB, b)
      total = total + settings.cycle * settings.identity * identity
      metrics["identity"] = identity.value.item()
    }
    return (total, metrics)
  }

  /// The weighted errors of images translated there and back, and of those that should have been left alone.
  /// Adversarial losses say nothing about how good an image is, since the discriminator learns too.
  public func validationLoss(_ batch: Batch) -> Float {
    components[0].arena.withAverage {
      let (a, b) = domains(of: batch)
      return errors(translations(a, b, on: nil), a, b).loss.value.item()
    }
  }

  public func benchmarkPass(_ batch: Batch) { _ = translate(batch.tensor(on: context.backend), by: aToB) }

  private func translate(_ images: Tensor, by generator: ResidualGenerator) -> Tensor {
    unit(generator(Variable(signed(images).cast(to: context.type))).value)
  }
}

extension CycleGAN {
  // MARK: Translating

  public var directions: [TranslationDirection] {
    [
      TranslationDirection("a-to-b", inverse: "b-to-a", from: 0, to: 1),
      TranslationDirection("b-to-a", inverse: "a-to-b", from: 1, to: 0),
    ]
  }

  public func translate(_ images: Tensor, _ options: TranslationOptions, progress: (Double) throws -> Void) throws
    -> Tensor
  {
    let direction = try direction(options)
    try options.checkForOnePass()
    let ensemble = SelfEnsemble(copies: options.copies)
    return try Chunks.map(images) { chunk, numbers in
      let result = ensemble(chunk) { translate($0, by: direction.from == 0 ? aToB : bToA) }
      try progress(Chunks.fraction(of: 0..<images.shape[0], numbers, 1))
      return result
    }
  }
}
