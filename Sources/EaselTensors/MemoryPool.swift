import CEaselKernels
import EaselSupport
import Synchronization

/// A separate heap for each backend. A training step takes the same blocks as the step before, so that only the first
/// step asks the system for memory.
///
/// The heap is one range of addresses that grows at its end. Freed blocks join their free neighbours, and an allocation
/// takes the smallest free block that is large enough, so activations of any size use each other's memory: the heap is
/// little larger than the most that was ever in use.
final class MemoryPool: Sendable {
  private struct Block {
    var offset, size: Int
    var end: Int { offset + size }
  }

  private struct State {
    /// Free blocks by offset; no two touch.
    var free: [Block] = []
    /// Bytes from the base that have memory, not only addresses.
    var committed = 0
    var statistics = MemoryStatistics()
  }

  // The last use of a storage may be on any thread.
  private let state = Mutex(State())
  /// The range's first address, as a number since pointers are not Sendable.
  private let base: UInt
  private let capacity: Int

  private static let granule = 64
  private static let growth = 2 << 20

  init() {
    // Addresses cost nothing. A process with an address limit gets fewer; half of the limit is left for everything
    // else.
    var capacity = min(1 << 42, MachineMemory.addresses.map { $0 / 2 } ?? .max) / MemoryPool.growth * MemoryPool.growth
    var base = easel_reserve(capacity)
    while base == nil, capacity > MemoryPool.growth {
      capacity = capacity / 2 / MemoryPool.growth * MemoryPool.growth
      base = easel_reserve(capacity)
    }
    guard let base else { MachineMemory.end(MemoryPool.growth) }
    self.base = UInt(bitPattern: base)
    self.capacity = capacity
  }

  deinit { easel_unreserve(pointer(0), capacity) }

  private func pointer(_ offset: Int) -> UnsafeMutableRawPointer {
    guard let pointer = UnsafeMutableRawPointer(bitPattern: base + UInt(offset)) else { fatalError("no heap") }
    return pointer
  }

  var statistics: MemoryStatistics { state.withLock { $0.statistics } }

  func allocate(byteCount: Int) -> UnsafeMutableRawPointer {
    let size = MemoryPool.blockSize(byteCount)
    let offset = state.withLock { state in
      state.statistics.bytesInUse += size
      state.statistics.peakBytes = max(state.statistics.peakBytes, state.statistics.bytesInUse)
      if let offset = take(size, &state) { return offset }
      return grow(for: size, &state)
    }
    return pointer(offset)
  }

  func release(_ pointer: UnsafeMutableRawPointer, byteCount: Int) {
    let size = MemoryPool.blockSize(byteCount)
    let offset = Int(UInt(bitPattern: pointer) - base)
    state.withLock { state in
      state.statistics.bytesInUse -= size
      insert(Block(offset: offset, size: size), &state)
    }
  }

  /// The start of the smallest free block that is large enough; the first if there are several.
  private func take(_ size: Int, _ state: inout State) -> Int? {
    var best: Int?
    for (index, block) in state.free.enumerated() where block.size >= size {
      if best.map({ block.size < state.free[$0].size }) ?? true { best = index }
    }
    guard let best else { return nil }
    let offset = state.free[best].offset
    state.free[best].offset += size
    state.free[best].size -= size
    if state.free[best].size == 0 { state.free.remove(at: best) }
    return offset
  }

  /// Adds memory at the end, where there may already be a free block.
  private func grow(for size: Int, _ state: inout State) -> Int {
    let last = state.free.last.flatMap { $0.end == state.committed ? $0.size : nil } ?? 0
    let more = (size - last + MemoryPool.growth - 1) / MemoryPool.growth * MemoryPool.growth
    guard state.committed + more <= capacity, easel_commit(pointer(state.committed), more) else {
      MachineMemory.end(more)
    }
    insert(Block(offset: state.committed, size: more), &state)
    state.committed += more
    state.statistics.bytesReserved += more
    state.statistics.systemAllocations += 1
    guard let offset = take(size, &state) else { fatalError("the heap did not grow") }
    return offset
  }

  private func insert(_ block: Block, _ state: inout State) {
    // Finds the first free block behind the new one by bisection.
    var (low, high) = (0, state.free.count)
    while low < high {
      let middle = (low + high) / 2
      if state.free[middle].offset < block.offset { low = middle + 1 } else { high = middle }
    }
    let touchesNext = low < state.free.count && block.end == state.free[low].offset
    if low > 0, state.free[low - 1].end == block.offset {
      state.free[low - 1].size += block.size
      if touchesNext {
        state.free[low - 1].size += state.free[low].size
        state.free.remove(at: low)
      }
    } else if touchesNext {
      state.free[low].offset = block.offset
      state.free[low].size += block.size
    } else {
      state.free.insert(block, at: low)
    }
  }

  private static func blockSize(_ byteCount: Int) -> Int {
    max(granule, (byteCount + granule - 1) / granule * granule)
  }
}
