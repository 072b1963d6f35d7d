import Foundation

/// Applies a function to every element on all cores; results are in the elements' order.
///
/// If calls throw, the error of the first element (by index, not by time) is thrown, so that a message about a broken
/// file does not change from run to run. Later elements may be skipped.
func concurrentMap<Element: Sendable, Result: Sendable, Failure: Error>(
  _ elements: [Element], _ transform: @escaping @Sendable (Element) throws(Failure) -> Result
) throws(Failure) -> [Result] {
  let work = ConcurrentWork(elements: elements, transform: transform)
  let helperCount = max(0, min(ProcessInfo.processInfo.activeProcessorCount, elements.count) - 1)
  for _ in 0..<helperCount { Thread { work.run() }.start() }
  work.run()
  return try work.results()
}

/// Elements are handed out one at a time, in order; all state is behind `condition`.
private final class ConcurrentWork<Element: Sendable, Result: Sendable, Failure: Error>: @unchecked Sendable {
  private let elements: [Element]
  private let transform: @Sendable (Element) throws(Failure) -> Result
  private let condition = NSCondition()
  private var taken = 0
  private var running = 0
  private var finished: [Result?]
  private var firstFailure: (index: Int, error: Failure)?

  init(elements: [Element], transform: @escaping @Sendable (Element) throws(Failure) -> Result) {
    self.elements = elements
    self.transform = transform
    finished = Array(repeating: nil, count: elements.count)
  }

  /// Works until no element is left.
  func run() {
    while let index = take() {
      do throws(Failure) {
        let result = try transform(elements[index])
        finish { finished[index] = result }
      } catch {
        finish {
          if index < firstFailure?.index ?? .max { firstFailure = (index, error) }
        }
      }
    }
  }

  /// Waits for the elements that other threads are still working on.
  func results() throws(Failure) -> [Result] {
    condition.lock()
    defer { condition.unlock() }
    while running > 0 { condition.wait() }
    if let firstFailure { throw firstFailure.error }
    return finished.compactMap { $0 }
  }

  private func take() -> Int? {
    condition.lock()
    defer { condition.unlock() }
    guard taken < elements.count, firstFailure == nil else { return nil }
    defer { taken += 1 }
    running += 1
    return taken
  }

  private func finish(_ record: () -> Void) {
    condition.lock()
    defer { condition.unlock() }
    record()
    running -= 1
    condition.broadcast()
  }
}
