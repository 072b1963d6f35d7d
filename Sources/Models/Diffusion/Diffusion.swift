import Foundation
import Layers

/// A denoising diffusion model (Ho et al. 2020): a U-Net that learns what an image is like under noise.
///
/// Inside, images have values −1 to 1. Optionally it is conditioned on labels, with classifier-free guidance (Ho and
/// Salimans 2022), and learns the variance of its steps (Nichol and Dhariwal 2021).
public final class Diffusion: SingleLossModel {
  public let context: ModelContext
  public let components: [Component]
  public let settings: DiffusionSettings
  public let schedule: NoiseSchedule
  private let network: UNet

  /// The purposes that random numbers are drawn for in training.
  private enum Draw {
    static let noise: UInt32 = 0
    static let level: UInt32 = 1
    static let labelDropout: UInt32 = 2
    static let augmentation: UInt32 = 3
    /// The first of those of the dropout layers.
    static let dropout: UInt32 = 16
  }

  public init(_ settings: DiffusionSettings, _ context: ModelContext) throws {
    if settings.conditional, context.data.classNames.isEmpty {
      throw UserError(
        .usage, "conditional: expected data with labels, found none",
        hint: "Set conditional=false, or put the images into one folder for each class.")
    }
    self.settings = settings
    self.context = context
    schedule = NoiseSchedule(
      settings.noiseSchedule, timesteps: settings.timesteps, dataDeviation: Double(settings.dataDeviation))
    let scope = Scope()
    network = UNet(settings.network(context.data), scope)
    components = [try Component("", scope, context)]
  }

  // MARK: Training

  /// The mean squared error of the prediction at a random level of noise for each image; where the variance is learned,
  /// with its share of the variational bound.
  public func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    let backend = context.backend
    let isTraining = tape != nil
    let (images, augmentation) =
      isTraining && settings.augment > 0
      ? NonLeakyAugmentation(probability: settings.augment).apply(to: batch, draw(Draw.augmentation), on: backend)
      : (batch.tensor(signed: true, on: backend), nil)
    let noise = Tensor(uninitialized: images.shape, on: backend)
    backend.fillNormal(noise, draw(Draw.noise))
    let levels = schedule.trainingLevels(batch.count, draw(Draw.level), on: backend)
    func perSample(_ value: (NoiseLevel) -> Double) -> Tensor {
      Tensor(levels.map { Float(value($0)) }, shape: [batch.count], on: backend)
    }
    let noisy = backend.mix(images, by: perSample(\.signal), noise, by: perSample(\.sigma))
    let target = backend.mix(
      images, by: perSample { settings.prediction.target(at: $0).image }, noise,
      by: perSample { settings.prediction.target(at: $0).noise })
    let output = network(
      Variable(noisy.cast(to: context.type), on: tape), timesteps: levels.map(\.condition),
      classes: classes(of: batch, isTraining ? draw(Draw.labelDropout) : nil), augmentation: augmentation,
      dropout: isTraining && settings.dropout > 0 ? draw(Draw.dropout) : nil
    ).cast(to: .float32)
    guard settings.variance == .learnedRange else { return (Gradients.loss(.squaredError, output, target), [:]) }

    let parts = split(output, into: 2)
    let simple = Gradients.loss(.squaredError, parts[0], target)
    // The bound trains the variance alone.
    let errors = backend.mix(
      target - parts[0].value, by: perSample { settings.prediction.image(at: $0).output }, nil, by: nil)
    let terms = VariationalBound(schedule: schedule, variance: settings.variance).terms(
      images, errors: errors, output: parts[1], timesteps: levels.map { Int($0.condition) })
    let bound = weightedSum(terms, weights: perSample { _ in boundWeight / Double(batch.count) })
    return (simple + bound, ["simple": simple.value.item(), "bound": bound.value.item()])
  }

  /// The weight of an image's term of the variational bound, in nats: 0.001 of the bound in bits a dimension, of whose T terms
  /// an image has one.
  private var boundWeight: Double {
    0.001 * Double(schedule.count) / (log(2) * Double(context.data.shape(1).count))
  }

  public func samplingPass(_ batch: Batch) {
    _ = denoised(
      batch.tensor(signed: true, on: context.backend), at: schedule.level(schedule.count / 2), Conditioning(),
      clips: false)
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
    if let labels = condition.labels, condition.guidance != 1 {
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
      labelled = output(x, condition.labels)
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
