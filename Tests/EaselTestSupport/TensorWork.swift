import EaselTensors
import Foundation

/// Does a test's tensor work on the process's tensor thread, with a fresh backend. It returns host
/// values: expectations stay outside, since they need the test's own task.
package func onTensors<Result>(
  _ kind: BackendKind = .openblas, threads: Int = 2, _ work: @escaping @Sendable (any Backend) throws -> Result
) throws -> Result {
  try TensorThread.run { try work(Backends.make(kind, threads: threads)) }
}

/// Repeatable normal numbers that do not come from the code under test.
package func randomValues(_ count: Int, seed: UInt64 = 1, scale: Float = 1, shift: Float = 0) -> [Float] {
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

package func randomTensor(
  _ shape: Shape, seed: UInt64 = 1, scale: Float = 1, shift: Float = 0, type: ScalarType = .float32,
  on backend: any Backend
) -> Tensor {
  Tensor(randomValues(shape.count, seed: seed, scale: scale, shift: shift), shape: shape, type: type, on: backend)
}
