import EaselMetrics
import EaselSupport

/// How well a model finds the text of an image among others, and the image of a text.
///
/// Every text is a different one: of images with the same first caption, only the first of a fixed shuffle takes part. A
/// model that finds all pairs equally alike has found none.
public struct RetrievalEvaluation: Encodable, Sendable {
  /// The share of pairs whose partner is among the `count` nearest.
  public struct Recall: Encodable, Sendable {
    public var count: Int
    public var textsOfImages, imagesOfTexts: Estimate
    /// The share that guessing would give.
    public var chance: Double
  }

  public var pairs: Int
  public var recalls: [Recall]

  /// - Parameters:
  ///   - model: the model to judge.
  ///   - images: images with captions; those without are left out.
  ///   - limit: the most pairs to take.
  ///   - bootstrap: computes the intervals.
  ///   - progress: receives the share that is done, 0 to 1.
  /// - Throws: `UserError` (usage) unless there are two different captions.
  public init(
    _ model: any ImageTextEmbedding, _ images: ImageDataset, limit: Int, bootstrap: Bootstrap,
    progress: (Double) throws -> Void
  ) throws {
    let shuffled = images.shuffled()
    var known = Set<String>()
    let texts = (shuffled.annotations.captions ?? []).map { $0.first ?? "" }
    let chosen = Array(texts.indices.filter { !texts[$0].isEmpty && known.insert(texts[$0]).inserted }.prefix(limit))
    guard chosen.count >= 2 else {
      throw UserError(
        .usage, "retrieval takes at least 2 images with different captions: found \(chosen.count) in \(images.name)")
    }
    let vectors = try model.embed(shuffled.subset(chosen), progress: progress)
    let words = model.embed(texts: chosen.map { texts[$0] })
    let ofImages = Self.ranks(vectors.similarities(to: words))
    let ofTexts = Self.ranks(words.similarities(to: vectors))
    pairs = chosen.count
    recalls = [1, 10].filter { $0 < chosen.count }.map { count in
      func share(_ ranks: [Int]) -> Estimate { bootstrap.mean(of: ranks.map { $0 < count ? 1 : 0 }) }
      return Recall(
        count: count, textsOfImages: share(ofImages), imagesOfTexts: share(ofTexts),
        chance: Double(count) / Double(chosen.count))
    }
  }

  /// For each row, how many others are at least as near as the one with the row's number.
  private static func ranks(_ similarities: [[Float]]) -> [Int] {
    similarities.enumerated().map { place, row in
      row.enumerated().count { $0.offset != place && !($0.element < row[place]) }
    }
  }
}

extension ImageTextEmbedding {
  /// Unit vectors of images of any size: `[N, E]`.
  ///
  /// - Parameters:
  ///   - images: converted to the model's channels.
  ///   - progress: receives the share that is done, 0 to 1.
  public func embed(_ images: ImageDataset, progress: (Double) throws -> Void) rethrows -> Tensor {
    let vectors = Tensor(uninitialized: [images.count, embeddingWidth], on: context.backend)
    var done = 0
    for batch in images.converted(channels: context.data.channels).batches(of: 64) {
      context.backend.copy(
        embed(images: batch.tensor(on: context.backend)), into: vectors[done..<done + batch.count])
      done += batch.count
      try progress(Double(done) / Double(images.count))
    }
    return vectors
  }

  /// A unit vector for each class: the mean over the wordings of a template, `[classes, E]`.
  public func embed(classes names: [String], _ template: CaptionTemplate) -> Tensor {
    let texts = names.map(template.captions)
    let vectors = embed(texts: texts.flatMap(\.self))
    let sums = Tensor(repeating: 0, shape: [names.count, embeddingWidth], on: context.backend)
    var first = 0
    for (number, texts) in texts.enumerated() {
      context.backend.sumRows(vectors[first..<first + texts.count], into: sums[number])
      first += texts.count
    }
    return unitRows(Variable(sums)).value
  }
}

extension Tensor {
  /// The cosines between unit vectors `[N, E]` and others `[M, E]`: N rows of M.
  public func similarities(to others: Tensor) -> [[Float]] {
    let product = backend.linear(self, weight: others, bias: nil, residual: nil)
    return (0..<shape[0]).map { product[$0].values() }
  }
}

extension ClassificationEvaluation {
  /// Judges a model by the classes that it was never shown as such: an image is of the class whose description is
  /// nearest (Radford et al. 2021, “zero-shot”).
  ///
  /// - Parameters:
  ///   - model: the model to judge.
  ///   - images: labelled images.
  ///   - template: describes a class by its name.
  ///   - bootstrap: computes the interval.
  ///   - progress: receives the share that is done, 0 to 1.
  /// - Throws: `UserError` (usage) without labels.
  public init(
    _ model: any ImageTextEmbedding, _ images: ImageDataset, _ template: CaptionTemplate, bootstrap: Bootstrap,
    progress: (Double) throws -> Void
  ) throws {
    guard let labels = images.labels, images.classNames.count >= 2 else {
      throw UserError(.usage, "the images of \(images.name) have no classes to recognise")
    }
    let names = model.embed(classes: images.classNames, template)
    let classes = try model.embed(images, progress: progress).similarities(to: names).map { row in
      row.indices.reduce(0) { row[$1] > row[$0] ? $1 : $0 }
    }
    self.init(classes, labels, classNames: images.classNames, bootstrap: bootstrap)
  }
}
