import EaselLayers
import EaselSupport

/// A U-Net that tells images from noise at any level, with what it was set to: what diffusion and consistency models share.
///
/// Inside, images have values −1 to 1. Optionally the network is conditioned on labels, with classifier-free guidance (Ho and
/// Salimans 2022).
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
    /// The first of those of the dropout layers.
    static let dropout: UInt32 = 16
  }

  /// - Throws: `UserError` (usage) for a conditional network of data without labels.
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

  /// A batch as the network learns from it: the images with what else it is told of them, and a noise for each.
  struct Lesson {
    /// `[N, H, W, C]`, −1 to 1.
    let images: Tensor
    /// Of the images' shape.
    let noise: Tensor
    fileprivate let classes: Tensor?
    fileprivate let augmentation: Tensor?
    fileprivate let dropout: RandomDraw?

    /// The images under each one's level of noise: x.
    func noisy(at levels: [NoiseLevel]) -> Tensor {
      images.backend.scaledSum(
        images, by: images.backend.perSample(levels, \.signal), noise, by: images.backend.perSample(levels, \.sigma))
    }
  }

  /// - Parameters:
  ///   - isTraining: whether images are changed, labels left out and activations dropped as the settings say.
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
      images: images, noise: noise, classes: classes(of: batch, isTraining ? draw(Draw.labelDropout) : nil),
      augmentation: augmentation, dropout: isTraining && settings.dropout > 0 ? draw(Draw.dropout) : nil)
  }

  /// What the network says of a lesson's images: float32 `[N, H, W, outputs]`.
  ///
  /// - Parameter noisy: the images under each one's level of noise.
  func output(_ noisy: Tensor, of lesson: Lesson, at levels: [NoiseLevel], on tape: Tape?) -> Variable {
    network(
      Variable(noisy.cast(to: context.type), on: tape), timesteps: levels.map(\.condition), classes: lesson.classes,
      augmentation: lesson.augmentation, dropout: lesson.dropout
    ).cast(to: .float32)
  }

  /// The labels that the network is told: some are left out in training.
  private func classes(of batch: Batch, _ dropping: RandomDraw?) -> Tensor? {
    guard settings.conditional else { return nil }
    var labels = batch.labels ?? [Int32](repeating: -1, count: batch.count)
    if let dropping {
      let numbers = Tensor(uninitialized: [batch.count], on: context.backend)
      context.backend.fillUniform(numbers, dropping)
      for (index, number) in numbers.values().enumerated() where number < settings.labelDropout { labels[index] = -1 }
    }
    return Tensor(labels, on: context.backend)
  }

  // MARK: The network in use

  /// What the images of a batch shall show.
  struct Conditioning {
    /// A class for each image; nil for none.
    var labels: [Int32]?
    /// How far to go from the prediction without a label to the one with it.
    var guidance: Float = 1
  }

  /// What the network makes of images at one level.
  func denoised(_ x: Tensor, at level: NoiseLevel, _ condition: Conditioning, clips: Bool) -> Denoised {
    let backend = context.backend
    func output(_ x: Tensor, _ labels: [Int32]?) -> Tensor {
      let count = x.shape[0]
      let classes =
        settings.conditional ? Tensor(labels ?? [Int32](repeating: -1, count: count), on: backend) : nil
      return network(
        Variable(x.cast(to: context.type)), timesteps: [Float](repeating: level.condition, count: count),
        classes: classes
      ).value.cast(to: .float32)
    }
    let channels = context.data.channels
    func mean(_ output: Tensor) -> Tensor {
      settings.variance == .learnedRange ? backend.slice(output, 0..<channels) : output
    }

    let labelled: Tensor
    var prediction: Tensor
    if let labels = condition.labels, condition.guidance != 1, condition.guidance != 0 {
      // Both passes as one of twice the images: w · with − (w − 1) · without.
      let count = x.shape[0]
      let twice = Tensor(uninitialized: Shape([2 * count] + x.shape.sizes.dropFirst()), on: backend)
      backend.copy(x, into: twice[0..<count])
      backend.copy(x, into: twice[count..<2 * count])
      let both = output(twice, labels + [Int32](repeating: -1, count: count))
      labelled = both[0..<count]
      prediction = backend.add(
        mean(labelled), mean(both[count..<2 * count]), alpha: condition.guidance, beta: 1 - condition.guidance)
    } else {
      labelled = output(x, condition.guidance == 0 ? nil : condition.labels)
      prediction = mean(labelled)
    }
    var found = settings.prediction.interpret(prediction, at: level, x, clips: clips)
    if settings.variance == .learnedRange {
      found.varianceOutput = backend.slice(labelled, channels..<2 * channels)
    }
    return found
  }

  /// Standard normal numbers for images from `first` on; every `draw` has others.
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
  /// A number of each sample's level: float32 `[N]`.
  func perSample(_ levels: [NoiseLevel], _ value: (NoiseLevel) -> Double) -> Tensor {
    Tensor(levels.map { Float(value($0)) }, shape: [levels.count], on: self)
  }
}
