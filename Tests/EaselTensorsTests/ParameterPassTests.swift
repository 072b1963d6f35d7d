import EaselTensors
import EaselTestSupport
import Foundation
import Testing

/// The passes over parameters against PyTorch's documented rules, written down in Double.
struct ParameterPassTests {
  /// An update rule: its pass at a step (from 1), and the reference's change of one parameter.
  struct Rule: Sendable, CustomTestStringConvertible {
    let name: String
    let method: @Sendable (Int) -> OptimizerPass.Method
    let decay: Float
    let stateCount: Int
    /// p and the state, changed by gradient g (already scaled) with learning rate lr.
    let apply: @Sendable (_ step: Int, _ p: inout Double, _ state: inout [Double], _ g: Double, _ lr: Double) -> Void
    var testDescription: String { name }

    /// torch.optim.SGD.
    static func sgd(momentum: Float, nesterov: Bool, decay: Float) -> Rule {
      let (m, d) = (Double(momentum), Double(decay))
      return Rule(
        name: "SGD, momentum \(momentum)\(nesterov ? ", Nesterov" : ""), decay \(decay)",
        method: { .sgd(momentum: momentum, nesterov: nesterov, isFirst: $0 == 1) }, decay: decay,
        stateCount: momentum == 0 ? 0 : 1,
        apply: { step, p, state, g, lr in
          var g = g + d * p
          if m != 0 {
            state[0] = step == 1 ? g : m * state[0] + g
            g = nesterov ? g + m * state[0] : state[0]
          }
          p -= lr * g
        })
    }

    /// torch.optim.RMSprop. The state: squares, the mean if centred, the velocity if there is momentum.
    static func rmsprop(momentum: Float, centered: Bool, decay: Float) -> Rule {
      let (alpha, epsilon, m) = (Double(Float(0.99)), Double(Float(1e-3)), Double(momentum))
      return Rule(
        name: "RMSprop, momentum \(momentum)\(centered ? ", centred" : ""), decay \(decay)",
        method: { _ in .rmsprop(alpha: 0.99, epsilon: 1e-3, momentum: momentum, centered: centered) }, decay: decay,
        stateCount: 1 + (centered ? 1 : 0) + (momentum == 0 ? 0 : 1),
        apply: { _, p, state, g, lr in
          let g = g + Double(decay) * p
          state[0] = alpha * state[0] + (1 - alpha) * g * g
          if centered { state[1] = alpha * state[1] + (1 - alpha) * g }
          var change = g / ((state[0] - (centered ? state[1] * state[1] : 0)).squareRoot() + epsilon)
          if m != 0 {
            state[state.count - 1] = m * state[state.count - 1] + change
            change = state[state.count - 1]
          }
          p -= lr * change
        })
    }

    /// torch.optim.Adam and AdamW.
    static func adam(decoupled: Bool, decay: Float) -> Rule {
      let (beta1, beta2, epsilon, d) = (Double(Float(0.9)), Double(Float(0.99)), Double(Float(1e-4)), Double(decay))
      return Rule(
        name: "Adam\(decoupled ? "W" : ""), decay \(decay)",
        method: { .adam(beta1: 0.9, beta2: 0.99, epsilon: 1e-4, step: $0, decoupledDecay: decoupled) }, decay: decay,
        stateCount: 2,
        apply: { step, p, state, g, lr in
          let g = decoupled ? g : g + d * p
          if decoupled { p *= 1 - lr * d }
          state[0] = beta1 * state[0] + (1 - beta1) * g
          state[1] = beta2 * state[1] + (1 - beta2) * g * g
          let mean = state[0] / (1 - pow(beta1, Double(step)))
          let square = state[1] / (1 - pow(beta2, Double(step)))
          p -= lr * mean / (square.squareRoot() + epsilon)
        })
    }

    static let all = [
      sgd(momentum: 0, nesterov: false, decay: 0), sgd(momentum: 0, nesterov: false, decay: 0.1),
      sgd(momentum: 0.9, nesterov: false, decay: 0.1), sgd(momentum: 0.9, nesterov: true, decay: 0.1),
      rmsprop(momentum: 0, centered: false, decay: 0), rmsprop(momentum: 0.9, centered: false, decay: 0.1),
      rmsprop(momentum: 0, centered: true, decay: 0), rmsprop(momentum: 0.9, centered: true, decay: 0.1),
      adam(decoupled: false, decay: 0), adam(decoupled: false, decay: 0.1), adam(decoupled: true, decay: 0.1),
    ]
  }

  @Test("Five steps of each rule", arguments: InstructionSet.available, Rule.all)
  func updates(instructionSet: InstructionSet, rule: Rule) throws {
    let (count, lr, scale) = (20_003, Float(0.05), Float(0.5))
    let (difference, stateCount, moved) = try TensorThread.run {
      let backend = OpenBLASBackend(threads: ThreadPool(count: 2), instructionSet: instructionSet)
      let parameters = randomTensor([count], seed: 1, on: backend)
      var expected = parameters.doubles
      let stateCount = OptimizerPass(rule.method(1), learningRate: lr).stateCount
      let state = (0..<stateCount).map { _ in Tensor(repeating: 0, shape: [count], on: backend) }
      var states = [[Double]](repeating: [Double](repeating: 0, count: rule.stateCount), count: count)
      let generation = parameters.storage.generation
      for step in 1...5 {
        let gradients = randomTensor([count], seed: UInt64(10 + step), on: backend)
        backend.update(
          parameters, gradients: gradients, state: state,
          OptimizerPass(rule.method(step), learningRate: lr, weightDecay: rule.decay, gradientScale: scale))
        for (i, gradient) in gradients.values().enumerated() {
          rule.apply(step, &expected[i], &states[i], Double(scale * gradient), Double(lr))
        }
      }
      return (
        EaselTensorsTests.difference("parameters", parameters.values(), expected, relative: 2e-5, absolute: 2e-5),
        stateCount, parameters.storage.generation != generation
      )
    }
    expectClose([difference])
    #expect(stateCount == rule.stateCount)
    #expect(moved, "cached copies of the parameters must be given up")
  }

  @Test("The moving average and the sum of squares", arguments: InstructionSet.available)
  func averages(instructionSet: InstructionSet) throws {
    let (differences, sums, squares) = try TensorThread.run {
      let backend = OpenBLASBackend(threads: ThreadPool(count: 2), instructionSet: instructionSet)
      let differences = [5, 40_001].map { count -> Difference in
        let parameters = randomTensor([count], seed: 1, on: backend)
        let average = randomTensor([count], seed: 2, on: backend)
        let expected = zip(parameters.doubles, average.doubles).map { 0.75 * $1 + 0.25 * $0 }
        backend.movingAverage(parameters, into: average, decay: 0.75)
        return difference("average of \(count)", average.values(), expected)
      }
      // A float32 sum of this many would stall at 2^24.
      let many = Tensor(repeating: 1, shape: [20_000_003], on: backend)
      let some = randomTensor([12_345], seed: 3, scale: 1e-3, on: backend)
      return (
        differences, [backend.sumOfSquares(many), backend.sumOfSquares(some)],
        some.doubles.reduce(0) { $0 + $1 * $1 }
      )
    }
    expectClose(differences)
    #expect(sums[0] == 20_000_003)
    #expect(abs(sums[1] / squares - 1) < 1e-12)
  }
}
