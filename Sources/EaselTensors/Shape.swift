/// The sizes of a tensor's axes, outermost first. Images are `[N, H, W, C]`, tokens `[N, T, C]`.
public struct Shape: Hashable, Sendable, ExpressibleByArrayLiteral, CustomStringConvertible {
  public let sizes: [Int]

  /// A shape from sizes of 0 or more, outermost first; without sizes, that of a single number.
  public init(_ sizes: [Int]) { self.sizes = sizes }
  /// The same, written `[N, H, W, C]`.
  public init(arrayLiteral sizes: Int...) { self.sizes = sizes }

  /// The number of axes; 0 for a single number.
  public var rank: Int { sizes.count }
  /// The number of elements: the product of the sizes.
  public var count: Int { sizes.reduce(1, *) }
  /// The size of the innermost axis; 1 for a scalar.
  public var last: Int { sizes.last ?? 1 }

  /// The size of an axis, counted from 0; negative indices count from the end, −1 being the innermost. An axis that
  /// does not exist traps.
  public subscript(axis: Int) -> Int { sizes[axis < 0 ? sizes.count + axis : axis] }

  /// The shape with another innermost size; `[size]` if it has no axes.
  public func replacingLast(with size: Int) -> Shape { Shape(sizes.dropLast() + [size]) }

  public var description: String { "[" + sizes.map(String.init).joined(separator: ", ") + "]" }
}

/// The type of a tensor's elements: `float32` and `bfloat16` for activations, `int32` for labels and indices.
public enum ScalarType: String, Sendable, CaseIterable, Codable {
  case float32
  case bfloat16
  case int32

  /// Bytes of one element.
  public var byteCount: Int {
    switch self {
    case .float32, .int32: 4
    case .bfloat16: 2
    }
  }
}

/// Stops the program at a mistake in code, such as shapes or types that do not fit together.
///
/// A release-mode `precondition` drops its text; this keeps it.
///
/// - Parameters:
///   - message: what was expected and what was found.
///   - file: the source file of the call.
///   - line: the line of the call.
public func fatalShape(_ message: @autoclosure () -> String, file: StaticString = #file, line: UInt = #line) -> Never {
  fatalError("shape mismatch: " + message(), file: file, line: line)
}

/// Checks a condition that the caller's code must meet, and traps otherwise. The message survives in release builds.
///
/// - Parameters:
///   - condition: the condition that must hold.
///   - message: what was expected and what was found.
///   - file: the source file of the call.
///   - line: the line of the call.
@inline(__always)
public func require(
  _ condition: Bool, _ message: @autoclosure () -> String, file: StaticString = #file, line: UInt = #line
) {
  if !condition { fatalShape(message(), file: file, line: line) }
}
