import EaselSupport
import EaselTensors
import Foundation

/// A safetensors file. Its header is checked on opening, and tensors are read on demand.
///
/// Tensors are read, not memory-mapped, so that a disk error or a file that somebody cuts short throws instead of
/// ending the process with SIGBUS. The format: https://github.com/huggingface/safetensors#format
public final class SafetensorsReader: Sendable {
  /// A tensor's type, shape and position.
  public struct Entry: Sendable, Equatable {
    public let type: ElementType
    /// Extents, outermost first; a scalar has none.
    public let shape: [Int]
    /// The range of its bytes, counted from the end of the header.
    public let range: Range<Int>

    public var elementCount: Int { range.count / type.size }
  }

  public let path: String
  public let entries: [String: Entry]
  public let metadata: [String: String]
  /// The tensors' names, sorted.
  public let names: [String]

  private let file: OpenFile
  private let bufferOffset: Int

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
    entries = header.entries
    metadata = header.metadata
    names = header.entries.keys.sorted()
  }

  /// Reads a tensor's bytes (little-endian elements, row-major, 64-byte aligned) and passes them to a closure.
  ///
  /// - Throws: `UserError(.badData)` if the file has no such tensor, and what the closure throws.
  public func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
    let entry = try entry(name)
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: entry.range.count, alignment: 64)
    defer { bytes.deallocate() }
    try file.read(into: bytes, at: bufferOffset + entry.range.lowerBound)
    return try body(UnsafeRawBufferPointer(bytes))
  }

  /// A tensor of F32, BF16, F16 or F64 elements in row-major order; F64 is rounded to the nearest `Float`.
  ///
  /// - Throws: `UserError(.badData)` if there is no such tensor or its elements are of another type.
  public func floats(_ name: String) throws -> [Float] {
    let entry = try entry(name)
    switch entry.type {
    case .float32:
      return try [Float](unsafeUninitializedCapacity: entry.elementCount) { buffer, count in
        let bytes = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<entry.range.count])
        try file.read(into: bytes, at: bufferOffset + entry.range.lowerBound)
        count = entry.elementCount
      }
    case .bfloat16:
      return try map(name, UInt16.self) { Float(bitPattern: UInt32($0) << 16) }
    case .float16:
      return try map(name, UInt16.self) { Float(Float16(bitPattern: $0)) }
    case .float64:
      return try map(name, Double.self) { Float($0) }
    default:
      throw UserError(.badData, "\(path): \(name).dtype: expected F32, BF16, F16 or F64, found \(entry.type.rawValue)")
    }
  }

  /// A tensor of I64 or I32 elements in row-major order.
  ///
  /// - Throws: `UserError(.badData)` if there is no such tensor or its elements are of another type.
  public func integers(_ name: String) throws -> [Int] {
    let entry = try entry(name)
    switch entry.type {
    case .int64: return try map(name, Int64.self) { Int($0) }
    case .int32: return try map(name, Int32.self) { Int($0) }
    default: throw UserError(.badData, "\(path): \(name).dtype: expected I64 or I32, found \(entry.type.rawValue)")
    }
  }

  private func map<Stored: BitwiseCopyable, Value>(
    _ name: String, _: Stored.Type, _ transform: (Stored) -> Value
  ) throws -> [Value] {
    try withBytes(name) { $0.bindMemory(to: Stored.self).map(transform) }
  }

  func entry(_ name: String) throws -> Entry {
    guard let entry = entries[name] else {
      throw UserError(
        .badData, "\(path): no tensor is named \(name)",
        hint: nearestName(to: name, among: names).map { "Did you mean \($0)?" })
    }
    return entry
  }
}
