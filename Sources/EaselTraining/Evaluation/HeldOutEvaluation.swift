import EaselMetrics
import EaselSupport
import Foundation

/// A figure's mean over images, and how much the mean would vary for other images.
public struct MeanFigure: Codable, Sendable {
  public var mean: Double
  /// The deviation over images (ddof = 1) ÷ √images; 0 for one image.
  public var standardError: Double

  public init(_ values: [Double]) {
    let count = Double(values.count)
    let mean = values.reduce(0, +) / max(1, count)
    let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    self.mean = mean
    standardError = count > 1 ? (squares / (count - 1) / count).squareRoot() : 0
  }
}

/// The likelihood of held-out images under a model.
public struct LikelihoodEvaluation: Encodable, Sendable {
  public var images: Int
  public var importanceSamples: Int?
  /// Each of the model's figures.
  public var figures: [String: MeanFigure]

  /// - Parameters:
  ///   - model: the model that bounds the likelihood.
  ///   - images: images of the model's size and channels.
  ///   - importanceSamples: samples of the tighter bound; nil if it is not asked for.
  ///   - seed: the seed of the random numbers that the bound uses.
  ///   - progress: receives the share that is done, 0 to 1.
  /// - Throws: `UserError` (usage) if the model does not have the bound.
  public init(
    _ model: any LikelihoodBounding, _ images: ImageDataset, importanceSamples: Int?, seed: UInt64,
    progress: (Double) throws -> Void
  ) throws {
    var values: [String: [Double]] = [:]
    var done = 0
    for batch in images.batches(of: 100) {
      let figures = try model.likelihood(batch, importanceSamples: importanceSamples, seed: seed) { fraction in
        try progress((Double(done) + fraction * Double(batch.count)) / Double(images.count))
      }
      for (name, more) in figures { values[name, default: []] += more }
      done += batch.count
      try progress(Double(done) / Double(images.count))
    }
    self.images = images.count
    self.importanceSamples = importanceSamples
    figures = values.mapValues(MeanFigure.init)
  }
}

/// How close a model's reconstructions of held-out images are to them.
public struct ReconstructionEvaluation: Encodable, Sendable {
  public var images: Int
  /// Peak signal-to-noise ratio of 8-bit levels, in dB.
  public var psnr: MeanFigure
  /// Structural similarity, at most 1.
  public var ssim: MeanFigure

  /// - Parameters:
  ///   - model: the model that encodes and decodes images.
  ///   - images: images of the model's size and channels.
  ///   - progress: receives the share that is done, 0 to 1.
  /// - Throws: what `progress` throws.
  public init(_ model: any ImageEncoding, _ images: ImageDataset, progress: (Double) throws -> Void) throws {
    var (ratios, similarities): ([Double], [Double]) = ([], [])
    let options = SamplingOptions()
    for batch in images.batches(of: 100) {
      let originals = batch.tensor(on: model.context.backend)
      let codes = try model.encode(originals, options, progress: { _ in })
      let made = try model.decode(codes, options, progress: { _ in }).images()
      for (made, original) in zip(made, originals.images()) {
        ratios.append(made.signalToNoise(to: original))
        similarities.append(made.structuralSimilarity(to: original))
      }
      try progress(Double(ratios.count) / Double(images.count))
    }
    self.images = images.count
    (psnr, ssim) = (MeanFigure(ratios), MeanFigure(similarities))
  }
}

/// How often a classifier is right.
public struct ClassificationEvaluation: Encodable, Sendable {
  public var images: Int
  public var accuracy: Estimate
  public var classNames: [String]
  /// The share of each class's images that are recognised; 0 for a class without images.
  public var recall: [Double]

  /// - Throws: `UserError` (usage) if the images have other classes than the classifier.
  public init(
    _ extractor: any FeatureExtractor, _ images: ImageDataset, bootstrap: Bootstrap, progress: (Double) throws -> Void
  ) throws {
    guard let labels = images.labels, images.classNames == extractor.classNames else {
      throw UserError(
        .usage,
        "the images of \(images.name) are not labelled with the classifier's classes: "
          + extractor.classNames.joined(separator: ", "))
    }
    let classes = try extractor.extract(images, progress: progress).classes
    self.init(classes, labels, classNames: images.classNames, bootstrap: bootstrap)
  }

  /// - Parameters:
  ///   - classes: what each image was taken for.
  ///   - labels: what it shows.
  ///   - classNames: the names of all classes.
  ///   - bootstrap: computes the interval.
  init(_ classes: [Int], _ labels: [Int32], classNames: [String], bootstrap: Bootstrap) {
    let isRight = zip(labels, classes).map { Int($0) == $1 }
    images = labels.count
    accuracy = bootstrap.mean(of: isRight.map { $0 ? 1 : 0 })
    self.classNames = classNames
    recall = classNames.indices.map { name in
      let own = labels.indices.filter { Int(labels[$0]) == name }
      return Double(own.filter { isRight[$0] }.count) / Double(max(1, own.count))
    }
  }
}
