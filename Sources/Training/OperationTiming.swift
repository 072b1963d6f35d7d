/// One operation of the backend, timed by itself on a shape that a model has.
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

  /// Times the operations that the reference models are made of, among them those of families still to come.
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
      // A case is one operation; what casts and fills it needs come before the slowest.
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

  private typealias Case = (name: String?, make: (any Backend, ScalarType) -> () -> Void)

  private static var cases: [Case] {
    // [N, H, W, in], out, kernel, stride, padding
    let convolutions: [(Shape, Int, Int, Int, Int)] = [
      ([128, 28, 28, 32], 32, 3, 1, 1), ([128, 28, 28, 96], 32, 3, 1, 1), ([128, 14, 14, 64], 64, 3, 1, 1),
      ([128, 7, 7, 128], 128, 3, 1, 1), ([64, 32, 32, 64], 64, 3, 1, 1), ([64, 16, 16, 128], 128, 3, 1, 1),
      ([64, 8, 8, 256], 128, 3, 1, 1), ([128, 28, 28, 32], 64, 3, 2, 1), ([128, 28, 28, 1], 32, 3, 1, 1),
      ([128, 28, 28, 32], 1, 3, 1, 1), ([64, 32, 32, 192], 64, 1, 1, 0), ([128, 28, 28, 64], 128, 4, 2, 1),
      ([4, 70, 70, 3], 32, 7, 1, 0), ([4, 18, 18, 128], 128, 3, 1, 0),
    ]
    var cases: [Case] = []
    for (input, outputs, kernel, stride, padding) in convolutions {
      let window = ConvolutionWindow(stride: stride, padding: padding)
      let weight: Shape = [outputs, input[3], kernel, kernel]
      let output = window.outputShape(input: input, weight: weight)
      cases += [
        (
          nil,
          { backend, type in
            let (x, w) = (backend.sample(input, type), backend.sample(weight, .float32))
            return {
              w.storage.markModified()
              _ = backend.convolution(x, weight: w, bias: nil, residual: nil, window)
            }
          }
        ),
        (
          nil,
          { backend, type in
            let (dy, w) = (backend.sample(output, type), backend.sample(weight, .float32))
            return {
              w.storage.markModified()
              _ = backend.convolutionInputGradient(dy, weight: w, inputShape: input, window, adding: nil)
            }
          }
        ),
        (
          nil,
          { backend, type in
            let (x, dy) = (backend.sample(input, type), backend.sample(output, type))
            let w = backend.sample(weight, .float32)
            return { backend.convolutionWeightGradient(x, dy, into: w, bias: nil, window) }
          }
        ),
      ]
    }
    // A transposed convolution is the gradient of a convolution's input: [N, H, W, out] of the GAN and CycleGAN.
    for (output, inputs, kernel) in [
      ([128, 14, 14, 128], 256, 4), ([128, 28, 28, 64], 128, 4), ([4, 64, 64, 32], 64, 3),
    ]
      as [(Shape, Int, Int)]
    {
      let window = ConvolutionWindow(stride: 2, padding: 1)
      let input: Shape = [output[0], output[1] / 2, output[2] / 2, inputs]
      cases.append(
        (
          "transposed convolution",
          { backend, type in
            let x = backend.sample(input, type)
            let w = backend.sample([inputs, output[3], kernel, kernel], .float32)
            return {
              w.storage.markModified()
              _ = backend.convolutionInputGradient(x, weight: w, inputShape: output, window, adding: nil)
            }
          }
        ))
    }
    for (shape, outputs) in [
      ([64, 256, 128], 128), ([256, 49, 128], 384), ([256, 12, 128], 512), ([128, 6272], 32),
    ]
      as [(Shape, Int)]
    {
      cases += [
        (
          nil,
          { backend, type in
            let (x, w) = (backend.sample(shape, type), backend.sample([outputs, shape.last], .float32))
            return {
              w.storage.markModified()
              _ = backend.linear(x, weight: w, bias: nil, residual: nil)
            }
          }
        ),
        (
          nil,
          { backend, type in
            let (x, dy) = (backend.sample(shape, type), backend.sample(shape.replacingLast(with: outputs), type))
            let w = backend.sample([outputs, shape.last], .float32)
            return { backend.linearWeightGradient(x, dy, into: w) }
          }
        ),
      ]
    }
    // U-Nets at 16×16 and 7×7; the masked autoencoder's encoder and decoder.
    for (tokens, heads) in [([64, 256, 128], 1), ([128, 49, 128], 1), ([256, 12, 128], 4), ([256, 49, 64], 4)]
      as [(Shape, Int)]
    {
      cases += [
        (
          nil,
          { backend, type in
            let x = backend.sample(tokens, type)
            return { _ = backend.attention(x, x, x, heads: heads, mask: nil) }
          }
        ),
        (
          nil,
          { backend, type in
            let x = backend.sample(tokens, type)
            return { _ = backend.attentionGradient(x, x, x, heads: heads, mask: nil, dy: x) }
          }
        ),
      ]
    }
    let norms: [(String, Shape, Normalization)] = [
      ("GroupNorm + SiLU", [128, 28, 28, 32], Normalization(groups: 8, epsilon: 1e-5, activation: .silu)),
      ("GroupNorm + SiLU", [64, 32, 32, 64], Normalization(groups: 32, epsilon: 1e-5, activation: .silu)),
      ("InstanceNorm + ReLU", [4, 64, 64, 32], Normalization(groups: 32, epsilon: 1e-5, activation: .relu)),
      ("InstanceNorm + ReLU", [4, 16, 16, 128], Normalization(groups: 128, epsilon: 1e-5, activation: .relu)),
      // One sample whose positions are all pixels of the batch, each channel a group.
      ("BatchNorm + ReLU", [1, 128 * 14 * 14, 128], Normalization(groups: 128, epsilon: 1e-5, activation: .relu)),
      ("LayerNorm", [256, 49, 64], Normalization(groups: 1, epsilon: 1e-6, perPosition: true)),
    ]
    for (name, shape, normalization) in norms {
      cases += [
        (
          name,
          { backend, type in
            let x = backend.sample(shape, type)
            let (gamma, beta) = (backend.sample([shape.last], .float32), backend.sample([shape.last], .float32))
            return { _ = backend.normalize(x, shift: nil, gamma: gamma, beta: beta, normalization) }
          }
        ),
        (
          "\(name) gradient",
          { backend, type in
            let x = backend.sample(shape, type)
            let (gamma, beta) = (backend.sample([shape.last], .float32), backend.sample([shape.last], .float32))
            let statistics = backend.normalize(x, shift: nil, gamma: gamma, beta: beta, normalization).statistics
            return {
              _ = backend.normalizeGradient(
                x, shift: nil, gamma: gamma, beta: beta, normalization, statistics: statistics, dy: x, adding: nil,
                gammaGradient: gamma, betaGradient: beta)
            }
          }
        ),
      ]
    }
    let images: Shape = [128, 28, 28, 32]
    cases += [
      (
        nil,
        { backend, type in
          let x = backend.sample([64, 256, 256], type)
          return { _ = backend.softmax(x, scale: 1, mask: nil) }
        }
      ),
      (
        nil,
        { backend, type in
          let x = backend.sample(images, type)
          return { _ = backend.concatenate([x, x]) }
        }
      ),
      (
        nil,
        { backend, type in
          let x = backend.sample(images, type)
          return { _ = backend.slice(x, 0..<16) }
        }
      ),
      (
        nil,
        { backend, type in
          let x = backend.sample([128, 14, 14, 64], type)
          return { _ = backend.upsampleNearest(x, factor: 2) }
        }
      ),
      (
        nil,
        { backend, type in
          let x = backend.sample([128, 28, 28, 64], type)
          return { _ = backend.upsampleNearestGradient(x, factor: 2) }
        }
      ),
      (
        nil,
        { backend, type in
          let x = backend.sample(images, type)
          return { _ = backend.add(x, x, alpha: 1, beta: 1) }
        }
      ),
      (
        nil,
        { backend, type in
          let x = backend.sample(images, type)
          return { _ = backend.apply(.silu, x) }
        }
      ),
      (
        nil,
        { backend, type in
          let x = backend.sample(images, type)
          return { _ = backend.apply(.gelu, x) }
        }
      ),
      (
        nil,
        { backend, type in
          let x = backend.sample(images, type)
          return { _ = backend.loss(.squaredError, x, x) }
        }
      ),
      (
        "Adam",
        { backend, _ in
          let tensors = (0..<4).map { _ in backend.sample([4 << 20], .float32) }
          let pass = OptimizerPass(
            .adam(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, step: 1, decoupledDecay: true), learningRate: 1e-3)
          backend.fill(tensors[3], with: 1)
          return { backend.update(tensors[0], gradients: tensors[1], state: [tensors[2], tensors[3]], pass) }
        }
      ),
      (
        nil,
        { backend, _ in
          let x = backend.sample([128, 784], .float32)
          return { backend.fillNormal(x, RandomDraw(seed: 1, stream: .noise)) }
        }
      ),
    ]
    return cases
  }
}

extension OperationRecord {
  fileprivate var median: Double { seconds.sorted()[seconds.count / 2] }
}
