import EaselTensors
import EaselTestSupport
import Foundation
import Testing

/// Elementwise loops, which both backends share, against formulas in Double.
struct ElementwiseTests {
  /// Odd, longer than one vector, and shared by two threads.
  private static let lengths = [1, 7, 37, 40_003]

  /// An activation with its formula and derivative.
  struct Function: Sendable, CustomTestStringConvertible {
    let activation: Activation
    let value: @Sendable (Double) -> Double
    let derivative: @Sendable (Double) -> Double
    var testDescription: String { "\(activation)" }

    init(
      _ activation: Activation, _ value: @escaping @Sendable (Double) -> Double,
      _ derivative: @escaping @Sendable (Double) -> Double
    ) {
      (self.activation, self.value, self.derivative) = (activation, value, derivative)
    }

    static func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
    static func geluTanhSlope(_ x: Double) -> Double {
      let t = Foundation.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * x * x)
    }

    static let all: [Function] = [
      Function(.identity, { $0 }, { _ in 1 }),
      Function(.relu, { max($0, 0) }, { $0 > 0 ? 1 : 0 }),
      Function(.leakyReLU(slope: 0.2), { $0 > 0 ? $0 : Double(Float(0.2)) * $0 }, { $0 > 0 ? 1 : Double(Float(0.2)) }),
      Function(.silu, { $0 * sigmoid($0) }, { sigmoid($0) * (1 + $0 * (1 - sigmoid($0))) }),
      Function(
        .gelu, { 0.5 * $0 * (1 + erf($0 / 2.0.squareRoot())) },
        { 0.5 * (1 + erf($0 / 2.0.squareRoot())) + $0 * exp(-0.5 * $0 * $0) / (2 * .pi).squareRoot() }),
      Function(
        .geluTanh, { 0.5 * $0 * (1 + Foundation.tanh(0.7978845608028654 * ($0 + 0.044715 * $0 * $0 * $0))) },
        geluTanhSlope),
      Function(
        .quickGELU, { $0 * sigmoid(1.702 * $0) },
        { sigmoid(1.702 * $0) * (1 + 1.702 * $0 * (1 - sigmoid(1.702 * $0))) }),
      Function(.sigmoid, sigmoid, { sigmoid($0) * (1 - sigmoid($0)) }),
      Function(.tanh, { Foundation.tanh($0) }, { 1 - Foundation.tanh($0) * Foundation.tanh($0) }),
      Function(.exp, { Foundation.exp($0) }, { Foundation.exp($0) }),
      Function(.square, { $0 * $0 }, { 2 * $0 }),
    ]
  }

  @Test("Activations and their derivatives", arguments: Kernels.all, Function.all)
  func activation(kernels: Kernels, function: Function) throws {
    let differences = try TensorThread.run {
      let backend = kernels.backend()
      return Self.lengths.flatMap { length -> [Difference] in
        let x = randomTensor([length], seed: 3, scale: 3, type: kernels.type, on: backend)
        let dy = randomTensor([length], seed: 4, type: kernels.type, on: backend)
        let y = backend.apply(function.activation, x)
        let dx = backend.applyGradient(function.activation, x, dy: dy)
        return [
          difference("\(length) y", y, x.doubles.map(function.value)),
          // 1 − tanh² loses digits if tanh is near 1.
          difference(
            "\(length) dx", dx, zip(x.doubles, dy.doubles).map { function.derivative($0) * $1 }, absolute: 5e-6),
        ]
      }
    }
    expectClose(differences)
  }

  @Test("Activations far from zero saturate without NaN", arguments: Kernels.all)
  func saturation(kernels: Kernels) throws {
    let inputs: [Float] = [-1e30, -1000, -90, 90, 1000, 1e30]
    let results = try TensorThread.run {
      let backend = kernels.backend()
      let x = Tensor(inputs, shape: [6], type: kernels.type, on: backend)
      let dy = Tensor(repeating: 1, shape: [6], type: kernels.type, on: backend)
      return [Activation.sigmoid, .tanh, .silu].map { function in
        (backend.apply(function, x).values(), backend.applyGradient(function, x, dy: dy).values())
      }
    }
    #expect(zip(results[0].0, [0, 0, 0, 1, 1, 1]).allSatisfy { abs($0 - $1) < 1e-6 })
    #expect(results[1].0 == [-1, -1, -1, 1, 1, 1])
    #expect(results[2].0[..<3].allSatisfy { abs($0) < 1e-6 }, "silu of large negative numbers: \(results[2].0)")
    #expect(results[2].0[4] == Float(1000) || kernels.type == .bfloat16)
    for (_, slopes) in results { #expect(slopes.allSatisfy { $0.isFinite }, "\(slopes)") }
  }

  @Test("Sums, products, lines, bounds and copies", arguments: Kernels.all)
  func arithmetic(kernels: Kernels) throws {
    let differences = try TensorThread.run {
      let backend = kernels.backend()
      return Self.lengths.flatMap { length -> [Difference] in
        let a = randomTensor([length], seed: 5, type: kernels.type, on: backend)
        let b = randomTensor([length], seed: 6, type: kernels.type, on: backend)
        let (x, y) = (a.doubles, b.doubles)
        let accumulated = backend.affine(b, scale: 1, shift: 0)
        backend.accumulate(a, alpha: -0.75, into: accumulated)
        return [
          difference("add", backend.add(a, b, alpha: 0.5, beta: -2), zip(x, y).map { 0.5 * $0 - 2 * $1 }),
          difference("accumulate", accumulated, zip(x, y).map { $1 - 0.75 * $0 }),
          difference("multiply", backend.multiply(a, b), zip(x, y).map { $0 * $1 }),
          difference("affine", backend.affine(a, scale: -1.5, shift: 0.25), x.map { -1.5 * $0 + 0.25 }),
          difference("clamp", backend.clamp(a, low: -0.5, high: 0.75), x.map { min(max($0, -0.5), 0.75) }),
          difference("+", a + b, zip(x, y).map { $0 + $1 }),
          difference("-", a - b, zip(x, y).map { $0 - $1 }),
          difference("*", a * b, zip(x, y).map { $0 * $1 }),
          difference("scaled", 3 * a, x.map { 3 * $0 }),
          difference(
            "fill", Tensor(repeating: 0.375, shape: [length], type: kernels.type, on: backend), x.map { _ in 0.375 }),
        ]
      }
    }
    expectClose(differences)
  }

  @Test("Bytes become numbers", arguments: Kernels.all)
  func fromBytes(kernels: Kernels) throws {
    let bytes = (0..<259).map { UInt8(truncatingIfNeeded: $0) }
    let result = try TensorThread.run {
      let y = kernels.backend().fromBytes(bytes, shape: [7, 37], scale: 2 / 255, shift: -1, type: kernels.type)
      return (y.shape, difference("bytes", y, bytes.map { Double($0) * 2 / 255 - 1 }))
    }
    #expect(result.0 == [7, 37])
    expectClose([result.1])
  }

  /// bfloat16 is the upper half of a float32; the rest must be rounded, ties to even.
  @Test("Casts to bfloat16 round to nearest even and keep NaN and infinity", arguments: InstructionSet.available)
  func casts(instructionSet: InstructionSet) throws {
    var patterns: [UInt32] = [
      0x3f80_0000, 0x3f80_8000, 0x3f80_8001, 0x3f80_7fff, 0x3f81_8000, 0x3f81_7fff, 0xbf80_8000, 0xbf81_8000,
      0x7f7f_ffff, 0x7f7f_7fff, 0x0000_0000, 0x8000_0000, 0x0000_0001, 0x0000_8001, 0x7f80_0000, 0xff80_0000,
    ]
    let expected: [UInt16] = [
      0x3f80, 0x3f80, 0x3f81, 0x3f80, 0x3f82, 0x3f81, 0xbf80, 0xbf82, 0x7f80, 0x7f7f, 0x0000, 0x8000, 0x0000, 0x0001,
      0x7f80, 0xff80,
    ]
    patterns += [0x7fc0_0000, 0x7f80_0001, 0xffff_ffff]  // NaNs, among them one whose upper half alone is infinity
    let (stored, back) = try TensorThread.run { [patterns] in
      let backend = OpenBLASBackend(instructionSet: instructionSet)
      let x = Tensor(patterns.map(Float.init(bitPattern:)), shape: [patterns.count], on: backend)
      let narrow = x.cast(to: .bfloat16)
      return (narrow.withBytes { Array($0.bindMemory(to: UInt16.self)) }, narrow.cast(to: .float32).values())
    }
    #expect(Array(stored.prefix(16)) == expected)
    #expect(back.prefix(16).map(\.bitPattern) == expected.map { UInt32($0) << 16 })
    #expect(back.suffix(3).allSatisfy { $0.isNaN })
  }

  @Test("Dropout keeps the mean, repeats a draw, and differs between draws and samples", arguments: Kernels.all)
  func dropout(kernels: Kernels) throws {
    let (count, size, probability) = (8, 5001, Float(0.3))
    let draw = RandomDraw(seed: 7, stream: .noise, index: 20, draw: 3)
    let (once, again, other, gradient, tail, uniform) = try TensorThread.run {
      let backend = kernels.backend()
      let ones = Tensor(repeating: 1, shape: [count, size], type: kernels.type, on: backend)
      var later = draw
      later.draw = 4
      var shifted = draw
      shifted.index = 25
      let uniform = Tensor(uninitialized: [count, size], on: backend)
      backend.fillUniform(uniform, draw)
      return (
        backend.dropout(ones, probability: probability, draw).values(),
        kernels.backend(threads: 1).dropout(ones, probability: probability, draw).values(),
        backend.dropout(ones, probability: probability, later).values(),
        backend.dropout(2 * ones, probability: probability, draw).values(),
        backend.dropout(ones[5..<8], probability: probability, shifted).values(), uniform.values()
      )
    }
    let kept = once.max() ?? 0
    #expect(abs(kept - 1 / 0.7) < (kernels.type == .bfloat16 ? 0.004 : 1e-6))
    #expect(once == uniform.map { $0 < probability ? 0 : kept })
    // Six standard deviations of the mean of 40 008 draws.
    let mean = Double(once.reduce(0, +)) / Double(count * size)
    #expect(
      abs(mean - 1) < 6 * (0.3 / 0.7 / Double(count * size)).squareRoot() + (kernels.type == .bfloat16 ? 0.004 : 0))
    #expect(again == once)
    #expect(gradient == once.map { 2 * $0 })
    #expect(Array(once[(5 * size)...]) == tail, "a sample's mask depends on its global index alone")
    let differing = zip(once, other).filter { ($0 == 0) != ($1 == 0) }.count
    #expect(abs(Double(differing) / Double(count * size) - 2 * 0.3 * 0.7) < 0.02)
    #expect(Array(once[..<size]) != Array(once[size..<2 * size]))
  }

  @Test("Elementwise results do not depend on the number of threads", arguments: Kernels.all)
  func threads(kernels: Kernels) throws {
    let results = try TensorThread.run {
      [1, 2, 2].map { threads in
        let backend = kernels.backend(threads: threads)
        let x = randomTensor([3, 33_337], seed: 8, type: kernels.type, on: backend)
        let dy = randomTensor([3, 33_337], seed: 9, type: kernels.type, on: backend)
        let losses = backend.loss(.binaryCrossEntropyWithLogits, x, backend.apply(.sigmoid, dy))
        return [
          backend.apply(.silu, x), backend.applyGradient(.gelu, x, dy: dy), backend.add(x, dy, alpha: 2, beta: 3),
          backend.softmax(x, scale: 0.5, mask: nil), losses, backend.sumSamples(x), x.cast(to: .float32),
        ].map(\.bytes)
      }
    }
    #expect(results[0] == results[1])
    #expect(results[1] == results[2])
  }
}
