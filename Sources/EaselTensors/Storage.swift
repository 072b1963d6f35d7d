import Synchronization

/// A block of a backend's memory. It returns to the backend's pool with its last use.
public final class Storage {
  /// The first byte, at a multiple of 64.
  public let pointer: UnsafeMutableRawPointer
  public let byteCount: Int
  public let backend: any Backend

  /// Identifies the values in this memory, by a number that no two contents ever share; 0 for temporaries.
  ///
  /// Backends keep reordered copies of parameters by this number. See ``markModified()``.
  public private(set) var generation: UInt64 = 0

  init(pointer: UnsafeMutableRawPointer, byteCount: Int, backend: any Backend) {
    self.pointer = pointer
    self.byteCount = byteCount
    self.backend = backend
  }

  /// Records that long-lived contents (parameters) have changed, or that the contents are long-lived from now on.
  public func markModified() { generation = Storage.generations.add(1, ordering: .relaxed).newValue }

  private static let generations = Atomic<UInt64>(0)

  deinit { backend.release(pointer, byteCount: byteCount, wasPersistent: generation != 0) }
}

/// What a memory pool has done so far.
public struct MemoryStatistics: Sendable, Codable, Equatable {
  /// Bytes in use now, and the most at any time.
  public var bytesInUse = 0
  public var peakBytes = 0
  /// Bytes taken from the system, and the number of requests.
  public var bytesReserved = 0
  public var systemAllocations = 0
}
