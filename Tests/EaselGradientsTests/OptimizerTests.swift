import EaselOptimizers
import EaselTestSupport
import Foundation
import Testing

struct OptimizerTests {
  /// An arena of one parameter `[count]` of ones, with gaps to the next multiple of 16.
  private static func makeArena(_ count: Int, on backend: any Backend, gradients: [Float]) -> (Parameter, Arena) {
    let scope = Scope()
    let parameter = scope.parameter("p", [count], .ones)
    let arena = scope.makeArena(on: backend, seed: 1)
    parameter.gradient.withMutableFloats { _ = $0.update(fromContentsOf: gradients) }
    return (parameter, arena)
  }

  @Test("Clipping scales the whole gradient to the limit", arguments: Backends.available)
  func clipping(kind: BackendKind) throws {
    let results = try onTensors(kind) { backend in
      ([1, 10, nil] as [Float?]).map { limit -> (norm: Float, values: [Float], gradients: [Float]) in
        let (parameter, arena) = Self.makeArena(2, on: backend, gradients: [3, 4])
        let optimizer = Optimizer(arena, method: .sgd(), maximumGradientNorm: limit)
        let norm = optimizer.step(learningRate: 0.5)
        return (norm, parameter.value.values(), arena.gradients.values())
      }
    }
    // 1 − 0.5 · g · min(1, limit / (5 + 1e-6)).
    let expected: [[Float]] = [[0.7, 0.6], [-0.5, -1], [-0.5, -1]]
    for (result, expected) in zip(results, expected) {
      #expect(result.norm == 5)
      #expect(zip(result.values, expected).allSatisfy { abs($0 - $1) < 1e-6 }, "\(result.values)")
      #expect(result.gradients.allSatisfy { $0 == 0 }, "gradients are zeroed after the step")
    }
  }

  @Test("A gradient that is not finite changes nothing", arguments: [Float.nan, .infinity])
  func notFinite(bad: Float) throws {
    let (norm, values, state, steps, next) = try onTensors { backend in
      let (parameter, arena) = Self.makeArena(3, on: backend, gradients: [1, bad, 1])
      let optimizer = Optimizer(arena, method: .adam())
      let norm = optimizer.step(learningRate: 0.1)
      let values = parameter.value.values()
      let (state, steps) = (optimizer.state.map { $0.values() }, optimizer.stepCount)
      parameter.gradient.withMutableFloats { $0.update(repeating: 2) }
      optimizer.step(learningRate: 0.1)
      return (norm, values, state, steps, parameter.value.values())
    }
    #expect(!norm.isFinite)
    #expect(values == [1, 1, 1])
    #expect(state.joined().allSatisfy { $0 == 0 })
    #expect(steps == 0)
    // Adam's first step is the learning rate.
    #expect(next.allSatisfy { abs($0 - 0.9) < 1e-5 })
  }

  @Test("A loss that is not finite changes nothing, whatever its gradient", arguments: [Float.nan, .infinity])
  func lossNotFinite(bad: Float) throws {
    let (values, gradients, steps, nonFinite) = try onTensors { backend in
      let (parameter, arena) = Self.makeArena(3, on: backend, gradients: [1, 2, 3])
      let optimizer = Optimizer(arena, method: .adam())
      optimizer.step(learningRate: 0.1, loss: bad)
      let result = (parameter.value.values(), arena.gradients.values(), optimizer.stepCount)
      let nonFinite = optimizer.nonFinite
      optimizer.nonFinite = nil
      parameter.gradient.withMutableFloats { $0.update(repeating: 2) }
      optimizer.step(learningRate: 0.1, loss: 1)
      return (result.0, result.1, result.2, [nonFinite, optimizer.nonFinite])
    }
    #expect(values == [1, 1, 1] && steps == 0)
    #expect(gradients.allSatisfy { $0 == 0 })
    #expect(nonFinite == ["the loss", nil])
  }

  @Test(
    "An optimizer continues from its state and step count",
    arguments: [
      OptimizerMethod.sgd(momentum: 0.9, nesterov: true), .rmsprop(momentum: 0.5, centered: true), .adam(), .adamW(),
    ])
  func resume(method: OptimizerMethod) throws {
    let (through, resumed) = try onTensors { backend in
      func gradients(_ step: Int) -> [Float] { randomValues(5, seed: UInt64(step + 1)) }
      func train(_ optimizer: Optimizer, _ steps: Range<Int>) {
        for step in steps {
          optimizer.arena.parameters[0].gradient.withMutableFloats { _ = $0.update(fromContentsOf: gradients(step)) }
          optimizer.step(learningRate: 0.01)
        }
      }
      let (_, whole) = Self.makeArena(5, on: backend, gradients: [])
      let first = Optimizer(whole, method: method, weightDecay: 0.1)
      train(first, 0..<6)

      let (_, half) = Self.makeArena(5, on: backend, gradients: [])
      let before = Optimizer(half, method: method, weightDecay: 0.1)
      train(before, 0..<3)
      let after = Optimizer(half, method: method, weightDecay: 0.1)
      for (from, to) in zip(before.state, after.state) { backend.accumulate(from, alpha: 1, into: to) }
      after.stepCount = before.stepCount
      train(after, 3..<6)
      return (whole.values.values(), half.values.values())
    }
    #expect(through == resumed)
    #expect(through.prefix(5).allSatisfy { $0 != 1 })
    #expect(through.dropFirst(5).allSatisfy { $0 == 0 }, "the gaps stay zero")
  }

  @Test("Weight decay can spare parameters of one axis", arguments: [true, false])
  func decayOfVectors(decaysVectors: Bool) throws {
    let (values, gaps) = try onTensors { backend in
      let scope = Scope()
      // Vectors and matrices in turn, and more than one block of each.
      let shapes: [Shape] = [[3], [2, 5], [20], [1, 1, 4], [1], [7, 3]]
      let parameters = shapes.enumerated().map { scope.parameter("p\($0)", $1, .ones) }
      let arena = scope.makeArena(on: backend, seed: 1)
      let optimizer = Optimizer(arena, method: .adamW(), weightDecay: 0.5, decaysVectors: decaysVectors)
      optimizer.step(learningRate: 0.1)
      let total = parameters.reduce(0) { $0 + $1.shape.count }
      return (parameters.map { $0.value.values() }, arena.values.values().count { $0 != 0 } - total)
    }
    // Without a gradient there is only decay: 1 − 0.1 · 0.5.
    for (index, parameter) in values.enumerated() {
      let decays = decaysVectors || [1, 3, 5].contains(index)
      #expect(parameter.allSatisfy { $0 == (decays ? 0.95 : 1) }, "p\(index): \(parameter)")
    }
    #expect(gaps == 0)
  }

  @Test("A step descends through the backend's cached weights", arguments: Backends.available)
  func descent(kind: BackendKind) throws {
    let losses = try onTensors(kind) { backend in
      let scope = Scope()
      let layers = [
        Conv2d(inputChannels: 3, outputChannels: 16, kernelSize: 3, padding: 1, scope["a"]),
        Conv2d(inputChannels: 16, outputChannels: 3, kernelSize: 3, padding: 1, scope["b"]),
      ]
      let optimizer = Optimizer(scope.makeArena(on: backend, seed: 1), method: .adam())
      let x = randomTensor([4, 8, 8, 3], seed: 1, on: backend)
      return (0..<30).map { _ in
        let tape = Tape()
        let cost = elementwiseLoss(.squaredError, layers[1](activate(.silu, layers[0](Variable(x, on: tape)))), x)
        tape.backward(from: cost)
        optimizer.step(learningRate: 0.01)
        return cost.value.item()
      }
    }
    #expect(losses[29] < 0.5 * losses[0], "\(losses)")
  }

  @Test("Schedules: warm-up, then constant, a line or half a cosine")
  func schedules() {
    func factors(_ decay: LearningRateSchedule.Decay, _ steps: [Int]) -> [Float] {
      let schedule = LearningRateSchedule(decay, warmupSteps: 4, totalSteps: 12)
      return steps.map(schedule.factor)
    }
    let steps = [0, 1, 3, 4, 6, 8, 10, 11, 12, 100]
    let warm: [Float] = [0.25, 0.5, 1, 1]
    #expect(factors(.constant, steps) == warm + [1, 1, 1, 1, 1, 1])
    #expect(factors(.linear, steps) == warm + [0.75, 0.5, 0.25, 0.125, 0, 0])
    let half = Float(0.5).squareRoot()
    let cosine = warm + [(1 + half) / 2, 0.5, (1 - half) / 2, Float(0.5 * (1 + cos(7 * Double.pi / 8))), 0, 0]
    #expect(zip(factors(.cosine, steps), cosine).allSatisfy { abs($0 - $1) < 1e-6 })
    #expect(factors(.constantThenLinear, [0, 4, 7, 8, 9, 11, 12, 90]) == [0.25, 1, 1, 1, 0.75, 0.25, 0, 0])
    #expect(LearningRateSchedule(.linear, totalSteps: 10).factor(at: 0) == 1)
  }

  @Test("The moving average starts warm, and networks read it when asked to", arguments: Backends.available)
  func movingAverage(kind: BackendKind) throws {
    let rule = MovingAverage(decay: 0.9)
    #expect(rule.decay(at: 0) == 0.1)
    #expect(abs(rule.decay(at: 10) - 11.0 / 20) < 1e-6)
    #expect(rule.decay(at: 1000) == 0.9)
    let (average, inside, outside, convolved) = try onTensors(kind) { backend in
      let scope = Scope()
      let layer = Conv2d(
        inputChannels: 1, outputChannels: 1, kernelSize: 3, padding: 1, bias: false, initializer: .ones, scope)
      let arena = scope.makeArena(on: backend, seed: 1)
      arena.startAverage()
      let x = Variable(Tensor(repeating: 1, shape: [1, 1, 1, 1], on: backend))
      var convolved = [arena.withAverage { layer(x).value.item() }]
      for number in 0..<2 {
        layer.weight.gradient.withMutableFloats { $0.update(repeating: 1) }
        Optimizer(arena, method: .sgd()).step(learningRate: 1)  // 1, 0, −1
        rule.update(arena, number: number)
        convolved += [arena.withAverage { layer(x).value.item() }, layer(x).value.item()]
      }
      let inside = arena.withAverage { layer.weight.value.values()[0] }
      return (arena.average?.values().first, inside, layer.weight.value.values()[0], convolved)
    }
    // Decays 1/10, 2/11: 0.1, then 2/11 · 0.1 − 9/11.
    let expected = Float(0.2 / 11 - 9.0 / 11)
    #expect(abs((average ?? 0) - expected) < 1e-6)
    #expect(inside == average)
    #expect(outside == -1)
    #expect(zip(convolved, [1, 0.1, 0, expected, -1]).allSatisfy { abs($0 - $1) < 1e-6 }, "\(convolved)")
  }
}
