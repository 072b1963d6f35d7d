import EaselModels
import EaselRunStorage
import EaselTestSupport
import EaselText
import Foundation
import Testing

/// CLIP's networks against transformers' (Tests/Fixtures/make_clip.py).
@Suite struct CLIPFixtureTests {
  @Test(
    "Tokens and gradients of a text network are those of transformers' CLIPTextModel", arguments: Backends.available)
  func text(_ kind: BackendKind) throws {
    let file = try SafetensorsReader(path: fixture("clip/text/cases.safetensors"))
    let configuration = try CLIPTextConfiguration(transformers: contents(fixture("clip/text/config.json")))
    #expect(
      configuration
        == CLIPTextConfiguration(
          vocabularySize: 40, contextLength: 9,
          encoder: CLIPEncoderConfiguration(width: 12, hiddenWidth: 20, layers: 2, heads: 3, activation: .gelu)))
    let found = try onTensors(kind) { backend -> (tokens: [Float], pooled: [Float], loss: Float, [Gradient]) in
      let scope = Scope()
      let network = CLIPTextTransformer(configuration, scope)
      let arena = scope.makeArena(on: backend, seed: 1)
      try arena.load(arena.values, from: file, prefix: "weight.")
      let tape = Tape()
      let (tokens, pooled) = network(try file.texts(end: 39), type: .float32, on: tape)
      func along(_ x: Variable, _ name: String) throws -> Variable {
        let direction = Tensor(try file.floats(name), shape: x.shape, on: backend)
        let samples = sumSamples(x * Variable(direction))
        return weightedSum(samples, weights: Tensor(repeating: 1, shape: samples.shape, on: backend))
      }
      let loss = try along(tokens, "direction.tokens") + along(pooled, "direction.pooled")
      tape.backward(from: loss)
      return (tokens.value.values(), pooled.value.values(), loss.value.item(), try arena.gradients(expectedIn: file))
    }
    #expect(relativeError(found.tokens, try file.floats("tokens")) < 1e-4)
    #expect(relativeError(found.pooled, try file.floats("pooled")) < 1e-4)
    #expect(relativeError([found.loss], try file.floats("loss")) < 1e-4)
    expectSame(found.3)
  }

  @Test(
    "Embeddings, scores, loss and gradients of the whole are those of transformers' CLIPModel",
    arguments: Backends.available)
  func whole(_ kind: BackendKind) throws {
    let file = try SafetensorsReader(path: fixture("clip/whole/cases.safetensors"))
    let json = try contents(fixture("clip/whole/config.json"))
    let (texts, images) = (
      try CLIPTextConfiguration(transformers: json), try CLIPVisionConfiguration(transformers: json)
    )
    #expect(
      texts.encoder == CLIPEncoderConfiguration(width: 16, hiddenWidth: 32, layers: 2, heads: 2)
        && images.encoder == CLIPEncoderConfiguration(width: 12, hiddenWidth: 24, layers: 2, heads: 3)
        && images.patches == 9 && texts.contextLength == 8)
    let (found, gradients) = try onTensors(kind) { backend -> ([String: [Float]], [Gradient]) in
      let scope = Scope()
      let text = CLIPTextTransformer(texts, scope["text_model"])
      let vision = CLIPVisionTransformer(images, scope["vision_model"])
      let heads = CLIPHeads(imageWidth: 12, textWidth: 16, width: 10, scope)
      let arena = scope.makeArena(on: backend, seed: 1)
      try arena.load(arena.values, from: file, prefix: "weight.")
      let tape = Tape()
      let pictures = try file.images("images")
      let seen = vision(Variable(Tensor(pictures.values, shape: pictures.shape, on: backend), on: tape))
      let read = text(try file.texts(end: 39), type: .float32, on: tape)
      let (image, words) = (heads.embed(images: seen.pooled), heads.embed(texts: read.pooled))
      let result = ContrastiveLoss(images: image, texts: words, logitScale: heads.logitScale.variable(on: tape))
      tape.backward(from: result.loss)
      let scores = scaled(
        linear(image.detached, weight: words.detached),
        by: Variable(Tensor([exp(heads.logitScale.value.item())], shape: [1], on: backend)))
      return (
        [
          "vision.tokens": seen.tokens.value.values(), "vision.pooled": seen.pooled.value.values(),
          "text.tokens": read.tokens.value.values(), "text.pooled": read.pooled.value.values(),
          "image-embeds": image.value.values(), "text-embeds": words.value.values(),
          "logits": scores.value.values(), "loss": result.loss.value.values(),
        ], try arena.gradients(expectedIn: file)
      )
    }
    for (name, values) in found { #expect(relativeError(values, try file.floats(name)) < 1e-4, "\(name)") }
    #expect(gradients.contains { $0.name == "logit_scale" })
    expectSame(gradients)
  }
}

/// transformers' `config.json`.
@Suite struct TransformersConfigurationTests {
  @Test("Missing values in a file have transformers' defaults: ViT-B/32")
  func defaults() throws {
    #expect(try CLIPTextConfiguration(transformers: Data("{}".utf8)) == CLIPTextConfiguration())
    #expect(try CLIPVisionConfiguration(transformers: Data("{}".utf8)) == CLIPVisionConfiguration())
  }

  @Test(
    "A value that the network cannot have is refused by its field's name",
    arguments: [
      ("hidden_act", #""relu""#), ("hidden_size", "0"), ("hidden_size", "1e30"), ("num_attention_heads", "7"),
      ("num_hidden_layers", "1000000000"), ("intermediate_size", "-1"), ("layer_norm_eps", "0"),
      ("vocab_size", "99999999999"), ("max_position_embeddings", "1"), ("model_type", #""siglip""#),
      ("hidden_size", #""wide""#),
    ])
  func refusesText(_ key: String, _ value: String) {
    expectUserError(.badData, "config.json: \(key): ") {
      try CLIPTextConfiguration(transformers: Data("{\"\(key)\": \(value)}".utf8))
    }
  }

  @Test(
    "So is one of a network within the file",
    arguments: [("image_size", "0"), ("patch_size", "225"), ("num_channels", "0")])
  func refusesVision(_ key: String, _ value: String) {
    expectUserError(.badData, "config.json: vision_config: \(key): ") {
      try CLIPVisionConfiguration(transformers: Data("{\"vision_config\": {\"\(key)\": \(value)}}".utf8))
    }
    expectUserError(.badData, "config.json: vision_config: expected a JSON object") {
      try CLIPVisionConfiguration(transformers: Data(#"{"vision_config": 3}"#.utf8))
    }
  }
}

// MARK: - Helpers

/// A parameter's gradient and transformers'.
private struct Gradient {
  let name: String
  let found, expected: [Float]
}

private func expectSame(_ gradients: [Gradient]) {
  let whole = norm(gradients.flatMap(\.expected))
  for gradient in gradients {
    #expect(isSameGradient(gradient.found, gradient.expected, whole: whole), "\(gradient.name)")
  }
}

extension Arena {
  fileprivate func gradients(expectedIn file: SafetensorsReader) throws -> [Gradient] {
    try parameters.map {
      Gradient(name: $0.name, found: $0.gradient.values(), expected: try file.floats("gradient." + $0.name))
    }
  }
}

extension SafetensorsReader {
  /// The texts of a fixture.
  fileprivate func texts(end: Int32) throws -> [BytePairTokenizer.Encoding] {
    let numbers = try integers("ids").map { Int32($0) }
    let length = entries["ids"]?.shape.last ?? 1
    return stride(from: 0, to: numbers.count, by: length).map { start in
      let tokens = Array(numbers[start..<start + length])
      return BytePairTokenizer.Encoding(tokens: tokens, end: tokens.firstIndex(of: end) ?? 0, cut: 0)
    }
  }
}
