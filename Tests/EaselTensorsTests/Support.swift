import EaselTensors
import Foundation
import Testing

/// How far a result is from the expected one.
struct Difference: Sendable, CustomStringConvertible {
  let name: String
  /// ‖a − b‖ / ‖b‖.
  let relative: Double
  /// max |a − b|.
  let largest: Double
  /// max of |a − b| / (absolute + relative · |b|), the tolerances being those of ``difference(_:_:_:relative:absolute:)``.
  let excess: Double

  var description: String { "\(name): relative \(relative), largest \(largest), excess \(excess)" }
}

/// Compares numbers; NaN where either has one, unless both have it in the same places.
func difference(
  _ name: String, _ a: [Float], _ b: [Double], relative: Double = 1e-5, absolute: Double = 1e-6
) -> Difference {
  guard a.count == b.count else { return Difference(name: name, relative: .nan, largest: .nan, excess: .nan) }
  var (square, norm, largest, excess) = (0.0, 0.0, 0.0, 0.0)
  for (a, b) in zip(a, b) where !(a.isNaN && b.isNaN) && Double(a) != b {
    let distance = abs(Double(a) - b)
    square += distance * distance
    if !(distance <= largest) { largest = distance }
    let fraction = distance / (absolute + relative * abs(b))
    if !(fraction <= excess) { excess = fraction }
  }
  for b in b where !b.isNaN && b.isFinite { norm += b * b }
  return Difference(
    name: name, relative: (square / max(norm, 1e-30)).squareRoot(), largest: largest, excess: excess)
}

func difference(
  _ name: String, _ a: [Float], _ b: [Float], relative: Double = 1e-5, absolute: Double = 1e-6
) -> Difference {
  difference(name, a, b.map(Double.init), relative: relative, absolute: absolute)
}

/// Compares a kernel's result with a reference computed from the same inputs in Double: bfloat16 is rounded once at the end.
func difference(_ name: String, _ a: Tensor, _ b: [Double], absolute: Double = 2e-6, relative: Double = 1e-5)
  -> Difference
{
  difference(
    name, a.values(), b, relative: a.type == .bfloat16 ? 1.0 / 256 : relative,
    absolute: a.type == .bfloat16 ? max(absolute, 1e-5) : absolute)
}

/// Expects every element within its tolerance.
func expectClose(_ differences: [Difference], sourceLocation: SourceLocation = #_sourceLocation) {
  #expect(!differences.isEmpty, sourceLocation: sourceLocation)
  for difference in differences { #expect(difference.excess <= 1, "\(difference)", sourceLocation: sourceLocation) }
}

/// Expects ‖a − b‖ / ‖b‖ and max |a − b| below limits.
func expectClose(
  _ differences: [Difference], relative: Double, largest: Double, sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(!differences.isEmpty, sourceLocation: sourceLocation)
  for difference in differences {
    #expect(difference.relative < relative, "\(difference)", sourceLocation: sourceLocation)
    #expect(difference.largest < largest, "\(difference)", sourceLocation: sourceLocation)
  }
}

extension Tensor {
  /// The values as Double, for references.
  var doubles: [Double] { values().map(Double.init) }
  var bytes: [UInt8] { withBytes { Array($0) } }
}

/// A set of loops: an instruction set and a type of activations.
struct Kernels: Sendable, CustomTestStringConvertible {
  let instructionSet: InstructionSet
  let type: ScalarType

  static let all = InstructionSet.available.flatMap { set in
    [ScalarType.float32, .bfloat16].map { Kernels(instructionSet: set, type: $0) }
  }

  var testDescription: String { "\(instructionSet) \(type)" }

  /// A backend that uses these loops.
  func backend(threads: Int = 2) -> OpenBLASBackend {
    OpenBLASBackend(threads: ThreadPool(count: threads), instructionSet: instructionSet)
  }
}

/// Sizes of a 3 × 4 × … pattern of indices, in row-major order.
func indices(_ shape: Shape) -> [[Int]] {
  shape.sizes.reduce([[]]) { prefixes, size in prefixes.flatMap { prefix in (0..<size).map { prefix + [$0] } } }
}
