import EaselModels
import EaselTestSupport
import Testing

/// The family prior.
@Suite struct PriorTests {
  static func make(on backend: any Backend, seed: UInt64 = 1, _ change: (inout PriorSettings) -> Void = { _ in }) throws
    -> Prior
  {
    let context = try CLIPTests.context(on: backend, seed: 5)
    let clip = try CLIP(CLIPTests.settings(.resnet), context)
    clip.freeze()
    let settings = PriorSettings {
      ($0.width, $0.layers, $0.heads, $0.samplerSteps) = (16, 2, 2, 6)
      change(&$0)
    }
    return try Prior(
      settings,
      ModelContext(backend: backend, type: .float32, seed: seed, data: context.data, parts: ["clip": clip]))
  }

  /// The same with an output that is not zero.
  private static func perturbed(on backend: any Backend, _ change: (inout PriorSettings) -> Void = { _ in }) throws
    -> Prior
  {
    let prior = try make(on: backend, change)
    for (index, parameter) in prior.components[0].arena.parameters.enumerated() {
      backend.copy(
        backend.affine(normalValues(parameter.shape, seed: UInt64(index + 10), on: backend), scale: 0.3, shift: 0),
        into: parameter.value)
    }
    prior.components[0].arena.forgetDerived()
    return prior
  }

  @Test("A text's vector has length 1 and depends on the text alone, whatever is drawn beside it")
  func texts() throws {
    try onTensors { backend in
      let prior = try Self.perturbed(on: backend)
      let texts = ["white", "black", "white", ""]
      let all = prior.embed(texts: texts)
      #expect(all.shape == [4, prior.embeddingWidth])
      let rows = (0..<4).map { all[$0..<$0 + 1].values() }
      for row in rows { #expect(abs(row.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5) }
      #expect(rows[0] == rows[2] && largestDifference(rows[0], rows[1]) > 1e-3)
      for (text, row) in zip(texts, rows) {
        #expect(largestDifference(prior.embed(texts: [text]).values(), row) < 1e-5)
      }
    }
  }

  @Test("Of several candidates, the one nearest to the text's own vector is kept; guidance moves them")
  func candidates() throws {
    try onTensors { backend in
      func nearness(_ candidates: Int) throws -> (Float, [Float]) {
        let prior = try Self.perturbed(on: backend) { $0.candidates = candidates }
        let clip = try #require(prior.context.parts["clip"] as? CLIP)
        let (found, own) = (prior.embed(texts: ["white"]).values(), clip.embed(texts: ["white"]).values())
        return (zip(found, own).reduce(0) { $0 + $1.0 * $1.1 }, found)
      }
      let scores = try [1, 2, 8].map { try nearness($0).0 }
      #expect(scores[0] <= scores[1] && scores[1] <= scores[2] && scores[0] < scores[2])
      let guided = try Self.perturbed(on: backend) { ($0.candidates, $0.guidance) = (1, 3) }.embed(texts: ["white"])
      #expect(try largestDifference(guided.values(), nearness(1).1) > 1e-3)
    }
  }

  @Test("It learns which vectors of images belong to which texts, better than their mean")
  func learns() throws {
    let (before, after, alone) = try onTensors { backend -> (Float, Float, Float) in
      let prior = try Self.make(on: backend) { $0.textDropout = 0 }
      let clip = try #require(prior.context.parts["clip"] as? CLIP)
      let batch = blobs(count: 16)
      let images = batch.tensor(on: backend)
      let texts = (batch.annotations.captions ?? []).map { $0[0] }
      func nearness(_ texts: [String], _ vectors: (any ImageTextEmbedding)) -> Float {
        let (a, b) = (vectors.embed(images: images).values(), vectors.embed(texts: texts).values())
        return zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } / 16
      }
      let settings = TrainingSettings { ($0.batchSize, $0.learningRate, $0.emaDecay) = (16, 3e-3, 0) }
      prior.prepareForTraining(settings)
      let before = prior.validationLoss(batch)
      for index in 0..<150 { _ = prior.trainingStep(batch, TrainingStep(index: index, settings: settings)) }
      #expect(prior.embed(images: images).values() == clip.embed(images: images).values())
      let exchanged = Array(texts[8...] + texts[..<8])
      #expect(nearness(texts, prior) > nearness(exchanged, prior))
      return (before, prior.validationLoss(batch), nearness(texts, prior) - nearness(texts, clip))
    }
    #expect(after < 0.8 * before, "\(before) \(after)")
    #expect(alone > 0.1, "\(alone)")
  }

  @Test("Without a model of vectors, or with one for images of other channels, it is refused")
  func refused() throws {
    try onTensors { backend in
      let context = try CLIPTests.context(on: backend)
      expectUserError(.usage, "clip", "found none", "easel train clip") { try Prior(PriorSettings(), context) }
      let clip = try CLIP(CLIPTests.settings(.resnet), context)
      var data = context.data
      data.channels = 4 - data.channels
      let other = ModelContext(backend: backend, type: .float32, seed: 1, data: data, parts: ["clip": clip])
      expectUserError(.usage, "clip", "channels") { try Prior(PriorSettings(), other) }
    }
  }
}
