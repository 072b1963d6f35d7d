import Foundation
import Testing

/// Waits until a condition holds that another thread or process brings about.
///
/// The bound is there for what would never come. It is long because a busy machine may take long.
///
/// - Parameters:
///   - what: what is waited for, for the message.
///   - process: whose end ends the waiting too; nil for none.
/// - Throws: an error that names `what` if it does not come.
package func wait(for what: String, whileRunning process: Process? = nil, until holds: () throws -> Bool) throws {
  let deadline = ContinuousClock.now + .seconds(600)
  while try !holds() {
    // Looked at before the condition once more: a process may do what is waited for and end.
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
  /// For tests that hang if the code is wrong. Longer than any machine takes, whatever else it does.
  package static var endsAtAll: Self { .timeLimit(.minutes(15)) }
}
