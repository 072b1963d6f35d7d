import EaselOptimizers
import EaselRunStorage
import EaselSupport

/// The settings of a training run that every family shares. Keys in files and on the command line are kebab-case.
public struct TrainingSettings: Codable, Sendable, Hashable {
  /// What happens when losses or gradients are not finite for several steps in a row.
  public enum DivergencePolicy: String, Codable, Sendable, CaseIterable {
    /// Training goes back to its latest checkpoint and goes on with half the learning rate, three times at most.
    case rollBack = "roll-back"
    case stop
  }

  public enum OptimizerName: String, Codable, Sendable, CaseIterable { case sgd, rmsprop, adam, adamw }

  public var seed: UInt64 = 0
  public var batchSize = 128
  /// The batch is computed in so many parts whose gradients add up: less memory, the same step.
  public var accumulate = 1
  public var learningRate: Float = 1e-3
  public var optimizer = OptimizerName.adam
  public var beta1: Float = 0.9
  public var beta2: Float = 0.999
  public var epsilon: Float = 1e-8
  /// SGD and RMSprop.
  public var momentum: Float = 0
  public var nesterov = false
  public var weightDecay: Float = 0
  /// Whether weight decay is for biases, norms and other parameters of one axis too.
  public var decayVectors = true
  /// The largest norm of the gradient; 0 for no limit.
  public var clipNorm: Float = 0
  public var warmupSteps = 0
  public var learningRateDecay = LearningRateSchedule.Decay.constant
  /// Where the learning rate's decay ends, counted from the run's beginning; nil for where the training ends.
  public var scheduleSteps: Int?
  /// The moving average's decay; 0 for none.
  public var emaDecay: Float = 0
  public var flip = false
  /// Pixels by which images are shifted at random.
  public var shift = 0
  /// Levels times 1 ± this, at random. Like contrast, it makes white grounds grey.
  public var jitterBrightness: Float = 0
  /// Differences from the image's mean grey times 1 ± this.
  public var jitterContrast: Float = 0
  /// Differences from each pixel's grey times 1 ± this.
  public var jitterSaturation: Float = 0
  /// Hues go round by ± this, in turns of the circle.
  public var jitterHue: Float = 0
  public var precision = Precision.auto
  /// When a run without `--steps`, `--epochs` or `--minutes` ends.
  public var steps = 10_000
  public var checkpointEvery = 1000
  public var validateEvery = 1000
  /// Steps between pictures of the progress; 0 for none.
  public var sampleEvery = 1000
  /// Held-out images that the validation loss is taken over.
  public var validationImages = 512
  /// Checkpoints that are kept: the newest, and besides the one with the lowest loss on held-out images.
  public var keep = 2
  public var onDivergence = DivergencePolicy.rollBack

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case seed, accumulate, optimizer, beta1, beta2, epsilon, momentum, nesterov, flip, shift, precision, steps, keep
    case batchSize = "batch-size"
    case jitterBrightness = "jitter-brightness"
    case jitterContrast = "jitter-contrast"
    case jitterSaturation = "jitter-saturation"
    case jitterHue = "jitter-hue"
    case learningRate = "learning-rate"
    case weightDecay = "weight-decay"
    case decayVectors = "decay-vectors"
    case clipNorm = "clip-norm"
    case warmupSteps = "warmup-steps"
    case learningRateDecay = "learning-rate-decay"
    case scheduleSteps = "schedule-steps"
    case emaDecay = "ema-decay"
    case checkpointEvery = "checkpoint-every"
    case validateEvery = "validate-every"
    case sampleEvery = "sample-every"
    case onDivergence = "on-divergence"
    case validationImages = "validation-images"
  }

  public init() {}

  /// The defaults with changes.
  public init(_ change: (inout TrainingSettings) -> Void) { change(&self) }

  var optimizerMethod: OptimizerMethod {
    switch optimizer {
    case .sgd: .sgd(momentum: momentum, nesterov: nesterov)
    case .rmsprop: .rmsprop(epsilon: epsilon, momentum: momentum)
    case .adam: .adam(beta1: beta1, beta2: beta2, epsilon: epsilon)
    case .adamw: .adamW(beta1: beta1, beta2: beta2, epsilon: epsilon)
    }
  }

  /// The learning rate's factor in a training of so many steps.
  ///
  /// Where the schedule follows the training, a short one spends a tenth of it on warming up at most.
  public func schedule(steps: Int) -> LearningRateSchedule {
    guard let scheduleSteps else {
      return LearningRateSchedule(
        learningRateDecay, warmupSteps: min(warmupSteps, max(1, steps / TrainingSettings.warmupPart)),
        totalSteps: steps)
    }
    return LearningRateSchedule(learningRateDecay, warmupSteps: warmupSteps, totalSteps: scheduleSteps)
  }

  /// A training's length divided by that of the longest warm-up.
  public static let warmupPart = 10

  /// What is done to training images; of settings that were validated.
  public var augmentation: Augmentation {
    Augmentation(
      horizontalFlip: flip, shift: shift,
      jitter: ColorJitter(
        brightness: jitterBrightness, contrast: jitterContrast, saturation: jitterSaturation, hue: jitterHue))
  }

  /// - Throws: `UserError` (usage) for values that make no sense.
  public func validate() throws {
    var check = SettingsCheck()
    check(batchSize, "batch-size", 1...65_536)
    check(accumulate, "accumulate", 1...batchSize.clamped(1, 65_536))
    check(learningRate, "learning-rate", above: 0)
    check(beta1, "beta1", 0..<1)
    check(beta2, "beta2", 0..<1)
    check(epsilon, "epsilon", above: 0)
    check(momentum, "momentum", 0..<1)
    check(weightDecay, "weight-decay", atLeast: 0)
    check(clipNorm, "clip-norm", atLeast: 0)
    check(warmupSteps, "warmup-steps", 0...1_000_000_000)
    if let scheduleSteps { check(scheduleSteps, "schedule-steps", 1...1_000_000_000) }
    check(emaDecay, "ema-decay", 0..<1)
    check(shift, "shift", 0...1024)
    check(jitterBrightness, "jitter-brightness", 0...1)
    check(jitterContrast, "jitter-contrast", 0...1)
    check(jitterSaturation, "jitter-saturation", 0...1)
    check(jitterHue, "jitter-hue", 0...0.5)
    check(steps, "steps", 1...1_000_000_000)
    check(checkpointEvery, "checkpoint-every", 1...1_000_000_000)
    check(validateEvery, "validate-every", 1...1_000_000_000)
    check(sampleEvery, "sample-every", 0...1_000_000_000)
    check(validationImages, "validation-images", 1...1_000_000)
    check(keep, "keep", 1...1_000_000)
    // A sample's place in the run is a counter of 40 bits in the random streams.
    check.require(
      steps <= (1 << 40) / max(1, batchSize), "steps: expected at most \((1 << 40) / max(1, batchSize)), found \(steps)"
    )
    try check.finish()
  }
}

extension TrainingSettings: ExplainedSettings {
  public static func explanation(of key: CodingKeys) -> String {
    switch key {
    case .seed: "of every random number of the run"
    case .accumulate: "the batch is computed in so many parts whose gradients add up: less memory, the same step"
    case .optimizer: "the update rule"
    case .beta1: "adam and adamw: decay of the mean gradient"
    case .beta2: "adam and adamw: decay of the mean squared gradient"
    case .epsilon: "rmsprop, adam and adamw: added to the root of the mean square"
    case .momentum: "sgd and rmsprop"
    case .nesterov: "sgd: looks ahead along the momentum"
    case .flip: "mirror images left to right, half of them"
    case .shift: "pixels by which images are moved at random"
    case .precision: "of activations; auto is the faster one on this processor"
    case .steps: "when a run without --steps, --epochs or --minutes ends"
    case .keep: "checkpoints that are kept, besides the one with the lowest held-out loss"
    case .batchSize: "images in a step"
    case .jitterBrightness: "levels times 1 ± this, at random"
    case .jitterContrast: "contrast times 1 ± this, at random"
    case .jitterSaturation: "saturation times 1 ± this, at random"
    case .jitterHue: "hues go round by ± this, in turns of the circle"
    case .learningRate: "the learning rate after the warm-up"
    case .weightDecay: "how fast weights shrink; adamw decouples it from the gradient"
    case .decayVectors: "whether biases and norms shrink too"
    case .clipNorm: "the largest norm of the gradient; 0 for no limit"
    case .warmupSteps:
      "steps over which the learning rate rises from 0; without schedule-steps a tenth of the training at most"
    case .learningRateDecay: "how the learning rate falls after the warm-up"
    case .scheduleSteps: "where its fall ends, counted from the run's beginning; null for where the training ends"
    case .emaDecay: "decay of the moving average of the weights, which pictures are made from; 0 for none"
    case .checkpointEvery: "steps between checkpoints"
    case .validateEvery: "steps between losses on held-out images"
    case .sampleEvery: "steps between pictures of the progress; 0 for none"
    case .onDivergence:
      "when ten steps in a row are not finite: back to the latest checkpoint with half the learning rate, or an end"
    case .validationImages: "held-out images that the loss is taken over"
    }
  }
}

extension Int {
  fileprivate func clamped(_ low: Int, _ high: Int) -> Int { Swift.max(low, Swift.min(high, self)) }
}

/// Gathers what is wrong with a configuration's values, in the words of the person who wrote them.
struct SettingsCheck {
  private var problem: String?

  mutating func callAsFunction(_ value: Int, _ key: String, _ range: ClosedRange<Int>) {
    require(range.contains(value), "\(key): expected \(range.lowerBound) to \(range.upperBound), found \(value)")
  }

  mutating func callAsFunction(_ value: Float, _ key: String, above bound: Float) {
    require(value.isFinite && value > bound, "\(key): expected a number above \(bound), found \(value)")
  }

  mutating func callAsFunction(_ value: Float, _ key: String, atLeast bound: Float) {
    require(value.isFinite && value >= bound, "\(key): expected a number of at least \(bound), found \(value)")
  }

  mutating func callAsFunction(_ value: Float, _ key: String, _ range: ClosedRange<Float>) {
    require(range.contains(value), "\(key): expected \(range.lowerBound) to \(range.upperBound), found \(value)")
  }

  mutating func callAsFunction(_ value: Float, _ key: String, _ range: Range<Float>) {
    require(
      range.contains(value),
      "\(key): expected a number from \(range.lowerBound) to below \(range.upperBound), found \(value)")
  }

  /// Any other condition, with the message for when it does not hold.
  mutating func require(_ holds: Bool, _ message: @autoclosure () -> String) {
    if problem == nil, !holds { problem = message() }
  }

  /// - Throws: `UserError` (usage) with the first problem.
  func finish() throws {
    if let problem { throw UserError(.usage, problem) }
  }
}
