import Foundation

/// The time of one training session: how much there is, how much each part of the work takes, and therefore when it
/// must end.
package struct SessionClock {
  /// The parts of the work besides training steps.
  package enum Part: Hashable, CaseIterable { case validation, picture, save }

  private let clock = ContinuousClock()
  private let start: ContinuousClock.Instant
  /// How many seconds the session may take; nil for no limit.
  package let seconds: Double?
  /// How long each part took last time, or is expected to take, in seconds.
  package private(set) var costs: [Part: Double] = [:]
  /// Seconds per training step. A session's first step prepares kernels and does not count.
  package private(set) var step: Double?
  private var steps = 0

  package init(seconds: Double?) {
    self.seconds = seconds
    start = clock.now
  }

  package var elapsed: Double { (clock.now - start) / .seconds(1) }

  /// Does a part of the work and records how long it took, unless it was abandoned.
  package mutating func measure<Result>(_ part: Part, _ work: () throws -> Result?) rethrows -> Result? {
    let before = elapsed
    let result = try work()
    if result != nil { costs[part] = elapsed - before }
    return result
  }

  /// Sets how long a part is expected to take, until it is measured.
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

  /// Seconds needed after the last step.
  package func closing(_ parts: Set<Part>) -> Double { parts.reduce(0) { $0 + (affords($1) ? costs[$1] ?? 0 : 0) } }

  /// Whether there is no time for another step.
  package func isOver(closing parts: Set<Part>) -> Bool {
    guard let seconds else { return false }
    return elapsed + (step ?? 0) + closing(parts) > seconds
  }

  /// How many steps there is time for; nil without a limit, or while nothing is known.
  package func expectedSteps(closing parts: Set<Part>) -> Int? {
    guard let seconds, let step else { return nil }
    return Int(max(0, min(1e9, (seconds - elapsed - closing(parts)) / max(step, 1e-9))))
  }

  /// Whether there is time for a part now and for the closing parts after it.
  ///
  /// - Parameter steps: the training steps in between.
  package func fits(_ part: Part, before closing: Set<Part>, steps: Int = 0) -> Bool {
    guard let seconds else { return true }
    let rest = Double(steps) * (step ?? 0) + self.closing(closing)
    return affords(part) && elapsed + (costs[part] ?? 0) + rest <= seconds
  }

  /// The time at which unfinished work must be abandoned: the session's end.
  package var deadline: ContinuousClock.Instant? { seconds.map { start + .seconds($0) } }
}
