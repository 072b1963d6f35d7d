import EaselTensors
import Foundation
import Testing

struct RandomTests {
  /// Random123's `kat_vectors` for philox4x32-10.
  @Test(
    "Philox gives Random123's numbers",
    arguments: [
      (SIMD4<UInt32>(repeating: 0), UInt64(0), SIMD4<UInt32>(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8)),
      (
        SIMD4<UInt32>(repeating: .max), UInt64.max,
        SIMD4<UInt32>(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd)
      ),
      (
        SIMD4<UInt32>(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), UInt64(0x299f_31d0_a409_3822),
        SIMD4<UInt32>(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1)
      ),
    ])
  func knownAnswers(counter: SIMD4<UInt32>, key: UInt64, expected: SIMD4<UInt32>) {
    #expect(Philox(seed: key).block(counter) == expected)
  }

  /// The counter of a number: position / 4, the sample's global index (its upper byte beside the stream), the draw.
  private static func counter(_ position: Int, _ draw: RandomDraw, sample: Int) -> SIMD4<UInt32> {
    let index = draw.index + UInt64(sample)
    return SIMD4(
      UInt32(position / 4), UInt32(truncatingIfNeeded: index), draw.draw,
      draw.stream.rawValue * 256 + UInt32(index >> 32))
  }

  private static let draw = RandomDraw(seed: 0xfeed_0123_4567_89ab, stream: .sampling, index: 0xfe_ffff_fffe, draw: 9)

  @Test("Uniform numbers are the top 24 bits of Philox", arguments: InstructionSet.available)
  func uniform(instructionSet: InstructionSet) throws {
    let values = try TensorThread.run {
      let backend = OpenBLASBackend(threads: ThreadPool(count: 2), instructionSet: instructionSet)
      let x = Tensor(uninitialized: [3, 5, 7, 3], on: backend)
      backend.fillUniform(x, Self.draw)
      return x.values()
    }
    let philox = Philox(seed: Self.draw.seed)
    let expected = (0..<3).flatMap { n in
      (0..<105).map { Float(philox.block(Self.counter($0, Self.draw, sample: n))[$0 % 4] >> 8) / 16_777_216 }
    }
    #expect(values == expected)
  }

  @Test("Normal numbers are Box–Muller pairs of them", arguments: InstructionSet.available)
  func normal(instructionSet: InstructionSet) throws {
    let values = try TensorThread.run {
      let backend = OpenBLASBackend(threads: ThreadPool(count: 2), instructionSet: instructionSet)
      let x = Tensor(uninitialized: [3, 105], on: backend)
      backend.fillNormal(x, Self.draw)
      return x.values()
    }
    let philox = Philox(seed: Self.draw.seed)
    let expected = (0..<3).flatMap { n in
      (0..<105).map { position -> Double in
        let block = philox.block(Self.counter(position, Self.draw, sample: n))
        let pair = position % 4 / 2 * 2
        let (u, v) = (Double(block[pair] >> 8) / 16_777_216, Double(block[pair + 1] >> 8) / 16_777_216)
        return (-2 * log(1 - u)).squareRoot() * (position % 2 == 0 ? cos(2 * .pi * v) : sin(2 * .pi * v))
      }
    }
    expectClose([difference("normal", values, expected, absolute: 5e-6)])
  }

  /// Sample moments of 2²⁰ numbers, within six standard deviations of the expected ones.
  @Test("Moments and range")
  func moments() throws {
    let (uniform, normal) = try TensorThread.run {
      let backend = OpenBLASBackend(threads: ThreadPool(count: 2))
      let x = Tensor(uninitialized: [64, 16_384], on: backend)
      backend.fillUniform(x, RandomDraw(seed: 3, stream: .data))
      let uniform = x.doubles
      backend.fillNormal(x, RandomDraw(seed: 3, stream: .noise))
      return (uniform, x.doubles)
    }
    func moment(_ values: [Double], _ power: Double) -> Double {
      values.reduce(0) { $0 + pow($1, power) } / Double(values.count)
    }
    let root = Double(uniform.count).squareRoot()
    #expect(uniform.allSatisfy { $0 >= 0 && $0 < 1 })
    #expect(abs(moment(uniform, 1) - 0.5) < 6 * 0.2887 / root)
    #expect(abs(moment(uniform, 2) - 1.0 / 3) < 6 * 0.2982 / root)
    #expect(abs(moment(normal, 1)) < 6 / root)
    #expect(abs(moment(normal, 2) - 1) < 6 * 2.0.squareRoot() / root)
    #expect(abs(moment(normal, 3)) < 6 * 15.0.squareRoot() / root)
    #expect(abs(moment(normal, 4) - 3) < 6 * 96.0.squareRoot() / root)
    // Neighbours, which come from one Box–Muller pair, are uncorrelated.
    let products = stride(from: 0, to: normal.count, by: 2).reduce(0.0) { $0 + normal[$1] * normal[$1 + 1] }
    #expect(abs(products / Double(normal.count / 2)) < 6 * 2.0.squareRoot() / root)
  }

  @Test("Sample k does not depend on the count; streams, draws and seeds differ")
  func independence() throws {
    let draw = RandomDraw(seed: 5, stream: .sampling, index: 100)
    let (alone, together, others) = try TensorThread.run {
      let backend = OpenBLASBackend(threads: ThreadPool(count: 2))
      func normal(_ shape: Shape, _ change: (inout RandomDraw) -> Void = { _ in }) -> [Float] {
        var changed = draw
        change(&changed)
        let x = Tensor(uninitialized: shape, on: backend)
        backend.fillNormal(x, changed)
        return x.values()
      }
      let size = 3001
      let together = normal([9, size])
      return (
        normal([1, size]) { $0.index = 107 }, Array(together[7 * size..<8 * size]),
        [
          normal([1, size]), normal([1, size]) { $0.index = 101 }, normal([1, size]) { $0.draw = 1 },
          normal([1, size]) { $0.seed = 6 }, normal([1, size]) { $0.index += 1 << 32 },
        ] + RandomStream.allCases.filter { $0 != .sampling }.map { stream in normal([1, size]) { $0.stream = stream } }
      )
    }
    #expect(alone == together)
    for (i, a) in others.enumerated() {
      for b in others[(i + 1)...] { #expect(zip(a, b).filter { $0 == $1 }.count < 3) }
    }
  }

  @Test("A generator on the host gives its stream's numbers, 64 bits at a time")
  func streamGenerator() {
    var generator = StreamGenerator(seed: 11, stream: .data, index: 3, draw: 2)
    let philox = Philox(seed: 11)
    let expected = (0..<3).flatMap { position -> [UInt64] in
      let block = philox.block(SIMD4(UInt32(position), 3, 2, RandomStream.data.rawValue << 8))
      return [UInt64(block.y) << 32 | UInt64(block.x), UInt64(block.w) << 32 | UInt64(block.z)]
    }
    #expect((0..<6).map { _ in generator.next() } == expected)
  }
}
