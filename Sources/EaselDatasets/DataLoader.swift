import EaselTensors
import Foundation

/// An endless sequence of shuffled, augmented batches, prepared in advance by a separate thread.
///
/// The order is a function of data, batch size and seed: a loader that starts at step `s` goes on exactly like one that
/// started at the beginning. Batches cross the ends of epochs, and each epoch has every image exactly once.
public final class DataLoader: Sendable {
  private let prefetcher: Prefetcher

  /// Starts to prepare batches.
  ///
  /// - Parameters:
  ///   - dataset: the images to draw from; not empty.
  ///   - batchSize: images per batch; it may exceed the size of the data set.
  ///   - seed: the run's seed; the loader draws from its `data` stream.
  ///   - augmentation: random changes to each sample.
  ///   - counterpart: the images of a second domain; each batch carries the same number of these. Paired images have
  ///     the same indices and are changed in the same way; otherwise they have their own indices and order.
  ///   - startingAtStep: the first batch's step, counted from 0.
  ///   - prefetch: how many batches are kept ready, at least 1.
  ///
  /// Traps if a number is out of its range.
  public init(
    _ dataset: ImageDataset, batchSize: Int, seed: UInt64, augmentation: Augmentation = .none,
    counterpart: (dataset: ImageDataset, isPaired: Bool)? = nil, startingAtStep: Int = 0, prefetch: Int = 3
  ) {
    // A sample's position in the run is a counter of 40 bits in the random streams.
    guard dataset.count > 0, batchSize > 0, prefetch > 0, 0..<(1 << 40) / batchSize ~= startingAtStep else {
      fatalError(
        "DataLoader: \(dataset.count) images, batch size \(batchSize), step \(startingAtStep), prefetch \(prefetch)")
    }
    if let counterpart, counterpart.isPaired, counterpart.dataset.count != dataset.count {
      fatalError("DataLoader: \(dataset.count) images are no pairs of \(counterpart.dataset.count)")
    }
    let stream = SampleStream(dataset: dataset, batchSize: batchSize, seed: seed, augmentation: augmentation)
    let counterparts = counterpart.map {
      SampleStream(
        dataset: $0.dataset, batchSize: batchSize, seed: seed, augmentation: augmentation,
        stream: $0.isPaired ? .data : .counterparts)
    }
    prefetcher = Prefetcher(
      stream: stream, counterparts: counterparts, firstStep: startingAtStep, capacity: prefetch)
    prefetcher.start()
  }

  deinit { prefetcher.stop() }

  /// The next step's batch; waits until it is ready. Traps after ``stop()``.
  public func next() -> Batch { prefetcher.next() }

  /// Ends the loader's thread and waits for it. It may be called more than once.
  public func stop() { prefetcher.stop() }

  /// The object that the thread retains while it lives; for tests that it ends.
  package var worker: AnyObject { prefetcher }
}

/// A bounded buffer and the thread that fills it; all state is behind `condition`, except the streams, the thread's
/// own.
private final class Prefetcher: @unchecked Sendable {
  private let condition = NSCondition()
  private let capacity: Int
  private var stream: SampleStream
  private var counterparts: SampleStream?
  private var nextStep: Int
  private var ready: [Batch] = []
  private var isStopping = false
  private var isRunning = false

  init(stream: SampleStream, counterparts: SampleStream?, firstStep: Int, capacity: Int) {
    self.stream = stream
    self.counterparts = counterparts
    self.capacity = capacity
    nextStep = firstStep
  }

  func start() {
    isRunning = true
    let thread = Thread { self.fill() }
    thread.name = "easel-data"
    thread.start()
  }

  func stop() {
    condition.lock()
    defer { condition.unlock() }
    isStopping = true
    condition.broadcast()
    while isRunning { condition.wait() }
    ready = []
  }

  func next() -> Batch {
    condition.lock()
    defer { condition.unlock() }
    while ready.isEmpty, !isStopping { condition.wait() }
    guard !isStopping else { fatalError("DataLoader.next() after stop()") }
    defer { condition.broadcast() }
    return ready.removeFirst()
  }

  private func fill() {
    while waitForRoom() {
      var batch = stream.batch(step: nextStep)
      if let counterpart = counterparts?.batch(step: nextStep) { batch = batch.with(counterpart: counterpart) }
      nextStep += 1
      condition.lock()
      ready.append(batch)
      condition.broadcast()
      condition.unlock()
    }
    condition.lock()
    isRunning = false
    condition.broadcast()
    condition.unlock()
  }

  /// False if the loader stops.
  private func waitForRoom() -> Bool {
    condition.lock()
    defer { condition.unlock() }
    while ready.count >= capacity, !isStopping { condition.wait() }
    return !isStopping
  }
}
