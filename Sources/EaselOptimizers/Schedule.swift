import EaselSupport
import Foundation

/// The learning rate's factor over a run: a linear warm-up, then constant or falling to zero at `totalSteps`.
public struct LearningRateSchedule: Sendable, Hashable {
  /// How the factor falls after the warm-up.
  public enum Decay: String, FieldChoice {
    case constant
    /// A straight line to zero.
    case linear
    /// 1 for half of the steps, then a straight line to zero (Zhu et al. 2017).
    case constantThenLinear = "constant-then-linear"
    /// Half a cosine to zero (Loshchilov and Hutter 2017).
    case cosine

    /// The factor after a share of the way, 0 to 1.
    public func factor(at progress: Double) -> Float {
      switch self {
      case .constant: 1
      case .linear: Float(1 - progress)
      case .constantThenLinear: Float(min(1, 2 * (1 - progress)))
      case .cosine: Float(0.5 * (1 + cos(.pi * progress)))
      }
    }
  }

  /// How the factor falls after the warm-up.
  public var decay: Decay
  /// Steps over which the factor rises.
  public var warmupSteps: Int
  /// The step at which the decay ends, counted from the run's beginning.
  public var totalSteps: Int

  /// Makes a schedule of this many steps, the first `warmupSteps` of which are the warm-up.
  public init(_ decay: Decay = .constant, warmupSteps: Int = 0, totalSteps: Int) {
    self.decay = decay
    self.warmupSteps = warmupSteps
    self.totalSteps = totalSteps
  }

  /// The factor in step `step`, counted from 0. In the first warm-up step it is 1 / warmupSteps.
  public func factor(at step: Int) -> Float {
    if step < warmupSteps { return Float(step + 1) / Float(warmupSteps) }
    let span = max(1, totalSteps - warmupSteps)
    return decay.factor(at: min(1, Double(step - warmupSteps) / Double(span)))
  }
}
