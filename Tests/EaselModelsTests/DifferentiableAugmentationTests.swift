import EaselModels
import EaselTestSupport
import Testing

@Suite struct DifferentiableAugmentationTests {
  static let data = DataDescription(width: 6, height: 8, channels: 3)

  @Test("Its gradient is its transpose", arguments: DifferentiableAugmentation.Change.allCases)
  func transpose(change: DifferentiableAugmentation.Change) throws {
    let (forward, backward) = try onTensors { backend in
      let augmentation = DifferentiableAugmentation(changes: [change])
      let draw = RandomDraw(seed: 5, stream: .noise, index: 3)
      let x = normalValues(Self.data.shape(6), seed: 1, on: backend)
      let zero = Tensor(repeating: 0, shape: x.shape, on: backend)
      let weights = normalValues(x.shape, seed: 2, on: backend)
      func sum(_ a: Tensor, _ b: Tensor) -> Double {
        zip(a.values(), b.values()).reduce(0) { $0 + Double($1.0 * $1.1) }
      }
      let tape = Tape()
      let input = tape.variable(x)
      let y = augmentation(input, draw)
      tape.backward(
        from: weightedSum(y.reshaped([-1]), weights: weights.reshaped([-1])))
      let linearPart = y.value - augmentation(Variable(zero), draw).value
      // wᵀ A x both ways.
      return (sum(weights, linearPart), tape.gradient(of: input).map { sum($0, x) } ?? .nan)
    }
    #expect(abs(forward - backward) < 1e-3 * abs(forward), "\(forward), \(backward)")
  }

  @Test(
    "An image's change does not depend on the others", arguments: DifferentiableAugmentation.Change.allCases)
  func keyedByIndex(change: DifferentiableAugmentation.Change) throws {
    let (all, some, original) = try onTensors { backend in
      let augmentation = DifferentiableAugmentation(changes: [change])
      let x = normalValues(Self.data.shape(6), seed: 1, on: backend)
      func run(_ images: Tensor, _ index: UInt64) -> [Float] {
        augmentation(Variable(images), RandomDraw(seed: 5, stream: .noise, index: index)).value.values()
      }
      return (run(x, 0), run(x[2..<5], 2), x.values())
    }
    #expect(Array(all[2 * 144..<5 * 144]) == some)
    #expect(all != original)
  }
}
