/// The sizes of a tensor's axes, outermost first. Images are `[N, H, W, C]`, tokens `[N, T, C]`.
public struct Shape: Hashable, Sendable, ExpressibleByArrayLiteral, CustomStringConvertible {
  public let sizes: [Int]

  public init(_ sizes: [Int]) { self.sizes = sizes }
  public init(arrayLiteral sizes: Int...) { self.sizes = sizes }

  public var rank: Int { sizes.count }
  /// The number of elements.
  public var count: Int { sizes.reduce(1, *) }
  /// The size of the innermost axis, 1 for a scalar.
  public var last: Int { sizes.last ?? 1 }

  /// The size of an axis; a negative one counts from the end.
  public subscript(axis: Int) -> Int { sizes[axis < 0 ? sizes.count + axis : axis] }

  /// The same shape with another innermost size.
  public func replacingLast(with size: Int) -> Shape { Shape(sizes.dropLast() + [size]) }

  public var description: String { "[" + sizes.map(String.init).joined(separator: ", ") + "]" }
}

/// The type of a tensor's elements.
public enum ScalarType: String, Sendable, CaseIterable, Codable {
  case float32
  case bfloat16
  case int32

  public var byteCount: Int {
    switch self {
    case .float32, .int32: 4
    case .bfloat16: 2
    }
  }
}

/// Stops the program at a mistake in code: shapes or types that do not fit together.
///
/// A release `precondition` drops its text; this keeps it.
public func fatalShape(_ message: @autoclosure () -> String, file: StaticString = #file, line: UInt = #line) -> Never {
  fatalError("shape mismatch: " + message(), file: file, line: line)
}

/// Checks what a caller's code has to get right, with a message that survives in release builds.
@inline(__always)
public func require(
  _ condition: Bool, _ message: @autoclosure () -> String, file: StaticString = #file, line: UInt = #line
) {
  if !condition { fatalShape(message(), file: file, line: line) }
}
