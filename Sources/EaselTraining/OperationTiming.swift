/// One operation of the backend, timed alone on a shape that a model has.
public struct OperationTiming: Codable, Sendable {
  public var operation: String
  public var shape: String
  public var type: String
  public var milliseconds: Double
  public var gigaflopsPerSecond: Double
  public var gigabytesPerSecond: Double
  public var shareOfCeiling: Double

  public enum CodingKeys: String, CodingKey {
    case operation, shape, type, milliseconds
    case gigaflopsPerSecond = "gflop_per_second"
    case gigabytesPerSecond = "gb_per_second"
    case shareOfCeiling = "share_of_ceiling"
  }

  /// Times the operations that the reference models consist of, including those of families still to come.
  public static func all(on base: any Backend, type: ScalarType) -> (ceilings: Ceilings, timings: [OperationTiming]) {
    let ceilings = Ceilings(base)
    let backend = ProfilingBackend(base)
    var timings: [OperationTiming] = []
    for (name, make) in cases {
      let body = make(backend, type)
      for _ in 0..<2 { body() }
      backend.reset()
      backend.isRecording = true
      for _ in 0..<7 { body() }
      backend.isRecording = false
      // A case is one operation. It may also cast and fill, but the operation itself is the slowest call.
      guard let (key, record) = backend.records.max(by: { $0.value.median < $1.value.median }) else { continue }
      timings.append(
        OperationTiming(
          operation: name ?? key.operation, shape: key.shape, type: key.type.rawValue,
          milliseconds: 1000 * record.median, gigaflopsPerSecond: Double(record.flops) / record.median / 1e9,
          gigabytesPerSecond: Double(record.bytes) / record.median / 1e9,
          shareOfCeiling: ceilings.leastTime(flops: record.flops, bytes: record.bytes, type: key.type) / record.median))
    }
    return (ceilings, timings)
  }

  private typealias Make = (any Backend, ScalarType) -> () -> Void

  /// Each case makes its tensors and returns the operation on them. A name replaces the backend's own.
  private static var cases: [(name: String?, make: Make)] {
    var cases: [(name: String?, make: Make)] = []
    func add(_ name: String? = nil, _ make: @escaping Make) { cases.append((name, make)) }

    // [N, H, W, in], out, kernel, stride, padding
    let convolutions: [(Shape, Int, Int, Int, Int)] = [
      ([128, 28, 28, 32], 32, 3, 1, 1), ([128, 28, 28, 96], 32, 3, 1, 1), ([128, 14, 14, 64], 64, 3, 1, 1),
      ([128, 7, 7, 128], 128, 3, 1, 1), ([64, 32, 32, 64], 64, 3, 1, 1), ([64, 16, 16, 128], 128, 3, 1, 1),
      ([64, 8, 8, 256], 128, 3, 1, 1), ([128, 28, 28, 32], 64, 3, 2, 1), ([128, 28, 28, 1], 32, 3, 1, 1),
      ([128, 28, 28, 32], 1, 3, 1, 1), ([64, 32, 32, 192], 64, 1, 1, 0), ([128, 28, 28, 64], 128, 4, 2, 1),
      ([4, 70, 70, 3], 32, 7, 1, 0), ([4, 18, 18, 128], 128, 3, 1, 0),
    ]
    for (input, outputs, kernel, stride, padding) in convolutions {
      let window = ConvolutionWindow(stride: stride, padding: padding)
      let shape: Shape = [outputs, input[3], kernel, kernel]
      let output = window.outputShape(input: input, weight: shape)
      add { backend, type in
        let (x, weight) = (backend.sample(input, type), backend.sample(shape, .float32))
        return {
          weight.storage.markModified()
          _ = backend.convolution(x, weight: weight, bias: nil, residual: nil, window)
        }
      }
      add { backend, type in
        let (dy, weight) = (backend.sample(output, type), backend.sample(shape, .float32))
        return {
          weight.storage.markModified()
          _ = backend.convolutionInputGradient(dy, weight: weight, inputShape: input, window, adding: nil)
        }
      }
      add { backend, type in
        let (x, dy) = (backend.sample(input, type), backend.sample(output, type))
        let gradient = backend.sample(shape, .float32)
        return { backend.convolutionWeightGradient(x, dy, into: gradient, bias: nil, window) }
      }
    }

    // A transposed convolution is the gradient of a convolution's input: [N, H, W, out], in and kernel of the GAN's and
    // the CycleGAN's generators.
    let transposed: [(Shape, Int, Int)] = [
      ([128, 14, 14, 128], 256, 4), ([128, 28, 28, 64], 128, 4), ([4, 64, 64, 32], 64, 3),
    ]
    for (output, inputs, kernel) in transposed {
      let input: Shape = [output[0], output[1] / 2, output[2] / 2, inputs]
      add("transposed convolution") { backend, type in
        let x = backend.sample(input, type)
        let weight = backend.sample([inputs, output[3], kernel, kernel], .float32)
        return {
          weight.storage.markModified()
          _ = backend.convolutionInputGradient(
            x, weight: weight, inputShape: output, ConvolutionWindow(stride: 2, padding: 1), adding: nil)
        }
      }
    }

    let linears: [(Shape, Int)] = [
      ([64, 256, 128], 128), ([256, 49, 128], 384), ([256, 12, 128], 512), ([128, 6272], 32),
    ]
    for (shape, outputs) in linears {
      add { backend, type in
        let (x, weight) = (backend.sample(shape, type), backend.sample([outputs, shape.last], .float32))
        return {
          weight.storage.markModified()
          _ = backend.linear(x, weight: weight, bias: nil, residual: nil)
        }
      }
      add { backend, type in
        let (x, dy) = (backend.sample(shape, type), backend.sample(shape.replacingLast(with: outputs), type))
        let gradient = backend.sample([outputs, shape.last], .float32)
        return { backend.linearWeightGradient(x, dy, into: gradient) }
      }
    }

    // U-Nets at 16×16 and 7×7.
    let attentions: [(Shape, Int)] = [([64, 256, 128], 1), ([128, 49, 128], 1)]
    for (tokens, heads) in attentions {
      add { backend, type in
        let x = backend.sample(tokens, type)
        return { _ = backend.attention(x, x, x, heads: heads, mask: nil) }
      }
      add { backend, type in
        let x = backend.sample(tokens, type)
        return { _ = backend.attentionGradient(x, x, x, heads: heads, mask: nil, dy: x) }
      }
    }

    // The masked autoencoder's encoder and decoder: queries, keys and values side by side.
    let selfAttentions: [(Shape, Int)] = [([256, 12, 384], 4), ([256, 49, 192], 4)]
    for (tokens, heads) in selfAttentions {
      add { backend, type in
        let x = backend.sample(tokens, type)
        return { _ = backend.selfAttention(x, heads: heads) }
      }
      add { backend, type in
        let (x, dy) = (backend.sample(tokens, type), backend.sample(tokens.replacingLast(with: tokens.last / 3), type))
        return { _ = backend.selfAttentionGradient(x, heads: heads, dy: dy) }
      }
    }

    let norms: [(String, Shape, Normalization)] = [
      ("GroupNorm + SiLU", [128, 28, 28, 32], Normalization(groups: 8, epsilon: 1e-5, activation: .silu)),
      ("GroupNorm + SiLU", [64, 32, 32, 64], Normalization(groups: 32, epsilon: 1e-5, activation: .silu)),
      ("InstanceNorm + ReLU", [4, 64, 64, 32], Normalization(groups: 32, epsilon: 1e-5, activation: .relu)),
      ("InstanceNorm + ReLU", [4, 16, 16, 128], Normalization(groups: 128, epsilon: 1e-5, activation: .relu)),
      // One sample with all pixels of the batch as positions, each channel a group.
      ("BatchNorm + ReLU", [1, 128 * 14 * 14, 128], Normalization(groups: 128, epsilon: 1e-5, activation: .relu)),
      ("LayerNorm", [256, 49, 64], Normalization(groups: 1, epsilon: 1e-6, perPosition: true)),
      ("LayerNorm", [256, 12, 128], Normalization(groups: 1, epsilon: 1e-6, perPosition: true)),
    ]
    for (name, shape, normalization) in norms {
      add(name) { backend, type in
        let x = backend.sample(shape, type)
        let (gamma, beta) = (backend.sample([shape.last], .float32), backend.sample([shape.last], .float32))
        return { _ = backend.normalize(x, shift: nil, gamma: gamma, beta: beta, normalization) }
      }
      add("\(name) gradient") { backend, type in
        let x = backend.sample(shape, type)
        let (gamma, beta) = (backend.sample([shape.last], .float32), backend.sample([shape.last], .float32))
        let statistics = backend.normalize(x, shift: nil, gamma: gamma, beta: beta, normalization).statistics
        return {
          _ = backend.normalizeGradient(
            x, shift: nil, gamma: gamma, beta: beta, normalization, statistics: statistics, dy: x, adding: nil,
            gammaGradient: gamma, betaGradient: beta)
        }
      }
    }

    func addOn(_ shape: Shape, _ operation: @escaping (any Backend, Tensor) -> Void) {
      add { backend, type in
        let x = backend.sample(shape, type)
        return { operation(backend, x) }
      }
    }
    let images: Shape = [128, 28, 28, 32]
    addOn([64, 256, 256]) { _ = $0.softmax($1, scale: 1, mask: nil) }
    addOn(images) { _ = $0.concatenate([$1, $1]) }
    addOn(images) { _ = $0.slice($1, 0..<16) }
    addOn([128, 14, 14, 64]) { _ = $0.upsampleNearest($1, factor: 2) }
    addOn([128, 28, 28, 64]) { _ = $0.upsampleNearestGradient($1, factor: 2) }
    addOn([128, 28, 28, 64]) { _ = $0.averagePool($1, factor: 2) }
    addOn(images) { _ = $0.add($1, $1, alpha: 1, beta: 1) }
    addOn(images) { _ = $0.apply(.silu, $1) }
    addOn(images) { _ = $0.apply(.gelu, $1) }
    addOn(images) { _ = $0.loss(.squaredError, $1, $1) }
    add("Adam") { backend, _ in
      let tensors = (0..<4).map { _ in backend.sample([4 << 20], .float32) }
      backend.fill(tensors[3], with: 1)
      let pass = OptimizerPass(
        .adam(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, step: 1, decoupledDecay: true), learningRate: 1e-3)
      return { backend.update(tensors[0], gradients: tensors[1], state: [tensors[2], tensors[3]], pass) }
    }
    add { backend, _ in
      let x = Tensor(uninitialized: [128, 784], on: backend)
      return { backend.fillNormal(x, RandomDraw(seed: 1, stream: .noise)) }
    }
    return cases
  }
}

extension OperationRecord {
  fileprivate var median: Double { seconds.sorted()[seconds.count / 2] }
}
