import EaselTensors
import EaselTestSupport
import Foundation
import Testing

/// Linear layers and batched products: OpenBLAS against loops in Double, oneDNN against OpenBLAS, bfloat16 against float32.
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
    /// Larger than what oneDNN's backend does as a plain product.
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

  /// A batched product with each operand plain or transposed, scaled, with or without accumulation.
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

  @Test(
    "Rows that do not fit to a weight are refused, and nothing is read beyond their end", arguments: Backends.available)
  func foreignShapes(_ kind: BackendKind) async {
    await #expect(processExitsWith: .failure) { [name = kind.rawValue as String] in
      try TensorThread.run {
        let backend = try Backends.make(BackendKind(rawValue: name))
        let x = Tensor(repeating: 1, shape: [2, 5], on: backend)
        let weight = Tensor(repeating: 1, shape: [4, 6], on: backend)
        print(backend.linear(x, weight: weight, bias: nil, residual: nil).values())
      }
    }
  }
}
