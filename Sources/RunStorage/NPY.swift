import Foundation
import Tensors

/// An array as NumPy's `.npy` files hold it: row-major, little-endian.
///
/// The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
public struct NPYArray: Equatable, Sendable {
  public enum Values: Equatable, Sendable {
    case float32([Float])
    case uint8([UInt8])
  }

  /// Extents, outermost first.
  public let shape: [Int]
  public let values: Values

  /// - Throws: `UserError(.internalFailure)` where the number of values is not the product of the shape.
  public init(shape: [Int], values: Values) throws {
    let expected = values.elementType.byteCount(shape: shape).map { $0 / values.elementType.size }
    guard expected == values.count else {
      throw UserError(.internalFailure, "an array of shape \(shape) was given \(values.count) values")
    }
    self.shape = shape
    self.values = values
  }

  /// Writes a `.npy` file of version 1.0.
  ///
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  public func write(to path: String) throws {
    let extents = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
    let dictionary = "{'descr': '\(values.description)', 'fortran_order': False, 'shape': (\(extents)), }"
    // The dictionary, padding and a newline end on a multiple of 64 together with the 10 bytes before them.
    let padding = (64 - (Self.prefixLength + dictionary.utf8.count + 1) % 64) % 64
    let header = dictionary + String(repeating: " ", count: padding) + "\n"
    guard let length = UInt16(exactly: header.utf8.count) else {
      throw UserError(.internalFailure, "\(path): a .npy header cannot hold \(shape.count) dimensions")
    }
    let file = try OpenFile(path, for: .writing)
    let prefix = Self.magic + [1, 0, UInt8(truncatingIfNeeded: length), UInt8(length >> 8)]
    try prefix.withUnsafeBytes { try file.write($0) }
    try file.write(header)
    switch values {
    case .float32(let values): try values.withUnsafeBytes { try file.write($0) }
    case .uint8(let values): try values.withUnsafeBytes { try file.write($0) }
    }
  }

  /// Reads a `.npy` file of version 1.0 with `<f4` or `|u1` elements in row-major order.
  ///
  /// - Throws: `UserError(.badData)` with path and field where the file is anything else; `.missingInput` where there is
  ///   none.
  public init(path: String) throws {
    let data = try FileSystem.read(path)
    func refusal(_ field: String, expected: String, found: String) -> UserError {
      UserError(.badData, "\(path): \(field): expected \(expected), found \(found)")
    }
    guard data.count >= Self.prefixLength, data.prefix(6).elementsEqual(Self.magic), data[6] == 1, data[7] == 0 else {
      throw refusal("magic", expected: "a .npy file of version 1.0", found: "other bytes")
    }
    let headerEnd = Self.prefixLength + Int(data[8]) + Int(data[9]) << 8
    guard headerEnd <= data.count else {
      throw refusal("header", expected: "\(headerEnd) bytes", found: "\(data.count)")
    }
    let header = String(decoding: data[Self.prefixLength..<headerEnd], as: UTF8.self)
    let pattern = /\{'descr': '([^']*)', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \} *\n?/
    guard let match = header.wholeMatch(of: pattern) else {
      throw refusal("header", expected: "descr, fortran_order and shape", found: header)
    }
    guard match.2 == "False" else { throw refusal("fortran_order", expected: "False", found: "True") }
    let extents = match.3.split(whereSeparator: { $0 == "," || $0 == " " })
    let shape = extents.compactMap { Int($0) }
    let elementTypes = ["<f4": ElementType.float32, "|u1": .uint8]
    guard let type = elementTypes[String(match.1)] else {
      throw refusal("descr", expected: "<f4 or |u1", found: String(match.1))
    }
    let body = data[headerEnd...]
    guard shape.count == extents.count, type.byteCount(shape: shape) == body.count else {
      throw refusal("shape", expected: "one that fits \(body.count) bytes", found: "(\(match.3))")
    }
    let values: Values =
      type == .uint8
      ? .uint8(Array(body))
      : .float32(
        [UInt8](body).withUnsafeBytes { bytes in
          stride(from: 0, to: bytes.count, by: 4).map { bytes.loadUnaligned(fromByteOffset: $0, as: Float.self) }
        })
    try self.init(shape: shape, values: values)
  }

  private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
  private static let prefixLength = 10
}

extension NPYArray.Values {
  fileprivate var elementType: ElementType {
    switch self {
    case .float32: .float32
    case .uint8: .uint8
    }
  }

  fileprivate var count: Int {
    switch self {
    case .float32(let values): values.count
    case .uint8(let values): values.count
    }
  }

  /// NumPy's name of the element type.
  fileprivate var description: String {
    switch self {
    case .float32: "<f4"
    case .uint8: "|u1"
    }
  }
}
