import EaselOptimizers
import EaselRunStorage
import EaselSupport

/// The settings of a training run that every family shares. Keys in files and on the command line are kebab-case.
public struct TrainingSettings: DeclaredFields, Hashable {
  /// What happens when losses or gradients are not finite for several steps in a row.
  public enum DivergencePolicy: String, FieldChoice {
    /// Training goes back to its latest checkpoint and goes on with half the learning rate, three times at most.
    case rollBack = "roll-back"
    case stop
  }

  public enum OptimizerName: String, FieldChoice { case sgd, rmsprop, adam, adamw }

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

  public init() {}

  public static let fields: [Field<TrainingSettings>] = [
    Field("seed", \.seed, "of every random number of the run").fixed,
    Field("batch-size", \.batchSize, .from(1, to: 65_536), "images in a step").fixed,
    Field(
      "accumulate", \.accumulate, .from(1, to: 65_536),
      "the batch is computed in so many parts whose gradients add up: less memory, the same step"),
    Field("learning-rate", \.learningRate, .above(0), "the learning rate after the warm-up"),
    Field("optimizer", \.optimizer, "the update rule").fixed,
    Field("beta1", \.beta1, .from(0, below: 1), "adam and adamw: decay of the mean gradient")
      .needing("optimizer=adam or optimizer=adamw") { $0.isAdam },
    Field("beta2", \.beta2, .from(0, below: 1), "adam and adamw: decay of the mean squared gradient")
      .needing("optimizer=adam or optimizer=adamw") { $0.isAdam },
    Field("epsilon", \.epsilon, .above(0), "rmsprop, adam and adamw: added to the root of the mean square")
      .needing("optimizer=adam, adamw or rmsprop") { $0.optimizer != .sgd },
    Field("momentum", \.momentum, .from(0, below: 1), "sgd and rmsprop").fixed
      .needing("optimizer=sgd or optimizer=rmsprop") { $0.optimizer == .sgd || $0.optimizer == .rmsprop },
    Field("nesterov", \.nesterov, "sgd: looks ahead along the momentum")
      .needing("optimizer=sgd and a momentum") { $0.optimizer == .sgd && $0.momentum > 0 },
    Field("weight-decay", \.weightDecay, .atLeast(0), "how fast weights shrink; adamw decouples it from the gradient"),
    Field("decay-vectors", \.decayVectors, "whether biases and norms shrink too")
      .needing("a weight-decay") { $0.weightDecay > 0 },
    Field("clip-norm", \.clipNorm, .atLeast(0), "the largest norm of the gradient; 0 for no limit"),
    Field(
      "warmup-steps", \.warmupSteps, .from(0, to: 1e9),
      "steps over which the learning rate rises from 0; without schedule-steps a tenth of the training at most"),
    Field("learning-rate-decay", \.learningRateDecay, "how the learning rate falls after the warm-up"),
    Field(
      "schedule-steps", \.scheduleSteps, .from(1, to: 1e9),
      "where its fall ends, counted from the run's beginning; null for where the training ends"
    ).needing("a learning-rate-decay") { $0.learningRateDecay != .constant || $0.warmupSteps > 0 },
    Field(
      "ema-decay", \.emaDecay, .from(0, below: 1),
      "decay of the moving average of the weights, which pictures are made from; 0 for none"),
    Field("flip", \.flip, "mirror images left to right, half of them"),
    Field("shift", \.shift, .from(0, to: 1024), "pixels by which images are moved at random"),
    Field("jitter-brightness", \.jitterBrightness, .from(0, to: 1), "levels times 1 ± this, at random"),
    Field("jitter-contrast", \.jitterContrast, .from(0, to: 1), "contrast times 1 ± this, at random"),
    Field("jitter-saturation", \.jitterSaturation, .from(0, to: 1), "saturation times 1 ± this, at random"),
    Field("jitter-hue", \.jitterHue, .from(0, to: 0.5), "hues go round by ± this, in turns of the circle"),
    Field("precision", \.precision, "of activations; auto is the faster one on this processor").fixed,
    Field("steps", \.steps, .from(1, to: 1e9), "when a run ends that is given no other length"),
    Field("checkpoint-every", \.checkpointEvery, .from(1, to: 1e9), "steps between checkpoints"),
    Field("validate-every", \.validateEvery, .from(1, to: 1e9), "steps between losses on held-out images"),
    Field("sample-every", \.sampleEvery, .from(0, to: 1e9), "steps between pictures of the progress; 0 for none"),
    Field(
      "validation-images", \.validationImages, .from(1, to: 1_000_000), "held-out images that the loss is taken over"),
    Field(
      "keep", \.keep, .from(1, to: 1_000_000),
      "checkpoints that are kept, besides the one with the lowest held-out loss"),
    Field(
      "on-divergence", \.onDivergence,
      "when ten steps in a row are not finite: back to the latest checkpoint with half the learning rate, or an end"),
  ]

  public func check(_ check: inout FieldCheck) {
    check(accumulate, "accumulate", 1...batchSize)
    // A sample's place in the run is a counter of 40 bits in the random streams.
    check.require(
      steps <= (1 << 40) / batchSize, "steps: expected at most \((1 << 40) / batchSize), found \(steps)")
  }

  private var isAdam: Bool { optimizer == .adam || optimizer == .adamw }

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
}
