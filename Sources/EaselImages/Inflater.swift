import CEaselZlib
import EaselSupport

/// Reads a zlib or gzip stream piece by piece, so that the caller decides how many bytes to hold.
///
/// A gzip stream may consist of several members, one after the other.
package final class Inflater {
  private let compressed: [UInt8]
  private let name: String
  private var consumed = 0
  private var isFinished = false
  // zlib keeps a pointer to its stream, which must therefore not move.
  private let stream: UnsafeMutablePointer<z_stream>

  /// Begins to read. Errors begin with `name`.
  package init(_ compressed: [UInt8], name: String) {
    self.compressed = compressed
    self.name = name
    stream = .allocate(capacity: 1)
    stream.initialize(to: z_stream())
    let detectZlibOrGzip: Int32 = 32 + MAX_WBITS
    let status = inflateInit2_(stream, detectZlibOrGzip, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard status == Z_OK else { fatalError("zlib could not be started (status \(status))") }
  }

  deinit {
    inflateEnd(stream)
    stream.deallocate()
  }

  /// The next bytes; fewer than requested only at the end of the stream.
  ///
  /// - Throws: `UserError` (`badData`) if the stream is damaged, fails its checksum or is cut short.
  package func read(upToCount count: Int) throws -> [UInt8] {
    try [UInt8](unsafeUninitializedCapacity: count) { target, initializedCount in
      while initializedCount < count, !isFinished {
        initializedCount += try inflateOnce(into: UnsafeMutableBufferPointer(rebasing: target[initializedCount...]))
      }
    }
  }

  private func inflateOnce(into target: UnsafeMutableBufferPointer<UInt8>) throws -> Int {
    let offered = UInt32(clamping: compressed.count - consumed)
    let room = UInt32(clamping: target.count)
    let status = compressed.withUnsafeBufferPointer { source in
      // zlib's interface is not const, but it does not write to its input.
      stream.pointee.next_in = source.baseAddress.map { UnsafeMutablePointer(mutating: $0 + consumed) }
      stream.pointee.avail_in = offered
      stream.pointee.next_out = target.baseAddress
      stream.pointee.avail_out = room
      return inflate(stream, Z_NO_FLUSH)
    }
    consumed += Int(offered - stream.pointee.avail_in)
    let produced = Int(room - stream.pointee.avail_out)
    switch status {
    case Z_OK: break
    case Z_STREAM_END: try beginNextMember()
    case Z_BUF_ERROR:
      throw UserError(.badData, "\(name): compressed data is cut short at byte \(compressed.count)")
    default:
      let reason = stream.pointee.msg.map { String(cString: $0) } ?? "zlib status \(status)"
      throw UserError(.badData, "\(name): compressed data is damaged before byte \(consumed) (\(reason))")
    }
    return produced
  }

  private func beginNextMember() throws {
    guard consumed < compressed.count else {
      isFinished = true
      return
    }
    guard compressed[consumed...].starts(with: [0x1F, 0x8B]) else {
      throw UserError(.badData, "\(name): \(compressed.count - consumed) stray bytes after the compressed data")
    }
    inflateReset(stream)
  }
}
