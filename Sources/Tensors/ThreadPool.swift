import CKernels
import Foundation
import Synchronization

/// The process's one pool of compute threads, which is the OpenMP runtime's, shared with oneDNN.
///
/// The runtime keeps a team for each thread that opens parallel regions, so all tensor work belongs on one thread:
/// see ``TensorThread``.
public struct ThreadPool: Sendable {
  public let count: Int

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
  ///   - body: called with a range and the number of the part, from 0; on several threads at once.
  public func split(_ count: Int, grain: Int = 1, _ body: (Range<Int>, Int) -> Void) {
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
