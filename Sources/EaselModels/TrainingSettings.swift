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
  /// The number of parts that a batch is computed in, adding up gradients: less memory, the same step.
  public var accumulate = 1
  public var learningRate: Float = 1e-3
  public var optimizer = OptimizerName.adam
  public var beta1: Float = 0.9
  public var beta2: Float = 0.999
  public var epsilon: Float = 1e-8
  /// The momentum coefficient of SGD and RMSprop.
  public var momentum: Float = 0
  public var nesterov = false
  public var weightDecay: Float = 0
  /// Whether weight decay also applies to biases, norms and other parameters of one axis.
  public var decayVectors = true
  /// The largest norm of the gradient; 0 for no limit.
  public var clipNorm: Float = 0
  public var warmupSteps = 0
  public var learningRateDecay = LearningRateSchedule.Decay.constant
  /// The step at which the learning rate's decay ends, counted from the run's beginning; nil for the training's end.
  public var scheduleSteps: Int?
  /// The moving average's decay; 0 for none.
  public var emaDecay: Float = 0
  public var flip = false
  /// The pixels by which images are shifted at random.
  public var shift = 0
  /// Multiplies levels by 1 ± this, at random. Like contrast, it turns white backgrounds grey.
  public var jitterBrightness: Float = 0
  /// Multiplies differences from the image's mean grey by 1 ± this.
  public var jitterContrast: Float = 0
  /// Multiplies differences from each pixel's grey by 1 ± this.
  public var jitterSaturation: Float = 0
  /// Rotates hues by ± this, in turns of the circle.
  public var jitterHue: Float = 0
  public var precision = Precision.auto
  /// The length of a run without `--steps`, `--epochs` or `--minutes`.
  public var steps = 10_000
  public var checkpointEvery = 1000
  public var validateEvery = 1000
  /// Steps between pictures of the progress; 0 for none.
  public var sampleEvery = 1000
  /// How many held-out images the validation loss is averaged over.
  public var validationImages = 512
  /// How many checkpoints are kept: the newest ones, besides the one with the lowest loss on held-out images.
  public var keep = 2
  public var onDivergence = DivergencePolicy.rollBack

  public init() {}

  public static let fields: [Field<TrainingSettings>] = [
    Field("seed", \.seed, "random seed of the run").fixed,
    Field("batch-size", \.batchSize, .from(1, to: 65_536), "images per training step").fixed,
    Field(
      "accumulate", \.accumulate, .from(1, to: 65_536),
      "number of parts that a batch is computed in, adding up gradients: less memory, the same step"),
    Field("learning-rate", \.learningRate, .above(0), "the learning rate after the warm-up"),
    Field("optimizer", \.optimizer, "the update rule").fixed,
    Field("beta1", \.beta1, .from(0, below: 1), "adam and adamw: decay of the mean gradient")
      .needing("optimizer=adam or optimizer=adamw") { $0.isAdam },
    Field("beta2", \.beta2, .from(0, below: 1), "adam and adamw: decay of the mean squared gradient")
      .needing("optimizer=adam or optimizer=adamw") { $0.isAdam },
    Field("epsilon", \.epsilon, .above(0), "rmsprop, adam and adamw: added to the root of the mean square")
      .needing("optimizer=adam, adamw or rmsprop") { $0.optimizer != .sgd },
    Field("momentum", \.momentum, .from(0, below: 1), "sgd and rmsprop: momentum coefficient").fixed
      .needing("optimizer=sgd or optimizer=rmsprop") { $0.optimizer == .sgd || $0.optimizer == .rmsprop },
    Field("nesterov", \.nesterov, "sgd: whether to look ahead along the momentum")
      .needing("optimizer=sgd and a momentum") { $0.optimizer == .sgd && $0.momentum > 0 },
    Field("weight-decay", \.weightDecay, .atLeast(0), "how fast weights shrink; adamw decouples it from the gradient"),
    Field("decay-vectors", \.decayVectors, "whether biases and norms shrink too")
      .needing("a weight-decay") { $0.weightDecay > 0 },
    Field("clip-norm", \.clipNorm, .atLeast(0), "largest norm of the gradient; 0 for no limit"),
    Field(
      "warmup-steps", \.warmupSteps, .from(0, to: 1e9),
      "steps over which the learning rate rises from 0; without schedule-steps, at most a tenth of the training"),
    Field("learning-rate-decay", \.learningRateDecay, "how the learning rate falls after the warm-up"),
    Field(
      "schedule-steps", \.scheduleSteps, .from(1, to: 1e9),
      "step at which its fall ends, counted from the run's beginning; null for the training's end"
    ).needing("a learning-rate-decay") { $0.learningRateDecay != .constant || $0.warmupSteps > 0 },
    Field(
      "ema-decay", \.emaDecay, .from(0, below: 1),
      "decay of the moving average of the weights, which pictures are made from; 0 for none"),
    Field("flip", \.flip, "whether half of the images are mirrored left to right"),
    Field("shift", \.shift, .from(0, to: 1024), "pixels by which images are shifted at random"),
    Field("jitter-brightness", \.jitterBrightness, .from(0, to: 1), "multiplies levels by 1 ± this, at random"),
    Field("jitter-contrast", \.jitterContrast, .from(0, to: 1), "multiplies contrast by 1 ± this, at random"),
    Field("jitter-saturation", \.jitterSaturation, .from(0, to: 1), "multiplies saturation by 1 ± this, at random"),
    Field("jitter-hue", \.jitterHue, .from(0, to: 0.5), "rotates hues at random by ± this, in turns of the circle"),
    Field("precision", \.precision, "type of activations; auto is the faster one on this processor").fixed,
    Field("steps", \.steps, .from(1, to: 1e9), "length of a run that is given no other length"),
    Field("checkpoint-every", \.checkpointEvery, .from(1, to: 1e9), "steps between checkpoints"),
    Field("validate-every", \.validateEvery, .from(1, to: 1e9), "steps between measurements of the held-out loss"),
    Field("sample-every", \.sampleEvery, .from(0, to: 1e9), "steps between pictures of the progress; 0 for none"),
    Field(
      "validation-images", \.validationImages, .from(1, to: 1_000_000), "held-out images in the validation loss"),
    Field(
      "keep", \.keep, .from(1, to: 1_000_000),
      "checkpoints to keep besides the one with the lowest held-out loss"),
    Field(
      "on-divergence", \.onDivergence,
      "if ten steps in a row are not finite: go back to the latest checkpoint with half the learning rate, or stop"),
  ]

  public func check(_ check: inout FieldCheck) {
    check(accumulate, "accumulate", 1...batchSize)
    // A sample's position in the run is a counter of 40 bits in the random streams.
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

  /// The learning rate's factor in a training of this many steps.
  ///
  /// If the schedule follows the training, the warm-up takes at most a tenth of it.
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

  /// The changes to training images; for settings that were validated.
  public var augmentation: Augmentation {
    Augmentation(
      horizontalFlip: flip, shift: shift,
      jitter: ColorJitter(
        brightness: jitterBrightness, contrast: jitterContrast, saturation: jitterSaturation, hue: jitterHue))
  }
}
