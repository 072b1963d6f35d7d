import CKernels
import Foundation
import Synchronization

/// The process's one pool of compute threads, which is the OpenMP runtime's, shared with oneDNN.
///
/// The runtime keeps a team for each thread that opens parallel regions, so all tensor work belongs on one thread:
/// see ``TensorThread``.
public struct ThreadPool: Sendable {
  public let count: Int
  private let abandonment = Abandonment()

  /// Sets the number for the calling thread, which is the one that has to do the tensor work.
  ///
  /// - Parameter count: threads to use; nil means one for each processor this process may run on.
  public init(count: Int? = nil) {
    self.count = max(1, count ?? ThreadPool.availableProcessors)
    easel_set_threads(Int32(self.count))
  }

  /// Processors this process may run on: its affinity mask, narrowed by `OMP_NUM_THREADS`.
  public static var availableProcessors: Int {
    let processors = ProcessInfo.processInfo.activeProcessorCount
    let limit = ProcessInfo.processInfo.environment["OMP_NUM_THREADS"].flatMap(Int.init)
    return max(1, limit.map { min($0, processors) } ?? processors)
  }

  /// Splits `0 ..< count` evenly, one range a thread, and waits. The split depends on nothing but the two counts, so
  /// sums made by range are repeatable.
  ///
  /// - Parameters:
  ///   - grain: ranges shorter than this are not worth a thread of their own.
  ///   - isAbandonable: whether it may be left out of work that was given up: see ``abandonable(when:_:)``.
  ///   - body: called with a range and the number of the part, from 0; on several threads at once.
  public func split(
    _ count: Int, grain: Int = 1, isAbandonable: Bool = true, _ body: (Range<Int>, Int) -> Void
  ) {
    if isAbandonable, isAbandoned { return }
    let parts = parts(count, grain: grain)
    guard parts > 1 else {
      if count > 0 { body(0..<count, 0) }
      return
    }
    withoutActuallyEscaping(body) { body in
      var region = Region(count: count, body: body)
      withUnsafeMutablePointer(to: &region) { region in
        easel_parallel(
          Int32(parts),
          { context, part, parts in
            let region = context.assumingMemoryBound(to: Region.self)
            let count = region.pointee.count
            let (part, parts) = (Int(part), Int(parts))
            region.pointee.body(count * part / parts..<count * (part + 1) / parts, part)
          }, region)
      }
    }
  }

  /// Hands out the items `0 ..< count` one by one to whichever thread is free, and waits.
  ///
  /// - Parameter body: called with an item and the number of the part, from 0; on several threads at once. What an item
  ///   computes must not depend on the part.
  public func share(_ count: Int, _ body: (Int, Int) -> Void) {
    let items = Items()
    split(min(self.count, count)) { _, part in
      while true {
        let item = items.next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard item < count else { return }
        body(item, part)
      }
    }
  }

  private final class Items: Sendable {
    let next = Atomic<Int>(0)
  }

  /// How many ranges ``split(_:grain:_:)`` makes.
  public func parts(_ count: Int, grain: Int = 1) -> Int { max(1, min(self.count, count / max(1, grain))) }

  private struct Region {
    let count: Int
    let body: (Range<Int>, Int) -> Void
  }
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
  /// - Parameter condition: asked before each operation; it takes a moment at most.
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
