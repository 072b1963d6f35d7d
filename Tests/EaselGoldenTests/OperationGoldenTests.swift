import EaselOptimizers
import EaselRunStorage
import EaselTestSupport
import Foundation
import Testing

/// Operations and optimizers against PyTorch's results (`Tests/Fixtures/make_fixtures.py`, in float64).
struct OperationGoldenTests {
  /// The fixtures. Images and heads are in PyTorch's order there and in Easel's here.
  private struct Fixture {
    let reader: SafetensorsReader
    let backend: any Backend

    init(on backend: any Backend) throws {
      reader = try SafetensorsReader(path: fixture("operations.safetensors"))
      self.backend = backend
    }

    func shape(_ name: String) -> [Int] { reader.entries[name]?.shape ?? [] }

    /// A tensor with its second axis moved: to the end (`[N, C, H, W]`, `pictures`), or behind the third and joined with
    /// the last (`[N, heads, T, d]`, `heads`).
    enum Order { case plain, pictures, heads }

    func values(_ name: String, _ order: Order = .plain) throws -> (values: [Float], shape: Shape) {
      let (flat, shape) = (try reader.floats(name), shape(name))
      guard order != .plain else { return (flat, Shape(shape.isEmpty ? [1] : shape)) }
      let (n, c, h, w) = (shape[0], shape[1], shape[2], shape[3])
      var moved: [Float] = []
      for sample in 0..<n {
        for y in 0..<h {
          // [y, x, channel], or [token, head, d].
          for inner in 0..<w * c {
            let (channel, x) = order == .pictures ? (inner % c, inner / c) : (inner / w, inner % w)
            moved.append(flat[((sample * c + channel) * h + y) * w + x])
          }
        }
      }
      return (moved, order == .pictures ? [n, h, w, c] : [n, h, c * w])
    }

    func tensor(_ name: String, _ order: Order = .plain) throws -> Tensor {
      let (values, shape) = try values(name, order)
      return Tensor(values, shape: shape, on: backend)
    }

    /// Runs an operation of PyTorch's and compares its result and gradients: `inputs` are the names of its arguments.
    func errors(
      _ name: String, inputs: [String] = ["x"], _ order: Order = .plain,
      _ operation: ([Variable]) -> Variable
    ) throws -> [GoldenError] {
      let tape = Tape()
      let variables = try inputs.map { input -> Variable in
        let tensor = try self.tensor("\(name).\(input)", input == "weight" || input == "bias" ? .plain : order)
        return tape.variable(tensor)
      }
      let y = operation(variables)
      let dy = try tensor("\(name).dy", order)
      tape.backward(from: weightedSum(y.reshaped([-1]), weights: dy.reshaped([-1])))
      var errors = [GoldenError("\(name).y", y.value.values(), try values("\(name).y", order).values)]
      for (input, variable) in zip(inputs, variables) {
        let expected = try values("\(name).d\(input)", input == "weight" || input == "bias" ? .plain : order).values
        errors.append(GoldenError("\(name).d\(input)", tape.gradient(of: variable)?.values() ?? [], expected))
      }
      return errors
    }
  }

  /// The largest difference, divided by the largest expected value.
  struct GoldenError: Sendable, CustomStringConvertible {
    let name: String
    let error: Float
    var description: String { "\(name): \(error)" }

    init(_ name: String, _ found: [Float], _ expected: [Float]) {
      self.name = name
      let scale = expected.map(abs).max() ?? 1
      let largest = zip(found, expected).reduce(Float(0)) { largest, pair in
        let distance = abs(pair.0 - pair.1)
        return distance <= largest ? largest : distance  // NaN wins
      }
      error = found.count == expected.count ? largest / scale : .infinity
    }
  }

  private static func check(
    _ kind: BackendKind, sourceLocation: SourceLocation = #_sourceLocation,
    _ work: @escaping @Sendable (Fixture) throws -> [GoldenError]
  ) throws {
    let errors = try TensorThread.run { try work(Fixture(on: Backends.make(kind))) }
    #expect(!errors.isEmpty, sourceLocation: sourceLocation)
    for error in errors { #expect(error.error < 1e-4, "\(error)", sourceLocation: sourceLocation) }
  }

  @Test("GroupNorm and LayerNorm", arguments: Backends.available)
  func normalization(kind: BackendKind) throws {
    try Self.check(kind) { fixture in
      try fixture.errors("group-norm", inputs: ["x", "weight", "bias"], .pictures) {
        normalize($0[0], gamma: $0[1], beta: $0[2], Normalization(groups: 4, epsilon: 1e-5))
      }
        + fixture.errors("layer-norm", inputs: ["x", "weight", "bias"]) {
          normalize($0[0], gamma: $0[1], beta: $0[2], Normalization(groups: 1, epsilon: 1e-6, perPosition: true))
        }
    }
  }

  @Test("Activations", arguments: Backends.available)
  func activations(kind: BackendKind) throws {
    try Self.check(kind) { fixture in
      try [("silu", Activation.silu), ("gelu", .gelu), ("gelu-tanh", .geluTanh)].flatMap { name, function in
        try fixture.errors(name) { activate(function, $0[0]) }
      }
    }
  }

  @Test("Resampling", arguments: Backends.available)
  func resampling(kind: BackendKind) throws {
    try Self.check(kind) { fixture in
      try fixture.errors("upsample-nearest", .pictures) { upsampleNearest($0[0]) }
        + fixture.errors("average-pool", .pictures) { averagePool($0[0]) }
    }
  }

  @Test("Binary cross-entropy", arguments: Backends.available)
  func crossEntropy(kind: BackendKind) throws {
    try Self.check(kind) { fixture in
      let target = try fixture.tensor("bce-with-logits.target")
      let kind = Loss.binaryCrossEntropyWithLogits
      let each = try fixture.tensor("bce-with-logits-none.x").reshaped([40, 1])
      let losses = fixture.backend.loss(kind, each, target.reshaped([40, 1])).values()
      return [GoldenError("none", losses, try fixture.reader.floats("bce-with-logits-none.y"))]
        + (try fixture.errors("bce-with-logits-mean") { elementwiseLoss(kind, $0[0], target) })
        + (try fixture.errors("bce-with-logits-sum") {
          elementwiseLoss(kind, $0[0].reshaped([1, 40]), target.reshaped([1, 40]), reduction: .sumOverSample)
        })
    }
  }

  @Test("Attention", arguments: Backends.available)
  func attentions(kind: BackendKind) throws {
    try Self.check(kind) { fixture in
      try fixture.errors("attention", inputs: ["q", "k", "v"], .heads) { attention($0[0], $0[1], $0[2], heads: 3) }
    }
  }

  @Test("Attention with each kind of mask, to itself and to others", arguments: Backends.available, ["self", "cross"])
  func attentionMasks(kind: BackendKind, name: String) throws {
    try Self.check(kind) { fixture in
      let counts = try fixture.reader.withBytes("attention-first-\(name).counts") { bytes in
        stride(from: 0, to: bytes.count, by: 8).map { Int(bytes.loadUnaligned(fromByteOffset: $0, as: Int64.self)) }
      }
      let shown = try fixture.reader.withBytes("attention-keys-\(name).shown") { $0.map { $0 == 1 } }
      let half = shown.count / 2
      let masks: [(String, AttentionMask)] = [
        ("causal", .causal), ("first", .first(counts)),
        ("keys", .keys([Array(shown[..<half]), Array(shown[half...])])),
      ]
      return try masks.flatMap { mask in
        try fixture.errors("attention-\(mask.0)-\(name)", inputs: ["q", "k", "v"], .heads) {
          attention($0[0], $0[1], $0[2], heads: 3, mask: mask.1)
        }
      }
    }
  }

  /// PyTorch's mask differs between queries here, Easel's does not, so test one query at a time.
  @Test("Attention with a mask for each query", arguments: Backends.available)
  func maskedAttention(kind: BackendKind) throws {
    try Self.check(kind) { fixture in
      let name = "attention-masked"
      let (q, k, v, dy) = (
        try fixture.tensor("\(name).q", .heads), try fixture.tensor("\(name).k", .heads),
        try fixture.tensor("\(name).v", .heads), try fixture.tensor("\(name).dy", .heads)
      )
      let mask = try fixture.reader.withBytes("\(name).mask") { $0.map { $0 == 1 } }
      let (queries, keys) = (q.shape[1], k.shape[1])
      let backend = fixture.backend
      var (y, dq): ([Float], [Float]) = ([], [])
      let (dk, dv) = (
        Tensor(repeating: 0, shape: k.shape, on: backend), Tensor(repeating: 0, shape: v.shape, on: backend)
      )
      for n in 0..<q.shape[0] {
        for t in 0..<queries {
          let start = (n * queries + t) * keys
          let row = AttentionMask.keys([Array(mask[start..<start + keys])])
          let (query, slope) = (q[n][t..<t + 1].reshaped([1, 1, -1]), dy[n][t..<t + 1].reshaped([1, 1, -1]))
          let (key, value) = (k[n..<n + 1], v[n..<n + 1])
          let one = backend.attention(query, key, value, heads: 3, mask: row)
          let gradients = backend.attentionGradient(
            query, key, value, heads: 3, mask: row, statistics: one.statistics, dy: slope)
          y += one.y.values()
          dq += gradients.dq.values()
          backend.accumulate(gradients.dk, alpha: 1, into: dk[n..<n + 1])
          backend.accumulate(gradients.dv, alpha: 1, into: dv[n..<n + 1])
        }
      }
      let found = [("y", y), ("dq", dq), ("dk", dk.values()), ("dv", dv.values())]
      return try found.map { GoldenError("\(name).\($0)", $1, try fixture.values("\(name).\($0)", .heads).values) }
    }
  }

  /// An optimizer of PyTorch's, by the fixture's name.
  struct Rule: Sendable, CustomTestStringConvertible {
    let name: String
    let method: OptimizerMethod
    let learningRate: Float
    var weightDecay: Float = 0
    var testDescription: String { name }

    static let all = [
      Rule(name: "sgd-momentum", method: .sgd(momentum: 0.9), learningRate: 0.05),
      Rule(name: "sgd-nesterov", method: .sgd(momentum: 0.9, nesterov: true), learningRate: 0.05),
      Rule(name: "sgd-weight-decay", method: .sgd(momentum: 0.9), learningRate: 0.05, weightDecay: 0.01),
      Rule(name: "rmsprop", method: .rmsprop(momentum: 0.9), learningRate: 0.01),
      Rule(name: "rmsprop-centered", method: .rmsprop(momentum: 0.9, centered: true), learningRate: 0.01),
      Rule(name: "adam", method: .adam(), learningRate: 0.01),
      Rule(name: "adam-weight-decay", method: .adam(), learningRate: 0.01, weightDecay: 0.01),
      Rule(name: "adamw", method: .adamW(), learningRate: 0.01, weightDecay: 0.01),
    ]
  }

  @Test("Ten steps of each optimizer", arguments: Rule.all, Backends.available)
  func optimizers(rule: Rule, kind: BackendKind) throws {
    try Self.check(kind) { fixture in
      let gradients = try fixture.reader.floats("optimizers.gradients")
      let expected = try fixture.reader.floats("optimizers.\(rule.name)")
      let scope = Scope()
      let parameter = scope.parameter("p", [7], .zeros)
      let arena = scope.makeArena(on: fixture.backend, seed: 1)
      let start = try fixture.reader.floats("optimizers.parameters")
      parameter.value.withMutableFloats { _ = $0.update(fromContentsOf: start) }
      let optimizer = Optimizer(arena, method: rule.method, weightDecay: rule.weightDecay)
      return (0..<10).map { step in
        let range = step * 7..<(step + 1) * 7
        parameter.gradient.withMutableFloats { _ = $0.update(fromContentsOf: gradients[range]) }
        optimizer.step(learningRate: rule.learningRate)
        return GoldenError("step \(step)", parameter.value.values(), Array(expected[range]))
      }
    }
  }
}
