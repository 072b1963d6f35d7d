import CEaselKernels

/// The most that this machine can do at present, as a measure for operations.
public struct Ceilings: Codable, Sendable {
  /// Multiplications and additions per second in registers, on all threads.
  public var float32: Double
  /// Operations per second in a large product of bfloat16 matrices; nil if the backend has none.
  public var bfloat16: Double?
  /// Bytes read and written per second by a copy much larger than the caches.
  public var copy: Double

  /// Measures the ceilings, which takes a second or two.
  public init(_ backend: any Backend) {
    let clock = ContinuousClock()
    // The system may need a while to give each thread its own processor.
    func best(_ body: () -> Void) -> Double {
      var times: [Double] = []
      let end = clock.now + .milliseconds(400)
      while clock.now < end { times.append(clock.measure(body) / .seconds(1)) }
      return times.min() ?? .infinity
    }
    let threads = backend.threads
    let kernels = easel_kernels_for(InstructionSet.preferred.rawISA).pointee
    let (rounds, parts) = (100_000, 16 * threads.count)
    let arithmetic = best { threads.run(parts) { _ in _ = kernels.multiply_add(rounds) } }
    float32 = Double(parts * rounds * kernels.multiply_add_operations) / arithmetic

    let size = 32 << 20
    let (source, target) = (backend.sample([size], .float32), Tensor(uninitialized: [size], on: backend))
    copy = Double(8 * size) / best { backend.copy(source, into: target) }

    guard backend.kind == .onednn, Backends.bfloat16 != .none else { return }
    let edge = 2048
    let (a, b) = (backend.sample([edge, edge], .bfloat16), backend.sample([edge, edge], .float32))
    b.storage.markModified()
    bfloat16 =
      Double(2 * edge * edge * edge) / best { _ = backend.linear(a, weight: b, bias: nil, residual: nil) }
  }

  /// The least time in which operations and bytes could be done, in seconds.
  public func leastTime(flops: Int, bytes: Int, type: ScalarType) -> Double {
    let arithmetic = type == .bfloat16 ? max(bfloat16 ?? float32, float32) : float32
    return max(Double(flops) / arithmetic, Double(bytes) / copy)
  }
}
