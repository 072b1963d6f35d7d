import EaselModels
import EaselTestSupport
import EaselText
import Foundation
import Testing

/// Diffusion models that learn captions.
@Suite struct TextDiffusionTests {
  @Test("A prompt decides, in whatever range it is drawn; nothing is the empty prompt", arguments: Backends.available)
  func prompts(_ kind: BackendKind) throws {
    try onTensors(kind) { backend in
      let model = try perturbedTextDiffusion(on: backend)
      #expect(model.conditionKind == .texts)
      func pictures(_ range: Range<Int>, _ prompts: [Condition], guidance: Float = 2) throws -> [[Float]] {
        let values = try model.sample(range, SamplingOptions(conditions: prompts, guidance: guidance)) { _ in }.values()
        return stride(from: 0, to: values.count, by: 64).map { Array(values[$0..<$0 + 64]) }
      }
      let all = try pictures(0..<6, [.text("white"), .text("black")])
      #expect(try pictures(3..<5, [.text("white"), .text("black")]) == Array(all[3..<5]))
      let white = try pictures(0..<6, [.text("white")])
      #expect(zip(all, white).map { $0 == $1 } == [true, false, true, false, true, false])
      #expect(try pictures(0..<2, [.text("WHITE ")]) == Array(white[..<2]))
      #expect(try pictures(0..<2, [.nothing]) == pictures(0..<2, [.text("")]))
      // Without guidance, a prompt is no prompt.
      #expect(try pictures(0..<2, [.text("white")], guidance: 0) == pictures(0..<2, [.nothing], guidance: 1))
    }
  }

  @Test("A text's last token reaches the pixels without attention, if it is asked for", arguments: [true, false])
  func pooled(_ isPooled: Bool) throws {
    try onTensors { backend in
      let model = try Diffusion(tinyTextDiffusion { $0.pooledText = isPooled }, .captioned(on: backend))
      model.components[0].perturb(by: 0.1)
      for parameter in model.components[0].arena.parameters where parameter.name.contains("attn2.to_out") {
        backend.fill(parameter.value, with: 0)
      }
      model.components[0].arena.forgetDerived()
      let pictures = try ["white", "black"].map {
        try model.sample(0..<1, SamplingOptions(conditions: [.text($0)], guidance: 1)) { _ in }.values()
      }
      #expect((largestDifference(pictures[0], pictures[1]) > 1e-3) == isPooled)
      #expect((pictures[0] == pictures[1]) == !isPooled)
    }
  }

  @Test("Guidance goes from the negative prompt to the prompt")
  func negative() throws {
    try onTensors { backend in
      let model = try perturbedTextDiffusion(on: backend)
      func picture(_ prompt: String, _ negative: String?, _ guidance: Float) throws -> [Float] {
        let options = SamplingOptions(
          conditions: [.text(prompt)], negative: negative.map(Condition.text), guidance: guidance)
        return try model.sample(0..<2, options) { _ in }.values()
      }
      let white = try picture("white", nil, 1)
      #expect(try largestDifference(picture("white", "white", 3), white) < 1e-4)
      #expect(try picture("white", "", 3) == picture("white", nil, 3))
      #expect(try largestDifference(picture("white", "black", 3), picture("white", nil, 3)) > 1e-3)
      let description = model.description(
        of: SamplingOptions(conditions: [.text("white")], negative: .text("black"), guidance: 3))
      #expect(
        description.contains { $0 == ("Prompt", #""white""#) }
          && description.contains { $0 == ("Negative", #""black""#) })
    }
  }

  @Test("What a model of captions does not take is refused by name")
  func refused() throws {
    try onTensors { backend in
      let model = try perturbedTextDiffusion(on: backend)
      func expectRefusal(_ options: SamplingOptions, _ parts: String...) {
        expectUserError(.usage, parts) { try model.validate(options) }
      }
      expectRefusal(SamplingOptions(conditions: [.label(0)]), "label", "trained with captions", "prompt")
      expectRefusal(SamplingOptions(conditions: [.embedding([1])]), "like", "trained with captions")
      expectRefusal(SamplingOptions(negative: .text("black"), guidance: 2), "negative", "prompt", "found none")
      expectRefusal(
        SamplingOptions(conditions: [.text("white")], negative: .text("black"), guidance: 1), "negative", "guidance")
      let classes = try perturbedDiffusion(tinyDiffusion { $0.conditional = true }, .tinyLabelled, on: backend)
      expectUserError(.usage, "negative", "classes") {
        try classes.validate(SamplingOptions(conditions: [.label(0)], negative: .text("black"), guidance: 2))
      }
      expectUserError(.usage, "prompt", "without captions") {
        try perturbedDiffusion(on: backend).validate(SamplingOptions(conditions: [.text("white")]))
      }
      expectUserError(.usage, "captions: expected data with captions, found none") {
        try Diffusion(tinyTextDiffusion(), .float32(on: backend, .tiny))
      }
      expectUserError(.usage, "captions: expected data with captions, found none", "caption-template") {
        try DiffusionFamily.vocabulary(tinyTextDiffusion(), captions: [[], []], parts: [:])
      }
      expectUserError(.usage, "expected one of conditional, captions and likeness") {
        try tinyTextDiffusion { $0.conditional = true }.validate()
      }
      #expect(model.remark(on: "a white cat")?.contains(#"not trained with "a", "cat""#) == true)
    }
  }

  @Test("A prompt's image has what its caption described", .timeLimit(.minutes(5)))
  func learns() throws {
    let brightness = try onTensors { backend in
      let model = try Diffusion(
        tinyTextDiffusion {
          ($0.noiseSchedule, $0.prediction, $0.sampler) = (.edm, .velocity, .dpm)
          $0.labelDropout = 0
        }, .captioned(on: backend))
      let settings = TrainingSettings { ($0.batchSize, $0.learningRate, $0.steps) = (16, 4e-3, 600) }
      model.prepareForTraining(settings)
      let batch = Batch.blackAndWhite(16)
      for index in 0..<600 { _ = model.trainingStep(batch, TrainingStep(index: index, settings: settings)) }
      return try ["black", "white", "dark", "bright"].map { prompt in
        let values = try model.sample(
          0..<4, SamplingOptions(steps: 8, conditions: [.text(prompt)], guidance: 1)
        ) { _ in }.values()
        return values.reduce(0, +) / Float(values.count)
      }
    }
    // Other wordings of a caption mean the same.
    for (index, value) in brightness.enumerated() {
      #expect(index.isMultiple(of: 2) ? value < 0.25 : value > 0.75, "\(brightness)")
    }
  }

  @Test("The text encoder is trained along, and its gradients are the loss's")
  func gradients() throws {
    try onTensors { backend in
      let model = try perturbedTextDiffusion(on: backend)
      let batch = Batch.blackAndWhite(4)
      func loss(on tape: Tape?) -> Variable {
        model.loss(batch, on: tape) { RandomDraw(seed: 3, stream: .noise, index: 0, draw: $0) }.loss
      }
      let arena = model.components[0].arena
      arena.zeroGradients()
      let tape = Tape()
      tape.backward(from: loss(on: tape))
      let names = ["token_embedding.weight", "layers.0.self_attn.v_proj.weight", "final_layer_norm.bias"]
      for name in names {
        let parameter = try #require(arena.parameters.first { $0.name == "text_encoder.text_model." + name.path })
        let gradient = parameter.gradient.values()
        let place = try #require(gradient.indices.max { abs(gradient[$0]) < abs(gradient[$1]) })
        #expect(abs(gradient[place]) > 1e-6, "\(name)")
        func moved(_ step: Float) -> Float {
          parameter.value.withMutableFloats { $0[place] += step }
          arena.values.storage.markModified()
          defer {
            parameter.value.withMutableFloats { $0[place] -= step }
            arena.values.storage.markModified()
          }
          // On a tape, since captions are drawn and dropped in training only.
          return loss(on: Tape()).value.item()
        }
        let slope = (moved(0.02) - moved(-0.02)) / 0.04
        #expect(
          abs(slope - gradient[place]) < 0.05 * abs(gradient[place]) + 1e-5, "\(name): \(slope) \(gradient[place])")
      }
    }
  }

  @Test("One of an image's captions is drawn in training, and the first is taken otherwise")
  func captionsAreDrawn() throws {
    try onTensors { backend in
      let batch = Batch(
        number: 0, pixels: [UInt8](repeating: 0, count: 300),
        annotations: Annotations(captions: [[String]](repeating: ["a", "b", "c"], count: 299) + [[]]), count: 300,
        width: 1, height: 1, channels: 1)
      let drawn = batch.captions(chosenBy: RandomDraw(seed: 1, stream: .noise), on: backend)
      let counts = Dictionary(drawn.map { ($0 ?? "none", 1) }, uniquingKeysWith: +)
      #expect(counts["none"] == 1)
      #expect(["a", "b", "c"].allSatisfy { 60...140 ~= counts[$0] ?? 0 }, "\(counts)")
      #expect(batch.captions(chosenBy: nil, on: backend) == [String?](repeating: "a", count: 299) + [nil])
    }
  }
}

// MARK: - Helpers

/// Settings of a diffusion model of captions that takes milliseconds per pass.
func tinyTextDiffusion(_ change: (inout DiffusionSettings) -> Void = { _ in }) -> DiffusionSettings {
  tinyDiffusion {
    $0.captions = true
    ($0.textWidth, $0.textLayers, $0.textHeads) = (16, 1, 2)
    ($0.contextLength, $0.vocabularySize) = (8, 514)
    change(&$0)
  }
}

/// The same in which every layer has an effect, although it was never trained.
private func perturbedTextDiffusion(on backend: any Backend) throws -> Diffusion {
  let model = try Diffusion(tinyTextDiffusion(), .captioned(on: backend))
  model.components[0].perturb(by: 0.1)
  return model
}

extension ModelContext {
  /// For the captions of ``Batch/blackAndWhite(_:)``.
  fileprivate static func captioned(on backend: any Backend) throws -> ModelContext {
    let captions = Batch.blackAndWhite(2).annotations.captions ?? []
    return ModelContext(
      backend: backend, type: .float32, seed: 1, data: .tiny,
      vocabulary: try DiffusionFamily.vocabulary(tinyTextDiffusion(), captions: captions, parts: [:]))
  }
}

extension Batch {
  /// Black and white images in turn, with two captions each.
  fileprivate static func blackAndWhite(_ count: Int) -> Batch {
    Batch(
      number: 0, pixels: (0..<count).flatMap { [UInt8](repeating: $0.isMultiple(of: 2) ? 0 : 255, count: 64) },
      annotations: Annotations(
        captions: (0..<count).map { $0.isMultiple(of: 2) ? ["black", "dark"] : ["white", "bright"] }), count: count,
      width: 8, height: 8, channels: 1)
  }
}

extension String {
  /// A layer's name below the encoder, or the name itself.
  fileprivate var path: String {
    hasPrefix("layers") ? "encoder." + self : hasPrefix("token") ? "embeddings." + self : self
  }
}
