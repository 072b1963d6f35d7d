import CKernels
import Synchronization

/// A block of a backend's memory, which goes back to the backend's pool with its last use.
public final class Storage {
  /// The first byte, at a multiple of 64.
  public let pointer: UnsafeMutableRawPointer
  public let byteCount: Int
  public let backend: any Backend

  /// Which values this memory holds, as a number no two contents ever share; 0 for temporaries.
  ///
  /// Backends keep reordered copies of parameters under it. See ``markModified()``.
  public private(set) var generation: UInt64 = 0

  init(pointer: UnsafeMutableRawPointer, byteCount: Int, backend: any Backend) {
    self.pointer = pointer
    self.byteCount = byteCount
    self.backend = backend
  }

  /// Says that long-lived contents (parameters) have changed, or that from now on contents are long-lived.
  public func markModified() { generation = Storage.generations.add(1, ordering: .relaxed).newValue }

  private static let generations = Atomic<UInt64>(0)

  deinit { backend.release(pointer, byteCount: byteCount, wasPersistent: generation != 0) }
}

/// What a memory pool has done so far.
public struct MemoryStatistics: Sendable, Codable, Equatable {
  /// Bytes handed out now, and the most at any time.
  public var bytesInUse = 0
  public var peakBytes = 0
  /// Bytes taken from the system, and how often it was asked.
  public var bytesReserved = 0
  public var systemAllocations = 0
}

/// Keeps freed blocks by size class, so that a training step asks the system for nothing after the first.
///
/// Classes are four to the power of two: at most a quarter of a block is unused.
final class MemoryPool {
  private struct State: ~Copyable {
    var free: [Int: [UnsafeMutableRawPointer]] = [:]
    var statistics = MemoryStatistics()
  }

  // A storage may see its last use on any thread.
  private let state = Mutex(State())

  var statistics: MemoryStatistics { state.withLock { $0.statistics } }

  func allocate(byteCount: Int) -> UnsafeMutableRawPointer {
    let size = MemoryPool.sizeClass(byteCount)
    // The address crosses the lock as a number because pointers are not Sendable.
    let address = state.withLock { state -> Int in
      state.statistics.bytesInUse += size
      state.statistics.peakBytes = max(state.statistics.peakBytes, state.statistics.bytesInUse)
      if let pointer = state.free[size]?.popLast() { return Int(bitPattern: pointer) }
      state.statistics.bytesReserved += size
      state.statistics.systemAllocations += 1
      return Int(bitPattern: easel_allocate(size))
    }
    guard let pointer = UnsafeMutableRawPointer(bitPattern: address) else {
      fatalError("out of memory: \(size) bytes more than the \(statistics.bytesReserved) in use")
    }
    return pointer
  }

  func release(_ pointer: UnsafeMutableRawPointer, byteCount: Int) {
    let size = MemoryPool.sizeClass(byteCount)
    let address = Int(bitPattern: pointer)
    state.withLock { state in
      state.statistics.bytesInUse -= size
      if let pointer = UnsafeMutableRawPointer(bitPattern: address) { state.free[size, default: []].append(pointer) }
    }
  }

  deinit {
    state.withLock { state in
      for pointer in state.free.values.joined() { easel_free(pointer) }
    }
  }

  static func sizeClass(_ byteCount: Int) -> Int {
    let bytes = max(byteCount, 256)
    let step = 1 << (Int.bitWidth - 1 - bytes.leadingZeroBitCount - 2)
    return (bytes + step - 1) / step * step
  }
}
