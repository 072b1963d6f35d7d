import Foundation
import Tensors
import Testing

/// Does a test's tensor work where all of a process's tensor work belongs. Expectations stay outside: they need the test's
/// own task.
func onTensorThread<Result>(_ work: @escaping @Sendable () throws -> Result) throws -> Result {
  try TensorThread.run(work)
}

/// How far a result is from what it should be.
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
    let share = distance / (absolute + relative * abs(b))
    if !(share <= excess) { excess = share }
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

/// Repeatable normal numbers that do not come from the code under test.
func randomValues(_ count: Int, seed: UInt64 = 1, scale: Float = 1, shift: Float = 0) -> [Float] {
  var state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678
  func uniform() -> Double {  // SplitMix64
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return (Double((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53
  }
  return (0..<count).map { _ in
    Float((-2 * log(uniform())).squareRoot() * cos(2 * .pi * uniform())) * scale + shift
  }
}

func randomTensor(
  _ shape: Shape, seed: UInt64 = 1, scale: Float = 1, shift: Float = 0, type: ScalarType = .float32,
  on backend: any Backend
) -> Tensor {
  Tensor(randomValues(shape.count, seed: seed, scale: scale, shift: shift), shape: shape, type: type, on: backend)
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
