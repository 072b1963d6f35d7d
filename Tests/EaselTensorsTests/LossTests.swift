import EaselTensors
import EaselTestSupport
import Foundation
import Testing

/// Losses and their gradients against formulas in Double.
struct LossTests {
  struct Kind: Sendable, CustomTestStringConvertible {
    let loss: Loss
    let value: @Sendable (Double, Double) -> Double
    let derivative: @Sendable (Double, Double) -> Double
    var testDescription: String { "\(loss)" }

    static let all = [
      Kind(loss: .squaredError, value: { ($0 - $1) * ($0 - $1) }, derivative: { 2 * ($0 - $1) }),
      Kind(loss: .absoluteError, value: { abs($0 - $1) }, derivative: { $0 > $1 ? 1 : $0 < $1 ? -1 : 0 }),
      Kind(
        loss: .binaryCrossEntropyWithLogits, value: { max($0, 0) - $0 * $1 + log1p(exp(-abs($0))) },
        derivative: { 1 / (1 + exp(-$0)) - $1 }),
    ]
  }

  @Test("Values and gradients", arguments: Kernels.all, Kind.all)
  func formula(kernels: Kernels, kind: Kind) throws {
    let differences = try TensorThread.run {
      let backend = kernels.backend()
      return [[1, 1], [3, 5, 7, 1], [4, 9001]].map(Shape.init).flatMap { shape -> [Difference] in
        let prediction = randomTensor(shape, seed: 1, scale: 3, type: kernels.type, on: backend)
        let target = backend.apply(.sigmoid, randomTensor(shape, seed: 2, type: kernels.type, on: backend))
        let weights = randomTensor([shape[0]], seed: 3, on: backend)
        let (a, b, w) = (prediction.doubles, target.doubles, weights.doubles)
        let size = shape.count / shape[0]
        let sums = (0..<shape[0]).map { n in
          (n * size..<(n + 1) * size).reduce(0) { $0 + kind.value(a[$1], b[$1]) }
        }
        return [
          difference("\(shape)", backend.loss(kind.loss, prediction, target), sums, absolute: 1e-5),
          difference(
            "\(shape) gradient", backend.lossGradient(kind.loss, prediction, target, weights: weights),
            a.indices.map { w[$0 / size] * kind.derivative(a[$0], b[$0]) }),
        ]
      }
    }
    expectClose(differences)
  }

  @Test("Cross-entropy of large logits stays finite", arguments: Kernels.all)
  func largeLogits(kernels: Kernels) throws {
    let logits: [Float] = [-1e4, -1e4, -100, -100, 100, 100, 1e4, 1e4]
    let (losses, gradients, stored) = try TensorThread.run {
      let backend = kernels.backend()
      let prediction = Tensor(logits, shape: [8, 1], type: kernels.type, on: backend)
      let target = Tensor([0, 1, 0, 1, 0, 1, 0, 1], shape: [8, 1], type: kernels.type, on: backend)
      let weights = Tensor(repeating: 1, shape: [8], on: backend)
      return (
        backend.loss(.binaryCrossEntropyWithLogits, prediction, target).values(),
        backend.lossGradient(.binaryCrossEntropyWithLogits, prediction, target, weights: weights).values(),
        prediction.values()
      )
    }
    let wrong = stored.map(abs)
    let expected = [0, wrong[1], 0, wrong[3], wrong[4], 0, wrong[6], 0]
    #expect(zip(losses, expected).allSatisfy { abs($0 - $1) < 1e-6 }, "\(losses)")
    #expect(zip(gradients, [0, -1, 0, -1, 1, 0, 1, 0] as [Float]).allSatisfy { abs($0 - $1) < 1e-6 }, "\(gradients)")
  }

  @Test("Cross-entropy with a distribution", arguments: Kernels.all)
  func crossEntropy(kernels: Kernels) throws {
    let differences = try TensorThread.run {
      let backend = kernels.backend()
      return [[1, 1], [3, 10], [5, 16], [2, 37], [700, 11]].map(Shape.init).map { shape -> Difference in
        let logits = randomTensor(shape, seed: 1, scale: 3, type: kernels.type, on: backend)
        let target = backend.softmax(randomTensor(shape, seed: 2, on: backend), scale: 1, mask: nil)
        let (x, t, columns) = (logits.doubles, target.doubles, shape[1])
        let expected = (0..<shape[0]).map { row in
          let places = row * columns..<(row + 1) * columns
          let logarithm = log(places.reduce(0) { $0 + exp(x[$1]) })
          return places.reduce(0) { $0 + t[$1] * (logarithm - x[$1]) }
        }
        return difference("\(shape)", backend.crossEntropy(logits, target).values(), expected, absolute: 1e-5)
      }
    }
    expectClose(differences)
  }

  @Test("Cross-entropy of certain and of wrong predictions is finite", arguments: Kernels.all)
  func largeCrossEntropy(kernels: Kernels) throws {
    let losses = try TensorThread.run {
      let backend = kernels.backend()
      let logits = Tensor([1e4, -1e4, 0, 1e4, -1e4, 0], shape: [2, 3], type: kernels.type, on: backend)
      return backend.crossEntropy(logits, Tensor([1, 0, 0, 0, 1, 0], shape: [2, 3], on: backend)).values()
    }
    // 1e4 is 9984 in bfloat16.
    #expect(losses[0] == 0 && abs(losses[1] - 2e4) < 100, "\(losses)")
  }
}
