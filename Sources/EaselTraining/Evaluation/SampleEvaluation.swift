import EaselMetrics
import EaselSupport
import Foundation

/// Options for judging samples.
public struct EvaluationOptions: Sendable {
  /// How many training images represent the data; nil for as many as there are samples.
  public var references: Int?
  public var seed: UInt64 = 0
  /// How many resamples each figure's interval takes.
  public var resamples = 200

  public init() {}

  /// How many training images represent the data beside this many samples.
  fileprivate func referenceCount(samples: Int, of training: Int) -> Int { min(references ?? samples, training) }

  /// Refuses what this many images cannot support, before samples are drawn.
  ///
  /// - Throws: `UserError` (usage).
  public func check(count: Int, data: DatasetSplits, dimensions: Int) throws {
    if let references, references > data.train.count {
      throw UserError(
        .usage, "\(field: "references"): expected at most the \(data.train.count) training images, found \(references)")
    }
    let references = referenceCount(samples: count, of: data.train.count)
    for (count, what) in [(count, "samples"), (references, "reference images")] {
      try ReferenceFeatures.check(count, dimensions: dimensions, what: what)
    }
  }
}

/// How samples compare with real images: what `easel evaluate` prints, with everything that a figure depends on.
public struct SampleEvaluation: Encodable {
  public struct Extractor: Encodable {
    public var name: String
    public var dimensions: Int
    public var resize: String
  }

  /// The samples' classes according to the extractor.
  public struct Classes: Encodable {
    public var names: [String]
    /// The shares of samples and of held-out images that are classified as each class.
    public var shares, floorShares: [Double]
    /// In nats; at most ln of the number of classes.
    public var entropy: Double
    public var smallestShare: Double
    /// The share of samples that are classified as the class they were drawn for, if there was one.
    public var labelAccuracy: Estimate?
    /// The same share for held-out images.
    public var floorLabelAccuracy: Estimate?
  }

  /// Whether samples are nearer to training images than to held-out ones, in pixels and in features.
  public struct Memory: Encodable {
    public var pixels, features: Memorization
    public var trainingImages, heldOutImages: Int
  }

  public var extractor: Extractor
  public var data: String
  /// A description of the training images in the reference.
  public var reference: String
  public var referenceImages: Int
  public var seed: UInt64
  public var resamples: Int
  public var samples: SampleFigures
  /// Held-out images judged in the same way; nil if there are too few.
  public var floor: SampleFigures?
  public var classes: Classes?
  public var memory: Memory

  /// Samples with their nearest neighbours, `sheet[row][sample]`: samples; nearest training image and nearest held-out
  /// one by pixels; the same two by features.
  public private(set) var sheet: [[Image]] = []

  private enum CodingKeys: String, CodingKey {
    case extractor, data, reference, referenceImages, seed, resamples, samples, floor, classes, memory
  }

  /// How many samples are shown with their neighbours.
  public static let shown = 16

  /// Judges samples by features.
  ///
  /// The reference images are the first training images in the order of a fixed shuffle, whatever the seed. If all
  /// samples were drawn for one class, reference and held-out images are of that class too.
  ///
  /// - Parameters:
  ///   - samples: the samples, with the labels that they were drawn for, if any.
  ///   - data: data of the samples' size and channels.
  ///   - extractor: gives images their features.
  ///   - options: counts, seed and resamples.
  ///   - backend: the backend that computes.
  ///   - progress: receives what is being done.
  /// - Throws: `UserError` (usage) if there are too few images for what is asked.
  public init(
    _ samples: ImageDataset, data: DatasetSplits, by extractor: any FeatureExtractor, _ options: EvaluationOptions,
    on backend: any Backend, progress: (String, Double) throws -> Void
  ) throws {
    let asked = Set(samples.labels ?? [])
    let only =
      asked.count == 1 && data.train.labels != nil && samples.classNames == data.train.classNames
      ? asked.first : nil
    let training = data.train.shuffled(only: only)
    let heldOut = data.validation.shuffled(only: only)
    let referenceCount = options.referenceCount(samples: samples.count, of: training.count)
    try options.check(
      count: samples.count, data: DatasetSplits(train: training, validation: heldOut, rule: data.rule),
      dimensions: extractor.dimensions)

    let bootstrap = Bootstrap(seed: options.seed, resamples: options.resamples)
    func extract(_ images: ImageDataset, _ what: String) throws -> (points: FeatureSet, classes: [Int]) {
      try extractor.extract(images) { try progress("features of \(what)", $0) }
    }
    let (samplePoints, sampleClasses) = try extract(samples, "samples")
    let (trainingPoints, _) = try extract(training, "training images")
    let (heldOutPoints, heldOutClasses) = try extract(heldOut, "held-out images")

    try progress("distances", 0)
    let judge = try ReferenceFeatures(
      trainingPoints.subset(0..<referenceCount), bootstrap: bootstrap, on: backend)
    try progress("distances", 0.3)
    self.samples = try judge.judge(samplePoints)
    try progress("distances", 0.6)
    let floorCount = min(heldOut.count, samples.count)
    if floorCount >= ReferenceFeatures.leastCount(dimensions: extractor.dimensions) {
      floor = try judge.judge(heldOutPoints.subset(0..<floorCount))
    }
    try progress("distances", 1)

    self.extractor = Extractor(
      name: extractor.name, dimensions: extractor.dimensions, resize: extractor.resize)
    self.data = data.train.name + (only.map { ", class \(data.train.classNames[Int($0)]) only" } ?? "")
    reference =
      referenceCount == training.count
      ? "all \(training.count) training images"
      : "\(referenceCount) of \(training.count) training images, chosen by a fixed shuffle"
    referenceImages = referenceCount
    seed = options.seed
    resamples = options.resamples
    if !extractor.classNames.isEmpty {
      classes = Classes(
        samples, sampleClasses, heldOut: heldOut, heldOutClasses, names: extractor.classNames, bootstrap)
    }

    let (shown, trainingPixels) = (samples.subset(0..<min(Self.shown, samples.count)), training.pixelPoints)
    func memory(_ of: FeatureSet, _ training: FeatureSet, _ heldOut: FeatureSet) -> Memorization {
      Memorization(of: of, training: training, heldOut: heldOut, bootstrap: bootstrap, on: backend)
    }
    try progress("neighbours", 0)
    self.memory = Memory(
      pixels: memory(samples.pixelPoints, trainingPixels, heldOut.pixelPoints),
      features: memory(samplePoints, trainingPoints, heldOutPoints), trainingImages: training.count,
      heldOutImages: heldOut.count)
    try progress("neighbours", 0.7)
    func nearest(_ points: FeatureSet, in set: FeatureSet, of images: ImageDataset) -> [Image] {
      nearestNeighbours(of: points.subset(0..<shown.count), in: set, on: backend).map { images.image(at: $0.index) }
    }
    sheet = [
      (0..<shown.count).map(shown.image(at:)),
      nearest(samples.pixelPoints, in: trainingPixels, of: training),
      nearest(samples.pixelPoints, in: heldOut.pixelPoints, of: heldOut),
      nearest(samplePoints, in: trainingPoints, of: training),
      nearest(samplePoints, in: heldOutPoints, of: heldOut),
    ]
    try progress("neighbours", 1)
  }
}

extension SampleEvaluation.Classes {
  fileprivate init(
    _ samples: ImageDataset, _ classes: [Int], heldOut: ImageDataset, _ heldOutClasses: [Int], names: [String],
    _ bootstrap: Bootstrap
  ) {
    func distribution(_ classes: [Int]) -> [Double] {
      names.indices.map { name in Double(classes.filter { $0 == name }.count) / Double(max(1, classes.count)) }
    }
    /// The share of images that are classified as they are labelled, if the labels mean the same.
    func accuracy(_ images: ImageDataset, _ classes: [Int]) -> Estimate? {
      guard images.classNames == names, let labels = images.labels else { return nil }
      return bootstrap.mean(of: zip(labels, classes).map { Int($0) == $1 ? 1 : 0 })
    }
    self.names = names
    shares = distribution(classes)
    floorShares = distribution(heldOutClasses)
    entropy = shares.reduce(0) { $1 > 0 ? $0 - $1 * log($1) : $0 }
    smallestShare = shares.min() ?? 0
    labelAccuracy = accuracy(samples, classes)
    floorLabelAccuracy = labelAccuracy == nil ? nil : accuracy(heldOut, heldOutClasses)
  }
}

extension ImageDataset {
  /// The images, only those of one class if it is given, in an order that depends on their number alone.
  public func shuffled(only label: Int32? = nil) -> ImageDataset {
    var generator = StreamGenerator(seed: 0, stream: .evaluation, draw: 2)
    let order = shuffledIndices(count: count, using: &generator)
    return subset(order.filter { label == nil || labels?[$0] == label })
  }
}
