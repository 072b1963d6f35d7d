import EaselMetrics
import EaselTestSupport
import EaselTraining
import Foundation
import Testing

/// Retrieval and zero-shot classification, with vectors that are known.
@Suite struct RetrievalTests {
  /// Images as numbers: the level of their pixel. A text's vector is that of the number in it.
  ///
  /// It also draws the number that a text asks for; of even ones the next.
  private final class Numbers: ImageTextEmbedding, Sampling {
    let context: ModelContext
    let components: [Component] = []
    let conditionKind = ConditionKind.texts
    let embeddingWidth = 2
    /// Texts of even numbers get the vector of the next one.
    let isConfused: Bool

    init(on backend: any Backend, confused: Bool = false) {
      isConfused = confused
      context = ModelContext(
        backend: backend, type: .float32, seed: 0, data: DataDescription(width: 1, height: 1, channels: 1))
    }

    func trainingStep(_ batch: Batch, _ step: TrainingStep) -> EaselTraining.Metrics { [:] }
    func validationLoss(_ batch: Batch) -> Float { 0 }
    func remark(on text: String) -> String? { nil }

    func validate(_ options: SamplingOptions) throws {}
    func description(of options: SamplingOptions) -> [(key: String, value: String)] { [] }
    func sample(_ range: Range<Int>, _ options: SamplingOptions, progress: (Double) throws -> Void) throws -> Tensor {
      let numbers = range.map { index -> Float in
        guard case .text(let text)? = options.conditions?[index] else { return 0 }
        let number = text.split(separator: " ").compactMap { Float($0) }.first ?? 0
        return (isConfused && Int(number) % 2 == 0 ? number + 1 : number) / 255
      }
      return Tensor(numbers, shape: [numbers.count, 1, 1, 1], on: context.backend)
    }

    private func vectors(_ numbers: [Float]) -> Tensor {
      Tensor(numbers.flatMap { [cos($0 / 100), sin($0 / 100)] }, shape: [numbers.count, 2], on: context.backend)
    }

    func embed(images: Tensor) -> Tensor { vectors(images.values().map { ($0 * 255).rounded() }) }
    func embed(texts: [String]) -> Tensor {
      vectors(
        texts.map { text in
          let number = text.split(separator: " ").compactMap { Float($0) }.first ?? 0
          return isConfused && Int(number) % 2 == 0 ? number + 1 : number
        })
    }
  }

  private static func images(_ count: Int, captions: ((Int) -> [String])? = { ["number \($0)"] }) -> ImageDataset {
    ImageDataset(
      name: "numbers", source: "a test", width: 1, height: 1, channels: 1, pixels: (0..<count).map(UInt8.init),
      annotations: Annotations(
        labels: (0..<count).map { Int32($0 % 3) }, captions: captions.map { (0..<count).map($0) }),
      classNames: ["0", "1", "2"])
  }

  @Test("Counts how often partners are among the nearest")
  func recalls() throws {
    let found = try onTensors { backend in
      try [false, true].map { confused in
        try RetrievalEvaluation(
          Numbers(on: backend, confused: confused), Self.images(40), limit: 100, bootstrap: Bootstrap()
        ) { _ in }
      }
    }
    #expect(found[0].pairs == 40 && found[0].recalls.map(\.count) == [1, 10])
    #expect(found[0].recalls.allSatisfy { $0.textsOfImages.value == 1 && $0.imagesOfTexts.value == 1 })
    #expect(found[0].recalls.map(\.chance) == [0.025, 0.25])
    // Of each two, neither finds its own text, which ties or is one of the other; the nearest ten hold it.
    #expect(found[1].recalls[0].textsOfImages.value == 0 && found[1].recalls[1].textsOfImages.value == 1)
    // The text of an even number is that of the next one; an odd number's text is right.
    #expect(found[1].recalls[0].imagesOfTexts.value == 0.5)
  }

  @Test("Takes part: one image of each caption, none without, at most as many as asked")
  func pairs() throws {
    let cases: [(limit: Int, captions: @Sendable (Int) -> [String])] = [
      (100, { [$0 < 30 ? "number \($0 / 2)" : ""] }), (7, { ["number \($0)"] }),
      (100, { $0 < 2 ? ["number \($0)"] : [] }),
    ]
    let found = try onTensors { backend in
      try cases.map { limit, captions in
        let result = try RetrievalEvaluation(
          Numbers(on: backend), Self.images(40, captions: captions), limit: limit, bootstrap: Bootstrap()
        ) { _ in }
        return [result.pairs, result.recalls.count]
      }
    }
    #expect(found == [[15, 2], [7, 1], [2, 1]])
    try onTensors { backend in
      expectUserError(.usage, "at least 2 images with different captions: found 1 in numbers") {
        _ = try RetrievalEvaluation(
          Numbers(on: backend), Self.images(40) { _ in ["all the same"] }, limit: 9, bootstrap: Bootstrap()
        ) { _ in }
      }
    }
  }

  @Test("Drawn pictures are compared with their captions, exchanged ones, and the data's own pictures")
  func drawnPictures() throws {
    try onTensors { backend in
      func judge(_ images: ImageDataset, confused: Bool) throws -> CaptionEvaluation {
        try CaptionEvaluation.judging(
          Numbers(on: backend, confused: confused), by: images, SamplingOptions(),
          judge: (Numbers(on: backend), "numbers"), bootstrap: Bootstrap()
        ) { _ in
        }.evaluation
      }
      let (right, wrong) = (try judge(Self.images(40), confused: false), try judge(Self.images(40), confused: true))
      let similarity = try #require(right.similarity)
      #expect(abs(similarity.drawn.value - 1) < 1e-6 && abs(similarity.truth.value - 1) < 1e-6)
      // Captions half a list away: numbers that differ by 20.
      #expect(abs(similarity.exchanged.value - cos(0.2)) < 1e-6)
      #expect(try #require(wrong.similarity).drawn.value < 1 - 1e-6)
      let (found, missed) = (try #require(right.retrieval), try #require(wrong.retrieval))
      #expect(found.drawn.recalls[0].textsOfImages.value == 1 && found.drawn.recalls[0].chance == 0.025)
      // Of each two, the picture of the even number has the other's caption.
      #expect(missed.drawn.recalls[0].textsOfImages.value == 0.5 && missed.truth.recalls[0].textsOfImages.value == 1)
      let same = try judge(Self.images(3) { _ in ["number 1"] }, confused: false)
      #expect(same.similarity != nil && same.retrieval == nil && right.judge == "numbers")
    }
  }

  @Test("A model that finds all alike has found none")
  func ties() throws {
    let found = try onTensors { backend in
      let same = ImageDataset(
        name: "same", source: "a test", width: 1, height: 1, channels: 1, pixels: [UInt8](repeating: 3, count: 20),
        annotations: Annotations(captions: (0..<20).map { ["3 \($0)"] }))
      return try RetrievalEvaluation(Numbers(on: backend), same, limit: 20, bootstrap: Bootstrap()) { _ in }
    }
    #expect(found.recalls.allSatisfy { $0.textsOfImages.value == 0 && $0.imagesOfTexts.value == 0 })
  }

  @Test("Classes are told by names; wordings are averaged")
  func zeroShot() throws {
    let (found, averaged) = try onTensors { backend in
      let model = Numbers(on: backend)
      let template = try CaptionTemplate(parsing: "{} things|of {}")
      return (
        try ClassificationEvaluation(model, Self.images(3), template, bootstrap: Bootstrap()) { _ in },
        model.embed(classes: ["50", "60"], template).values()
      )
    }
    #expect(found.accuracy.value == 1 && found.recall == [1, 1, 1] && found.images == 3)
    #expect(zip(averaged, [cos(0.5), sin(0.5), cos(0.6), sin(0.6)]).allSatisfy { abs($0 - Float($1)) < 1e-6 })
    try onTensors { backend in
      let unlabelled = ImageDataset(name: "u", source: "", width: 1, height: 1, channels: 1, pixels: [1, 2])
      expectUserError(.usage, "the images of u have no classes") {
        _ = try ClassificationEvaluation(
          Numbers(on: backend), unlabelled, CaptionTemplate(parsing: "{}"), bootstrap: Bootstrap()
        ) { _ in }
      }
    }
  }
}
