import EaselLayers
import EaselSupport

/// A U-Net that separates images from noise at any level, with its settings: what diffusion and consistency models
/// share.
///
/// Inside, images have values −1 to 1. Optionally the network is conditioned on labels, with classifier-free guidance
/// (Ho and Salimans 2022).
public struct Denoiser {
  let context: ModelContext
  let settings: DiffusionSettings
  let schedule: NoiseSchedule
  private let network: UNet

  /// The purposes that random numbers are drawn for in training.
  enum Draw {
    static let noise: UInt32 = 0
    static let level: UInt32 = 1
    static let labelDropout: UInt32 = 2
    static let augmentation: UInt32 = 3
    /// The first of the purposes of the dropout layers.
    static let dropout: UInt32 = 16
  }

  /// - Throws: `UserError` (usage) if the network is conditional and the data have no labels.
  init(_ settings: DiffusionSettings, _ context: ModelContext, _ scope: Scope) throws {
    if settings.conditional, context.data.classNames.isEmpty {
      throw UserError(
        .usage, "conditional: expected data with labels, found none",
        hint: "Set conditional=false, or put the images into one folder for each class.")
    }
    self.settings = settings
    self.context = context
    schedule = NoiseSchedule(
      settings.noiseSchedule, timesteps: settings.timesteps, dataDeviation: Double(settings.dataDeviation))
    network = UNet(settings.network(context.data), scope)
  }

  // MARK: Training

  /// A batch as the network learns from it: the images with their conditions, and noise for each.
  struct Lesson {
    /// `[N, H, W, C]`, −1 to 1.
    let images: Tensor
    /// The noise, of the images' shape.
    let noise: Tensor
    fileprivate let conditions: [Condition]
    fileprivate let augmentation: Tensor?
    fileprivate let dropout: RandomDraw?

    /// The images, each with its level of noise: x.
    func noisy(at levels: [NoiseLevel]) -> Tensor {
      images.backend.scaledSum(
        images, by: images.backend.perSample(levels, \.signal), noise, by: images.backend.perSample(levels, \.sigma))
    }
  }

  /// - Parameters:
  ///   - isTraining: whether images are changed, labels omitted and activations dropped, according to the settings.
  ///   - draw: the random numbers of a purpose for these images.
  func lesson(_ batch: Batch, isTraining: Bool, _ draw: (UInt32) -> RandomDraw) -> Lesson {
    let backend = context.backend
    let (images, augmentation) =
      isTraining && settings.augment > 0
      ? NonLeakyAugmentation(probability: settings.augment).apply(to: batch, draw(Draw.augmentation), on: backend)
      : (batch.tensor(signed: true, on: backend), nil)
    let noise = Tensor(uninitialized: images.shape, on: backend)
    backend.fillNormal(noise, draw(Draw.noise))
    return Lesson(
      images: images, noise: noise, conditions: conditions(of: batch, isTraining ? draw(Draw.labelDropout) : nil),
      augmentation: augmentation, dropout: isTraining && settings.dropout > 0 ? draw(Draw.dropout) : nil)
  }

  /// The network's output for a lesson's images: float32 `[N, H, W, outputs]`.
  ///
  /// - Parameter noisy: the images, each with its level of noise.
  func output(_ noisy: Tensor, of lesson: Lesson, at levels: [NoiseLevel], on tape: Tape?) -> Variable {
    network(
      Variable(noisy.cast(to: context.type), on: tape), timesteps: levels.map(\.condition),
      conditioning: conditioning(lesson.conditions, on: tape), augmentation: lesson.augmentation,
      dropout: lesson.dropout
    ).cast(to: .float32)
  }

  /// The conditions that the network receives for a batch; in training, some labels are dropped.
  private func conditions(of batch: Batch, _ dropping: RandomDraw?) -> [Condition] {
    var conditions = batch.conditions
    guard settings.conditional, let dropping else { return conditions }
    let numbers = Tensor(uninitialized: [batch.count], on: context.backend)
    context.backend.fillUniform(numbers, dropping)
    for (index, number) in numbers.values().enumerated() where number < settings.labelDropout {
      conditions[index] = .nothing
    }
    return conditions
  }

  private func conditioning(_ conditions: [Condition], on tape: Tape? = nil) -> Conditioning {
    network.conditioner?(conditions, type: context.type, on: tape) ?? Conditioning()
  }

  // MARK: The network in use

  /// The conditions of images, in the form that the network reads, and the scale of the guidance.
  struct Guidance {
    /// For the images and, if `isBeside`, for the same number of images without a condition.
    fileprivate let conditioning: Conditioning
    fileprivate let isBeside: Bool
    fileprivate let scale: Float
  }

  /// - Parameters:
  ///   - count: how many images there are.
  ///   - conditions: one for each image; nil for none.
  ///   - scale: how far to go from the prediction without a condition to the one with it.
  func guidance(of count: Int, to conditions: [Condition]? = nil, scale: Float = 1) -> Guidance {
    let nothing = [Condition](repeating: .nothing, count: count)
    guard let conditions, scale != 0 else {
      return Guidance(conditioning: conditioning(nothing), isBeside: false, scale: 1)
    }
    let isBeside = scale != 1
    return Guidance(
      conditioning: conditioning(isBeside ? conditions + nothing : conditions), isBeside: isBeside, scale: scale)
  }

  /// The images at one level, denoised by the network.
  func denoised(_ x: Tensor, at level: NoiseLevel, _ guidance: Guidance, clips: Bool) -> Denoised {
    let (backend, channels) = (context.backend, context.data.channels)
    func output(_ x: Tensor) -> Tensor {
      network(
        Variable(x.cast(to: context.type)), timesteps: [Float](repeating: level.condition, count: x.shape[0]),
        conditioning: guidance.conditioning
      ).value.cast(to: .float32)
    }
    func mean(_ output: Tensor) -> Tensor {
      settings.variance == .learnedRange ? backend.slice(output, 0..<channels) : output
    }

    let conditional: Tensor
    var prediction: Tensor
    if guidance.isBeside {
      // Both passes in one, with twice the images: w · with − (w − 1) · without.
      let count = x.shape[0]
      let twice = Tensor(uninitialized: Shape([2 * count] + x.shape.sizes.dropFirst()), on: backend)
      backend.copy(x, into: twice[0..<count])
      backend.copy(x, into: twice[count..<2 * count])
      let both = output(twice)
      conditional = both[0..<count]
      prediction = backend.add(
        mean(conditional), mean(both[count..<2 * count]), alpha: guidance.scale, beta: 1 - guidance.scale)
    } else {
      conditional = output(x)
      prediction = mean(conditional)
    }
    var found = settings.prediction.interpret(prediction, at: level, x, clips: clips)
    if settings.variance == .learnedRange {
      found.varianceOutput = backend.slice(conditional, channels..<2 * channels)
    }
    return found
  }

  /// Standard normal numbers for images from `first` on; every `draw` has different ones.
  func normal(_ shape: Shape, seed: UInt64, first: Int, draw: Int) -> Tensor {
    let noise = Tensor(uninitialized: shape, on: context.backend)
    context.backend.fillNormal(
      noise, RandomDraw(seed: seed, stream: .sampling, index: UInt64(first), draw: UInt32(draw)))
    return noise
  }

  /// From −1…1 to 0…1.
  func unit(_ images: Tensor) -> Tensor { context.backend.affine(images, scale: 0.5, shift: 0.5) }
  func signed(_ images: Tensor) -> Tensor { context.backend.affine(images, scale: 2, shift: -1) }
}

extension Backend {
  /// A number from each sample's level: float32 `[N]`.
  func perSample(_ levels: [NoiseLevel], _ value: (NoiseLevel) -> Double) -> Tensor {
    Tensor(levels.map { Float(value($0)) }, shape: [levels.count], on: self)
  }
}
