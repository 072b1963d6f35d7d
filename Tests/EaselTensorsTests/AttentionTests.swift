import EaselTensors
import EaselTestSupport
import Foundation
import Testing

extension AttentionMask {
  func sees(sample: Int, query: Int, key: Int) -> Bool {
    switch self {
    case .causal: key <= query
    case .first(let counts): key < counts[sample]
    case .keys(let shown): shown[sample][key]
    }
  }
}

/// Attention: all methods against loops in Double, oneDNN against OpenBLAS, bfloat16 against float32.
struct AttentionTests {
  /// Batch, lengths of queries and keys, width, heads.
  struct Case: Sendable, CustomTestStringConvertible {
    let batch, queries, keys, width, heads: Int
    var mask: AttentionMask?

    var testDescription: String {
      let kind =
        switch mask {
        case nil: ""
        case .causal: ", causal"
        case .first(let counts): ", the first \(counts)"
        case .keys: ", some keys"
        }
      return "\(batch) × \(queries) queries, \(keys) keys, \(width) wide, \(heads) heads\(kind)"
    }

    /// Heads with few tokens, for the loops without a mask.
    static let few = [
      Case(batch: 3, queries: 12, keys: 12, width: 128, heads: 4),
      Case(batch: 2, queries: 49, keys: 49, width: 64, heads: 4),
      Case(batch: 1, queries: 64, keys: 64, width: 64, heads: 1),
      Case(batch: 2, queries: 1, keys: 1, width: 1, heads: 1),
      Case(batch: 2, queries: 17, keys: 3, width: 66, heads: 2),
      Case(batch: 1, queries: 5, keys: 33, width: 21, heads: 3),
      Case(batch: 2, queries: 31, keys: 26, width: 40, heads: 2),
    ]

    /// Blocks of scores: sizes on both sides of a block's 96 and of the four that a part of the backward pass takes at least,
    /// masks that hide whole blocks, the beginning of one, its end, and all keys of a sample.
    static let blocks = [
      Case(batch: 1, queries: 1, keys: 1, width: 1, heads: 1, mask: .causal),
      Case(batch: 2, queries: 96, keys: 96, width: 16, heads: 1, mask: .causal),
      Case(batch: 1, queries: 97, keys: 97, width: 66, heads: 2, mask: .causal),
      Case(batch: 1, queries: 30, keys: 200, width: 21, heads: 3, mask: .causal),
      Case(batch: 1, queries: 200, keys: 30, width: 8, heads: 2, mask: .causal),
      Case(batch: 1, queries: 800, keys: 800, width: 3, heads: 1, mask: .causal),
      Case(batch: 3, queries: 4, keys: 6, width: 3, heads: 3, mask: .first([2, 0, 6])),
      Case(batch: 3, queries: 100, keys: 300, width: 16, heads: 2, mask: .first([96, 97, 250])),
      Case(batch: 1, queries: 17, keys: 3, width: 130, heads: 2, mask: .first([1])),
      Case(
        batch: 3, queries: 99, keys: 205, width: 40, heads: 2,
        mask: .keys((0..<3).map { n in (0..<205).map { [$0 % 3 != 1, $0 / 96 == 1, false][n] } })),
      Case(
        batch: 2, queries: 5, keys: 7, width: 6, heads: 2,
        mask: .keys(Array(repeating: (0..<7).map { $0 == 0 }, count: 2))),
      Case(batch: 1, queries: 257, keys: 256, width: 5, heads: 1),
      Case(batch: 2, queries: 90, keys: 800, width: 4, heads: 2),
    ]

    static let all =
      [
        Case(batch: 1, queries: 1, keys: 1, width: 1, heads: 1),
        Case(batch: 2, queries: 5, keys: 7, width: 6, heads: 2),
        Case(batch: 1, queries: 3, keys: 1, width: 8, heads: 4),
        Case(batch: 1, queries: 1, keys: 9, width: 8, heads: 1),
        Case(batch: 2, queries: 49, keys: 49, width: 64, heads: 2),
        // More than the loops for few tokens take.
        Case(batch: 2, queries: 70, keys: 5, width: 8, heads: 2),
        Case(batch: 1, queries: 9, keys: 65, width: 8, heads: 2),
        Case(batch: 1, queries: 6, keys: 7, width: 130, heads: 2),
      ] + blocks

    /// Queries, keys, values, and the gradient of the result.
    func inputs(on backend: any Backend, type: ScalarType = .float32) -> [Tensor] {
      [queries, keys, keys, queries].enumerated().map { index, length in
        randomTensor([batch, length, width], seed: UInt64(index + 1), type: type, on: backend)
      }
    }

    func run(on backend: any Backend, type: ScalarType = .float32) -> [(name: String, tensor: Tensor)] {
      run(inputs(on: backend, type: type))
    }

    func run(_ inputs: [Tensor]) -> [(name: String, tensor: Tensor)] {
      let (q, k, v, dy) = (inputs[0], inputs[1], inputs[2], inputs[3])
      let (y, statistics) = q.backend.attention(q, k, v, heads: heads, mask: mask)
      let (dq, dk, dv) = q.backend.attentionGradient(
        q, k, v, heads: heads, mask: mask, statistics: statistics, dy: dy)
      return [("y", y), ("dq", dq), ("dk", dk), ("dv", dv)]
    }

    func values(on backend: any Backend, type: ScalarType = .float32) -> [(name: String, values: [Float])] {
      run(on: backend, type: type).map { ($0.name, $0.tensor.values()) }
    }

    /// The definition in Double, with the chain rule written out.
    func reference(_ inputs: [[Double]]) -> [[Double]] {
      let depth = width / heads
      let (q, k, v, dy) = (inputs[0], inputs[1], inputs[2], inputs[3])
      var (y, dq, dk, dv) = (q.map { _ in 0.0 }, q.map { _ in 0.0 }, k.map { _ in 0.0 }, v.map { _ in 0.0 })
      let scale = 1 / Double(depth).squareRoot()
      for n in 0..<batch {
        for h in 0..<heads {
          func query(_ t: Int) -> Int { (n * queries + t) * width + h * depth }
          func key(_ t: Int) -> Int { (n * keys + t) * width + h * depth }
          for t in 0..<queries {
            let seen = (0..<keys).filter { mask?.sees(sample: n, query: t, key: $0) ?? true }
            let powers = seen.map { s in
              exp((0..<depth).reduce(0) { $0 + q[query(t) + $1] * k[key(s) + $1] } * scale)
            }
            let total = powers.reduce(0, +)
            let shares = powers.map { $0 / total }
            let slopes = seen.map { s in (0..<depth).reduce(0) { $0 + dy[query(t) + $1] * v[key(s) + $1] } }
            let mean = zip(shares, slopes).reduce(0) { $0 + $1.0 * $1.1 }
            for (place, s) in seen.enumerated() {
              let dscore = shares[place] * (slopes[place] - mean) * scale
              for d in 0..<depth {
                y[query(t) + d] += shares[place] * v[key(s) + d]
                dv[key(s) + d] += shares[place] * dy[query(t) + d]
                dq[query(t) + d] += dscore * k[key(s) + d]
                dk[key(s) + d] += dscore * q[query(t) + d]
              }
            }
          }
        }
      }
      return [y, dq, dk, dv]
    }
  }

  /// A gradient that is zero has no relative error; then the elements' own tolerance decides.
  @Test("OpenBLAS's attention against the definition", arguments: Case.all, [1, 2])
  func definition(a: Case, threads: Int) throws {
    let (results, inputs) = try TensorThread.run {
      let backend = OpenBLASBackend(threads: ThreadPool(count: threads))
      return (a.values(on: backend), a.inputs(on: backend).map(\.doubles))
    }
    expectClose(zip(results, a.reference(inputs)).map { difference($0.name, $0.values, $1, absolute: 1e-5) })
  }

  @Test("Attention of few tokens against the definition", arguments: Kernels.all, Case.few)
  func fewTokens(kernels: Kernels, a: Case) throws {
    expectClose(try Self.differences(kernels, a, absolute: 1e-5))
  }

  /// The backward pass reads the result as rounded to bfloat16, so gradients deviate accordingly.
  @Test("Attention by blocks of scores against the definition", arguments: Kernels.all, Case.blocks)
  func blocks(kernels: Kernels, a: Case) throws {
    expectClose(try Self.differences(kernels, a, absolute: kernels.type == .bfloat16 ? 6e-3 : 1e-5))
  }

  private static func differences(_ kernels: Kernels, _ a: Case, absolute: Double) throws -> [Difference] {
    try TensorThread.run {
      let backend = kernels.backend()
      let expected = a.reference(a.inputs(on: backend, type: kernels.type).map(\.doubles))
      return zip(a.run(on: backend, type: kernels.type), expected).map {
        difference($0.name, $0.tensor, $1, absolute: absolute)
      }
    }
  }

  /// Tokens, width, heads and masks on both sides of each method's limits.
  @Test(
    "Self-attention is the same as attention of three tensors", arguments: Backends.available,
    [
      (12, 128, 4, nil), (49, 64, 4, nil), (5, 6, 3, nil), (65, 8, 2, nil), (3, 130, 2, nil), (270, 6, 2, nil),
      (101, 12, 2, .causal), (97, 6, 1, .first([0, 50, 97])),
    ] as [(Int, Int, Int, AttentionMask?)])
  func selfAttention(kind: BackendKind, _ sizes: (tokens: Int, width: Int, heads: Int, mask: AttentionMask?)) throws {
    let (tokens, width, heads, mask) = sizes
    let differences = try TensorThread.run {
      let backend = try Backends.make(kind)
      let qkv = randomTensor([3, tokens, 3 * width], seed: 1, on: backend)
      let dy = randomTensor([3, tokens, width], seed: 2, on: backend)
      let parts = (0..<3).map { backend.slice(qkv, $0 * width..<($0 + 1) * width) }
      let (q, k, v) = (parts[0], parts[1], parts[2])
      let (y, statistics) = backend.attention(q, k, v, heads: heads, mask: mask)
      let (dq, dk, dv) = backend.attentionGradient(q, k, v, heads: heads, mask: mask, statistics: statistics, dy: dy)
      let joined = backend.selfAttention(qkv, heads: heads, mask: mask)
      let gradient = backend.selfAttentionGradient(
        qkv, heads: heads, mask: mask, statistics: joined.statistics, dy: dy)
      return [
        difference("y", joined.y, y.doubles), difference("dqkv", gradient, backend.concatenate([dq, dk, dv]).doubles),
      ]
    }
    expectClose(differences)
  }

  @Test("oneDNN's attention against OpenBLAS's", .enabled(if: Backends.hasOneDNN), arguments: Case.all)
  func oneDNN(a: Case) throws {
    let (fast, slow) = try TensorThread.run {
      (a.values(on: try Backends.make(.onednn)), a.values(on: OpenBLASBackend()))
    }
    expectClose(zip(fast, slow).map { difference($0.name, $0.values, $1.values, relative: 1e-4, absolute: 1e-5) })
  }

  @Test("bfloat16 attention against float32", .enabled(if: Backends.bfloat16 != .none), arguments: Case.all)
  func bfloat16(a: Case) throws {
    let (narrow, wide) = try TensorThread.run {
      let backend = try Backends.make(.onednn)
      return (a.values(on: backend, type: .bfloat16), a.values(on: backend))
    }
    for (narrow, wide) in zip(narrow, wide) {
      let difference = difference(narrow.name, narrow.values, wide.values)
      #expect(difference.relative < 2e-2 || difference.largest < 1e-2, "\(difference)")
    }
  }

  @Test("Blocks of scores give the same bytes on any number of threads, and with recomputed statistics")
  func repeatable() throws {
    for a in Case.blocks {
      let (runs, again) = try TensorThread.run {
        let runs = [1, 2, 3, 5].map { threads in
          a.run(on: OpenBLASBackend(threads: ThreadPool(count: threads))).map(\.tensor.bytes)
        }
        let backend = OpenBLASBackend()
        let inputs = a.inputs(on: backend)
        let (dq, dk, dv) = backend.attentionGradient(
          inputs[0], inputs[1], inputs[2], heads: a.heads, mask: a.mask, dy: inputs[3])
        return (runs, [dq, dk, dv].map(\.bytes))
      }
      #expect(runs.allSatisfy { $0 == runs[0] }, "\(a.testDescription)")
      #expect(Array(runs[0][1...]) == again, "\(a.testDescription)")
    }
  }

  @Test(
    "A mask that shows every key changes nothing but rounding", arguments: Backends.available,
    [AttentionMask.first([70, 70]), .keys(Array(repeating: Array(repeating: true, count: 70), count: 2))])
  func shown(kind: BackendKind, mask: AttentionMask) throws {
    let (masked, plain) = try onTensors(kind) { backend in
      let c = Case(batch: 2, queries: 50, keys: 70, width: 24, heads: 2, mask: mask)
      return (
        c.values(on: backend), Case(batch: 2, queries: 50, keys: 70, width: 24, heads: 2).values(on: backend)
      )
    }
    expectClose(zip(masked, plain).map { difference($0.name, $0.values, $1.values, relative: 1e-4, absolute: 1e-5) })
  }

  @Test(
    "A query that sees no key gives zeros and no gradients; hidden values do not matter, even NaN",
    arguments: Kernels.all)
  func hidden(kernels: Kernels) throws {
    let mask = AttentionMask.keys((0..<3).map { n in (0..<110).map { n == 1 || (n == 2 && $0 % 7 < 3) } })
    let a = Case(batch: 3, queries: 101, keys: 110, width: 12, heads: 2, mask: mask)
    let (clean, dirty) = try TensorThread.run {
      let backend = kernels.backend()
      var inputs = a.inputs(on: backend, type: kernels.type)
      let clean = a.run(inputs).map { $0.tensor.values() }
      for place in 1...2 {
        var values = inputs[place].values()
        for n in 0..<3 {
          for key in 0..<110 where !mask.sees(sample: n, query: 0, key: key) {
            for c in 0..<12 { values[(n * 110 + key) * 12 + c] = c % 2 == 0 ? .nan : -.infinity }
          }
        }
        inputs[place] = Tensor(values, shape: inputs[place].shape, type: kernels.type, on: backend)
      }
      return (clean, a.run(inputs).map { $0.tensor.values() })
    }
    #expect(clean == dirty)
    for (values, tokens) in zip(clean, [101, 101, 110, 110]) {
      #expect(values[..<(tokens * 12)].allSatisfy { $0 == 0 })
      #expect(values[(tokens * 12)...].allSatisfy { $0.isFinite })
    }
    for key in 0..<110 where key % 7 >= 3 {
      let start = (2 * 110 + key) * 12
      #expect(
        clean[2][start..<start + 12].allSatisfy { $0 == 0 } && clean[3][start..<start + 12].allSatisfy { $0 == 0 })
    }
  }

  /// Scores of all pairs would take 537 MB, and the same again in the backward pass.
  @Test(
    "Memory grows with the tokens, not with their pairs", arguments: Backends.available,
    [nil, AttentionMask.causal])
  func memory(kind: BackendKind, mask: AttentionMask?) throws {
    let (tokens, width, heads) = (4096, 512, 8)
    let (peak, finite) = try onTensors(kind) { backend in
      let inputs = (0..<4).map { _ in backend.sample([1, tokens, width], .float32) }
      let (q, k, v) = (inputs[0], inputs[1], inputs[2])
      let (y, statistics) = backend.attention(q, k, v, heads: heads, mask: mask)
      let (dq, dk, dv) = backend.attentionGradient(
        q, k, v, heads: heads, mask: mask, statistics: statistics, dy: inputs[3])
      return (backend.memory.peakBytes, [y, dq, dk, dv].allSatisfy { $0.values().allSatisfy(\.isFinite) })
    }
    // Four inputs, y, three gradients, and the shares of dq of four parts; then the memory per query and thread.
    #expect(peak < (8 + 4) * tokens * width * 4 + 4_000_000)
    #expect(finite)
  }
}
