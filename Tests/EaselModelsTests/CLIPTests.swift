import EaselModels
import EaselTestSupport
import EaselText
import Foundation
import Testing

/// The family clip; `CLIPFixtureTests` compares its networks with transformers'.
@Suite struct CLIPTests {
  static let networks = [CLIPSettings.ImageNetwork.resnet, .vit]

  // MARK: Loss

  @Test("Pairs with the same caption are not told apart, as if the other one were not in the batch")
  func duplicates() throws {
    let captions = ["a", "b", "a", "c"]
    let (found, repeated, alone, plain) = try onTensors { backend in
      let images = unitRows(Variable(normalValues([4, 5], seed: 1, on: backend)))
      let texts = unitRows(Variable(normalValues([4, 5], seed: 2, on: backend)))
      let scale = Variable(Tensor([1.2], shape: [1], on: backend))
      func loss(_ rows: [Int], _ captions: [String]?) -> Float {
        let indices = Tensor(rows.map(Int32.init), on: backend)
        func some(_ x: Variable) -> Variable { Variable(backend.gather(x.value, indices, type: .float32)) }
        return ContrastiveLoss(images: some(images), texts: some(texts), captions: captions, logitScale: scale).loss
          .value.item()
      }
      let similarities = backend.linear(images.value, weight: texts.value, bias: nil, residual: nil).values()
      return (
        loss([0, 1, 2, 3], captions), loss([1, 1], ["b", "b"]), similarities, loss([0, 1, 2, 3], nil)
      )
    }
    // The same in plain words: row and column n, without the others of n's caption.
    func loss(of n: Int, _ score: (Int) -> Double) -> Double {
      let seen = (0..<4).filter { $0 == n || captions[$0] != captions[n] }
      return log(seen.reduce(0) { $0 + exp(score($1)) }) - score(n)
    }
    func score(_ image: Int, _ text: Int) -> Double { Foundation.exp(1.2) * Double(alone[4 * image + text]) }
    let expected = (0..<4).reduce(0.0) { sum, n in
      sum + (loss(of: n) { score(n, $0) } + loss(of: n) { score($0, n) }) / 8
    }
    #expect(abs(Double(found) - expected) < 1e-5)
    #expect(abs(found - plain) > 1e-3)
    // A batch of one text leaves nothing to learn.
    #expect(repeated == 0)
  }

  @Test("The scale of scores stays between 1 and 100")
  func scale() throws {
    let found = try onTensors { backend in
      try [Float(9), -3].map { start -> Float in
        let model = try Self.model(on: backend)
        let settings = TrainingSettings { ($0.batchSize, $0.learningRate) = (4, 1e-6) }
        model.prepareForTraining(settings)
        let arena = model.components[0].arena
        let scale = try #require(arena.parameters.first { $0.name == "logit_scale" })
        backend.fill(scale.value, with: start)
        let metrics = model.trainingStep(Self.batch(4), TrainingStep(index: 0, settings: settings))
        #expect(abs((metrics["chance"] ?? 0) - log(4)) < 1e-6)
        return scale.value.item()
      }
    }
    #expect(abs(found[0] - log(100)) < 1e-6 && found[1] == 0)
  }

  @Test("Training draws among an image's captions; held-out images have their first")
  func captions() throws {
    let (training, heldOut, single) = try onTensors { backend -> ([Float], [Float], Float) in
      let model = try Self.model(on: backend)
      func loss(_ batch: Batch, _ index: Int) -> Float {
        let tape = Tape()
        return model.loss(batch, on: tape) { RandomDraw(seed: 1, stream: .noise, index: UInt64(100 * index), draw: $0) }
          .loss.value.item()
      }
      let batch = Self.batch(6)
      let first = Self.batch(6) { [$0[0]] }
      return (
        (0..<6).map { loss(batch, $0) }, [model.validationLoss(batch), model.validationLoss(first)], loss(first, 0)
      )
    }
    #expect(Set(training).count > 2)
    #expect(heldOut[0] == heldOut[1])
    #expect(abs(heldOut[0] - single) < 1e-5)
  }

  // MARK: Learning and use

  @Test("Learns which caption belongs to which picture", arguments: networks)
  func learns(_ network: CLIPSettings.ImageNetwork) throws {
    let found = try onTensors { backend -> (steps: Int?, right: [Int], similarity: Float) in
      let model = try Self.model(network, on: backend)
      let settings = TrainingSettings { ($0.batchSize, $0.learningRate, $0.optimizer) = (9, 3e-3, .adamw) }
      model.prepareForTraining(settings)
      let batch = Self.batch(9) { [$0[0]] }
      let steps = model.train(on: batch, settings, atMost: 600) {
        $0["image-accuracy"] == 1 && $0["text-accuracy"] == 1 && ($0["loss"] ?? 1) < 0.1
      }
      let images = model.embed(images: batch.tensor(on: backend))
      let texts = model.embed(texts: batch.annotations.captions?.map { $0[0] } ?? [])
      let product = backend.linear(images, weight: texts, bias: nil, residual: nil)
      return (steps, product.argmax(), backend.sumSamples(images[0] * images[0]).values().reduce(0, +))
    }
    #expect(found.steps != nil)
    #expect(found.right == Array(0..<9))
    #expect(abs(found.similarity - 1) < 1e-5)
  }

  @Test("A vector does not depend on what is beside it; pictures of another size are resized", arguments: networks)
  func alone(_ network: CLIPSettings.ImageNetwork) throws {
    try onTensors { backend in
      let model = try Self.model(network, on: backend)
      let images = Self.batch(5).tensor(on: backend)
      let texts = (0..<5).map { "picture number \($0)" }
      let (all, words) = (model.embed(images: images), model.embed(texts: texts))
      #expect(all.shape == [5, model.embeddingWidth] && words.shape == [5, model.embeddingWidth])
      #expect(model.embed(images: images[3..<4]).values() == all[3].values())
      #expect(model.embed(texts: [texts[3]]).values() == words[3].values())
      #expect(model.embed(texts: ["picture of something else"]).values() != words[3].values())
      let large = model.embed(images: backend.upsampleNearest(images, factor: 2))
      #expect(relativeError(large.values(), all.values()) < 0.2)
      #expect(model.features(images).shape == [5, 16])
      let (tokens, pooled) = model.read(texts, type: .float32)
      #expect(tokens.shape == [5, model.textLength, model.tokenWidth] && pooled.shape == [5, model.tokenWidth])
    }
  }

  @Test("Says which words it has never seen")
  func unknownWords() throws {
    let remarks = try onTensors { backend in
      let model = try Self.model(on: backend)
      return [model.remark(on: "picture number 3"), model.remark(on: "a dragon")]
    }
    #expect(remarks[0] == nil)
    #expect(remarks[1]?.contains(#""dragon""#) == true)
  }

  // MARK: Refusals

  @Test("Data without captions, or with too few, are refused")
  func needsCaptions() {
    func vocabulary(_ captions: [[String]]?) throws {
      _ = try CLIPFamily.vocabulary(CLIPSettings(), captions: captions, parts: [:])
    }
    expectUserError(.usage, "expected images with captions, found none") { try vocabulary(nil) }
    expectUserError(.usage, "found 1 images of 2 without") { try vocabulary([["a"], []]) }
  }

  @Test("Settings that do not fit together, or not with the images, are refused")
  func refusals() throws {
    for (key, change) in Self.wrong {
      expectUserError(.usage, "\(key): expected") { try CLIPSettings(change).validate() }
    }
    try onTensors { backend in
      let tiny = DataDescription(width: 3, height: 8, channels: 1)
      let context = try Self.context(on: backend, tiny)
      expectUserError(.usage, "patch: expected at most 3") {
        _ = try CLIP(CLIPSettings { ($0.imageEncoder, $0.patch) = (.vit, 4) }, context)
      }
      expectUserError(.usage, "expected at least 4×4") { _ = try CLIP(CLIPSettings(), context) }
      expectUserError(.badData, "expected a vocabulary") {
        _ = try CLIP(CLIPSettings(), .float32(on: backend, .tiny))
      }
    }
  }

  private static let wrong: [(String, @Sendable (inout CLIPSettings) -> Void)] = [
    ("text-heads", { $0.textHeads = 3 }), ("image-width", { $0.imageWidth = 20 }),
    ("base-channels", { $0.baseChannels = 12 }),
    ("image-heads", { ($0.imageEncoder, $0.imageHeads) = (.vit, 5) }), ("vocabulary-size", { $0.vocabularySize = 500 }),
  ]

  // MARK: - Helpers

  /// Settings of a model that takes a millisecond per pass.
  static func settings(_ network: CLIPSettings.ImageNetwork) -> CLIPSettings {
    CLIPSettings {
      ($0.imageEncoder, $0.baseChannels, $0.imageWidth, $0.imageHeads, $0.patch) = (network, 8, 16, 2, 2)
      ($0.textWidth, $0.textLayers, $0.textHeads, $0.contextLength) = (16, 1, 2, 10)
      ($0.vocabularySize, $0.embeddingWidth) = (600, 12)
    }
  }

  static func context(on backend: any Backend, _ data: DataDescription = .tiny, seed: UInt64 = 1) throws -> ModelContext
  {
    let captions = blobs(count: 16).annotations.captions?.flatMap(\.self) ?? []
    return ModelContext(
      backend: backend, type: .float32, seed: seed, data: data,
      vocabulary: Vocabulary(of: captions, try BytePairTokenizer(training: captions, size: 600)))
  }

  private static func model(_ network: CLIPSettings.ImageNetwork = .resnet, on backend: any Backend) throws -> CLIP {
    try CLIP(settings(network), context(on: backend))
  }

  private static func batch(_ count: Int, captions change: ([String]) -> [String] = { $0 }) -> Batch {
    let batch = blobs(count: count)
    return Batch(
      number: 0, pixels: batch.pixels, annotations: Annotations(captions: batch.annotations.captions?.map(change)),
      count: count, width: batch.width, height: batch.height, channels: batch.channels)
  }
}
