import EaselOptimizers
import EaselTestSupport
import Foundation
import Testing

extension Arena {
  /// Moves every parameter off its initial value, since zeros would hide everything before them.
  func randomize(scale: Float = 0.5) {
    for (index, parameter) in parameters.enumerated() {
      let noise = randomTensor(parameter.shape, seed: UInt64(1000 + index), scale: scale, on: backend)
      backend.accumulate(noise, alpha: 1, into: parameter.value)
    }
    values.storage.markModified()
  }
}
