import Foundation

/// The learning rate over a training: the settings' schedule, laid over the length that the training has.
public struct LearningRatePlan: Sendable {
  /// The settings' learning rate, lowered where training went back to a checkpoint.
  private let peak: Float
  private let settings: TrainingSettings
  /// Where the training ends; nil where time decides.
  private let lastStep: Int?
  private let schedule: LearningRateSchedule
  /// Whether the schedule follows the time that passes instead of the steps.
  private let followsTime: Bool

  /// - Parameters:
  ///   - settings: those of the training.
  ///   - factor: what training has lowered the rate to, having gone back to a checkpoint.
  ///   - limit: where it ends.
  public init(_ settings: TrainingSettings, factor: Double = 1, until limit: TrainingLimit) {
    self.settings = settings
    peak = settings.learningRate * Float(factor)
    lastStep = limit.steps ?? (limit.seconds == nil ? settings.steps : nil)
    followsTime = lastStep == nil && settings.scheduleSteps == nil
    schedule = settings.schedule(steps: lastStep ?? settings.steps)
  }

  /// The rate of a step.
  ///
  /// - Parameters:
  ///   - step: from 0.
  ///   - share: of the training's time that is over, 0 to 1; it counts where the schedule follows time.
  public func rate(at step: Int, share: Double = 0) -> Float {
    guard followsTime else { return peak * schedule.factor(at: step) }
    // The warm-up ends after its steps, or after a tenth of the time.
    let steps = Double(step + 1) / Double(max(1, settings.warmupSteps))
    let risen = settings.warmupSteps == 0 ? 1 : max(steps, share * Double(TrainingSettings.warmupPart))
    return peak * (risen < 1 ? Float(risen) : settings.learningRateDecay.factor(at: min(1, max(0, share))))
  }

  /// How much of the training is over before a step, 0 to 1: by the steps that the schedule has, or by time.
  ///
  /// - Parameters: as of ``rate(at:share:)``.
  public func progress(at step: Int, share: Double = 0) -> Double {
    min(1, max(0, followsTime ? share : Double(step) / Double(max(1, schedule.totalSteps))))
  }

  private var falls: Bool { settings.learningRateDecay != .constant }

  /// The rate from a step on, in a line: `learning rate 0.0005, falls to 0 at step 3000`.
  public func summary(from step: Int, share: Double = 0) -> String {
    var parts: [String] = []
    let warmup = followsTime ? settings.warmupSteps : schedule.warmupSteps
    if step < warmup {
      let most = followsTime ? ", a tenth of the time at most" : ""
      parts.append("learning rate \(Self.text(peak)) after \(warmup) steps of warm-up\(most)")
      if warmup < settings.warmupSteps { parts.append("a tenth of the training instead of \(settings.warmupSteps)") }
    } else {
      parts.append("learning rate \(Self.text(rate(at: step, share: share)))")
    }
    if falls, step < schedule.totalSteps || followsTime {
      parts.append("falls to 0 " + (followsTime ? "as the time runs out" : "at step \(schedule.totalSteps)"))
    }
    return parts.joined(separator: ", ")
  }

  /// What the steps at rate 0 are, where the schedule ends before the training does; nil where it does not.
  ///
  /// - Parameters:
  ///   - step: the first of the session.
  ///   - expected: the step at which it will probably end; nil for what the limit says.
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
