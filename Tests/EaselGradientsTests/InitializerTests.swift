import EaselOptimizers
import EaselTestSupport
import Foundation
import Testing

/// Initial values of parameters: bounds, and moments within six standard deviations of the expected ones.
struct InitializerTests {
  private static func values(_ shape: Shape, _ initializer: Initializer, seed: UInt64 = 1) throws -> [Double] {
    try onTensors { backend in
      let scope = Scope()
      let parameter = scope.parameter("p", shape, initializer)
      let arena = scope.makeArena(on: backend, seed: seed)
      return withExtendedLifetime(arena) { parameter.value.values().map(Double.init) }
    }
  }

  private static func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }

  /// A shape, an initializer, and the bound or deviation that its values should have.
  struct Case: Sendable, CustomTestStringConvertible {
    let shape: Shape
    let initializer: Initializer
    let scale: Double
    var testDescription: String { "\(initializer) of \(shape)" }

    // 64 × 32 × 3 × 3: fan-in 288, fan-out 576.
    static let uniform = [
      Case(shape: [64, 32, 3, 3], initializer: .xavierUniform, scale: sqrt(6.0 / 864)),
      Case(shape: [64, 32, 3, 3], initializer: .fanAverageUniform(scale: 1), scale: sqrt(3.0 / 432)),
      Case(shape: [64, 32, 3, 3], initializer: .fanAverageUniform(scale: 0), scale: sqrt(3e-10 / 432)),
      Case(shape: [64, 32, 3, 3], initializer: .fanInUniform, scale: sqrt(1.0 / 288)),
      Case(shape: [100, 200], initializer: .xavierUniform, scale: sqrt(6.0 / 300)),
      Case(shape: [100, 200], initializer: .fanInUniform, scale: sqrt(1.0 / 200)),
      Case(shape: [20_000], initializer: .uniform(bound: 0.3), scale: 0.3),
    ]
    static let normal = [
      Case(shape: [64, 32, 3, 3], initializer: .heNormal, scale: sqrt(2.0 / 288)),
      Case(shape: [100, 200], initializer: .heNormal, scale: sqrt(2.0 / 200)),
      Case(shape: [100, 200], initializer: .normal(deviation: 0.02), scale: 0.02),
    ]
  }

  @Test("Uniform values stay within their bound and reach it", arguments: Case.uniform)
  func uniform(c: Case) throws {
    let (values, bound) = (try Self.values(c.shape, c.initializer), c.scale)
    let root = Double(values.count).squareRoot()
    #expect(values.allSatisfy { abs($0) <= bound * (1 + 1e-6) })
    #expect((values.max() ?? 0) > 0.99 * bound && (values.min() ?? 0) < -0.99 * bound)
    #expect(abs(Self.mean(values)) < 6 * bound * 0.577 / root)
    #expect(abs(Self.mean(values.map { $0 * $0 }) / (bound * bound / 3) - 1) < 6 * 0.9 / root)
  }

  @Test("Normal values have their deviation", arguments: Case.normal)
  func normal(c: Case) throws {
    let values = try Self.values(c.shape, c.initializer).map { $0 / c.scale }
    let root = Double(values.count).squareRoot()
    #expect(abs(Self.mean(values)) < 6 / root)
    #expect(abs(Self.mean(values.map { $0 * $0 }) - 1) < 6 * 1.42 / root)
    #expect(abs(Self.mean(values.map { pow($0, 4) }) - 3) < 6 * 9.8 / root)
  }

  @Test("Zeros, ones, and biases beside PyTorch's default weights")
  func constants() throws {
    #expect(try Self.values([5], .zeros) == [0, 0, 0, 0, 0])
    #expect(try Self.values([3], .ones) == [1, 1, 1])
    let (default9, he) = try onTensors { backend in
      let scope = Scope()
      let a = Conv2d(inputChannels: 1, outputChannels: 4000, kernelSize: 3, scope["a"])
      let b = Linear(9, 40, initializer: .heNormal, scope["b"])
      let arena = scope.makeArena(on: backend, seed: 1)
      return withExtendedLifetime(arena) { (a.bias?.value.values() ?? [], b.bias?.value.values() ?? []) }
    }
    #expect(default9.allSatisfy { abs($0) <= 1 / 3.0 + 1e-6 } && (default9.max() ?? 0) > 0.33)
    #expect(he == [Float](repeating: 0, count: 40))
  }

  @Test("Values depend on the seed and on the parameter, and are the same each time")
  func seeds() throws {
    let (first, again, other) = try onTensors { backend in
      func flat(_ seed: UInt64) -> [Float] {
        let scope = Scope()
        _ = (scope.parameter("a", [48], .heNormal), scope.parameter("b", [48], .heNormal))
        return scope.makeArena(on: backend, seed: seed).values.values()
      }
      return (flat(1), flat(1), flat(2))
    }
    #expect(first == again)
    #expect(zip(first, other).allSatisfy { $0 != $1 })
    #expect(zip(first[..<48], first[48...]).allSatisfy { $0 != $1 })
  }
}
