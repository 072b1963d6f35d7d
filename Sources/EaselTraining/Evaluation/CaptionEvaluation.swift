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

  /// The number of captions.
  public var captions: Int
  public var data: String
  /// The cosine between the vectors of a picture and its caption; nil without a model that gives them.
  public var similarity: Figure?
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
      evaluation.compare(pictures, originals, all.map { $0[0] }, others, judge.model, bootstrap)
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
    _ pictures: [Image], _ originals: [Image], _ captions: [String], _ others: [Int],
    _ judge: any ImageTextEmbedding, _ bootstrap: Bootstrap
  ) {
    let backend = judge.context.backend
    func vectors(_ count: Int, _ make: (Range<Int>) -> Tensor) -> [[Float]] {
      stride(from: 0, to: count, by: 64).flatMap { start -> [[Float]] in
        let range = start..<min(start + 64, count)
        let (values, width) = (make(range).values(), judge.embeddingWidth)
        return range.indices.map { Array(values[($0 - start) * width..<($0 - start + 1) * width]) }
      }
    }
    func images(_ images: [Image]) -> [[Float]] {
      vectors(images.count) { judge.embed(images: Batch(Array(images[$0])).tensor(on: backend)) }
    }
    let texts = vectors(captions.count) { judge.embed(texts: Array(captions[$0])) }
    func nearness(_ images: [[Float]], _ texts: (Int) -> [Float]) -> Estimate {
      bootstrap.mean(
        of: images.enumerated().map { index, image in
          zip(image, texts(index)).reduce(0) { $0 + Double($1.0) * Double($1.1) }
        })
    }
    let drawn = images(pictures)
    similarity = Figure(
      drawn: nearness(drawn) { texts[$0] }, exchanged: nearness(drawn) { texts[others[$0]] },
      truth: nearness(images(originals)) { texts[$0] })
  }
}
