@_exported import EaselLayers

/// The update rules, with PyTorch's defaults and arithmetic.
public enum OptimizerMethod: Hashable, Sendable {
  case sgd(momentum: Float = 0, nesterov: Bool = false)
  case rmsprop(alpha: Float = 0.99, epsilon: Float = 1e-8, momentum: Float = 0, centered: Bool = false)
  /// Adam; weight decay enters the gradient.
  case adam(beta1: Float = 0.9, beta2: Float = 0.999, epsilon: Float = 1e-8)
  /// AdamW: weight decay shrinks the parameters directly (Loshchilov and Hutter 2019).
  case adamW(beta1: Float = 0.9, beta2: Float = 0.999, epsilon: Float = 1e-8)

  /// The backend's pass for step `number`, counted from 1.
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

/// Trains an arena's parameters. Clipping, the step and the moving average take one pass each.
public final class Optimizer {
  /// The parameters that are trained.
  public let arena: Arena
  /// The update rule.
  public let method: OptimizerMethod
  /// The weight decay; 0 for none.
  public let weightDecay: Float
  /// Whether parameters of one axis decay too.
  public let decaysVectors: Bool
  /// The largest norm of the whole gradient; nil for no limit.
  public let maximumGradientNorm: Float?
  /// Moments and velocities, float32 in the shape of the arena's values, in the order of `OptimizerPass.stateCount`.
  public let state: [Tensor]
  /// Steps taken so far.
  public var stepCount = 0
  /// What was not finite in the latest step that was skipped. It stays until the caller resets it to nil.
  public var nonFinite: String?

  /// Makes an optimizer at its first step, with zero moments: 4 bytes a parameter for each of ``state``.
  ///
  /// - Parameters:
  ///   - arena: the parameters to train.
  ///   - method: the update rule.
  ///   - weightDecay: the factor of a parameter that is added to its gradient. With
  ///     ``OptimizerMethod/adamW(beta1:beta2:epsilon:)``, a step instead shrinks the parameter by this share times the
  ///     learning rate.
  ///   - decaysVectors: whether parameters of one axis decay too.
  ///   - maximumGradientNorm: a gradient with a larger norm is scaled down to this one; nil for no limit.
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

  /// Takes one step along the arena's gradients, then zeroes them.
  ///
  /// - Parameters:
  ///   - learningRate: the learning rate of this step.
  ///   - loss: the loss that the gradients belong to; it too must be finite.
  /// - Returns: the gradient's norm before clipping. If the norm or the loss is not finite, only the gradients are
  ///   changed, and ``nonFinite`` names the culprit.
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

/// The exponential moving average of an arena's values, with a warm start. Its decay at update n is min(decay, (1 + n)
/// / (10 + n)), so that early values are soon forgotten (latent-diffusion, `ema.py`).
public struct MovingAverage: Sendable {
  /// The largest share of itself that the average keeps in an update, 0 to 1.
  public let decay: Float

  /// Makes an average with a decay from 0 to below 1.
  public init(decay: Float) { self.decay = decay }

  /// The decay of update `number`, counted from 0: min(decay, (1 + number) / (10 + number)).
  public func decay(at number: Int) -> Float { min(decay, Float(1 + number) / Float(10 + number)) }

  /// Applies update `number`, counted from 0, to an arena's average. It traps unless the average was started.
  public func update(_ arena: Arena, number: Int) {
    guard let average = arena.average else { fatalShape("the arena's average was not started") }
    arena.backend.movingAverage(arena.values, into: average, decay: decay(at: number))
  }
}
