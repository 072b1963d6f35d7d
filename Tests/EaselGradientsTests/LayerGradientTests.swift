import EaselOptimizers
import EaselTestSupport
import Foundation
import Testing

/// Every layer against finite differences, with respect to its inputs and its parameters.
struct LayerGradientTests {
  private static let cases: [GradientCase] = [
    .layer("Conv2d", [2, 4, 5, 3]) {
      Conv2d(inputChannels: 3, outputChannels: 4, kernelSize: 3, stride: 2, padding: 1, $0)
    } call: { layer, x, _ in
      layer(x[0])
    },
    .layer("Conv2d without bias, with a residual", [1, 4, 4, 2], [1, 4, 4, 3]) {
      Conv2d(inputChannels: 2, outputChannels: 3, kernelSize: 3, padding: 1, bias: false, $0)
    } call: { layer, x, _ in
      layer(x[0], residual: x[1])
    },
    .layer("Linear", [3, 2, 4]) {
      Linear(4, 5, $0)
    } call: { layer, x, _ in
      layer(x[0])
    },
    .layer("Linear without bias, with a residual", [3, 4], [3, 2]) {
      Linear(4, 2, bias: false, $0)
    } call: { layer, x, _ in
      layer(x[0], residual: x[1])
    },
    .layer("GroupNorm with a shift", [2, 2, 3, 6], [2, 6]) {
      GroupNorm(groups: 2, channels: 6, epsilon: 1e-2, activation: .silu, $0)
    } call: { layer, x, _ in
      layer(x[0], shift: x[1])
    },
    .layer("LayerNorm", [2, 3, 5]) {
      LayerNorm(5, epsilon: 1e-2, $0)
    } call: { layer, x, _ in
      layer(x[0])
    },
    .layer("ImageAttention", [2, 2, 3, 4]) {
      ImageAttention(channels: 4, heads: 2, groups: 2, epsilon: 1e-2, $0)
    } call: { layer, x, _ in
      layer(x[0])
    },
    .layer("ImageAttention to a context", [2, 2, 2, 4], [2, 3, 5]) {
      ImageAttention(channels: 4, contextChannels: 5, heads: 2, groups: 2, epsilon: 1e-2, $0)
    } call: { layer, x, _ in
      layer(x[0], context: x[1], mask: .first([3, 1]))
    },
    .layer("MultiHeadAttention, causal", [2, 3, 4]) {
      MultiHeadAttention(channels: 4, heads: 2, $0)
    } call: { layer, x, _ in
      layer(x[0], mask: .causal)
    },
    .layer("MultiHeadAttention to a context, with a residual", [2, 3, 4], [2, 2, 3], [2, 3, 4]) {
      MultiHeadAttention(channels: 4, contextChannels: 3, heads: 2, $0)
    } call: { layer, x, _ in
      layer(x[0], context: x[1], mask: .keys([[false, true], [false, false]]), residual: x[2])
    },
    .layer("ResidualBlock that widens, with time", [2, 3, 3, 2], [2, 3]) {
      ResidualBlock(inputChannels: 2, outputChannels: 4, timeChannels: 3, groups: 2, epsilon: 1e-2, $0)
    } call: { layer, x, _ in
      layer(x[0], time: x[1])
    },
    .layer("ResidualBlock that keeps its width, with dropout", [1, 3, 3, 4]) {
      ResidualBlock(inputChannels: 4, outputChannels: 4, timeChannels: nil, groups: 2, epsilon: 1e-2, $0)
    } call: { layer, x, _ in
      layer(x[0], time: nil) { dropout($0, probability: 0.3, RandomDraw(seed: 1, stream: .noise)) }
    },
    .layer("TransformerBlock", [2, 3, 8]) {
      TransformerBlock(width: 8, heads: 2, mlpRatio: 2, epsilon: 1e-2, $0)
    } call: { layer, x, _ in
      layer(x[0])
    },
    .layer("TransformerBlock, causal", [1, 3, 4]) {
      TransformerBlock(width: 4, heads: 2, mlpRatio: 2, epsilon: 1e-2, $0)
    } call: { layer, x, _ in
      layer(x[0], mask: .causal)
    },
    .layer("TransformerBlock with stochastic depth", [5, 2, 4]) {
      TransformerBlock(width: 4, heads: 1, mlpRatio: 2, epsilon: 1e-2, dropPath: 0.5, $0)
    } call: { layer, x, _ in
      layer(x[0], dropping: RandomDraw(seed: 2, stream: .noise, draw: 3))
    },
    .layer("TransformerBlock with ReZero", [2, 3, 4]) {
      TransformerBlock(width: 4, heads: 2, mlpRatio: 2, rezero: true, $0)
    } call: { layer, x, _ in
      layer(x[0])
    },
    GradientCase("Embedding") { backend in
      let scope = Scope()
      let layer = Embedding(count: 4, width: 3, scope)
      let arena = scope.makeArena(on: backend, seed: 1)
      let indices = Tensor([3, -1, 0, 3] as [Int32], on: backend)
      return GradientProblem([], arena: arena) { _, tape in
        activate(.tanh, layer(indices, type: .float32, on: tape))
      }
    },
  ]

  @Test("Layers", arguments: cases, Backends.available)
  func layers(c: GradientCase, kind: BackendKind) throws { try expectGradients(c, on: kind) }

  @Test("A layer's parameters have PyTorch's names and shapes")
  func names() throws {
    let parameters = try onTensors { backend in
      let scope = Scope()
      _ = ResidualBlock(
        inputChannels: 4, outputChannels: 8, timeChannels: 3, groups: 2, epsilon: 1e-5, scope["blocks"][0])
      _ = ImageAttention(channels: 8, heads: 2, groups: 2, epsilon: 1e-5, scope["attention"])
      _ = MultiHeadAttention(channels: 8, contextChannels: 5, heads: 2, scope["cross"])
      let arena = scope.makeArena(on: backend, seed: 1)
      return Dictionary(uniqueKeysWithValues: arena.parameters.map { ($0.name, $0.shape) })
    }
    let expected: [String: Shape] = [
      "blocks.0.norm1.weight": [4], "blocks.0.norm1.bias": [4], "blocks.0.conv1.weight": [8, 4, 3, 3],
      "blocks.0.conv1.bias": [8], "blocks.0.time_emb_proj.weight": [8, 3], "blocks.0.time_emb_proj.bias": [8],
      "blocks.0.norm2.weight": [8], "blocks.0.norm2.bias": [8], "blocks.0.conv2.weight": [8, 8, 3, 3],
      "blocks.0.conv2.bias": [8], "blocks.0.conv_shortcut.weight": [8, 4, 1, 1], "blocks.0.conv_shortcut.bias": [8],
      "attention.group_norm.weight": [8], "attention.group_norm.bias": [8], "attention.to_q.weight": [8, 8],
      "attention.to_q.bias": [8], "attention.to_k.weight": [8, 8], "attention.to_k.bias": [8],
      "attention.to_v.weight": [8, 8], "attention.to_v.bias": [8], "attention.to_out.0.weight": [8, 8],
      "attention.to_out.0.bias": [8], "cross.to_q.weight": [8, 8], "cross.to_q.bias": [8], "cross.to_k.weight": [8, 5],
      "cross.to_k.bias": [8], "cross.to_v.weight": [8, 5], "cross.to_v.bias": [8], "cross.to_out.0.weight": [8, 8],
      "cross.to_out.0.bias": [8],
    ]
    #expect(parameters == expected)
  }

  @Test("A transformer block's parameters have timm's names")
  func transformerNames() throws {
    func parameters(rezero: Bool) throws -> [String: Shape] {
      try onTensors { backend in
        let scope = Scope()
        _ = TransformerBlock(width: 8, heads: 2, mlpRatio: 2, rezero: rezero, scope["blocks"][1])
        let arena = scope.makeArena(on: backend, seed: 1)
        return Dictionary(uniqueKeysWithValues: arena.parameters.map { ($0.name, $0.shape) })
      }
    }
    let shared: [String: Shape] = [
      "blocks.1.attn.qkv.weight": [24, 8], "blocks.1.attn.qkv.bias": [24], "blocks.1.attn.proj.weight": [8, 8],
      "blocks.1.attn.proj.bias": [8], "blocks.1.mlp.fc1.weight": [16, 8], "blocks.1.mlp.fc1.bias": [16],
      "blocks.1.mlp.fc2.weight": [8, 16], "blocks.1.mlp.fc2.bias": [8],
    ]
    let norms: [String: Shape] = [
      "blocks.1.norm1.weight": [8], "blocks.1.norm1.bias": [8], "blocks.1.norm2.weight": [8],
      "blocks.1.norm2.bias": [8],
    ]
    #expect(try parameters(rezero: false) == shared.merging(norms) { $1 })
    #expect(try parameters(rezero: true) == shared.merging(["blocks.1.resweight": [1]]) { $1 })
  }

  /// diffusers' `get_timestep_embedding`, in both of its conventions.
  @Test("Time embeddings", arguments: [(true, Float(0)), (false, Float(1))])
  func timesteps(flip: Bool, shift: Float) {
    let rows = TimestepEmbedding(width: 7, flipSinToCos: flip, frequencyShift: shift)([0, 5, 500])
    #expect(rows.count == 21)
    for (row, t) in [0.0, 5, 500].enumerated() {
      for i in 0..<3 {
        let angle = t * pow(10_000, -Double(i) / (3 - Double(shift)))
        #expect(abs(Double(rows[row * 7 + i]) - (flip ? cos(angle) : sin(angle))) < 1e-4)
        #expect(abs(Double(rows[row * 7 + 3 + i]) - (flip ? sin(angle) : cos(angle))) < 1e-4)
      }
      #expect(rows[row * 7 + 6] == 0)
    }
  }
}
