import Foundation

/// The learning rate over a training: the settings' schedule, applied to the training's length.
public struct LearningRatePlan: Sendable {
  /// The settings' learning rate, lowered if training went back to a checkpoint.
  private let peak: Float
  private let settings: TrainingSettings
  /// Where the training ends; nil if time decides.
  private let lastStep: Int?
  private let schedule: LearningRateSchedule
  /// Whether the schedule follows the elapsed time instead of the steps.
  private let followsTime: Bool

  /// - Parameters:
  ///   - settings: the training's settings.
  ///   - factor: the factor by which training has lowered the rate after going back to a checkpoint.
  ///   - limit: where the training ends.
  public init(_ settings: TrainingSettings, factor: Double = 1, until limit: TrainingLimit) {
    self.settings = settings
    peak = settings.learningRate * Float(factor)
    lastStep = limit.steps ?? (limit.seconds == nil ? settings.steps : nil)
    followsTime = lastStep == nil && settings.scheduleSteps == nil
    schedule = settings.schedule(steps: lastStep ?? settings.steps)
  }

  /// The learning rate of a step.
  ///
  /// - Parameters:
  ///   - step: the step, counted from 0.
  ///   - fraction: the share of the training's time that is over, 0 to 1. It matters only if the schedule follows time.
  public func rate(at step: Int, fraction: Double = 0) -> Float {
    guard followsTime else { return peak * schedule.factor(at: step) }
    // The warm-up ends after its steps, or after a tenth of the time.
    let steps = Double(step + 1) / Double(max(1, settings.warmupSteps))
    let risen = settings.warmupSteps == 0 ? 1 : max(steps, fraction * Double(TrainingSettings.warmupPart))
    return peak * (risen < 1 ? Float(risen) : settings.learningRateDecay.factor(at: min(1, max(0, fraction))))
  }

  /// The share of the training that is over before a step, 0 to 1: by the schedule's steps, or by time.
  ///
  /// - Parameters: as in ``rate(at:share:)``.
  public func progress(at step: Int, fraction: Double = 0) -> Double {
    min(1, max(0, followsTime ? fraction : Double(step) / Double(max(1, schedule.totalSteps))))
  }

  private var falls: Bool { settings.learningRateDecay != .constant }

  /// A line about the rate from a step on: `learning rate 0.0005, falls to 0 at step 3000`.
  public func summary(from step: Int, fraction: Double = 0) -> String {
    var parts: [String] = []
    let warmup = followsTime ? settings.warmupSteps : schedule.warmupSteps
    if step < warmup {
      let most = followsTime ? ", a tenth of the time at most" : ""
      parts.append("learning rate \(Self.text(peak)) after \(warmup) steps of warm-up\(most)")
      if warmup < settings.warmupSteps { parts.append("a tenth of the training instead of \(settings.warmupSteps)") }
    } else {
      parts.append("learning rate \(Self.text(rate(at: step, fraction: fraction)))")
    }
    if falls, step < schedule.totalSteps || followsTime {
      parts.append("falls to 0 " + (followsTime ? "as the time runs out" : "at step \(schedule.totalSteps)"))
    }
    return parts.joined(separator: ", ")
  }

  /// A warning about steps with rate 0, if the schedule ends before the training does; nil if it does not.
  ///
  /// - Parameters:
  ///   - step: the first step of the session.
  ///   - expected: the step at which the training will probably end; nil for what the limit says.
  public func warning(from step: Int, expected: Int? = nil) -> String? {
    guard falls, let end = settings.scheduleSteps else { return nil }
    let cure = "Have it follow the training with \(field: "set") schedule-steps=null."
    if step >= end {
      return "The learning rate is 0: schedule-steps is \(end), and this begins at step \(step). \(cure)"
    }
    guard let last = lastStep ?? expected, last > end else { return nil }
    return "The last \(last - end) steps have a learning rate of 0: schedule-steps is \(end), and training ends at "
      + "\(lastStep == nil ? "about " : "")step \(last). \(cure)"
  }

  private static func text(_ rate: Float) -> String { String(format: "%.3g", rate) }
}
