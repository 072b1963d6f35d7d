import EaselDatasets
import EaselImages
import EaselTestSupport
import Foundation
import Testing

@Suite struct DataLoaderTests {
  private func firstLevels(_ batch: Batch) -> [UInt8] {
    let size = batch.width * batch.height * batch.channels
    return (0..<batch.count).map { batch.pixels[$0 * size] }
  }

  @Test func eachEpochHasEveryImageOnceAcrossBatches() {
    let loader = DataLoader(numberedDataset(count: 10), batchSize: 4, seed: 3)
    let levels = (0..<10).flatMap { _ in firstLevels(loader.next()) }
    let epochs = (0..<4).map { Array(levels[10 * $0..<10 * $0 + 10]) }
    for epoch in epochs { #expect(epoch.sorted() == Array(0..<10)) }
    #expect(Set(epochs).count == 4, "epochs must differ in order")
    #expect(epochs[0] != Array(0..<10), "the order must be shuffled")
  }

  @Test func labelsGoWithTheirImages() throws {
    let loader = DataLoader(numberedDataset(count: 10), batchSize: 7, seed: 3)
    for _ in 0..<5 {
      let batch = loader.next()
      let labels = try #require(batch.labels)
      #expect(labels == firstLevels(batch).map { Int32($0 % 3) })
    }
    #expect(DataLoader(numberedDataset(count: 10, labelled: false), batchSize: 7, seed: 3).next().labels == nil)
  }

  @Test func theSeedDecidesTheOrder() {
    func levels(seed: UInt64) -> [UInt8] {
      let loader = DataLoader(numberedDataset(count: 50), batchSize: 50, seed: seed)
      return firstLevels(loader.next())
    }
    #expect(levels(seed: 1) == levels(seed: 1))
    #expect(levels(seed: 1) != levels(seed: 2))
  }

  @Test(arguments: [1, 3, 9])
  func aResumedLoaderGoesOnAsIfNeverStopped(step: Int) {
    let augmentation = Augmentation(horizontalFlip: true, shift: 1)
    let whole = DataLoader(colourful, batchSize: 4, seed: 11, augmentation: augmentation)
    let resumed = DataLoader(
      colourful, batchSize: 4, seed: 11, augmentation: augmentation, startingAtStep: step, prefetch: 1)
    let batches = (0..<step + 6).map { _ in whole.next() }
    #expect(batches.map(\.number) == Array(0..<step + 6))
    #expect(batches[step...] == ArraySlice((0..<6).map { _ in resumed.next() }))
  }

  @Test func aBatchMayExceedTheDataSet() {
    let batch = DataLoader(numberedDataset(count: 3), batchSize: 9, seed: 1).next()
    #expect(firstLevels(batch).sorted() == [0, 0, 0, 1, 1, 1, 2, 2, 2])
  }

  /// A sample's augmentation depends on its index in the run, not on its batch.
  @Test func batchSizeDoesNotChangeTheSamples() {
    let augmentation = Augmentation(horizontalFlip: true, shift: 2)
    let small = DataLoader(colourful, batchSize: 2, seed: 5, augmentation: augmentation)
    let large = DataLoader(colourful, batchSize: 12, seed: 5, augmentation: augmentation)
    #expect((0..<6).flatMap { _ in small.next().pixels } == large.next().pixels)
  }

  @Test func pairsStayTogetherAndAreChangedAlike() {
    let augmentation = Augmentation(horizontalFlip: true, shift: 1)
    let darker = ImageDataset(
      name: "darker", source: "a test", width: 4, height: 3, channels: 3, pixels: colourful.pixels.map { $0 / 2 })
    for step in [0, 7] {
      let loader = DataLoader(
        colourful, batchSize: 3, seed: 4, augmentation: augmentation, counterpart: (darker, isPaired: true),
        startingAtStep: step)
      let plain = DataLoader(colourful, batchSize: 3, seed: 4, augmentation: augmentation, startingAtStep: step)
      for _ in 0..<6 {
        let (batch, alone) = (loader.next(), plain.next())
        #expect(batch.pixels == alone.pixels && alone.counterparts.isEmpty)
        #expect(batch.counterparts.count == 1 && batch.counterparts[0].number == batch.number)
        #expect(batch.counterparts[0].pixels == batch.pixels.map { $0 / 2 })
      }
    }
  }

  @Test func otherwiseTheSecondDomainHasAnOrderOfItsOwn() {
    let (first, second) = (numberedDataset(count: 10), numberedDataset(count: 10))
    func batches(startingAtStep step: Int, _ count: Int) -> [Batch] {
      let loader = DataLoader(
        first, batchSize: 5, seed: 4, counterpart: (second, isPaired: false), startingAtStep: step)
      return (0..<count).map { _ in loader.next() }
    }
    let all = batches(startingAtStep: 0, 4)
    let orders = [all.map { firstLevels($0) }, all.map { firstLevels($0.counterparts[0]) }].map { $0.flatMap { $0 } }
    #expect(orders[0] != orders[1])
    for order in orders { #expect(order[..<10].sorted() == Array(0..<10) && order[10...].sorted() == Array(0..<10)) }
    #expect(batches(startingAtStep: 2, 2) == Array(all[2...]))
    // Data of another size have longer epochs.
    let few = DataLoader(first, batchSize: 3, seed: 4, counterpart: (numberedDataset(count: 4), isPaired: false))
    let levels = (0..<4).flatMap { _ in firstLevels(few.next().counterparts[0]) }
    #expect(levels.count == 12 && (0..<3).allSatisfy { levels[4 * $0..<4 * $0 + 4].sorted() == [0, 1, 2, 3] })
  }

  @Test func flippingMirrorsAboutHalf() {
    let image = Image(width: 3, height: 2, channels: 1, pixels: [1, 2, 3, 4, 5, 6])
    let variants = samples(of: image, Augmentation(horizontalFlip: true), count: 400)
    let mirrored = variants.filter { $0 == [3, 2, 1, 6, 5, 4] }.count
    #expect(variants.filter { $0 == image.pixels }.count + mirrored == 400)
    #expect(150...250 ~= mirrored)
  }

  @Test func shiftingRepeatsTheEdges() {
    let image = Image(width: 3, height: 2, channels: 1, pixels: [1, 2, 3, 4, 5, 6])
    let variants = Set(samples(of: image, Augmentation(shift: 1), count: 400))
    let rowsUpAndDown: [[UInt8]] = [[1, 1, 2, 4, 4, 5], [1, 2, 3, 4, 5, 6], [2, 3, 3, 5, 6, 6]]
    let expected = rowsUpAndDown.flatMap { pixels in
      let (upper, lower) = (Array(pixels[..<3]), Array(pixels[3...]))
      return [upper + lower, upper + upper, lower + lower]
    }
    #expect(variants == Set(expected))
  }

  @Test func imagesAreMirroredFirstAndThenMoved() {
    let image = Image(width: 3, height: 1, channels: 1, pixels: [1, 2, 3])
    let variants = Set(samples(of: image, Augmentation(horizontalFlip: true, shift: 1), count: 200))
    #expect(variants == [[1, 2, 3], [1, 1, 2], [2, 3, 3], [3, 2, 1], [3, 3, 2], [2, 1, 1]])
  }

  @Test func colourChannelsMoveTogether() {
    let image = Image(width: 2, height: 1, channels: 3, pixels: [1, 2, 3, 4, 5, 6])
    let variants = Set(samples(of: image, Augmentation(horizontalFlip: true), count: 40))
    #expect(variants == [[1, 2, 3, 4, 5, 6], [4, 5, 6, 1, 2, 3]])
  }

  /// Against Python's `colorsys` for the hue, and torchvision's definitions written out for the rest.
  @Test(
    arguments: [
      (
        Recoloring(brightness: 1.2),
        [240, 36, 36, 12, 144, 255, 108, 108, 108, 255, 255, 255, 0, 0, 0, 255, 255, 24]
      ),
      (
        Recoloring(contrast: 0.7),
        [177, 58, 58, 44, 121, 212, 100, 100, 100, 216, 216, 216, 37, 37, 37, 212, 205, 51]
      ),
      (
        Recoloring(saturation: 1.4),
        [248, 10, 10, 0, 127, 255, 90, 90, 90, 255, 255, 255, 0, 0, 0, 255, 249, 0]
      ),
      (Recoloring(hue: 0.1), [200, 132, 30, 44, 10, 250, 90, 90, 90, 255, 255, 255, 0, 0, 0, 122, 250, 20]),
      (Recoloring(hue: -0.35), [30, 47, 200, 144, 250, 10, 90, 90, 90, 255, 255, 255, 0, 0, 0, 217, 20, 250]),
      (
        Recoloring(brightness: 1.1, contrast: 1.3, saturation: 0.6, hue: 0.25),
        [106, 179, 33, 193, 43, 196, 90, 90, 90, 255, 255, 255, 0, 0, 0, 90, 243, 167]
      ),
    ] as [(Recoloring, [UInt8])])
  func recolouringIsTorchvisions(recoloring: Recoloring, expected: [UInt8]) {
    var levels: ArraySlice<UInt8> = [200, 30, 30, 10, 120, 250, 90, 90, 90, 255, 255, 255, 0, 0, 0, 250, 240, 20]
    recoloring.apply(to: &levels, channels: 3)
    let largest = zip(levels, expected).map { abs(Int($0) - Int($1)) }.max() ?? .max
    // One level of tolerance for the rounding of halves.
    #expect(largest <= 1, "\(levels)")
  }

  @Test func greyTakesBrightnessAndContrastOnly() {
    var levels: ArraySlice<UInt8> = [0, 60, 130, 255]
    Recoloring(brightness: 1.2, contrast: 0.8, saturation: 1.4, hue: 0.3).apply(to: &levels, channels: 1)
    #expect(levels == [24, 82, 149, 228])
    Recoloring(saturation: 0.2, hue: 0.3).apply(to: &levels, channels: 1)
    #expect(levels == [24, 82, 149, 228])
  }

  @Test func colourJitterStaysWithinItsStrengthAndReachesIt() {
    // With one channel the mean grey is the level, so only brightness has an effect.
    let image = Image(width: 1, height: 1, channels: 1, pixels: [100])
    let levels = samples(of: image, Augmentation(jitter: ColorJitter(brightness: 0.2)), count: 2000).map { $0[0] }
    #expect(levels.min() == 80 && levels.max() == 120)
    let mean = Double(levels.reduce(0) { $0 + Int($1) }) / 2000
    #expect(abs(mean - 100) < 1)
    // White and grey are the same in every hue.
    let ground = Image(width: 2, height: 1, channels: 3, pixels: [255, 255, 255, 90, 90, 90])
    let jitter = ColorJitter(saturation: 1, hue: 0.5)
    #expect(Set(samples(of: ground, Augmentation(jitter: jitter), count: 50)) == [ground.pixels])
  }

  @Test func switchingOneChangeOnLeavesTheOthersAsTheyWere() {
    func images(_ augmentation: Augmentation) -> [UInt8] {
      DataLoader(colourful, batchSize: 16, seed: 5, augmentation: augmentation).next().pixels
    }
    let plain = images(.none)
    let hue = images(Augmentation(jitter: ColorJitter(hue: 0.2)))
    #expect(hue != plain)
    #expect(images(Augmentation(jitter: ColorJitter(hue: 0.2))) == hue)
    // Flips of a jittered image are jittered flips, since the draws are independent and hues change pixel by pixel.
    let flipped = images(Augmentation(horizontalFlip: true))
    let both = images(Augmentation(horizontalFlip: true, jitter: ColorJitter(hue: 0.2)))
    for image in 0..<16 {
      let range = 36 * image..<36 * (image + 1)
      let mirrored = (0..<3).flatMap { y in
        (0..<4).reversed().flatMap { x in (0..<3).map { hue[36 * image + (4 * y + x) * 3 + $0] } }
      }
      #expect(Array(both[range]) == (flipped[range] == plain[range] ? Array(hue[range]) : mirrored))
    }
  }

  @Test(arguments: [false, true])
  func theThreadEndsWithTheLoader(stopsFirst: Bool) throws {
    weak var worker: AnyObject?
    do {
      let loader = DataLoader(numberedDataset(count: 10), batchSize: 2, seed: 1)
      worker = loader.worker
      _ = loader.next()
      if stopsFirst {
        loader.stop()
        loader.stop()
      }
    }
    // The thread has left its loop by now; it releases the worker a moment later.
    try wait(for: "the end of the loader's thread") { worker == nil }
  }

  /// Eight images of 4×3 RGB pixels, all bytes different enough that any change shows.
  private let colourful = ImageDataset(
    name: "colourful", source: "a test", width: 4, height: 3, channels: 3,
    pixels: (0..<8 * 36).map { UInt8(($0 * 73) % 251) })

  private func samples(of image: Image, _ augmentation: Augmentation, count: Int) -> [[UInt8]] {
    let dataset = ImageDataset(
      name: "one", source: "a test", width: image.width, height: image.height, channels: image.channels,
      pixels: image.pixels)
    let batch = DataLoader(dataset, batchSize: count, seed: 9, augmentation: augmentation).next()
    return (0..<count).map { Array(batch.pixels[$0 * image.pixels.count..<($0 + 1) * image.pixels.count]) }
  }
}
