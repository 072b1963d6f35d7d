import EaselOptimizers
import EaselTestSupport
import Foundation
import Testing

/// The switches of a transformer block.
struct TransformerBlockTests {
  private static func block(
    _ backend: any Backend, dropPath: Float = 0, rezero: Bool = false, randomized: Bool = true
  ) -> (block: TransformerBlock, arena: Arena) {
    let scope = Scope()
    let block = TransformerBlock(width: 8, heads: 2, dropPath: dropPath, rezero: rezero, scope)
    let arena = scope.makeArena(on: backend, seed: 1)
    if randomized { arena.randomize() }
    return (block, arena)
  }

  @Test("With ReZero, a block is initially the identity, and its gate is learned", arguments: Backends.available)
  func rezero(kind: BackendKind) throws {
    let (same, first, slope, other) = try onTensors(kind) { backend in
      let (block, arena) = Self.block(backend, rezero: true, randomized: false)
      defer { withExtendedLifetime(arena) {} }
      let x = randomTensor([3, 5, 8], seed: 1, on: backend)
      let same = block(Variable(x)).value.values() == x.values()
      let gate = try #require(arena.parameters.first { $0.name == "resweight" })
      let tape = Tape()
      let y = block(Variable(x, on: tape))
      tape.backward(from: elementwiseLoss(.squaredError, y, randomTensor([3, 5, 8], seed: 2, on: backend)))
      let first = gate.value.item()
      gate.value.withMutableFloats { $0[0] = 0.5 }
      arena.values.storage.markModified()
      return (same, first, gate.gradient.item(), block(Variable(x)).value.values() != x.values())
    }
    #expect(same && first == 0 && other)
    // Only the gate is learned in the first step, since the branch's parameters are multiplied by it.
    #expect(abs(slope) > 1e-4)
  }

  @Test(
    "A sample skips branches by its index alone; the others' branches are scaled", arguments: Backends.available)
  func stochasticDepth(kind: BackendKind) throws {
    let count = 400
    let results = try onTensors(kind) { backend in
      let (block, arena) = Self.block(backend, dropPath: 0.25)
      defer { withExtendedLifetime(arena) {} }
      let x = randomTensor([count, 2, 8], seed: 1, on: backend)
      func draw(_ index: UInt64, _ number: UInt32 = 4) -> RandomDraw {
        RandomDraw(seed: 7, stream: .noise, index: index, draw: number)
      }
      func run(_ x: Tensor, _ draw: RandomDraw?) -> [Float] { block(Variable(x), dropping: draw).value.values() }
      return (
        x: x.values(), plain: run(x, nil), whole: run(x, draw(10)), again: run(x, draw(10)),
        part: run(x[100..<200], draw(110)), other: run(x, draw(10, 6))
      )
    }
    #expect(results.whole == results.again)
    #expect(results.whole != results.other)
    let size = 16
    for place in results.part.indices { #expect(abs(results.part[place] - results.whole[100 * size + place]) < 1e-5) }
    // 1/16 of the samples skip both branches; through both, scaled, the result also differs from the plain block's.
    func isSame(_ a: [Float], _ b: [Float], _ n: Int) -> Bool {
      (n * size..<(n + 1) * size).allSatisfy { abs(a[$0] - b[$0]) < 1e-6 }
    }
    let past = (0..<count).count { isSame(results.whole, results.x, $0) }
    #expect((8...45).contains(past), "\(past) of \(count) samples past both branches")
    #expect(!(0..<count).contains { isSame(results.whole, results.plain, $0) })
  }

  /// The mean over draws of a kept branch's contribution is its contribution without stochastic depth (one branch at a
  /// time, since the second depends on the first).
  @Test("Stochastic depth keeps the mean")
  func mean() throws {
    let (found, expected) = try onTensors { backend in
      let (block, arena) = Self.block(backend, dropPath: 0.4)
      defer { withExtendedLifetime(arena) {} }
      // The second branch adds nothing.
      for name in ["mlp.fc2.weight", "mlp.fc2.bias"] {
        guard let parameter = arena.parameters.first(where: { $0.name == name }) else { fatalError(name) }
        parameter.value.withMutableFloats { $0.update(repeating: 0) }
      }
      arena.values.storage.markModified()
      let x = randomTensor([1, 2, 8], seed: 1, on: backend)
      let many = Tensor((0..<4000).flatMap { _ in x.values() }, shape: [4000, 2, 8], on: backend)
      let y = block(Variable(many), dropping: RandomDraw(seed: 3, stream: .noise)).value.values()
      let mean = (0..<16).map { place in (0..<4000).reduce(Float(0)) { $0 + y[$1 * 16 + place] } / 4000 }
      return (mean, block(Variable(x)).value.values())
    }
    for (a, b) in zip(found, expected) { #expect(abs(a - b) < 0.1 * max(1, abs(b)), "\(found) for \(expected)") }
  }
}
