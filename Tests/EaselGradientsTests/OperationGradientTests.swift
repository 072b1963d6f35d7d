import EaselOptimizers
import EaselTestSupport
import Testing

/// Every differentiable operation against finite differences.
struct OperationGradientTests {
  /// Normal values; those near a kink at 0 are moved away, beyond the reach of the differences.
  private static func awayFromZero(_ shape: Shape, on backend: any Backend) -> Tensor {
    let values = randomValues(shape.count, seed: 1).map { abs($0) < 0.1 ? ($0 < 0 ? $0 - 0.1 : $0 + 0.1) : $0 }
    return Tensor(values, shape: shape, on: backend)
  }

  private static let convolutions: [GradientCase] = [
    GradientCase("conv2d with bias and residual", [2, 4, 5, 3], [4, 3, 3, 3], [4], [2, 4, 5, 4]) {
      conv2d($0[0], weight: $0[1], bias: $0[2], residual: $0[3], window: .init(padding: 1))
    },
    GradientCase("conv2d, stride 2, padded right and below, no bias", [1, 5, 6, 2], [3, 2, 3, 3]) {
      conv2d($0[0], weight: $0[1], window: .init(stride: 2, top: 0, left: 0, bottom: 1, right: 1))
    },
    GradientCase("conv2d 4×4, one channel", [2, 6, 6, 1], [2, 1, 4, 4], [2]) {
      conv2d($0[0], weight: $0[1], bias: $0[2], window: .init(stride: 2, padding: 1))
    },
    GradientCase("conv2d 1×1 with bias and residual", [2, 3, 2, 3], [5, 3, 1, 1], [5], [2, 3, 2, 5]) {
      conv2d($0[0], weight: $0[1], bias: $0[2], residual: $0[3])
    },
    GradientCase("conv2d whose residual is its input", [1, 3, 4, 2], [2, 2, 3, 3]) {
      conv2d($0[0], weight: $0[1], residual: $0[0], window: .init(padding: 1))
    },
    GradientCase("convTranspose2d 4×4, stride 2", [2, 2, 3, 3], [3, 2, 4, 4], [2]) {
      convTranspose2d(
        $0[0], weight: $0[1], bias: $0[2], size: (height: 4, width: 6), window: .init(stride: 2, padding: 1))
    },
    GradientCase("convTranspose2d 3×3, stride 2, one row and column more", [1, 2, 2, 2], [2, 3, 3, 3]) {
      convTranspose2d($0[0], weight: $0[1], size: (height: 4, width: 4), window: .init(stride: 2, padding: 1))
    },
    GradientCase("conv2d with constant weights", [1, 3, 4, 2], [2]) {
      let weight = Variable(randomTensor([2, 2, 3, 3], seed: 7, on: $0[0].backend))
      return conv2d($0[0], weight: weight, bias: $0[1], window: .init(padding: 1))
    },
  ]

  private static let products: [GradientCase] = [
    GradientCase("linear with bias and residual", [2, 3, 5], [4, 5], [4], [2, 3, 4]) {
      linear($0[0], weight: $0[1], bias: $0[2], residual: $0[3])
    },
    GradientCase("linear with one input", [5, 1], [3, 1], [3]) { linear($0[0], weight: $0[1], bias: $0[2]) },
    GradientCase("linear with one output", [5, 3], [1, 3], [1]) { linear($0[0], weight: $0[1], bias: $0[2]) },
    GradientCase("linearTransposed", [3, 4], [4, 5]) { linearTransposed($0[0], weight: $0[1]) },
    GradientCase("tied weights", [3, 5], [4, 5]) {
      linearTransposed(activate(.tanh, linear($0[0], weight: $0[1])), weight: $0[1])
    },
    GradientCase("addRow", [2, 3, 4], [4]) { addRow($0[0], $0[1]) },
    GradientCase("matmul", [2, 3, 4], [2, 4, 5]) { matmul($0[0], $0[1]) },
    GradientCase("matmul of a matrix with itself", [3, 3]) { matmul($0[0], $0[0]) },
    GradientCase("attention, two heads", [2, 3, 4], [2, 5, 4], [2, 5, 4]) { attention($0[0], $0[1], $0[2], heads: 2) },
    GradientCase("self-attention of one tensor", [1, 4, 3]) { attention($0[0], $0[0], $0[0], heads: 1) },
  ]

  private static let masks: [GradientCase] = {
    let kinds: [(String, AttentionMask)] = [
      ("causal", .causal), ("the first keys", .first([3, 0])),
      ("some keys", .keys([[false, true, true, false], [true, false, false, false]])),
    ]
    return kinds.flatMap { name, mask in
      [
        GradientCase("cross-attention, fewer queries, \(name)", [2, 3, 4], [2, 4, 4], [2, 4, 4]) {
          attention($0[0], $0[1], $0[2], heads: 2, mask: mask)
        },
        GradientCase("cross-attention, more queries, \(name)", [2, 5, 4], [2, 4, 4], [2, 4, 4]) {
          attention($0[0], $0[1], $0[2], heads: 2, mask: mask)
        },
        GradientCase("self-attention of one tensor, \(name)", [2, 4, 4]) {
          attention($0[0], $0[0], $0[0], heads: 1, mask: mask)
        },
        GradientCase("selfAttention, \(name)", [2, 4, 12]) { selfAttention($0[0], heads: 2, mask: mask) },
      ]
    } + [
      GradientCase("selfAttention of two blocks, causal", [1, 100, 3]) {
        selfAttention($0[0], heads: 1, mask: .causal)
      },
      GradientCase("cross-attention of two blocks, the first keys", [1, 3, 2], [1, 103, 2], [1, 103, 2]) {
        attention($0[0], $0[1], $0[2], heads: 1, mask: .first([99]))
      },
    ]
  }()

  private static let tokens: [GradientCase] = [
    GradientCase("selfAttention, two heads", [2, 3, 12]) { selfAttention($0[0], heads: 2) },
    GradientCase("selfAttention of more than few tokens", [1, 65, 6]) { selfAttention($0[0], heads: 1) },
    GradientCase("gatherTokens with a filler", [2, 4, 3], [3]) { input in
      let indices = Tensor([2, -1, 0, 2, -1, -1, 3, 1, 1, -1] as [Int32], on: input[0].backend).reshaped([2, 5])
      return activate(.tanh, gatherTokens(input[0], indices, filler: input[1]))
    },
    GradientCase("gatherTokens without a filler", [2, 3, 2]) { input in
      let indices = Tensor([2, -1, 1, 1] as [Int32], on: input[0].backend).reshaped([2, 2])
      return activate(.exp, gatherTokens(input[0], indices))
    },
    GradientCase("gatherTokens of constants with a filler", [3]) { input in
      let tokens = Variable(randomTensor([1, 2, 3], seed: 6, on: input[0].backend))
      let indices = Tensor([-1, 1, -1] as [Int32], on: input[0].backend).reshaped([1, 3])
      return gatherTokens(tokens, indices, filler: input[0])
    },
  ]

  private static let normalizations: [GradientCase] = [
    GradientCase("GroupNorm with SiLU and a shift", [2, 3, 2, 6], [2, 6], [6], [6]) {
      normalize(
        $0[0], shift: $0[1], gamma: $0[2], beta: $0[3], Normalization(groups: 3, epsilon: 1e-2, activation: .silu))
    },
    GradientCase("LayerNorm with GELU", [2, 3, 5], [5], [5]) {
      normalize(
        $0[0], gamma: $0[1], beta: $0[2],
        Normalization(groups: 1, epsilon: 1e-2, activation: .gelu, perPosition: true))
    },
    GradientCase("InstanceNorm without γ and β", [2, 3, 3, 2]) {
      normalize($0[0], gamma: nil, beta: nil, Normalization(groups: 2, epsilon: 1e-2))
    },
    GradientCase("a norm with γ alone", [2, 4, 4], [4]) {
      normalize($0[0], gamma: $0[1], beta: nil, Normalization(groups: 2, epsilon: 1e-2))
    },
    GradientCase("a norm with β alone", [2, 4, 4], [4]) {
      normalize($0[0], gamma: nil, beta: $0[1], Normalization(groups: 2, epsilon: 1e-2, activation: .tanh))
    },
    GradientCase("a norm of 34 channels", [1, 3, 34], [34], [34]) {
      normalize($0[0], gamma: $0[1], beta: $0[2], Normalization(groups: 2, epsilon: 1e-2, activation: .sigmoid))
    },
    GradientCase("softmax", [3, 5]) { softmax($0[0]) },
  ]

  private static let scalars: [GradientCase] = [
    GradientCase("affine", [3, 4]) { affine($0[0], scale: -1.5, shift: 2) },
    GradientCase("scaled by a learned number", [3, 4], [1]) { scaled($0[0], by: $0[1]) },
    GradientCase("rows of length 1", [3, 5]) { activate(.exp, unitRows($0[0])) },
    GradientCase("clamp") { backend in
      // Far from the bounds, on both sides of each.
      let values: [Float] = [-2, -1.2, -0.8, 0, 0.4, 0.8, 1.3, 4]
      return GradientProblem([Tensor(values, shape: [2, 4], on: backend)]) { clamp($0[0], -1, 1) }
    },
    GradientCase("a function of one number") { backend in
      GradientProblem([Tensor([0.7], shape: [1], on: backend)]) { elementwise($0[0]) { (1 / $0, -1 / ($0 * $0)) } }
    },
  ]

  private static let smooth = [
    Activation.silu, .gelu, .geluTanh, .quickGELU, .sigmoid, .tanh, .exp, .square, .identity,
  ].map { f in
    GradientCase("\(f)", [3, 7]) { activate(f, $0[0]) + activate(.identity, $0[0]) }
  }

  private static let kinked = [Activation.relu, .leakyReLU(slope: 0.2)].map { f in
    GradientCase("\(f)") { GradientProblem([awayFromZero([3, 7], on: $0)]) { activate(f, $0[0]) } }
  }

  private static let elementwiseCases: [GradientCase] = [
    GradientCase("+", [2, 3], [2, 3]) { $0[0] + $0[1] },
    GradientCase("−", [2, 3], [2, 3]) { $0[0] - $0[1] },
    GradientCase("×", [2, 3], [2, 3]) { $0[0] * $0[1] },
    GradientCase("a variable with itself", [2, 3]) { $0[0] * $0[0] - $0[0] + $0[0] },
    GradientCase("scale", [2, 3]) { -2.5 * $0[0] },
    GradientCase("reshaped", [2, 6]) { $0[0].reshaped([3, -1]) * $0[0].reshaped([3, 4]) },
    GradientCase("dropout", [4, 33]) {
      dropout($0[0], probability: 0.4, RandomDraw(seed: 3, stream: .noise, draw: 2))
    },
    GradientCase("scaleSamples", [3, 4]) {
      scaleSamples($0[0], by: Tensor([2, -1, 0.5], shape: [3], on: $0[0].backend))
    },
  ]

  private static let shaping: [GradientCase] = [
    GradientCase("concatenate", [2, 3, 2], [2, 3, 1], [2, 3, 4]) { concatenate($0) },
    GradientCase("concatenate with a constant", [3, 2]) {
      concatenate([Variable(randomTensor([3, 3], seed: 5, on: $0[0].backend)), $0[0], $0[0]])
    },
    GradientCase("split", [3, 6]) { input in
      let parts = splitChannels(input[0], into: 3)
      return parts[0] * parts[1] + activate(.exp, parts[2])
    },
    GradientCase("one part of a split", [3, 6]) { activate(.exp, splitChannels($0[0], into: 2)[0]) },
    GradientCase("embedding", [4, 3]) { input in
      embedding(input[0], Tensor([2, 0, -1, 2, 3] as [Int32], on: input[0].backend), type: .float32)
    },
    GradientCase("pad", [1, 3, 4, 2]) { pad($0[0], Insets(top: 1, left: 2, bottom: -1, right: 0)) },
    GradientCase("crop", [1, 5, 4, 2]) { pad($0[0], Insets(top: -1, left: -1, bottom: -2, right: -1)) },
    GradientCase("reflectionPad", [2, 3, 4, 2]) { reflectionPad($0[0], Insets(top: 1, left: 2, bottom: 2, right: 0)) },
    GradientCase("reflectionPad, each pixel up to nine times", [1, 3, 3, 1]) {
      reflectionPad($0[0], Insets(top: 2, left: 2, bottom: 2, right: 2))
    },
    GradientCase("joinSamples", [2, 3], [1, 3], [3, 3]) { activate(.exp, joinSamples($0)) },
    GradientCase("joinSamples of one with itself and a constant", [2, 3]) {
      activate(.exp, joinSamples([$0[0], Variable(randomTensor([1, 3], seed: 5, on: $0[0].backend)), $0[0]]))
    },
    GradientCase("splitSamples", [6, 2]) { input in
      let parts = splitSamples(input[0], [1, 3, 2])
      return joinSamples([parts[0] * parts[0], activate(.exp, parts[1])])
    },
    GradientCase("upsampleNearest", [2, 2, 3, 2]) { upsampleNearest($0[0]) },
    GradientCase("averagePool with a remainder", [1, 5, 4, 3]) { averagePool($0[0]) },
    GradientCase("sumSamples", [3, 2, 2]) { sumSamples($0[0]) },
    GradientCase("weightedSum", [5]) { weightedSum($0[0], weights: randomTensor([5], seed: 8, on: $0[0].backend)) },
  ]

  /// Levels at both ends and between, chosen so that no probability reaches its minimum.
  private static let discretizedGaussian = GradientCase("discretizedGaussian", [3, 4], [3, 4]) { input in
    let levels: [Float] = [-1, 1, 0.2, -0.6, 1, -0.996, 0.004, 0.5, 0.996, -1, -0.1, 1]
    return EaselGradients.discretizedGaussian(
      Tensor(levels, shape: [3, 4], on: input[0].backend), mean: input[0], logVariance: input[1])
  }

  private static func lossCase(_ kind: Loss, _ reduction: Reduction, weighted: Bool) -> GradientCase {
    GradientCase("\(kind), \(reduction)\(weighted ? ", weighted" : "")") { backend in
      let weights = weighted ? Tensor([0.5, 2, -1], shape: [3], on: backend) : nil
      // The absolute error has its kink where prediction and target are equal; there the target is 0.
      var target = Tensor(repeating: 0, shape: [3, 4], on: backend)
      if case .binaryCrossEntropyWithLogits = kind {
        target = backend.apply(.sigmoid, randomTensor([3, 4], seed: 4, on: backend))
      }
      return GradientProblem([awayFromZero([3, 4], on: backend)]) { [target] in
        3 * elementwiseLoss(kind, $0[0], target, reduction: reduction, weights: weights)
      }
    }
  }

  private static let losses = [Loss.squaredError, .absoluteError, .binaryCrossEntropyWithLogits].flatMap { kind in
    [Reduction.mean, .sumOverSample].flatMap { reduction in
      [false, true].map { lossCase(kind, reduction, weighted: $0) }
    }
  }

  private static let crossEntropies = [[1, 2], [3, 5], [2, 34]].map(Shape.init).map { shape in
    GradientCase("crossEntropy \(shape)") { backend in
      let target = softmax(Variable(randomTensor(shape, seed: 4, on: backend))).value
      return GradientProblem([randomTensor(shape, seed: 1, on: backend)]) { 3 * crossEntropy($0[0], target) }
    }
  }

  private static var all: [GradientCase] {
    [
      convolutions, products, masks, tokens, normalizations, scalars, smooth, kinked, elementwiseCases, shaping, losses,
      crossEntropies, [discretizedGaussian],
    ].flatMap { $0 }
  }

  @Test("Operations", arguments: all, Backends.available)
  func operations(c: GradientCase, kind: BackendKind) throws { try expectGradients(c, on: kind) }

  @Test("Losses by hand", arguments: Backends.available)
  func lossValues(kind: BackendKind) throws {
    let values = try onTensors(kind) { backend in
      let prediction = Variable(Tensor([1, 2, 3, 4], shape: [2, 2], on: backend))
      let target = Tensor([0, 0, 1, 1], shape: [2, 2], on: backend)
      let weights = Tensor([1, 3], shape: [2], on: backend)
      return [
        elementwiseLoss(.squaredError, prediction, target),
        elementwiseLoss(.squaredError, prediction, target, reduction: .sumOverSample),
        elementwiseLoss(.squaredError, prediction, target, weights: weights),
        elementwiseLoss(.absoluteError, prediction, target),
      ].map { $0.value.item() }
    }
    // Squares of 1, 2, 2, 3: 5 and 13 for the samples.
    #expect(values == [4.5, 9, 11, 2] as [Float])
  }

  /// With bfloat16 activations the gradients of float32 inputs come back as float32.
  @Test("A cast's gradient is cast back", .enabled(if: Backends.bfloat16 != .none))
  func casts() throws {
    let (gradient, type) = try onTensors(.onednn) { backend in
      let tape = Tape()
      let x = tape.variable(randomTensor([2, 3], seed: 1, on: backend))
      let y = activate(.square, x.cast(to: .bfloat16)).cast(to: .float32)
      tape.backward(
        from: elementwiseLoss(
          .squaredError, y, Tensor(repeating: 0, shape: [2, 3], on: backend), reduction: .sumOverSample))
      return (tape.gradient(of: x)?.values() ?? [], tape.gradient(of: x)?.type)
    }
    #expect(type == .float32)
    // d/dx of ½ Σ x⁴.
    let expected = randomValues(6, seed: 1).map { 2 * $0 * $0 * $0 }
    #expect(gradient.count == 6)
    #expect(zip(gradient, expected).allSatisfy { abs($0 - $1) <= 0.03 * abs($1) + 1e-3 }, "\(gradient) for \(expected)")
  }
}
