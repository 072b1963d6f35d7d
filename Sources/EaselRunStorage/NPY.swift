import EaselSupport
import EaselTensors
import Foundation

/// An array as in NumPy's `.npy` files.
///
/// The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
public struct NPYArray: Equatable, Sendable {
  /// The values in row-major order.
  public enum Values: Equatable, Sendable {
    case float32([Float])
    case uint8([UInt8])
    /// Values of any other whole-number type. Those beyond 63 bits become the nearest that fits.
    case integers([Int])
  }

  /// Extents, outermost first.
  public let shape: [Int]
  public let values: Values

  /// - Throws: `UserError(.internalFailure)` if the number of values is not the product of the shape.
  public init(shape: [Int], values: Values) throws {
    guard Self.count(shape) == values.count else {
      throw UserError(.internalFailure, "an array of shape \(shape) was given \(values.count) values")
    }
    self.shape = shape
    self.values = values
  }

  /// Writes a little-endian `.npy` file of version 1.0, all at once or not at all; `integers` become int64.
  ///
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  public func write(to path: String) throws {
    let extents = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
    let dictionary = "{'descr': '\(values.description)', 'fortran_order': False, 'shape': (\(extents)), }"
    // Dictionary, padding and newline end on a multiple of 64, including the 10 bytes before them.
    let padding = (64 - (Self.magic.count + 4 + dictionary.utf8.count + 1) % 64) % 64
    let header = dictionary + String(repeating: " ", count: padding) + "\n"
    guard let length = UInt16(exactly: header.utf8.count) else {
      throw UserError(.internalFailure, "\(path): a .npy header cannot hold \(shape.count) dimensions")
    }
    let start = Self.magic + [1, 0, UInt8(truncatingIfNeeded: length), UInt8(length >> 8)] + Array(header.utf8)
    try FileOutput.write(to: path) { sink in
      try start.withUnsafeBytes(sink)
      switch values {
      case .float32(let values): try values.withUnsafeBytes(sink)
      case .uint8(let values): try values.withUnsafeBytes(sink)
      case .integers(let values): try values.withUnsafeBytes(sink)
      }
    }
  }

  /// Reads a `.npy` file with floating-point numbers of 16 to 64 bits or whole numbers, in either byte order and in C's
  /// or Fortran's order of axes.
  ///
  /// - Throws: `UserError(.badData)` with path and field if the file is anything else; `.missingInput` if there is
  ///   none.
  public init(path: String) throws {
    let data = [UInt8](try FileSystem.read(path))
    func refusal(_ field: String, expected: String, found: String, hint: String? = nil) -> UserError {
      UserError(.badData, "\(path): \(field): expected \(expected), found \(found)", hint: hint)
    }
    if data.starts(with: Array("PK".utf8)) {
      throw refusal(
        "magic", expected: "a .npy file", found: "an archive, as .npz files are",
        hint: "Take one array out of it: numpy.save(\"one.npy\", numpy.load(\"many.npz\")[\"arr_0\"]).")
    }
    // The header's length has two bytes in version 1, four in versions 2 and 3.
    let lengthEnd = Self.magic.count + (data.count > Self.magic.count && data[Self.magic.count] == 1 ? 4 : 6)
    guard data.count >= lengthEnd, data.starts(with: Self.magic), (1...3).contains(data[Self.magic.count]) else {
      throw refusal(
        "magic", expected: "a .npy file", found: "other bytes", hint: "Write it with numpy.save(\"array.npy\", array).")
    }
    let headerEnd = lengthEnd + data[(Self.magic.count + 2)..<lengthEnd].reversed().reduce(0) { $0 << 8 | Int($1) }
    guard headerEnd <= data.count else {
      throw refusal("header", expected: "\(headerEnd) bytes", found: "\(data.count)")
    }
    let header = String(decoding: data[lengthEnd..<min(headerEnd, lengthEnd + 1024)], as: UTF8.self)
    let pattern = /\{'descr': '?([^']*?)'?, 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\), \} *\n?/
    guard let match = header.wholeMatch(of: pattern) else {
      throw refusal("header", expected: "descr, fortran_order and shape", found: header.debugDescription)
    }
    guard let type = NumberType(description: String(match.1)) else {
      throw refusal(
        "descr", expected: "numbers: float16 to float64, or integers", found: String(match.1),
        hint: "Convert it: array.astype(\"float32\"), or (array * 255).astype(\"uint8\") for flags.")
    }
    let extents = match.3.split(whereSeparator: { $0 == "," || $0 == " " })
    let shape = extents.compactMap { Int($0) }
    let body = data[headerEnd...]
    guard shape.count == extents.count, let count = Self.count(shape),
      count.multipliedReportingOverflow(by: type.size) == (body.count, false)
    else {
      throw refusal("shape", expected: "one that fits \(body.count) bytes", found: "(\(match.3))")
    }
    let values = type.values(in: body)
    try self.init(shape: shape, values: match.2 == "True" ? values.inRowMajorOrder(shape) : values)
  }

  /// The number of elements; nil if it is impossible.
  private static func count(_ shape: [Int]) -> Int? {
    shape.reduce(1 as Int?) { count, extent in
      guard let count, extent >= 0 else { return nil }
      let (product, overflow) = count.multipliedReportingOverflow(by: extent)
      return overflow ? nil : product
    }
  }

  private static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
}

/// A number type as a `.npy` header names it: byte order, kind and size in bytes.
private struct NumberType {
  let isBigEndian: Bool
  let kind: Character
  let size: Int

  init?(description: String) {
    guard let match = description.wholeMatch(of: /([<>|=]?)(f[248]|[iu][1248])/) else { return nil }
    isBigEndian = match.1 == ">"
    kind = match.2.first ?? "f"
    size = Int(match.2.dropFirst()) ?? 0
  }

  func values(in bytes: ArraySlice<UInt8>) -> NPYArray.Values {
    switch (kind, size) {
    case ("f", 2): .float32(patterns(bytes).map { Float(Float16(bitPattern: $0)) })
    case ("f", 4): .float32(patterns(bytes).map { Float(bitPattern: $0) })
    case ("f", _): .float32(patterns(bytes).map { Float(Double(bitPattern: $0)) })
    case ("u", 1): .uint8(Array(bytes))
    case ("u", 2): .integers(patterns(bytes, UInt16.self).map { Int($0) })
    case ("u", 4): .integers(patterns(bytes, UInt32.self).map { Int($0) })
    case ("u", _): .integers(patterns(bytes, UInt64.self).map { Int(clamping: $0) })
    case (_, 1): .integers(bytes.map { Int(Int8(bitPattern: $0)) })
    case (_, 2): .integers(patterns(bytes).map { Int(Int16(bitPattern: $0)) })
    case (_, 4): .integers(patterns(bytes).map { Int(Int32(bitPattern: $0)) })
    default: .integers(patterns(bytes).map { Int(Int64(bitPattern: $0)) })
    }
  }

  private func patterns<Pattern: FixedWidthInteger>(
    _ bytes: ArraySlice<UInt8>, _ type: Pattern.Type = Pattern.self
  ) -> [Pattern] {
    bytes.withUnsafeBytes { bytes in
      (0..<bytes.count / size).map { index in
        let pattern = bytes.loadUnaligned(fromByteOffset: index * size, as: Pattern.self)
        return isBigEndian ? Pattern(bigEndian: pattern) : Pattern(littleEndian: pattern)
      }
    }
  }
}

extension NPYArray.Values {
  fileprivate var count: Int {
    switch self {
    case .float32(let values): values.count
    case .uint8(let values): values.count
    case .integers(let values): values.count
    }
  }

  /// NumPy's name for the element type.
  fileprivate var description: String {
    switch self {
    case .float32: "<f4"
    case .uint8: "|u1"
    case .integers: "<i8"
    }
  }

  /// Values with the first axis innermost, reordered so that the last is innermost.
  fileprivate func inRowMajorOrder(_ shape: [Int]) -> NPYArray.Values {
    func turned<Value>(_ values: [Value]) -> [Value] {
      let strides = shape.reduce(into: [1]) { strides, extent in strides.append(strides[strides.count - 1] * extent) }
      return values.indices.map { index in
        var (rest, place) = (index, 0)
        for axis in shape.indices.reversed() {
          place += rest % shape[axis] * strides[axis]
          rest /= shape[axis]
        }
        return values[place]
      }
    }
    return switch self {
    case .float32(let values): .float32(turned(values))
    case .uint8(let values): .uint8(turned(values))
    case .integers(let values): .integers(turned(values))
    }
  }
}
