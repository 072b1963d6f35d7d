import CEaselKernels
import EaselSupport
import Foundation
import Synchronization

/// A share of the process's one pool of compute threads, which all operations run on: the calling thread and workers beside
/// it, which sleep while there is nothing to do (`CEaselKernels/Threads.c`).
///
/// Work is cut into *parts* by its shape, never by the number of threads, so that results are the same bytes on any number of
/// them: a sum that is made part by part belongs to the part. Memory that a part works in and leaves belongs to the *worker*.
/// Parts are taken by whoever is free, and nobody waits for a thread that has taken none.
public struct ThreadPool: Sendable {
  /// Threads that work at a time at most, the caller among them.
  public let count: Int
  /// Whether a person has asked for that number; else it is what Easel's processes share out (``ProcessorShares``).
  private let isFixed: Bool
  private let abandonment = Abandonment()

  /// - Parameter count: threads to use; nil means one for each processor this process may run on, less what other processes
  ///   of Easel use at the time.
  public init(count: Int? = nil) {
    self.count = min(max(1, count ?? Processor.available), EASEL_MOST_THREADS)
    isFixed = count != nil
  }

  /// Whose turn it is: a part of the work, from 0, on a worker, from 0 and below ``count``.
  public struct Turn {
    public let part, worker: Int
  }

  /// Parts of work that is cut without regard to what is added up: as many threads find something to do.
  public static let mostParts = 64

  /// How many ranges ``split(_:grain:most:isAbandonable:_:)`` makes.
  public static func parts(_ count: Int, grain: Int = 1, most: Int = mostParts) -> Int {
    max(1, min(most, count / max(1, grain)))
  }

  /// Cuts `0 ..< count` into ranges of like size, hands them out, and waits. The ranges depend on nothing but the arguments.
  ///
  /// - Parameters:
  ///   - count: the length of what is cut.
  ///   - grain: ranges shorter than this are not worth a part of their own.
  ///   - most: ranges at most.
  ///   - isAbandonable: whether it may be left out of work that was given up: see ``abandonable(when:_:)``.
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
  ///   - parts: how many.
  ///   - isAbandonable: whether it may be left out of work that was given up: see ``abandonable(when:_:)``.
  ///   - body: called once for each part, on several threads at once.
  public func run(_ parts: Int, isAbandonable: Bool = true, _ body: (Turn) -> Void) {
    if isAbandonable, isAbandoned { return }
    let width = ProcessorShares.ofThisMachine.threads(wanted: count, isFixed: isFixed)
    guard parts > 1, width > 1 else {
      for part in 0..<parts { body(Turn(part: part, worker: ThreadPool.currentWorker)) }
      return
    }
    // The pool counts parts in 16 bits: of more, several are one to it.
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

  /// The worker that the calling thread is; 0 for those outside of the pool.
  private static var currentWorker: Int { Int(easel_current_worker()) }
}

/// What a pool knows of work that may be given up; used by the thread that does the tensor work.
private final class Abandonment: Sendable {
  struct State {
    /// Nil where work is carried through.
    var condition: (@Sendable () -> Bool)?
    var isAbandoned = false
  }

  let state = Mutex(State())
}

extension ThreadPool {
  /// Does work that may be given up in the middle: once a condition holds, every operation on this pool returns at once, and
  /// what it would have written is undefined. Random numbers alone are drawn all the same, since indices are made of them.
  ///
  /// The work must not change what outlives it before ``carryThrough()``, or whoever gives it up puts that back.
  ///
  /// - Parameters:
  ///   - condition: asked before each operation; it takes a moment at most.
  ///   - work: what may be given up.
  /// - Returns: nil where the work was given up.
  /// - Throws: what the work throws, unless it was given up.
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

  /// From here on the work is carried through, whatever its condition says: what it changes now is to be whole.
  ///
  /// - Returns: false where it was given up before.
  public func carryThrough() -> Bool {
    abandonment.state.withLock {
      if !$0.isAbandoned { $0.condition = nil }
      return !$0.isAbandoned
    }
  }

  /// Whether the work at hand is given up; its condition is asked.
  var isAbandoned: Bool {
    abandonment.state.withLock {
      if !$0.isAbandoned, let condition = $0.condition { $0.isAbandoned = condition() }
      return $0.isAbandoned
    }
  }

  /// The same without asking: what was computed before the condition held is whole.
  private var isGivenUp: Bool { abandonment.state.withLock { $0.isAbandoned } }
}
