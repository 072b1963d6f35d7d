import EaselMetrics
import EaselSupport

/// How well pictures show what they were asked to show: one for each of some captions, beside the same pictures with
/// exchanged captions and the captions' own pictures.
public struct CaptionEvaluation: Encodable, Sendable {
  /// A figure of drawn pictures, and what it is worth.
  public struct Figure: Encodable, Sendable {
    public var drawn: Estimate
    /// Of the drawn pictures, each with another one's caption.
    public var exchanged: Estimate
    /// Of the data's own pictures.
    public var truth: Estimate
  }

  /// Retrieval among drawn pictures and among the data's own.
  public struct Retrievals: Encodable, Sendable {
    public var drawn, truth: RetrievalEvaluation
  }

  /// The number of captions.
  public var captions: Int
  public var data: String
  /// The cosine between the vectors of a picture and its caption; nil without a model that gives them.
  public var similarity: Figure?
  /// How often pictures and captions find each other by their vectors; nil without these, or if all captions are the
  /// same.
  public var retrieval: Retrievals?
  /// The model that gave the vectors.
  public var judge: String?
  /// How often a checker found the shapes of the captions, by the number of shapes: only for pictures of shapes.
  public var scenes: [Int: Figure]?
  public var sceneCounts: [Int: Int]?

  /// Draws and judges pictures.
  ///
  /// - Parameters:
  ///   - model: draws by texts.
  ///   - images: held-out images with captions, the first of each is drawn.
  ///   - options: how to draw.
  ///   - judge: gives vectors to pictures and texts, with its name; nil for none.
  ///   - bootstrap: how intervals are found.
  ///   - progress: receives the share that is done, 0 to 1.
  /// - Returns: the evaluation and the drawn pictures.
  /// - Throws: `UserError` (usage) if the model takes no texts or the images have no captions.
  public static func judging(
    _ model: any Sampling, by images: ImageDataset, _ options: SamplingOptions,
    judge: (model: any ImageTextEmbedding, name: String)?, bootstrap: Bootstrap, progress: (Double) throws -> Void
  ) throws -> (evaluation: CaptionEvaluation, pictures: [Image]) {
    guard let all = images.annotations.captions, all.allSatisfy({ !$0.isEmpty }), !all.isEmpty else {
      throw UserError(.usage, "\(images.name): expected a caption for each held-out image")
    }
    var options = options
    options.conditions = all.map { .text($0[0]) }
    try model.validate(options)
    let pictures = try model.sample(0..<all.count, options, progress: progress).images()
    let originals = images.images(0..<images.count)
    var evaluation = CaptionEvaluation(captions: all.count, data: images.name)
    // Far away in the list.
    let others = all.indices.map { ($0 + (all.count + 1) / 2) % all.count }
    evaluation.readScenes(pictures, originals, all, others)
    if let judge {
      let drawn = ImageDataset(
        name: images.name, source: images.source, width: images.width, height: images.height,
        channels: images.channels, pixels: pictures.flatMap(\.pixels), annotations: Annotations(captions: all))
      try evaluation.compare(drawn, images, others, judge.model, bootstrap)
      evaluation.judge = judge.name
    }
    return (evaluation, pictures)
  }

  private init(captions: Int, data: String) { (self.captions, self.data) = (captions, data) }

  private mutating func readScenes(
    _ pictures: [Image], _ originals: [Image], _ captions: [[String]], _ others: [Int]
  ) {
    guard originals.first?.channels == 3 else { return }
    let truths = zip(originals, captions).map { Shapes.reading(of: $0, captions: $1) }
    // Other data are no shapes, whatever their captions say.
    guard truths.count(where: { $0?.isAsDescribed ?? false }) > captions.count / 2 else { return }
    let found = pictures.indices.map { index in
      (
        Shapes.reading(of: pictures[index], captions: captions[index])?.isAsDescribed ?? false,
        Shapes.reading(of: pictures[index], captions: captions[others[index]])?.isAsDescribed ?? false
      )
    }
    (scenes, sceneCounts) = ([:], [:])
    for shapes in [1, 2] {
      let places = truths.indices.filter { truths[$0]?.shapes == shapes }
      if places.isEmpty { continue }
      func share(_ isRight: (Int) -> Bool) -> Estimate {
        Estimate(successes: places.count(where: isRight), of: places.count)
      }
      sceneCounts?[shapes] = places.count
      scenes?[shapes] = Figure(
        drawn: share { found[$0].0 }, exchanged: share { found[$0].1 },
        truth: share { truths[$0]?.isAsDescribed ?? false })
    }
  }

  private mutating func compare(
    _ pictures: ImageDataset, _ originals: ImageDataset, _ others: [Int], _ judge: any ImageTextEmbedding,
    _ bootstrap: Bootstrap
  ) throws {
    let captions = (originals.annotations.captions ?? []).map { $0[0] }
    let texts = judge.embed(texts: captions)
    let drawn = judge.embed(pictures) { _ in }.similarities(to: texts)
    let truths = judge.embed(originals) { _ in }.similarities(to: texts)
    func similarity(_ rows: [[Float]], _ column: (Int) -> Int) -> Estimate {
      bootstrap.mean(of: rows.enumerated().map { Double($0.element[column($0.offset)]) })
    }
    self.similarity = Figure(
      drawn: similarity(drawn) { $0 }, exchanged: similarity(drawn) { others[$0] }, truth: similarity(truths) { $0 })
    guard Set(captions).count >= 2 else { return }
    func retrieval(_ images: ImageDataset) throws -> RetrievalEvaluation {
      try RetrievalEvaluation(judge, images, limit: images.count, bootstrap: bootstrap) { _ in }
    }
    self.retrieval = try Retrievals(drawn: retrieval(pictures), truth: retrieval(originals))
  }
}
