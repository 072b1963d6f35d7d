/// Some images of a data set, in the order in which a model sees them.
public struct Batch: Sendable, Equatable {
  /// Its index in a sequence: the step in training, counted from 0 in an evaluation.
  public let number: Int
  /// The index of its first image within the whole batch that it is a part of; 0 for a whole batch.
  public let first: Int
  /// The number of images in the whole batch that it is a part of.
  public let wholeCount: Int
  /// `[count, height, width, channels]`, 8-bit levels.
  public let pixels: [UInt8]
  /// The labels and captions of the images.
  public let annotations: Annotations
  public let count: Int
  public let width: Int
  public let height: Int
  public let channels: Int
  /// The images of each further domain, with the same number and size, for models that learn from several domains.
  public let counterparts: [Batch]

  public init(
    number: Int, pixels: [UInt8], annotations: Annotations = Annotations(), count: Int, width: Int, height: Int,
    channels: Int, counterparts: [Batch] = []
  ) {
    self.init(
      number: number, first: 0, of: count, pixels: pixels, annotations: annotations, count: count, width: width,
      height: height, channels: channels, counterparts: counterparts)
  }

  private init(
    number: Int, first: Int, of wholeCount: Int, pixels: [UInt8], annotations: Annotations, count: Int, width: Int,
    height: Int, channels: Int, counterparts: [Batch]
  ) {
    self.number = number
    self.first = first
    self.wholeCount = wholeCount
    self.pixels = pixels
    self.annotations = annotations
    self.count = count
    self.width = width
    self.height = height
    self.channels = channels
    self.counterparts = counterparts
  }

  /// One class index for each image, if the data are labelled.
  public var labels: [Int32]? { annotations.labels }

  /// The same images together with those of a further domain.
  public func with(counterpart: Batch) -> Batch {
    guard
      counterpart.count == count, counterpart.width == width, counterpart.height == height,
      counterpart.channels == channels
    else { fatalError("Batch: a counterpart of another size") }
    return Batch(
      number: number, first: first, of: wholeCount, pixels: pixels, annotations: annotations, count: count,
      width: width, height: height, channels: channels, counterparts: counterparts + [counterpart])
  }

  /// Its share of the whole batch, 0 to 1.
  public var fraction: Float { Float(count) / Float(wholeCount) }

  /// Divides the batch into at most `count` parts of about equal size.
  public func parts(_ count: Int) -> [Batch] {
    let parts = min(max(1, count), self.count)
    return (0..<parts).map { self[self.count * $0 / parts..<self.count * ($0 + 1) / parts] }
  }

  private subscript(range: Range<Int>) -> Batch {
    let size = width * height * channels
    return Batch(
      number: number, first: first + range.lowerBound, of: wholeCount,
      pixels: Array(pixels[range.lowerBound * size..<range.upperBound * size]), annotations: annotations[range],
      count: range.count, width: width, height: height, channels: channels,
      counterparts: counterparts.map { $0[range] })
  }
}

/// All images of a data set once, in order; the last batch may be smaller.
public struct SequentialBatches: Sequence, IteratorProtocol, Sendable {
  private let dataset: ImageDataset
  private let batchSize: Int
  private var step = 0

  init(dataset: ImageDataset, batchSize: Int) {
    guard batchSize > 0 else { fatalError("SequentialBatches: a batch size of \(batchSize)") }
    self.dataset = dataset
    self.batchSize = batchSize
  }

  public mutating func next() -> Batch? {
    let start = step * batchSize
    guard start < dataset.count else { return nil }
    let images = dataset.subset(start..<start + Swift.min(batchSize, dataset.count - start))
    defer { step += 1 }
    return Batch(
      number: step, pixels: images.pixels, annotations: images.annotations, count: images.count,
      width: images.width, height: images.height, channels: images.channels)
  }
}

extension ImageDataset {
  /// All images once, in order, for evaluation.
  public func batches(of batchSize: Int) -> SequentialBatches {
    SequentialBatches(dataset: self, batchSize: batchSize)
  }
}
