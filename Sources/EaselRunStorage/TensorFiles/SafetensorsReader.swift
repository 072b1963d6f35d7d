import EaselSupport
import EaselTensors
import Foundation

/// A safetensors file. Its header is checked on opening, and tensors are read on demand.
///
/// Tensors are read, not memory-mapped, so that a disk error or a file that somebody cuts short throws instead of
/// ending the process with SIGBUS. The exception is `mappedTensors(on:)`, for weights of which a copy in memory would be
/// one too many. The format: https://github.com/huggingface/safetensors#format
public final class SafetensorsReader: TensorFile {
  public let path: String
  public let entries: [String: TensorEntry]
  public let metadata: [String: String]

  private let file: OpenFile
  private let bufferOffset: Int
  /// Where the tensors' bytes are, counted from the end of the header.
  private let ranges: [String: Range<Int>]

  /// Opens a file and checks its header.
  ///
  /// - Throws: `UserError(.badData)` with path and field if the file is malformed (short, a header longer than
  ///   10,000,000 bytes or than the file, not JSON, duplicate keys, overlaps, holes, lengths that do not fit the shape,
  ///   data missing or left over); `.missingInput` if there is no file; `.inputOutput` if it cannot be read.
  public init(path: String) throws {
    self.path = path
    file = try OpenFile(path, for: .reading)
    let size = try file.size()
    guard size >= 8 else {
      throw UserError(.badData, "\(path): expected at least 8 bytes, found \(size)")
    }
    let length = try file.bytes(0..<8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length <= UInt64(SafetensorsHeader.maximumLength) else {
      throw UserError(
        .badData, "\(path): header length: expected at most \(SafetensorsHeader.maximumLength) bytes, found \(length)",
        hint: "This is probably not a safetensors file.")
    }
    bufferOffset = 8 + Int(length)
    guard bufferOffset <= size else {
      throw UserError(.badData, "\(path): header: expected \(length) bytes, found \(size - 8)")
    }
    let json = try file.bytes(8..<bufferOffset)
    let header = try SafetensorsHeader(json: json, bufferSize: size - bufferOffset, path: path)
    entries = header.entries.mapValues(\.tensor)
    ranges = header.entries.mapValues(\.range)
    metadata = header.metadata
  }

  public func read(_ name: String, into buffer: UnsafeMutableRawBufferPointer) throws {
    let entry = try entry(name)
    require(buffer.count == entry.byteCount, "\(buffer.count) bytes for \(name)")
    try file.read(into: buffer, at: bufferOffset + (ranges[name]?.lowerBound ?? 0))
  }

  /// The F32 and BF16 tensors as memory that is read when it is used, and that must not be written to. A disk error or a
  /// file that somebody cuts short ends the process then.
  ///
  /// - Parameter backend: the backend that computes with them.
  /// - Returns: the tensors by name; none if the system does not provide the memory.
  package func mappedTensors(on backend: any Backend) -> [String: Tensor] {
    let types: [ElementType: ScalarType] = [.float32: .float32, .bfloat16: .bfloat16]
    let size = ranges.values.map(\.upperBound).max() ?? 0
    // Files of other writers may have any position.
    guard size > 0, bufferOffset % 4 == 0,
      let storage = Storage(ofFile: file.descriptor, from: bufferOffset, byteCount: size, on: backend)
    else { return [:] }
    return entries.reduce(into: [:]) { tensors, item in
      let (name, entry) = item
      guard let type = types[entry.type], let start = ranges[name]?.lowerBound, start % entry.type.size == 0 else {
        return
      }
      tensors[name] = Tensor(
        storage: storage, offset: start / entry.type.size, shape: Shape(entry.shape), type: type)
    }
  }
}
