import Foundation
import Testing

/// Waits for a condition that another thread or process makes true.
///
/// The time limit is for conditions that never hold. It is long because a busy machine may be slow.
///
/// - Parameters:
///   - what: the condition, for the message.
///   - process: a process whose end also ends the waiting; nil for none.
/// - Throws: an error that names `what` if the condition does not hold in time.
package func wait(for what: String, whileRunning process: Process? = nil, until holds: () throws -> Bool) throws {
  let deadline = ContinuousClock.now + .seconds(600)
  while try !holds() {
    // Check this before the condition: a process may make the condition true and then end.
    let hasEnded = process.map { !$0.isRunning } ?? false
    if try holds() { return }
    guard !hasEnded, ContinuousClock.now < deadline else {
      throw WaitingFailure(description: "\(what): " + (hasEnded ? "the process ended before" : "not within 10 minutes"))
    }
    usleep(10_000)
  }
}

private struct WaitingFailure: Error, CustomStringConvertible {
  let description: String
}

extension Trait where Self == TimeLimitTrait {
  /// For tests that hang if the code is wrong. It is longer than any machine needs, however busy.
  package static var endsAtAll: Self { .timeLimit(.minutes(15)) }
}
