import EaselTensors

/// The endless sequence of samples that a run trains on, as a function of the position alone.
///
/// Position `p` is in epoch `p / count`, at index `p % count` of that epoch's shuffle. Any step can be computed without
/// those before it, so a run resumes from its step number.
struct SampleStream {
  private let dataset: ImageDataset
  private let batchSize: Int
  private let seed: UInt64
  private let augmentation: Augmentation
  private let stream: RandomStream
  private var orders: [Int: [Int]] = [:]

  /// - Parameter stream: the random stream for order and augmentation. With the same stream, two data sets of the same
  ///   count have the same order and augmentation.
  init(
    dataset: ImageDataset, batchSize: Int, seed: UInt64, augmentation: Augmentation, stream: RandomStream = .data
  ) {
    self.dataset = dataset
    self.batchSize = batchSize
    self.seed = seed
    self.augmentation = augmentation
    self.stream = stream
  }

  mutating func batch(step: Int) -> Batch {
    let positions = step * batchSize..<(step + 1) * batchSize
    var pixels: [UInt8] = []
    pixels.reserveCapacity(batchSize * dataset.sampleSize)
    var indices: [Int] = []
    for position in positions {
      let (epoch, place) = position.quotientAndRemainder(dividingBy: dataset.count)
      let index = order(epoch: epoch)[place]
      let image = dataset.pixels[index * dataset.sampleSize..<(index + 1) * dataset.sampleSize]
      augmentation.draw(seed: seed, stream: stream, sample: position).append(
        image, width: dataset.width, height: dataset.height, channels: dataset.channels, to: &pixels)
      indices.append(index)
    }
    return Batch(
      number: step, pixels: pixels, annotations: dataset.annotations[indices], count: batchSize,
      width: dataset.width, height: dataset.height, channels: dataset.channels)
  }

  private mutating func order(epoch: Int) -> [Int] {
    if let order = orders[epoch] { return order }
    var generator = StreamGenerator(seed: seed, stream: stream, index: UInt64(epoch))
    let order = shuffledIndices(count: dataset.count, using: &generator)
    // Positions only grow: earlier epochs are not needed again.
    orders = [epoch: order]
    return order
  }
}
