import EaselOptimizers
import EaselTestSupport
import Testing

struct TapeTests {
  /// A small network with parameters.
  private struct Network {
    let first, second: Linear
    let arena: Arena

    init(on backend: any Backend, seed: UInt64 = 1) {
      let scope = Scope()
      first = Linear(3, 8, scope["first"])
      second = Linear(8, 1, scope["second"])
      arena = scope.makeArena(on: backend, seed: seed)
    }

    func callAsFunction(_ x: Variable) -> Variable { second(activate(.tanh, first(x))) }
  }

  private static func zeros(like x: Variable) -> Tensor { Tensor(repeating: 0, shape: x.shape, on: x.backend) }
  /// Σ x² / N.
  private static func cost(_ x: Variable) -> Variable {
    elementwiseLoss(.squaredError, x, zeros(like: x), reduction: .sumOverSample)
  }

  @Test("A constant takes no gradient, parameters do", arguments: Backends.available)
  func constants(kind: BackendKind) throws {
    let (wants, found, parameters) = try onTensors(kind) { backend in
      let network = Network(on: backend)
      let tape = Tape()
      let x = Variable(randomTensor([4, 3], seed: 1, on: backend), on: tape)
      let y = network(x)
      tape.backward(from: Self.cost(y))
      return (
        [x.wantsGradient, y.wantsGradient], tape.gradient(of: x) != nil,
        network.arena.parameters.map { $0.gradient.values().contains { $0 != 0 } }
      )
    }
    #expect(wants == [false, true])
    #expect(!found)
    #expect(parameters == [true, true, true, true])
  }

  @Test("Without a tape nothing is recorded")
  func untaped() throws {
    let (wants, gradients) = try onTensors { backend in
      let network = Network(on: backend)
      let y = network(Variable(randomTensor([4, 3], seed: 1, on: backend)))
      return (y.wantsGradient, network.arena.gradients.values())
    }
    #expect(!wants)
    #expect(gradients.allSatisfy { $0 == 0 })
  }

  @Test("A detached variable stops the gradient")
  func detached() throws {
    let (gradient, none) = try onTensors { backend in
      let tape = Tape()
      let x = tape.variable(Tensor([3], shape: [1], on: backend))
      let square = x * x
      tape.backward(from: Self.cost(square.detached * x))  // d/dx (c x)² = 2 c² x with c = 9
      let other = Tape()
      let a = other.variable(Tensor([2], shape: [1], on: backend))
      let b = other.variable(Tensor([2], shape: [1], on: backend))
      other.backward(from: Self.cost(a.detached * b))
      return (tape.gradient(of: x)?.values(), other.gradient(of: a)?.values())
    }
    #expect(gradient == [486])
    #expect(none == nil)
  }

  /// As in a GAN's steps, the generator's tape waits while the discriminator's is walked.
  @Test("Two tapes are live at once, and a frozen arena takes no gradient")
  func twoTapes() throws {
    let (first, alone, generator, frozen, through) = try onTensors { backend in
      let (maker, judge) = (Network(on: backend, seed: 1), Network(on: backend, seed: 2))
      let noise = randomTensor([5, 3], seed: 3, on: backend)
      func widened(_ x: Variable) -> Variable { concatenate([x, x, x]) }

      func makerGradient(interrupted: Bool) -> [Float] {
        maker.arena.zeroGradients()
        let tape = Tape()
        let fake = widened(maker(Variable(noise, on: tape)))
        if interrupted {
          let other = Tape()
          other.backward(from: Self.cost(judge(Variable(fake.value, on: other))))
        }
        judge.arena.isFrozen = true
        defer { judge.arena.isFrozen = false }
        tape.backward(from: Self.cost(judge(fake)))
        return maker.arena.gradients.values()
      }
      let alone = makerGradient(interrupted: false)
      let frozen = judge.arena.gradients.values()
      let interrupted = makerGradient(interrupted: true)
      return (interrupted, alone, alone.contains { $0 != 0 }, frozen, judge.arena.gradients.values())
    }
    #expect(first == alone)
    #expect(generator)
    #expect(frozen.allSatisfy { $0 == 0 })
    #expect(through.contains { $0 != 0 })
  }

  @Test("Gradients of parts of a batch add up to the batch's", arguments: Backends.available)
  func accumulation(kind: BackendKind) throws {
    let (whole, parts) = try onTensors(kind) { backend in
      let network = Network(on: backend)
      let x = randomTensor([6, 3], seed: 1, on: backend)
      func add(_ range: Range<Int>, seed: Float) {
        let tape = Tape()
        tape.backward(from: Self.cost(network(Variable(x[range], on: tape))), seed: seed)
      }
      add(0..<6, seed: 1)
      let whole = network.arena.gradients.values()
      network.arena.zeroGradients()
      for start in [0, 2, 4] { add(start..<start + 2, seed: 1 / 3) }
      return (whole, network.arena.gradients.values())
    }
    let norm = whole.reduce(0) { $0 + $1 * $1 }.squareRoot()
    #expect(norm > 0)
    #expect(zip(whole, parts).allSatisfy { abs($0 - $1) < 1e-5 * norm })
  }

  /// The sum hands the same gradient to both of its inputs; adding to one must not change the other's.
  @Test("Gradients that share memory are not overwritten", arguments: Backends.available)
  func aliases(kind: BackendKind) throws {
    let (a, b, c) = try onTensors(kind) { backend in
      let tape = Tape()
      let a = tape.variable(Tensor([1, 2], shape: [2], on: backend))
      let b = tape.variable(Tensor([3, 4], shape: [2], on: backend))
      let c = tape.variable(Tensor([5, 6], shape: [2], on: backend))
      let ones = Tensor([1, 1], shape: [2], on: backend)
      let early = 10 * a  // last on the way back: adds to a's gradient
      let middle = 100 * b
      let sum = a + b + c.reshaped([2, 1]).reshaped([2])
      tape.backward(from: weightedSum(sum + early + middle + sum, weights: ones))
      return (tape.gradient(of: a)?.values(), tape.gradient(of: b)?.values(), tape.gradient(of: c)?.values())
    }
    #expect(a == [12, 12])
    #expect(b == [102, 102])
    #expect(c == [2, 2])
  }

  @Test("A gradient that was taken out does not change")
  func keptGradient() throws {
    let (kept, later) = try onTensors { backend in
      let tape = Tape()
      let x = tape.variable(Tensor([2], shape: [1], on: backend))
      tape.backward(from: Self.cost(x))
      let kept = tape.gradient(of: x)
      tape.backward(from: Self.cost(x))
      return (kept?.values(), tape.gradient(of: x)?.values())
    }
    #expect(kept == [4])
    #expect(later == [8])
  }

  @Test("A variable that the result does not need has no gradient")
  func unused() throws {
    let gradients = try onTensors { backend in
      let tape = Tape()
      let (x, y) = (
        tape.variable(Tensor([2], shape: [1], on: backend)), tape.variable(Tensor([2], shape: [1], on: backend))
      )
      let z = y * y
      tape.backward(from: Self.cost(x))
      return [x, y, z].map { tape.gradient(of: $0)?.values() }
    }
    #expect(gradients == [[4], nil, nil])
  }

  @Test("Activations are released during the backward pass", arguments: Backends.available)
  func memory(kind: BackendKind) throws {
    let size = 64 * 1024 * 4
    let (start, forward, peak, end) = try onTensors(kind) { backend in
      let large = randomTensor([1, 32 * 64, 1024, 1], seed: 1, scale: 0.1, on: backend)
      let start = backend.memory.bytesInUse
      let tape = Tape()
      // Its gradient, 32 times as large as an activation, is made last.
      func cost() -> Variable {
        var y = pad(tape.variable(large), Insets(bottom: -31 * 64))
        let one = Variable(Tensor(repeating: 1, shape: y.shape, on: backend))
        // The inputs of the products are kept; the results of the function between them are computed again.
        for _ in 0..<20 { y = activate(.tanh, y * one) }
        return Self.cost(y)
      }
      // Scoped, so that only the tape holds the intermediate values.
      func run() -> Int {
        let cost = cost()
        let forward = backend.memory.bytesInUse
        tape.backward(from: cost)
        return forward
      }
      let forward = run()
      return (start, forward, backend.memory.peakBytes, backend.memory.bytesInUse)
    }
    #expect(forward - start >= 21 * size && forward - start < 24 * size)
    #expect(peak - start < 32 * size + 6 * size, "\((peak - start) / size) activations")
    #expect(end - start < 33 * size, "what is left is the gradient, until the tape goes")
  }

  /// A sum of many gradients is made in place: if nothing else holds the first, no memory is allocated.
  @Test("Sums of gradients take no additional memory")
  func sums() throws {
    let size = 64 * 1024 * 4
    let peak = try onTensors { backend in
      let tape = Tape()
      let x = tape.variable(randomTensor([64, 1024], seed: 1, on: backend))
      let target = Self.zeros(like: x)
      let scaled = (1...5).map { Float($0) * x }
      let partial = scaled.dropFirst().reduce(into: [scaled[0]]) { $0.append($0[$0.count - 1] + $1) }
      return withExtendedLifetime(scaled) {
        let cost = elementwiseLoss(.squaredError, partial[4], target)
        let before = backend.memory.bytesInUse
        tape.backward(from: cost)
        return withExtendedLifetime(partial) { backend.memory.peakBytes - before }
      }
    }
    // At the same time: the loss's gradient, the sum, and the addend. There is no fourth tensor to sum into.
    #expect(Double(peak) < 3.5 * Double(size), "\(Double(peak) / Double(size)) gradients")
  }
}
