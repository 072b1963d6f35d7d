import EaselTensors
import EaselTestSupport
import Synchronization
import Testing

@Suite("The pool of compute threads")
struct ThreadPoolTests {
  /// What was done of `0 ..< count`, and by which worker.
  private struct Record {
    var marks: [Int]
    var ranges: [Int: Range<Int>] = [:]
    var workers: Set<Int> = []
  }

  private static func split(_ count: Int, grain: Int, most: Int, threads: Int) throws -> Record {
    try TensorThread.run {
      let record = Mutex(Record(marks: [Int](repeating: 0, count: count)))
      ThreadPool(count: threads).split(count, grain: grain, most: most) { range, turn in
        record.withLock { record in
          for i in range { record.marks[i] += 1 }
          record.ranges[turn.part] = range
          record.workers.insert(turn.worker)
        }
      }
      return record.withLock { $0 }
    }
  }

  @Test(
    "A split covers each index once, in the same ranges of similar size on any number of threads",
    arguments: [(10, 1, 64), (1, 1, 64), (7, 1, 3), (1000, 600, 64), (1000, 500, 64), (1001, 1, 16), (0, 1, 64)])
  func split(count: Int, grain: Int, most: Int) throws {
    let alone = try Self.split(count, grain: grain, most: most, threads: 1)
    let promised = ThreadPool.parts(count, grain: grain, most: most)
    #expect(alone.ranges.count == (count == 0 ? 0 : promised))
    #expect(promised <= most)
    let sizes = alone.ranges.values.map(\.count)
    #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) <= 1)
    if promised > 1 { #expect(sizes.allSatisfy { $0 >= grain }) }
    for threads in [1, 2, 3, 8, 64] {
      let record = try Self.split(count, grain: grain, most: most, threads: threads)
      #expect(record.marks.allSatisfy { $0 == 1 }, "\(count) on \(threads)")
      #expect(record.ranges == alone.ranges)
      #expect(record.workers.allSatisfy { (0..<threads).contains($0) })
    }
  }

  @Test("All parts are done, even if there are more than the pool can count")
  func manyParts() throws {
    let done = try TensorThread.run {
      let done = Mutex([UInt8](repeating: 0, count: 200_003))
      ThreadPool(count: 3).run(200_003) { turn in done.withLock { $0[turn.part] += 1 } }
      return done.withLock { $0 }
    }
    #expect(done.allSatisfy { $0 == 1 })
  }

  /// A region is over when the caller goes on: none of it may be done later, and none of the next may be missed. Eight
  /// workers on fewer processors are late for most of these.
  @Test("Short regions in a row stay separate", arguments: [2, 3, 8])
  func manyRegions(threads: Int) throws {
    let wrong = try TensorThread.run {
      let pool = ThreadPool(count: threads)
      let current = Atomic(0)
      let done = Atomic(0)
      let wrong = Atomic(0)
      for region in 0..<20_000 {
        current.store(region, ordering: .releasing)
        let parts = 1 + region % 7
        pool.run(parts) { _ in
          if current.load(ordering: .acquiring) != region { wrong.add(1, ordering: .relaxed) }
          done.add(1, ordering: .relaxed)
        }
        if done.exchange(0, ordering: .acquiringAndReleasing) != parts { wrong.add(1, ordering: .relaxed) }
      }
      return wrong.load(ordering: .relaxed)
    }
    #expect(wrong == 0)
  }

  @Test("Nested work is done by the worker that has the part")
  func nesting() throws {
    let (others, count, rounds) = try TensorThread.run {
      let pool = ThreadPool(count: 3)
      let others = Atomic(0)
      let count = Atomic(0)
      let helped = Atomic(0)
      var rounds = 0
      // Workers may be slow to wake up, and on a busy machine find nothing left: repeat until they have done parts.
      repeat {
        rounds += 1
        pool.run(50) { outer in
          if outer.worker > 0 { helped.add(1, ordering: .relaxed) }
          pool.run(100) { inner in
            count.add(1, ordering: .relaxed)
            if inner.worker != outer.worker { others.add(1, ordering: .relaxed) }
          }
        }
      } while helped.load(ordering: .relaxed) < 10 && rounds < 20_000
      return (others.load(ordering: .relaxed), count.load(ordering: .relaxed), rounds)
    }
    #expect(others == 0)
    #expect(count == 5000 * rounds)
  }

  @Test("If several threads use the pool at once, no two workers of one call have the same number")
  func twoCallers() async {
    let sums = await withTaskGroup(of: Int.self) { group in
      for _ in 0..<4 {
        group.addTask {
          let pool = ThreadPool(count: 3)
          var total = 0
          for _ in 0..<200 {
            // One sum for each worker: if two threads had the same number at once, something would be lost.
            var sums = [Int](repeating: 0, count: 3 * 16)
            sums.withUnsafeMutableBufferPointer { sums in
              nonisolated(unsafe) let sums = sums
              pool.run(300) { turn in sums[16 * turn.worker] += turn.part }
            }
            total += sums.reduce(0, +)
          }
          return total
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(sums == [Int](repeating: 200 * 300 * 299 / 2, count: 4))
  }

  /// Sums over many parts, which depend on how the work is split.
  private static func sums(on backend: any Backend) -> [[UInt32]] {
    let x = backend.sample([67, 9, 11, 64], .float32)
    let dy = backend.affine(x, scale: -0.7, shift: 0.2)
    func zeros(_ shape: Shape) -> Tensor {
      let tensor = Tensor(uninitialized: shape, on: backend)
      backend.fill(tensor, with: 0)
      return tensor
    }
    let bias = zeros([64])
    backend.sumRows(x, into: bias)
    let weights = zeros([64, 64, 3, 3])
    backend.convolutionWeightGradient(x, dy, into: weights, bias: bias, ConvolutionWindow(stride: 1, padding: 1))
    let wide = zeros([64, 64, 5, 5])
    backend.convolutionWeightGradient(x, dy, into: wide, bias: nil, ConvolutionWindow(stride: 1, padding: 2))
    let linear = zeros([64, 64])
    backend.linearWeightGradient(x, dy, into: linear)
    let y = backend.convolution(
      x, weight: backend.sample([64, 64, 5, 5], .float32), bias: nil, residual: nil,
      ConvolutionWindow(stride: 2, padding: 2))
    return [bias, weights, wide, linear, y].map { $0.values().map(\.bitPattern) }
      + [[UInt32(truncatingIfNeeded: backend.sumOfSquares(x).bitPattern)]]
  }

  @Test("Sums are the same bytes on any number of threads", arguments: Backends.available)
  func sameBytes(kind: BackendKind) throws {
    let alone = try onTensors(kind, threads: 1) { Self.sums(on: $0) }
    for threads in [2, 3, 8] {
      #expect(try onTensors(kind, threads: threads) { Self.sums(on: $0) } == alone, "\(threads) threads")
    }
  }
}
