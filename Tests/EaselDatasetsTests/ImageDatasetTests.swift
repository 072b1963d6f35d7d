import EaselDatasets
import EaselImages
import EaselSupport
import EaselTensors
import Testing

@Suite struct ImageDatasetTests {
  @Test func theFingerprintDependsOnSizesPixelsAndLabels() {
    let dataset = numberedDataset(count: 4)
    let fingerprint = dataset.fingerprint
    #expect(fingerprint.count == 64)
    #expect(numberedDataset(count: 4).fingerprint == fingerprint)
    #expect(numberedDataset(count: 5).fingerprint != fingerprint)
    #expect(numberedDataset(count: 4, labelled: false).fingerprint != fingerprint)
    let turned = ImageDataset(
      name: dataset.name, source: dataset.source, width: 2, height: 3, channels: 1, pixels: dataset.pixels,
      annotations: Annotations(labels: dataset.labels), classNames: dataset.classNames)
    #expect(turned.fingerprint != fingerprint)
    let relabelled = ImageDataset(
      name: dataset.name, source: dataset.source, width: 3, height: 2, channels: 1, pixels: dataset.pixels,
      annotations: Annotations(labels: [0, 1, 2, 1]), classNames: dataset.classNames)
    #expect(relabelled.fingerprint != fingerprint)
  }

  /// `sha256` of five little-endian u64 (2, 2, 3, 1, 1), twelve pixels and two little-endian i32, by Python's hashlib.
  @Test func theFingerprintIsTheDocumentedHash() {
    #expect(
      numberedDataset(count: 2).fingerprint == "91fd256c8fd97797d94db7fde4535ec61b4097001d93a72ab564b11e0841fb75")
  }

  @Test("Captions stay with their images, have a hash of their own, and survive changes of size or colours")
  func captions() throws {
    let plain = numberedDataset(count: 3)
    func captioned(_ captions: [[String]]) -> ImageDataset {
      ImageDataset(
        name: plain.name, source: plain.source, width: 3, height: 2, channels: 1, pixels: plain.pixels,
        annotations: Annotations(labels: plain.labels, captions: captions), classNames: plain.classNames)
    }
    let captions = [["a", "the first"], [], ["größer"]]
    let dataset = captioned(captions)
    // `sha256` of the number of images, then for each the number of its captions, and for each of them the number of its
    // bytes and these, all numbers little-endian u64, by Python's hashlib.
    #expect(dataset.captionFingerprint == "19177fd0849d7b5a6c4c6c91e38cd4e66b02b1f9ceb6cd8b22fa40c2ff0c0dd6")
    #expect(captioned([["a"], ["the first"], ["größer"]]).captionFingerprint != dataset.captionFingerprint)
    #expect(dataset.fingerprint == plain.fingerprint && plain.captionFingerprint == nil)
    #expect(dataset.subset([2, 0]).annotations == Annotations(labels: [2, 0], captions: [["größer"], captions[0]]))
    #expect(dataset.subset(1..<3).annotations.captions == [[], ["größer"]])
    #expect(dataset.subset(classes: [2, 0])?.annotations.captions == [captions[0], captions[2]])
    let changed = dataset.resized(to: ImageSize(width: 2, height: 2)).converted(channels: 3)
    #expect(changed.annotations == dataset.annotations)
    #expect(Array(dataset.batches(of: 2)).map(\.annotations.captions) == [[captions[0], []], [["größer"]]])
    let batch = DataLoader(dataset, batchSize: 6, seed: 1).next()
    let seen = (0..<6).map { (batch.pixels[$0 * 6], batch.annotations.captions?[$0]) }
    for (first, texts) in seen { #expect(texts == captions[Int(first)]) }
    #expect(batch.parts(2)[1].annotations == batch.annotations[3..<6])
  }

  @Test func subsetsKeepImagesAndLabelsTogether() {
    let dataset = numberedDataset(count: 6)
    let chosen = dataset.subset([5, 0, 3])
    #expect(chosen.images(0..<3).map { $0.pixels[0] } == [5, 0, 3])
    #expect(chosen.labels == [2, 0, 0])
    let range = dataset.subset(2..<4)
    #expect(range.images(0..<2).map { $0.pixels[5] } == [2, 3])
    #expect(range.labels == [2, 0])
  }

  @Test func evaluationSeesEveryImageOnceInOrder() {
    let batches = Array(numberedDataset(count: 7).batches(of: 3))
    #expect(batches.map(\.count) == [3, 3, 1])
    #expect(batches.map(\.number) == [0, 1, 2])
    #expect(batches.flatMap(\.pixels) == numberedDataset(count: 7).pixels)
    #expect(batches.flatMap { $0.labels ?? [] } == [0, 1, 2, 0, 1, 2, 0])
  }

  @Test("A part of a batch, and a part of a part, knows where it begins and how large the whole is")
  func partsOfBatches() throws {
    let images = numberedDataset(count: 7)
    let batch = try #require(Array(images.batches(of: 7)).first).with(counterpart: Array(images.batches(of: 7))[0])
    let parts = batch.parts(3)
    #expect(parts.map(\.count) == [2, 2, 3] && parts.map(\.first) == [0, 2, 4])
    #expect(parts.allSatisfy { $0.wholeCount == 7 } && abs(parts.map(\.fraction).reduce(0, +) - 1) < 1e-6)
    #expect(parts.flatMap(\.pixels) == images.pixels && parts.flatMap { $0.labels ?? [] } == images.labels)
    #expect(parts[2].counterparts[0].first == 4 && parts[2].counterparts[0].pixels == parts[2].pixels)
    #expect(parts[2].parts(2).map(\.first) == [4, 5] && parts[2].parts(9).count == 3)
  }

  // MARK: Two domains

  private func splits(
    _ name: String, width: Int = 4, channels: Int = 1, training: Int = 5, validation: Int = 2
  ) -> DatasetSplits {
    func images(_ count: Int) -> ImageDataset {
      ImageDataset(
        name: name, source: "a test", width: width, height: 2, channels: channels,
        pixels: (0..<count * width * 2 * channels).map { UInt8($0 % 251) })
    }
    return DatasetSplits(train: images(training), validation: images(validation), rule: "by hand")
  }

  @Test func greyBecomesColourBesideColour() throws {
    let (a, b) = try DatasetSplits.matched(splits("grey"), splits("colour", channels: 3, training: 9), isPaired: false)
    #expect(a.train.channels == 3 && a.validation.channels == 3 && b.train.channels == 3)
    #expect(a.train.pixels == splits("grey").train.pixels.flatMap { [$0, $0, $0] })
    #expect(b.train.pixels == splits("colour", channels: 3, training: 9).train.pixels && b.train.count == 9)
    let (c, d) = try DatasetSplits.matched(splits("grey"), splits("grey too"), isPaired: true)
    #expect(c.train.channels == 1 && d.validation.channels == 1)
  }

  @Test func domainsThatDoNotFitAreRefused() {
    func message(_ other: DatasetSplits, isPaired: Bool) -> String {
      let error = #expect(throws: UserError.self) {
        try DatasetSplits.matched(splits("first"), other, isPaired: isPaired)
      }
      #expect(error?.kind == .badData)
      return error?.description ?? ""
    }
    let size = message(splits("second", width: 6), isPaired: false)
    #expect(size.contains("first is 4×2") && size.contains("second is 6×2") && size.contains("image-size 2"))
    #expect(message(splits("second", training: 6), isPaired: true).contains("first has 5, second has 6"))
    #expect(message(splits("second", validation: 1), isPaired: true).contains("first has 2, second has 1"))
  }
}
