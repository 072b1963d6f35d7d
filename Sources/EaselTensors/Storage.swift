import CEaselKernels
import Synchronization

/// A block of a backend's memory, or a part of a file in its place. It returns to the backend's pool with its last use.
public final class Storage {
  /// The first byte, at a multiple of 64, or in a file at one of 4.
  public let pointer: UnsafeMutableRawPointer
  public let byteCount: Int
  public let backend: any Backend
  /// Whether the bytes are those of a file.
  private let isFile: Bool

  /// Identifies the values in this memory, by a number that no two contents ever share; 0 for temporaries.
  ///
  /// Backends keep reordered copies of parameters by this number. See ``markModified()``.
  public private(set) var generation: UInt64 = 0

  init(pointer: UnsafeMutableRawPointer, byteCount: Int, backend: any Backend) {
    (self.pointer, self.byteCount, self.backend, isFile) = (pointer, byteCount, backend, false)
  }

  /// Bytes of a file, which must not be written to. They are read from the disk when they are used, and again after
  /// ``evict(_:byteCount:)``.
  ///
  /// If the file is cut meanwhile or its disk fails, their next use ends the process. A file that others replace or
  /// remove stays as it was.
  ///
  /// - Parameters:
  ///   - descriptor: an open file; it may be closed afterwards.
  ///   - start: the position of the first byte, a multiple of 4.
  ///   - byteCount: their number; the file must have as many.
  ///   - backend: the backend that computes with them, in the host's memory.
  /// - Returns: nil if the system does not provide the memory.
  package init?(ofFile descriptor: Int32, from start: Int, byteCount: Int, on backend: any Backend) {
    require(start % 4 == 0 && byteCount > 0, "\(byteCount) bytes at \(start) of a file")
    guard let bytes = easel_map_file(descriptor, start, byteCount) else { return nil }
    (pointer, self.byteCount, self.backend, isFile) = (bytes, byteCount, backend, true)
    markModified()
  }

  /// Lets bytes of a file leave the memory until their next use. Bytes that are only in memory stay.
  func evict(_ pointer: UnsafeMutableRawPointer, byteCount: Int) {
    if isFile { easel_evict(pointer, byteCount) }
  }

  /// Records that long-lived contents (parameters) have changed, or that the contents are long-lived from now on.
  public func markModified() { generation = Storage.generations.add(1, ordering: .relaxed).newValue }

  private static let generations = Atomic<UInt64>(0)

  deinit {
    if generation != 0 { backend.forget(pointer, byteCount: byteCount) }
    if isFile {
      easel_unmap_file(pointer, byteCount)
    } else {
      backend.release(pointer, byteCount: byteCount)
    }
  }
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
