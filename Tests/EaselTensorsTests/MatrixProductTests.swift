import EaselTensors
import EaselTestSupport
import Foundation
import Testing

/// Linear layers, batched products and attention: OpenBLAS against loops in Double, oneDNN against OpenBLAS, bfloat16
/// against float32.
struct MatrixProductTests {
  /// Rows, inputs, outputs.
  struct Layer: Sendable, CustomTestStringConvertible {
    let x: Shape
    let outputs: Int
    var inputs: Int { x.last }
    var testDescription: String { "\(x) to \(outputs)" }

    static let all: [Layer] = [
      Layer(x: [1, 1], outputs: 1), Layer(x: [5, 1], outputs: 7), Layer(x: [9, 6], outputs: 1),
      Layer(x: [3, 7], outputs: 5), Layer(x: [2, 5, 33], outputs: 20), Layer(x: [2, 3, 3, 64], outputs: 128),
      Layer(x: [1, 300], outputs: 10), Layer(x: [257, 16], outputs: 48),
    ]
    /// Beyond what oneDNN's backend does as a plain product.
    static let long = Layer(x: [70_001, 40], outputs: 24)
  }

  private static func linear(
    _ layer: Layer, on backend: any Backend, type: ScalarType = .float32, persistent: Bool = false
  )
    -> [(name: String, values: [Float])]
  {
    let output = layer.x.replacingLast(with: layer.outputs)
    let x = randomTensor(layer.x, seed: 1, type: type, on: backend)
    let weight = randomTensor([layer.outputs, layer.inputs], seed: 2, on: backend)
    if persistent { weight.storage.markModified() }
    let bias = randomTensor([layer.outputs], seed: 3, on: backend)
    let residual = randomTensor(output, seed: 4, type: type, on: backend)
    let dy = randomTensor(output, seed: 5, type: type, on: backend)
    let dw = Tensor(repeating: 1, shape: weight.shape, on: backend)
    backend.linearWeightGradient(x, dy, into: dw)
    return [
      ("y", backend.linear(x, weight: weight, bias: bias, residual: residual).values()),
      ("y plain", backend.linear(x, weight: weight, bias: nil, residual: nil).values()),
      ("dx", backend.linearInputGradient(dy, weight: weight, adding: nil).values()),
      ("dx + x", backend.linearInputGradient(dy, weight: weight, adding: x).values()), ("dw", dw.values()),
    ]
  }

  /// `op(a) · op(b)` of row-major matrices, in Double.
  private static func product(
    _ a: [Double], _ b: [Double], _ rows: Int, _ inner: Int, _ columns: Int, aTransposed: Bool = false,
    bTransposed: Bool = false
  ) -> [Double] {
    var c = [Double](repeating: 0, count: rows * columns)
    for r in 0..<rows {
      for k in 0..<inner {
        let left = a[aTransposed ? k * rows + r : r * inner + k]
        for column in 0..<columns {
          c[r * columns + column] += left * b[bTransposed ? column * inner + k : k * columns + column]
        }
      }
    }
    return c
  }

  @Test("OpenBLAS's linear layer against the definition", arguments: Layer.all, [1, 2])
  func linearDefinition(layer: Layer, threads: Int) throws {
    let results = try TensorThread.run { Self.linear(layer, on: OpenBLASBackend(threads: ThreadPool(count: threads))) }
    let (rows, inputs, outputs) = (layer.x.count / layer.inputs, layer.inputs, layer.outputs)
    func doubles(_ count: Int, _ seed: UInt64) -> [Double] { randomValues(count, seed: seed).map(Double.init) }
    let (x, w, bias) = (doubles(rows * inputs, 1), doubles(inputs * outputs, 2), doubles(outputs, 3))
    let (residual, dy) = (doubles(rows * outputs, 4), doubles(rows * outputs, 5))
    let plain = Self.product(x, w, rows, inputs, outputs, bTransposed: true)
    let dx = Self.product(dy, w, rows, outputs, inputs)
    let expected = [
      plain.indices.map { plain[$0] + bias[$0 % outputs] + residual[$0] }, plain,
      dx, zip(dx, x).map { $0 + $1 },
      Self.product(dy, x, outputs, rows, inputs, aTransposed: true).map { $0 + 1 },
    ]
    expectClose(
      zip(results, expected).map { difference($0.name, $0.values, $1) }, relative: 1e-5, largest: 1e-3)
  }

  @Test(
    "oneDNN's linear layer against OpenBLAS's", .enabled(if: Backends.hasOneDNN), arguments: Layer.all + [Layer.long],
    [false, true])
  func linearOneDNN(layer: Layer, persistent: Bool) throws {
    let (fast, slow) = try TensorThread.run {
      (
        Self.linear(layer, on: try Backends.make(.onednn), persistent: persistent),
        Self.linear(layer, on: OpenBLASBackend())
      )
    }
    expectClose(
      zip(fast, slow).map { difference($0.name, $0.values, $1.values) }, relative: 1e-4, largest: 5e-3)
  }

  @Test(
    "A bfloat16 linear layer against float32", .enabled(if: Backends.bfloat16 != .none),
    arguments: Layer.all + [Layer.long])
  func linearBFloat16(layer: Layer) throws {
    let (narrow, wide) = try TensorThread.run {
      let backend = try Backends.make(.onednn)
      return (Self.linear(layer, on: backend, type: .bfloat16), Self.linear(layer, on: backend))
    }
    expectClose(
      zip(narrow, wide).map { difference($0.name, $0.values, $1.values) }, relative: 2e-2, largest: 4)
  }

  /// A batched product with each operand as it is or transposed, scaled, and added to or not.
  struct Product: Sendable, CustomTestStringConvertible {
    let batch, rows, inner, columns: Int
    var aTransposed = false
    var bTransposed = false
    var scale: Float = 1
    var accumulating = false
    var testDescription: String {
      "\(batch) of \(rows)×\(inner)\(aTransposed ? "ᵀ" : "") · \(inner)×\(columns)\(bTransposed ? "ᵀ" : "")"
        + (scale == 1 ? "" : " scaled") + (accumulating ? " added" : "")
    }

    static let all =
      [(1, 1, 1, 1), (1, 130, 33, 17), (3, 5, 7, 1), (3, 1, 7, 5), (2, 5, 1, 6), (7, 16, 8, 24)].flatMap { size in
        [(false, false), (true, false), (false, true), (true, true)].map {
          Product(
            batch: size.0, rows: size.1, inner: size.2, columns: size.3, aTransposed: $0.0, bTransposed: $0.1,
            scale: $0.0 ? 1 : 0.25, accumulating: $0.1)
        }
      }

    /// A result of the public interface, which is row by row.
    func run(on backend: any Backend, type: ScalarType = .float32) -> [Float] {
      let a = randomTensor(
        aTransposed ? [batch, inner, rows] : [batch, rows, inner], seed: 1, type: type, on: backend)
      let b = randomTensor(
        bTransposed ? [batch, columns, inner] : [batch, inner, columns], seed: 2, type: type, on: backend)
      let c = Tensor(repeating: 2, shape: [batch, rows, columns], type: type, on: backend)
      backend.matmul(
        aTransposed ? MatrixBatch(a).transposed : MatrixBatch(a),
        bTransposed ? MatrixBatch(b).transposed : MatrixBatch(b),
        scale: scale, into: MatrixBatch(c), accumulating: accumulating)
      return c.values()
    }
  }

  @Test("OpenBLAS's products against the definition", arguments: Product.all, [1, 2])
  func productDefinition(p: Product, threads: Int) throws {
    let result = try TensorThread.run { p.run(on: OpenBLASBackend(threads: ThreadPool(count: threads))) }
    let a = randomValues(p.batch * p.rows * p.inner, seed: 1).map(Double.init)
    let b = randomValues(p.batch * p.inner * p.columns, seed: 2).map(Double.init)
    let (left, right) = (p.rows * p.inner, p.inner * p.columns)
    let expected = (0..<p.batch).flatMap { n -> [Double] in
      let plain = Self.product(
        Array(a[n * left..<(n + 1) * left]), Array(b[n * right..<(n + 1) * right]), p.rows, p.inner, p.columns,
        aTransposed: p.aTransposed, bTransposed: p.bTransposed)
      return plain.map { Double(p.scale) * $0 + (p.accumulating ? 2 : 0) }
    }
    expectClose([difference("c", result, expected)], relative: 1e-5, largest: 1e-4)
  }

  @Test("oneDNN's products against OpenBLAS's", .enabled(if: Backends.hasOneDNN), arguments: Product.all)
  func productOneDNN(p: Product) throws {
    let (fast, narrow, slow) = try TensorThread.run {
      let backend = try Backends.make(.onednn)
      return (
        p.run(on: backend), Backends.bfloat16 != .none ? p.run(on: backend, type: .bfloat16) : nil,
        p.run(on: OpenBLASBackend())
      )
    }
    expectClose([difference("c", fast, slow)], relative: 1e-4, largest: 1e-3)
    if let narrow { expectClose([difference("bfloat16", narrow, slow)], relative: 2e-2, largest: 0.5) }
  }

  /// Batch, lengths of queries and keys, width, heads.
  struct Attention: Sendable, CustomTestStringConvertible {
    let batch, queries, keys, width, heads: Int
    var masked = false
    var testDescription: String {
      "\(batch) × \(queries) queries, \(keys) keys, \(width) wide, \(heads) heads\(masked ? ", masked" : "")"
    }

    static let all = [
      Attention(batch: 1, queries: 1, keys: 1, width: 1, heads: 1),
      Attention(batch: 2, queries: 5, keys: 7, width: 6, heads: 2),
      Attention(batch: 1, queries: 3, keys: 1, width: 8, heads: 4),
      Attention(batch: 1, queries: 1, keys: 9, width: 8, heads: 1),
      Attention(batch: 3, queries: 4, keys: 6, width: 3, heads: 3, masked: true),
      Attention(batch: 2, queries: 49, keys: 49, width: 64, heads: 2),
      Attention(batch: 1, queries: 10, keys: 17, width: 32, heads: 1, masked: true),
      // More than the loops for few tokens take: queries, keys, width of a head.
      Attention(batch: 2, queries: 70, keys: 5, width: 8, heads: 2),
      Attention(batch: 1, queries: 9, keys: 65, width: 8, heads: 2, masked: true),
      Attention(batch: 1, queries: 6, keys: 7, width: 130, heads: 2),
    ]
    /// For every instruction set: rests of vectors and of tiles on all sides.
    static let few = [
      Attention(batch: 3, queries: 12, keys: 12, width: 128, heads: 4),
      Attention(batch: 2, queries: 49, keys: 49, width: 64, heads: 4),
      Attention(batch: 1, queries: 64, keys: 64, width: 64, heads: 1),
      Attention(batch: 2, queries: 1, keys: 1, width: 1, heads: 1),
      Attention(batch: 2, queries: 17, keys: 3, width: 66, heads: 2, masked: true),
      Attention(batch: 1, queries: 5, keys: 33, width: 21, heads: 3, masked: true),
      Attention(batch: 2, queries: 31, keys: 26, width: 40, heads: 2),
    ]

    private var maskValues: [Float] { (0..<keys).map { $0 % 3 == 1 ? -.infinity : Float($0) * 0.1 } }

    /// Queries, keys, values, and the gradient of the result.
    func inputs(on backend: any Backend, type: ScalarType = .float32) -> [Tensor] {
      [queries, keys, keys, queries].enumerated().map { index, length in
        randomTensor([batch, length, width], seed: UInt64(index + 1), type: type, on: backend)
      }
    }

    func run(on backend: any Backend, type: ScalarType = .float32) -> [(name: String, tensor: Tensor)] {
      let inputs = inputs(on: backend, type: type)
      let (q, k, v, dy) = (inputs[0], inputs[1], inputs[2], inputs[3])
      let mask = masked ? Tensor(maskValues, shape: [keys], on: backend) : nil
      let y = backend.attention(q, k, v, heads: heads, mask: mask)
      let (dq, dk, dv) = backend.attentionGradient(q, k, v, heads: heads, mask: mask, dy: dy)
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
            let powers = (0..<keys).map { s in
              exp(
                (0..<depth).reduce(0) { $0 + q[query(t) + $1] * k[key(s) + $1] } * scale
                  + (masked ? Double(maskValues[s]) : 0))
            }
            let total = powers.reduce(0, +)
            let shares = powers.map { $0 / total }
            let slopes = (0..<keys).map { s in (0..<depth).reduce(0) { $0 + dy[query(t) + $1] * v[key(s) + $1] } }
            let mean = zip(shares, slopes).reduce(0) { $0 + $1.0 * $1.1 }
            for s in 0..<keys {
              let dscore = shares[s] * (slopes[s] - mean) * scale
              for d in 0..<depth {
                y[query(t) + d] += shares[s] * v[key(s) + d]
                dv[key(s) + d] += shares[s] * dy[query(t) + d]
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

  /// A gradient that is zero has no relative error: the elements' own tolerance decides then.
  @Test("OpenBLAS's attention against the definition", arguments: Attention.all, [1, 2])
  func attentionDefinition(a: Attention, threads: Int) throws {
    let (results, inputs) = try TensorThread.run {
      let backend = OpenBLASBackend(threads: ThreadPool(count: threads))
      return (a.values(on: backend), a.inputs(on: backend).map(\.doubles))
    }
    expectClose(zip(results, a.reference(inputs)).map { difference($0.name, $0.values, $1, absolute: 1e-5) })
  }

  @Test("Attention of few tokens against the definition", arguments: Kernels.all, Attention.few)
  func attentionOfFewTokens(kernels: Kernels, a: Attention) throws {
    let differences = try TensorThread.run {
      let backend = kernels.backend()
      let expected = a.reference(a.inputs(on: backend, type: kernels.type).map(\.doubles))
      return zip(a.run(on: backend, type: kernels.type), expected).map {
        difference($0.name, $0.tensor, $1, absolute: 1e-5)
      }
    }
    expectClose(differences)
  }

  /// Tokens, width and heads on both sides of what the loops for few tokens take.
  @Test(
    "Attention of tokens to each other is that of three tensors", arguments: Backends.available,
    [(12, 128, 4), (49, 64, 4), (5, 6, 3), (65, 8, 2), (3, 130, 2)])
  func selfAttention(kind: BackendKind, _ sizes: (tokens: Int, width: Int, heads: Int)) throws {
    let (tokens, width, heads) = sizes
    let differences = try TensorThread.run {
      let backend = try Backends.make(kind)
      let qkv = randomTensor([3, tokens, 3 * width], seed: 1, on: backend)
      let dy = randomTensor([3, tokens, width], seed: 2, on: backend)
      let parts = (0..<3).map { backend.slice(qkv, $0 * width..<($0 + 1) * width) }
      let (q, k, v) = (parts[0], parts[1], parts[2])
      let y = backend.attention(q, k, v, heads: heads, mask: nil)
      let (dq, dk, dv) = backend.attentionGradient(q, k, v, heads: heads, mask: nil, dy: dy)
      return [
        difference("y", backend.selfAttention(qkv, heads: heads), y.doubles),
        difference(
          "dqkv", backend.selfAttentionGradient(qkv, heads: heads, dy: dy), backend.concatenate([dq, dk, dv]).doubles),
      ]
    }
    expectClose(differences)
  }

  @Test("oneDNN's attention against OpenBLAS's", .enabled(if: Backends.hasOneDNN), arguments: Attention.all)
  func attentionOneDNN(a: Attention) throws {
    let (fast, slow) = try TensorThread.run {
      (a.values(on: try Backends.make(.onednn)), a.values(on: OpenBLASBackend()))
    }
    expectClose(zip(fast, slow).map { difference($0.name, $0.values, $1.values, relative: 1e-4, absolute: 1e-5) })
  }

  @Test("bfloat16 attention against float32", .enabled(if: Backends.bfloat16 != .none), arguments: Attention.all)
  func attentionBFloat16(a: Attention) throws {
    let (narrow, wide) = try TensorThread.run {
      let backend = try Backends.make(.onednn)
      return (a.values(on: backend, type: .bfloat16), a.values(on: backend))
    }
    for (narrow, wide) in zip(narrow, wide) {
      let difference = difference(narrow.name, narrow.values, wide.values)
      #expect(difference.relative < 2e-2 || difference.largest < 1e-2, "\(difference)")
    }
  }
}
