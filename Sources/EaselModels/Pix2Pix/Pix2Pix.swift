import EaselLayers
import EaselSupport

/// Learns to translate images of one kind into their counterparts of another from pairs (Isola et al. 2017): a
/// generator, and a discriminator that sees an image beside its translation.
///
/// Inside, images have values −1 to 1. Kind *a* is that of the run's first data set, kind *b* that of its second.
public final class Pix2Pix: AdversarialTranslation {
  public let context: ModelContext
  public let components: [Component]
  public let settings: Pix2PixSettings
  private let generator: SkipGenerator
  private let discriminator: PatchDiscriminator

  /// - Throws: `UserError` (usage) if the images are too small.
  public init(_ settings: Pix2PixSettings, _ context: ModelContext) throws {
    let data = context.data
    let layers = PatchDiscriminator.layers(settings.discriminatorLayers, width: data.width, height: data.height)
    guard layers > 0 else {
      throw UserError(
        .usage, "pix2pix needs images of at least 6×6 pixels, found \(data.width)×\(data.height)",
        hint: "Make them larger with \(field: "image-size").")
    }
    let depth = SkipGenerator.depth(width: data.width, height: data.height)
    if let asked = settings.depth, asked > depth {
      throw UserError(
        .usage, "depth: expected 2 to \(depth) for images of \(data.width)×\(data.height), found \(asked)")
    }
    self.settings = settings
    self.context = context
    let (generators, discriminators) = (Scope(), Scope())
    generator = SkipGenerator(
      data.channels, width: settings.generatorWidth, depth: settings.depth ?? depth, dropout: settings.dropout,
      generators)
    discriminator = PatchDiscriminator(
      2 * data.channels, width: settings.discriminatorWidth, layers: layers, discriminators)
    components = [
      try Component("generators", generators, context),
      // Another seed: equal ones would begin both networks with the same numbers.
      try Component("discriminators", discriminators, context, seed: context.seed &+ 1, role: .trainingOnly),
    ]
  }

  // MARK: Training

  public func trainingStep(_ batch: Batch, _ step: TrainingStep) -> Metrics { alternatingStep(batch, step) }

  func generatorLoss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (
    loss: Variable, metrics: Metrics, made: Tensor
  ) {
    let (a, b) = domains(of: batch)
    let made = withoutActuallyEscaping(draw) { generator(input(a, on: tape), draw: $0) }
    let fooling = settings.adversarialLoss.real(
      discriminator(concatenate([input(a, on: tape), made.cast(to: context.type)])))
    let error = elementwiseLoss(.absoluteError, made, b)
    let metrics = ["generator": fooling.value.item(), "reconstruction": error.value.item()]
    return (fooling + settings.reconstruction * error, metrics, made.value)
  }

  func discriminatorLoss(_ batch: Batch, _ made: Tensor, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (
    loss: Variable, metrics: Metrics
  ) {
    let (a, b) = domains(of: batch)
    let pairs = concatenate([
      joinSamples([input(a, on: tape), input(a, on: tape)]), joinSamples([input(b, on: tape), input(made, on: tape)]),
    ])
    let error = settings.adversarialLoss.halfReal(discriminator(pairs))
    return (error, ["discriminator": error.value.item()])
  }

  private func input(_ images: Tensor, on tape: Tape? = nil) -> Variable {
    Variable(images.cast(to: context.type), on: tape)
  }

  /// The mean absolute error of translations without noise.
  public func validationLoss(_ batch: Batch) -> Float {
    components[0].arena.withAverage {
      let (a, b) = domains(of: batch)
      return elementwiseLoss(.absoluteError, generator(input(a)), b).value.item()
    }
  }

  public func benchmarkPass(_ batch: Batch) {
    _ = unit(generator(input(batch.tensor(signed: true, on: context.backend))).value)
  }
}

extension Pix2Pix {
  // MARK: Translating

  public var directions: [TranslationDirection] { [TranslationDirection("a-to-b", from: 0, to: 1)] }

  /// Dropout, the model's noise, is on as in training: another seed gives other details.
  public func translate(_ images: Tensor, _ options: TranslationOptions, progress: (Double) throws -> Void) throws
    -> Tensor
  {
    _ = try direction(options)
    try options.checkForOnePass()
    let ensemble = SelfEnsemble(copies: options.copies)
    return try Chunks.map(images) { chunk, numbers in
      let made = ensemble(chunk) { copy in
        let made = generator(input(signed(copy))) { level in
          RandomDraw(seed: options.seed, stream: .sampling, index: UInt64(numbers.lowerBound), draw: level)
        }
        return unit(made.value)
      }
      try progress(Chunks.fraction(of: 0..<images.shape[0], numbers, 1))
      return made
    }
  }
}
