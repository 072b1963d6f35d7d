import EaselSupport

/// The type and the shape of a stored tensor.
public struct TensorEntry: Sendable, Equatable {
  public let type: ElementType
  /// Extents, outermost first; a scalar has none. Their product fits an `Int`.
  public let shape: [Int]

  /// - Parameters:
  ///   - type: the type of the elements.
  ///   - shape: extents, outermost first, whose product fits an `Int`.
  public init(type: ElementType, shape: [Int]) { (self.type, self.shape) = (type, shape) }

  public var elementCount: Int { shape.reduce(1, *) }
  public var byteCount: Int { elementCount * type.size }
}

/// Named tensors on the disk, in a file of any format or in several; they are read on demand.
public protocol TensorFile: Sendable {
  /// What was opened, for messages.
  var path: String { get }
  var entries: [String: TensorEntry] { get }
  /// Fills a buffer with a tensor's little-endian elements in row-major order.
  ///
  /// - Parameters:
  ///   - name: one of the entries' names.
  ///   - buffer: as many bytes as the tensor has.
  /// - Throws: `UserError` if there is no such tensor or the file cannot be read.
  func read(_ name: String, into buffer: UnsafeMutableRawBufferPointer) throws
}

extension TensorFile {
  /// The tensors' names, sorted.
  public var names: [String] { entries.keys.sorted() }

  /// Reads a tensor's bytes (little-endian elements, row-major, 64-byte aligned) and passes them to a closure.
  ///
  /// - Throws: `UserError(.badData)` if the file has no such tensor, and what the closure throws.
  public func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: try entry(name).byteCount, alignment: 64)
    defer { bytes.deallocate() }
    try read(name, into: bytes)
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
        let bytes = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[..<entry.byteCount])
        try read(name, into: bytes)
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

  func entry(_ name: String) throws -> TensorEntry {
    guard let entry = entries[name] else {
      throw UserError(
        .badData, "\(path): no tensor is named \(name)",
        hint: nearestName(to: name, among: names).map { "Did you mean \($0)?" })
    }
    return entry
  }
}
