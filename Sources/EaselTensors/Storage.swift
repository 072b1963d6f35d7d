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
