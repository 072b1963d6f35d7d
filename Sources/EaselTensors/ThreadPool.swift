import CEaselKernels
import EaselSupport
import Foundation
import Synchronization

/// A share of the process's one pool of compute threads, which all operations run on: the calling thread, and workers
/// that sleep while there is nothing to do (`CEaselKernels/Threads.c`).
///
/// Work is divided into *parts* by its shape, never by the number of threads, so that results are the same bytes on any
/// number of threads: a sum that is made part by part belongs to the part. Scratch memory that a part leaves behind
/// belongs to the *worker*. Free threads take parts, and nobody waits for a thread that has taken none.
public struct ThreadPool: Sendable {
  /// The most threads that work at a time, including the caller.
  public let count: Int
  /// Whether a person has asked for that number; otherwise Easel's processes share the processors
  /// (``ProcessorShares``).
  private let isFixed: Bool
  private let abandonment = Abandonment()

  /// - Parameter count: the number of threads; nil means one for each processor that this process may run on, less
  ///   those that other Easel processes use at the time.
  public init(count: Int? = nil) {
    self.count = min(max(1, count ?? Processor.available), EASEL_MOST_THREADS)
    isFixed = count != nil
  }

  /// Whose turn it is: a part of the work, counted from 0, and a worker, from 0 to below ``count``.
  public struct Turn {
    public let part, worker: Int
  }

  /// The number of parts for work that needs no sums by part: enough that many threads find something to do.
  public static let mostParts = 64

  /// How many ranges ``split(_:grain:most:isAbandonable:_:)`` makes.
  public static func parts(_ count: Int, grain: Int = 1, most: Int = mostParts) -> Int {
    max(1, min(most, count / max(1, grain)))
  }

  /// Divides `0 ..< count` into ranges of similar size, hands them out, and waits. The ranges depend on the arguments
  /// alone.
  ///
  /// - Parameters:
  ///   - count: the length to divide.
  ///   - grain: shorter ranges are not worth a separate part.
  ///   - most: the largest number of ranges.
  ///   - isAbandonable: whether it may be left out of abandoned work; see ``abandonable(when:_:)``.
  ///   - body: called with a range, on several threads at once.
  public func split(
    _ count: Int, grain: Int = 1, most: Int = mostParts, isAbandonable: Bool = true, _ body: (Range<Int>, Turn) -> Void
  ) {
    let parts = ThreadPool.parts(count, grain: grain, most: most)
    if count == 0 { return }
    run(parts, isAbandonable: isAbandonable) { turn in
      body(count * turn.part / parts..<count * (turn.part + 1) / parts, turn)
    }
  }

  /// Hands out parts, and waits.
  ///
  /// - Parameters:
  ///   - parts: the number of parts.
  ///   - isAbandonable: whether it may be left out of abandoned work; see ``abandonable(when:_:)``.
  ///   - body: called once for each part, on several threads at once.
  public func run(_ parts: Int, isAbandonable: Bool = true, _ body: (Turn) -> Void) {
    if isAbandonable, isAbandoned { return }
    let width = ProcessorShares.ofThisMachine.threads(wanted: count, isFixed: isFixed)
    guard parts > 1, width > 1 else {
      for part in 0..<parts { body(Turn(part: part, worker: ThreadPool.currentWorker)) }
      return
    }
    // The pool counts parts in 16 bits; if there are more, it treats several as one.
    let runs = min(parts, EASEL_MOST_PARTS)
    withoutActuallyEscaping(body) { body in
      var region = Region(parts: parts, runs: runs, body: body)
      withUnsafeMutablePointer(to: &region) { region in
        easel_parallel(
          Int32(width), Int32(runs),
          { context, run, worker in
            guard let region = context?.assumingMemoryBound(to: Region.self).pointee else { return }
            for part in region.parts * Int(run) / region.runs..<region.parts * (Int(run) + 1) / region.runs {
              region.body(Turn(part: part, worker: Int(worker)))
            }
          }, region)
      }
    }
  }

  private struct Region {
    let parts, runs: Int
    let body: (Turn) -> Void
  }

  /// The calling thread's worker; 0 for threads outside the pool.
  private static var currentWorker: Int { Int(easel_current_worker()) }
}

/// A pool's state for work that may be abandoned; used by the thread that does the tensor work.
private final class Abandonment: Sendable {
  struct State {
    /// Nil if the work must be completed.
    var condition: (@Sendable () -> Bool)?
    var isAbandoned = false
  }

  let state = Mutex(State())
}

extension ThreadPool {
  /// Does work that may be abandoned midway: once a condition holds, every operation on this pool returns at once, and
  /// what it would have written is undefined. Only random numbers are still drawn, since indices are made from them.
  ///
  /// Before ``carryThrough()``, the work must not change anything that outlives it, unless the caller restores it.
  ///
  /// - Parameters:
  ///   - condition: checked before each operation; it must return quickly.
  ///   - work: the work that may be abandoned.
  /// - Returns: nil if the work was abandoned.
  /// - Throws: what the work throws, unless it was abandoned.
  public func abandonable<Result>(
    when condition: @escaping @Sendable () -> Bool, _ work: () throws -> Result
  ) rethrows -> Result? {
    abandonment.state.withLock { $0 = .init(condition: condition) }
    defer { abandonment.state.withLock { $0 = .init() } }
    do {
      let result = try work()
      return isGivenUp ? nil : result
    } catch {
      if isGivenUp { return nil }
      throw error
    }
  }

  /// From here on the work is completed, whatever its condition says, so that its changes are whole.
  ///
  /// - Returns: false if the work was already abandoned.
  public func carryThrough() -> Bool {
    abandonment.state.withLock {
      if !$0.isAbandoned { $0.condition = nil }
      return !$0.isAbandoned
    }
  }

  /// Does work completely in the middle of other work that may be abandoned, or was: what it makes outlives that.
  package func completely<Result>(_ work: () throws -> Result) rethrows -> Result {
    let outer = abandonment.state.withLock { state in
      let outer = state
      state = .init()
      return outer
    }
    defer { abandonment.state.withLock { $0 = outer } }
    return try work()
  }

  /// Whether the present work is abandoned; checks its condition.
  package var isAbandoned: Bool {
    abandonment.state.withLock {
      if !$0.isAbandoned, let condition = $0.condition { $0.isAbandoned = condition() }
      return $0.isAbandoned
    }
  }

  /// The same without checking: whatever was computed before the condition held is complete.
  private var isGivenUp: Bool { abandonment.state.withLock { $0.isAbandoned } }
}
