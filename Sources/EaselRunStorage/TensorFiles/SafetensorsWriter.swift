import EaselSupport
import EaselTensors
import Foundation

/// Writes safetensors files. The same tensors give the same bytes, whatever order they come in.
///
/// Tensors are in the reference writer's order: larger element types first, so that each is aligned, then by name.
public enum SafetensorsWriter {
  /// A tensor to write. Its bytes are requested only when it is written, so that not all tensors are in memory at once.
  public struct Tensor {
    public let name: String
    public let type: ElementType
    public let shape: [Int]
    let writeBytes: (_ sink: (UnsafeRawBufferPointer) throws -> Void) throws -> Void

    /// - Parameters:
    ///   - name: the tensor's name in the file.
    ///   - type: the type of its elements.
    ///   - shape: the sizes of its axes, outermost first.
    ///   - writeBytes: passes little-endian, row-major elements to the sink, in one piece or in several.
    public init(
      name: String, type: ElementType, shape: [Int],
      writeBytes: @escaping (_ sink: (UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) {
      self.name = name
      self.type = type
      self.shape = shape
      self.writeBytes = writeBytes
    }

    /// Does everything but write it: whatever is wrong with the source shows.
    package func readThrough() throws { try writeBytes { _ in } }

    /// An F32 tensor of values in row-major order.
    public init(name: String, shape: [Int], floats: [Float]) {
      self.init(name: name, type: .float32, shape: shape) { sink in try floats.withUnsafeBytes(sink) }
    }

    /// An I64 tensor of values in row-major order.
    public init(name: String, shape: [Int], integers: [Int]) {
      self.init(name: name, type: .int64, shape: shape) { sink in
        try integers.map { Int64($0) }.withUnsafeBytes(sink)
      }
    }
  }

  /// Writes a file and waits until it is on the disk.
  ///
  /// - Parameters:
  ///   - tensors: the tensors to write, in this order.
  ///   - metadata: texts for the header's `__metadata__`.
  ///   - path: the file's path.
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason (no space, no permission);
  ///   `.internalFailure` if two tensors share a name or if the bytes of one do not fit its shape.
  public static func write(_ tensors: [Tensor], metadata: [String: String] = [:], to path: String) throws {
    let sorted = tensors.sorted {
      $0.type.size != $1.type.size ? $0.type.size > $1.type.size : $0.name.utf8.lexicographicallyPrecedes($1.name.utf8)
    }
    let (header, byteCounts) = try header(sorted, metadata: metadata, path: path)
    let file = try OpenFile(path, for: .writing)
    try withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { try file.write($0) }
    try file.write(header)
    for (tensor, byteCount) in zip(sorted, byteCounts) {
      var written = 0
      try tensor.writeBytes { bytes in
        written += bytes.count
        try file.write(bytes)
      }
      guard written == byteCount else {
        throw UserError(
          .internalFailure, "\(path): \(tensor.name): expected \(byteCount) bytes for its shape, was given \(written)")
      }
    }
    try file.sync()
  }

  /// The padded header for tensors in their order of writing, and the length of each.
  private static func header(
    _ tensors: [Tensor], metadata: [String: String], path: String
  ) throws -> (text: String, byteCounts: [Int]) {
    var fields: [String] = []
    if !metadata.isEmpty {
      let texts = try metadata.sorted { $0.key < $1.key }.map { "\(try quoted($0.key)):\(try quoted($0.value))" }
      fields.append("\"__metadata__\":{\(texts.joined(separator: ","))}")
    }
    var names: Set<String> = ["__metadata__"]
    var byteCounts: [Int] = []
    var end = 0
    for tensor in tensors {
      guard names.insert(tensor.name).inserted else {
        throw UserError(.internalFailure, "\(path): two tensors are named \(tensor.name)")
      }
      guard let byteCount = tensor.type.byteCount(shape: tensor.shape) else {
        throw UserError(.internalFailure, "\(path): \(tensor.name) cannot have the shape \(tensor.shape)")
      }
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      fields.append(
        """
        \(try quoted(tensor.name)):{"dtype":"\(tensor.type.rawValue)","shape":[\(shape)],\
        "data_offsets":[\(end),\(end + byteCount)]}
        """)
      byteCounts.append(byteCount)
      end += byteCount
    }
    let text = "{\(fields.joined(separator: ","))}"
    let padding = (8 - text.utf8.count % 8) % 8
    return (text + String(repeating: " ", count: padding), byteCounts)
  }

  /// A text as a JSON string literal.
  private static func quoted(_ text: String) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .withoutEscapingSlashes
    return String(decoding: try encoder.encode(text), as: UTF8.self)
  }
}
