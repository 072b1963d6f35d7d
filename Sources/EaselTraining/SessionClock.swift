import Foundation

/// The time of one session of training: what there is, what the parts of the work take, and so when it has to end.
package struct SessionClock {
  /// What is done besides training steps.
  package enum Part: Hashable, CaseIterable { case validation, picture, save }

  private let clock = ContinuousClock()
  private let start: ContinuousClock.Instant
  /// Seconds that the session may take; nil for no limit.
  package let seconds: Double?
  /// What each part took the last time, or is expected to take, in seconds.
  package private(set) var costs: [Part: Double] = [:]
  /// Of a training step, in seconds; the first of a session, which makes kernels, does not count.
  package private(set) var step: Double?
  private var steps = 0

  package init(seconds: Double?) {
    self.seconds = seconds
    start = clock.now
  }

  package var elapsed: Double { (clock.now - start) / .seconds(1) }

  /// Does a part of the work and notes what it took, unless it was given up.
  package mutating func measure<Result>(_ part: Part, _ work: () throws -> Result?) rethrows -> Result? {
    let before = elapsed
    let result = try work()
    if result != nil { costs[part] = elapsed - before }
    return result
  }

  /// Notes what a part is expected to take, until it is measured.
  package mutating func expect(_ part: Part, _ seconds: Double) { if costs[part] == nil { costs[part] = seconds } }

  package mutating func addStep(_ seconds: Double) {
    steps += 1
    if steps > 1 { step = step.map { $0 + 0.1 * (seconds - $0) } ?? seconds }
  }

  /// Whether a part is worth its time: one that takes more than a quarter of the session is left out.
  package func affords(_ part: Part) -> Bool {
    guard let seconds, part != .save else { return true }
    return (costs[part] ?? 0) <= seconds / 4
  }

  /// What has to be done after the last step, in seconds.
  package func closing(_ parts: Set<Part>) -> Double { parts.reduce(0) { $0 + (affords($1) ? costs[$1] ?? 0 : 0) } }

  /// Whether there is no time left for another step.
  package func isOver(closing parts: Set<Part>) -> Bool {
    guard let seconds else { return false }
    return elapsed + (step ?? 0) + closing(parts) > seconds
  }

  /// Steps that there is time left for; nil without a limit, and while nothing is known.
  package func expectedSteps(closing parts: Set<Part>) -> Int? {
    guard let seconds, let step else { return nil }
    return Int(max(0, min(1e9, (seconds - elapsed - closing(parts)) / max(step, 1e-9))))
  }

  /// Whether there is time for a part now, and for the closing ones after it.
  ///
  /// - Parameter steps: training steps that come between.
  package func fits(_ part: Part, before closing: Set<Part>, steps: Int = 0) -> Bool {
    guard let seconds else { return true }
    let rest = Double(steps) * (step ?? 0) + self.closing(closing)
    return affords(part) && elapsed + (costs[part] ?? 0) + rest <= seconds
  }

  /// When work that nobody waits for any longer is to be given up: the session's end.
  package var deadline: ContinuousClock.Instant? { seconds.map { start + .seconds($0) } }
}
