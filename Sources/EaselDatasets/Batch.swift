/// Some images of a data set, in the order a model sees them.
public struct Batch: Sendable, Equatable {
  /// The training step it is for, or its place in an evaluation, from 0.
  public let step: Int
  /// `[count, height, width, channels]`, 8-bit levels.
  public let pixels: [UInt8]
  /// One for each image, if the data are labelled.
  public let labels: [Int32]?
  public let count: Int
  public let width: Int
  public let height: Int
  public let channels: Int
  /// As many images of each further domain, of the same size and channels, for models that learn from several.
  public let counterparts: [Batch]

  public init(
    step: Int, pixels: [UInt8], labels: [Int32]?, count: Int, width: Int, height: Int, channels: Int,
    counterparts: [Batch] = []
  ) {
    self.step = step
    self.pixels = pixels
    self.labels = labels
    self.count = count
    self.width = width
    self.height = height
    self.channels = channels
    self.counterparts = counterparts
  }

  /// The same images beside those of a further domain.
  public func with(counterpart: Batch) -> Batch {
    guard
      counterpart.count == count, counterpart.width == width, counterpart.height == height,
      counterpart.channels == channels
    else { fatalError("Batch: a counterpart of another size") }
    return Batch(
      step: step, pixels: pixels, labels: labels, count: count, width: width, height: height, channels: channels,
      counterparts: counterparts + [counterpart])
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
      step: step, pixels: images.pixels, labels: images.labels, count: images.count, width: images.width,
      height: images.height, channels: images.channels)
  }
}

extension ImageDataset {
  /// All images once, in order, for evaluation.
  public func batches(of batchSize: Int) -> SequentialBatches {
    SequentialBatches(dataset: self, batchSize: batchSize)
  }
}
