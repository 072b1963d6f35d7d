import EaselTensors
import Testing

/// The record behind a profile.
struct ProfilingTests {
  @Test("A profiled backend computes the same, and counts operations, bytes and calls")
  func records() throws {
    let (same, records) = try TensorThread.run {
      let window = ConvolutionWindow(padding: 1)
      func run(_ backend: any Backend) -> [UInt8] {
        let x = backend.sample([2, 8, 8, 32], .float32)
        let weight = backend.sample([64, 32, 3, 3], .float32)
        (backend as? ProfilingBackend)?.name(weight, "layer.weight")
        (backend as? ProfilingBackend)?.isRecording = true
        defer { (backend as? ProfilingBackend)?.isRecording = false }
        let y = backend.convolution(x, weight: weight, bias: nil, residual: nil, window)
        let tokens = y.reshaped([2, 64, 64])
        _ = backend.attention(tokens, tokens, tokens, heads: 2, mask: .causal)
        // Attention is one operation, whatever it consists of.
        return backend.attention(tokens, tokens, tokens, heads: 2, mask: nil).y.bytes
      }
      let profiling = ProfilingBackend(OpenBLASBackend())
      let plain = run(OpenBLASBackend())
      let same = run(profiling) == plain && run(profiling) == plain
      return (same, profiling.records.map { ($0.key, $0.value.flops, $0.value.bytes, $0.value.seconds.count) })
    }
    #expect(same)
    #expect(records.count == 3)
    let convolution = try #require(records.first { $0.0.operation == "convolution" })
    #expect(convolution.0.layer == "layer.weight")
    #expect(convolution.1 == 2 * (2 * 8 * 8 * 64) * 32 * 9)
    #expect(convolution.2 == 4 * (2 * 8 * 8 * 32 + 64 * 32 * 9 + 2 * 8 * 8 * 64))
    #expect(convolution.3 == 2)
    let attention = try #require(records.first { $0.0.shape == "2×2 of 64×64, width 32" })
    #expect(attention.0.operation == "attention" && attention.0.layer == "")
    #expect(attention.1 == 4 * (2 * 64 * 64) * 64)
    // With a causal mask, only the visible pairs count.
    let masked = try #require(records.first { $0.0.shape == "2×2 of 64×64, width 32, masked" })
    #expect(masked.1 == 4 * (2 * 64 * 65 / 2) * 64)
  }

  @Test("Ceilings are plausible, and bound the least time")
  func ceilings() throws {
    let ceilings = try TensorThread.run { Ceilings(OpenBLASBackend(threads: ThreadPool(count: 1))) }
    #expect(ceilings.float32 > 1e9 && ceilings.float32 < 1e13 && ceilings.bfloat16 == nil)
    #expect(ceilings.copy > 1e8 && ceilings.copy < 1e12)
    let (arithmetic, memory) = (1_000_000_000, 1_000_000_000)
    #expect(ceilings.leastTime(flops: arithmetic, bytes: 0, type: .bfloat16) == 1e9 / ceilings.float32)
    #expect(ceilings.leastTime(flops: 0, bytes: memory, type: .float32) == 1e9 / ceilings.copy)
  }

  @Test("Blocks of any size use each other's memory")
  func heap() throws {
    let (reserved, peak) = try TensorThread.run {
      let backend = OpenBLASBackend()
      // Each round's blocks have another size, and only a few exist at a time.
      for round in 1...60 {
        var living: [Tensor] = []
        for k in 1...8 { living.append(Tensor(uninitialized: [round * k * 10_000], on: backend)) }
        living.removeSubrange(2..<6)
        living.append(Tensor(uninitialized: [round * 50_000], on: backend))
      }
      let memory = backend.memory
      return (memory.bytesReserved, memory.peakBytes)
    }
    #expect(reserved < peak + peak / 4, "\(reserved) reserved for \(peak)")
  }
}
