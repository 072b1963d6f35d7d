@_exported import EaselLayers

/// The update rules, with PyTorch's defaults and arithmetic.
public enum OptimizerMethod: Hashable, Sendable {
  case sgd(momentum: Float = 0, nesterov: Bool = false)
  case rmsprop(alpha: Float = 0.99, epsilon: Float = 1e-8, momentum: Float = 0, centered: Bool = false)
  /// Weight decay enters the gradient.
  case adam(beta1: Float = 0.9, beta2: Float = 0.999, epsilon: Float = 1e-8)
  /// Weight decay shrinks the parameters (Loshchilov and Hutter 2019).
  case adamW(beta1: Float = 0.9, beta2: Float = 0.999, epsilon: Float = 1e-8)

  /// The backend's pass for step `number`, from 1.
  func pass(step number: Int, learningRate: Float, weightDecay: Float, gradientScale: Float) -> OptimizerPass {
    let method: OptimizerPass.Method =
      switch self {
      case .sgd(let momentum, let nesterov): .sgd(momentum: momentum, nesterov: nesterov, isFirst: number == 1)
      case .rmsprop(let alpha, let epsilon, let momentum, let centered):
        .rmsprop(alpha: alpha, epsilon: epsilon, momentum: momentum, centered: centered)
      case .adam(let beta1, let beta2, let epsilon):
        .adam(beta1: beta1, beta2: beta2, epsilon: epsilon, step: number, decoupledDecay: false)
      case .adamW(let beta1, let beta2, let epsilon):
        .adam(beta1: beta1, beta2: beta2, epsilon: epsilon, step: number, decoupledDecay: true)
      }
    return OptimizerPass(
      method, learningRate: learningRate, weightDecay: weightDecay, gradientScale: gradientScale)
  }
}

/// Trains the parameters of an arena: clipping, the step and the moving average, each one pass.
public final class Optimizer {
  /// What is trained.
  public let arena: Arena
  /// The update rule.
  public let method: OptimizerMethod
  /// The weight decay; 0 for none.
  public let weightDecay: Float
  /// Whether parameters of one axis decay too.
  public let decaysVectors: Bool
  /// The largest norm of the whole gradient; nil for no limit.
  public let maximumGradientNorm: Float?
  /// Moments and velocities, float32 of the shape of the arena's values, in the order of `OptimizerPass.stateCount`.
  public let state: [Tensor]
  /// Steps taken so far.
  public var stepCount = 0
  /// What was not finite in the latest step that was not taken; nil since whoever looks at it has set it so.
  public var nonFinite: String?

  /// An optimizer at its first step, its moments zero: 4 bytes a parameter for each of ``state``.
  ///
  /// - Parameters:
  ///   - arena: what is trained.
  ///   - method: the update rule.
  ///   - weightDecay: what is added to a gradient for each unit of the parameter, or, with
  ///     ``OptimizerMethod/adamW(beta1:beta2:epsilon:)``, the share by which the parameter shrinks in a step, divided by
  ///     the learning rate.
  ///   - decaysVectors: whether parameters of one axis decay too.
  ///   - maximumGradientNorm: the norm that a larger gradient is brought to; nil for no limit.
  public init(
    _ arena: Arena, method: OptimizerMethod, weightDecay: Float = 0, decaysVectors: Bool = true,
    maximumGradientNorm: Float? = nil
  ) {
    self.arena = arena
    self.method = method
    self.weightDecay = weightDecay
    self.decaysVectors = decaysVectors
    self.maximumGradientNorm = maximumGradientNorm
    let buffers = method.pass(step: 1, learningRate: 0, weightDecay: 0, gradientScale: 1).stateCount
    state = (0..<buffers).map { _ in Tensor(repeating: 0, shape: arena.values.shape, on: arena.backend) }
  }

  /// One step along the arena's gradients, which are zeroed after.
  ///
  /// - Parameters:
  ///   - learningRate: of this step.
  ///   - loss: what the gradients are of, for the question whether it is finite.
  /// - Returns: the gradient's norm before clipping. Where it or the loss is not finite, nothing is changed but the
  ///   gradients, and ``nonFinite`` says what it was.
  @discardableResult
  public func step(learningRate: Float, loss: Float = 0) -> Float {
    let norm = Float(arena.backend.sumOfSquares(arena.gradients).squareRoot())
    defer { arena.zeroGradients() }
    guard norm.isFinite, loss.isFinite else {
      nonFinite = arena.parameterWithoutFiniteGradient.map { "the gradient of \($0)" } ?? "the loss"
      return norm
    }
    stepCount += 1
    // torch.nn.utils.clip_grad_norm_ divides by norm + 1e-6.
    let scale = maximumGradientNorm.map { min(1, $0 / (norm + 1e-6)) } ?? 1
    func update(_ range: Range<Int>, weightDecay: Float) {
      let pass = method.pass(
        step: stepCount, learningRate: learningRate, weightDecay: weightDecay, gradientScale: scale)
      arena.backend.update(
        arena.values[range], gradients: arena.gradients[range], state: state.map { $0[range] }, pass)
    }
    let all = 0..<arena.values.count
    if decaysVectors || weightDecay == 0 {
      update(all, weightDecay: weightDecay)
    } else {
      update(all.lowerBound..<arena.vectorsStart, weightDecay: weightDecay)
      update(arena.vectorsStart..<all.upperBound, weightDecay: 0)
    }
    return norm
  }
}

/// The exponential moving average of an arena's values, with a warm start: its decay is min(decay, (1 + n) / (10 + n)) at
/// update n, so that early values are forgotten soon (latent-diffusion, `ema.py`).
public struct MovingAverage: Sendable {
  /// What the average keeps of itself in an update at most, 0 to 1.
  public let decay: Float

  /// An average of a decay from 0 to below 1.
  public init(decay: Float) { self.decay = decay }

  /// The decay of update `number`, from 0: min(decay, (1 + number) / (10 + number)).
  public func decay(at number: Int) -> Float { min(decay, Float(1 + number) / Float(10 + number)) }

  /// Update `number`, from 0, of an arena's average, which must have been started; otherwise it traps.
  public func update(_ arena: Arena, number: Int) {
    guard let average = arena.average else { fatalShape("the arena's average was not started") }
    arena.backend.movingAverage(arena.values, into: average, decay: decay(at: number))
  }
}
