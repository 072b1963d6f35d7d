import EaselMetrics
import EaselTestSupport
import EaselTraining
import Foundation
import Testing

struct SampleSourceTests {
  @Test("A conditional model's samples have the labels that it draws in turn")
  func labelsInTurn() throws {
    let (seven, many) = try onTensors { backend in
      let model = ToyModel(on: backend, conditional: true)
      func draw(_ count: Int) throws -> ImageDataset {
        try ImageDataset(drawing: count, from: model, SamplingOptions(seed: 5)) { _ in }
      }
      return (try draw(7), try draw(3000))
    }
    #expect(seven.labels == [0, 1, 2, 0, 1, 2, 0])
    // The index in the series; 10 · label + seed.
    #expect(seven.pixels == [0, 5, 1, 15, 2, 25, 3, 5, 4, 15, 5, 25, 6, 5])
    #expect(Array(many.pixels.prefix(14)) == seven.pixels && many.count == 3000)
    let isInOrder = (0..<3000).allSatisfy { index in
      let label = many.labels?[index]
      return many.pixels[2 * index] == UInt8(index % 256) && label == Int32(index % 3)
    }
    #expect(isInOrder)
    #expect(seven.classNames == ["a", "b", "c"])
  }

  @Test("With a requested label every sample has it; without labels there are none")
  func oneLabelOrNone() throws {
    let (one, none) = try onTensors { backend in
      (
        try ImageDataset(
          drawing: 4, from: ToyModel(on: backend, conditional: true), SamplingOptions(seed: 1, conditions: [.label(2)])
        ) { _ in },
        try ImageDataset(drawing: 4, from: ToyModel(on: backend, conditional: false), SamplingOptions()) { _ in }
      )
    }
    var data = DataDescription(width: 2, height: 1, channels: 1, classNames: ["a", "b", "c"])
    #expect(
      SamplingOptions(conditions: [.label(2), .label(0)]).conditions(of: 3..<6, .classes, in: data).map(\.label) == [
        0, 2, 0,
      ])
    #expect(SamplingOptions().conditions(of: 0..<4, .classes, in: data).map(\.label) == [0, 1, 2, 0])
    // A class without training images is not drawn by default.
    data.untrainedClasses = [0]
    #expect(SamplingOptions().conditions(of: 0..<4, .classes, in: data).map(\.label) == [1, 2, 1, 2])
    #expect(one.labels == [2, 2, 2, 2] && one.pixels == [0, 21, 1, 21, 2, 21, 3, 21])
    #expect(none.labels == nil && none.pixels == [0, 90, 1, 90, 2, 90, 3, 90])
  }

  @Test func arraysBecomeImages() throws {
    let folder = try ScratchFolder()
    let path = folder.file("a.npy")
    func images(_ shape: [Int], _ values: NPYArray.Values) throws -> ImageDataset {
      try NPYArray(shape: shape, values: values).write(to: path)
      return try ImageDataset(array: path)
    }
    let floats = try images([2, 1, 2, 1], .float32([0, 1, 0.5, 1.001]))
    #expect(floats.pixels == [0, 255, 128, 255] && floats.count == 2 && floats.width == 2)
    let colour = try images([1, 1, 2, 3], .uint8([1, 2, 3, 4, 5, 6]))
    #expect(colour.pixels == [1, 2, 3, 4, 5, 6] && colour.channels == 3)
    #expect(try images([2, 1, 2], .uint8([1, 2, 3, 4])).count == 2)
    expectUserError(.badData, "0 to 1", "-1.0 to 1.0", "/ 2") { try images([1, 1, 2, 1], .float32([-1, 1])) }
    #expect(try images([1, 1, 2, 1], .integers([0, 255])).pixels == [0, 255])
    expectUserError(.badData, "0 to 255, found 256 at [0, 0, 1, 0]") { try images([1, 1, 2, 1], .integers([0, 256])) }
    expectUserError(.badData, "0.0 to 200.0", "array / 255") { try images([1, 1, 2, 1], .float32([0, 200])) }
    // One in a thousand: slightly outside is normal for a model; values that no last layer gives are not.
    func stray(_ value: Float) throws -> ImageDataset {
      var values = [Float](repeating: 0.5, count: 2000)
      values[1234] = value
      return try images([2, 10, 100, 1], .float32(values))
    }
    #expect(try stray(1.3).pixels[1234] == 255 && stray(-0.4).pixels[1234] == 0)
    for value in [Float.nan, .infinity, -.infinity, 2.5, -7, 1e30] {
      expectUserError(.badData, "0 to 1", "at [1, 2, 34, 0]") { try stray(value) }
    }
    expectUserError(.badData, "[1, 3, 4, 5]", "transpose") {
      try images([1, 3, 4, 5], .uint8([UInt8](repeating: 0, count: 60)))
    }
    expectUserError(.badData, "[4]") { try images([4], .uint8([1, 2, 3, 4])) }

    let labels = folder.file("labels.npy")
    func labelled(_ shape: [Int], _ values: NPYArray.Values) throws -> [Int32]? {
      try NPYArray(shape: shape, values: values).write(to: labels)
      return try floats.labelled(byArray: labels, classNames: ["a", "b"]).labels
    }
    #expect(try labelled([2], .uint8([1, 0])) == [1, 0])
    #expect(try labelled([2], .float32([0, 1])) == [0, 1])
    expectUserError(.badData, "2 labels", "[3]") { try labelled([3], .uint8([1, 0, 1])) }
    expectUserError(.badData, "0 to 1, found 2") { try labelled([2], .uint8([1, 2])) }
    expectUserError(.badData, "found 0.5") { try labelled([2], .float32([0.5, 1])) }
    #expect(try labelled([2], .integers([1, 0])) == [1, 0])
    expectUserError(.badData, "found -1.0 at [1]") { try labelled([2], .integers([1, -1])) }
  }
}

struct FeatureExtractorTests {
  @Test("Pixel features are the principal components")
  func principalComponents() throws {
    // All variance is along two directions: the left column with a deviation of 40, the right one with 10.
    var pixels: [UInt8] = []
    for index in 0..<500 {
      let left = 128 + 40 * (index % 2 == 0 ? -1 : 1)
      let right = 128 + 10 * (index / 2 % 2 == 0 ? -1 : 1)
      for _ in 0..<3 { pixels += [UInt8(left), UInt8(right)] }
    }
    let images = ImageDataset(
      name: "columns", source: "a test", width: 2, height: 3, channels: 1, pixels: pixels)
    let (points, name, resize) = try onTensors { backend in
      let extractor = try PixelFeatureExtractor(fitting: images, dimensions: 2, on: backend)
      return (extractor.extract(images) { _ in }.points, extractor.name, extractor.resize)
    }
    // Three equal pixels: √3 times the distance from the mean.
    let furthest = (0..<500).map { index in
      [0, 1].map { column in
        let distance = abs(Double(pixels[6 * index + column]) - 128) / 255
        return abs(abs(points[index, column]) - 3.0.squareRoot() * distance)
      }.max() ?? 1
    }.max()
    #expect((furthest ?? 1) < 1e-6)
    #expect(name == "pixels, 2 principal components of 2×3×1" && resize == "none")
  }

  @Test func largePicturesAreMadeSmallerAndTooManyComponentsRefused() throws {
    let images = noisyImages(30, seed: 1, width: 40, height: 20, channels: 3)
    let (count, resize) = try onTensors { backend in
      let extractor = try PixelFeatureExtractor(fitting: images, dimensions: 8, on: backend)
      return (extractor.extract(images) { _ in }.points.dimensions, extractor.resize)
    }
    #expect(count == 8 && resize == "40×20 to 16×8, bilinear")
    expectUserError(.usage, "1 to 29", "found 30", "30 images") {
      try onTensors { _ = try PixelFeatureExtractor(fitting: images, dimensions: 30, on: $0) }
    }
  }

  @Test("A model's features do not depend on the other images, and images of other sizes are fitted")
  func models() throws {
    let images = noisyImages(300, seed: 1, width: 8, height: 8)
    let large = noisyImages(3, seed: 2, width: 16, height: 12, channels: 3)
    let (all, one, other, resize) = try onTensors { backend in
      let model = try tinyClassifier(
        backend, DataDescription(width: 8, height: 8, channels: 1, classNames: ["x", "y"]))
      let extractor = ModelFeatureExtractor(model, name: "tiny", for: ImageSize(width: 8, height: 8))
      let all = extractor.extract(images) { _ in }
      let logits = model.logits(
        backend.fromBytes(images.pixels, shape: [300, 8, 8, 1], scale: 1 / 255, shift: 0, type: .float32))
      #expect(all.classes == logits.argmax())
      let fitting = ModelFeatureExtractor(model, name: "tiny", for: large.imageSize)
      return (
        all, extractor.extract(images.subset([270])) { _ in }, fitting.extract(large) { _ in }, fitting.resize
      )
    }
    #expect(all.points.count == 300 && all.points.dimensions == 16)
    #expect((0..<16).allSatisfy { all.points[270, $0] == one.points[0, $0] })
    #expect(other.points.count == 3 && resize == "16×12 to 8×8, bilinear, middle kept")
  }
}

/// A classifier in which every layer has an effect.
func tinyClassifier(_ backend: any Backend, _ data: DataDescription) throws -> Classifier {
  var settings = ClassifierSettings()
  (settings.baseChannels, settings.features) = (8, 16)
  return try Classifier(settings, ModelContext(backend: backend, type: .float32, seed: 3, data: data))
}

struct SampleEvaluationTests {
  private static let data = DatasetSplits(
    train: noisyImages(400, seed: 1), validation: noisyImages(200, seed: 2), rule: "by hand")

  private static func evaluate(
    _ samples: ImageDataset, data: DatasetSplits = data, dimensions: Int = 4,
    _ change: @escaping @Sendable (inout EvaluationOptions) -> Void = { _ in }
  ) throws -> SampleEvaluation {
    try onTensors { backend in
      var options = EvaluationOptions()
      options.resamples = 50
      change(&options)
      let extractor = try PixelFeatureExtractor(fitting: data.train, dimensions: dimensions, on: backend)
      return try SampleEvaluation(samples, data: data, by: extractor, options, on: backend) { _, _ in }
    }
  }

  private static func unlabelled(_ images: ImageDataset) -> ImageDataset {
    ImageDataset(
      name: "samples", source: "", width: images.width, height: images.height, channels: images.channels,
      pixels: images.pixels)
  }

  @Test("New images of the same kind get the same figures as held-out ones")
  func realImages() throws {
    let samples = Self.unlabelled(noisyImages(200, seed: 3))
    let evaluation = try Self.evaluate(samples)
    let floor = try #require(evaluation.floor)
    #expect(floor.count == 200 && evaluation.samples.count == 200 && evaluation.referenceImages == 200)
    #expect(abs(evaluation.samples.frechet.value - floor.frechet.value) < 0.05)
    #expect(abs(evaluation.samples.neighbourhoods.coverage.value - floor.neighbourhoods.coverage.value) < 0.1)
    let memory = evaluation.memory
    let expected = memory.pixels.expected
    #expect(memory.trainingImages == 400 && memory.heldOutImages == 200 && expected == 2.0 / 3)
    #expect(memory.pixels.share.low < expected && expected < memory.pixels.share.high, "\(memory)")
    #expect(memory.features.share.low < expected && expected < memory.features.share.high, "\(memory)")
    #expect(evaluation.reference == "200 of 400 training images, chosen by a fixed shuffle")
    #expect(evaluation.classes == nil && evaluation.data == "noise")
    #expect(evaluation.sheet.map(\.count) == [16, 16, 16, 16, 16])
    // The same again, to the last bit.
    let again = try Self.evaluate(samples)
    #expect(try JSONEncoder().encode(again).count == JSONEncoder().encode(evaluation).count)
    #expect(again.samples.frechet == evaluation.samples.frechet)
  }

  @Test("Copies of training images are detected")
  func copies() throws {
    let samples = Self.unlabelled(Self.data.train.subset(0..<100))
    let evaluation = try Self.evaluate(samples) { $0.references = 400 }
    #expect(evaluation.reference == "all 400 training images")
    #expect(evaluation.memory.pixels.share.value == 1 && evaluation.memory.pixels.expected == 2.0 / 3)
    #expect(evaluation.sheet[1] == evaluation.sheet[0] && evaluation.sheet[3] == evaluation.sheet[0])
    #expect(evaluation.sheet[2] != evaluation.sheet[0])
  }

  @Test("Samples of one class are compared with that class")
  func oneClass() throws {
    let ones = noisyImages(300, seed: 3).subset((0..<100).map { 3 * $0 + 1 })
    let evaluation = try Self.evaluate(ones)
    #expect(evaluation.data == "noise, class b only")
    #expect(evaluation.reference == "100 of 133 training images, chosen by a fixed shuffle")
    #expect(evaluation.memory.trainingImages == 133 && evaluation.memory.heldOutImages == 67)
    #expect(evaluation.samples.frechet.value < 0.1)
    // Compared with all classes, the same images are far off.
    let all = try Self.evaluate(Self.unlabelled(ones))
    #expect(all.samples.frechet.value > 3 * evaluation.samples.frechet.value)
    #expect(all.samples.neighbourhoods.coverage.value < 0.5)
  }

  @Test("A classifier reports the samples' classes")
  func classes() throws {
    // A classifier that was briefly trained on classes of different brightness.
    let samples = noisyImages(90, seed: 3)
    let evaluation = try onTensors { backend in
      let model = try tinyClassifier(backend, DataDescription(Self.data.train))
      let settings = TrainingSettings { $0.learningRate = 5e-3 }
      model.prepareForTraining(settings)
      for (index, batch) in Array(Self.data.train.batches(of: 40)).enumerated() {
        _ = model.trainingStep(batch, TrainingStep(index: index, settings: settings))
      }
      let extractor = ModelFeatureExtractor(model, name: "tiny", for: Self.data.train.imageSize)
      var options = EvaluationOptions()
      options.resamples = 20
      return try SampleEvaluation(samples, data: Self.data, by: extractor, options, on: backend) { _, _ in }
    }
    let classes = try #require(evaluation.classes)
    #expect(classes.names == ["a", "b", "c"] && abs(classes.shares.reduce(0, +) - 1) < 1e-9)
    #expect(abs(classes.floorShares.reduce(0, +) - 1) < 1e-9)
    let accuracy = try #require(classes.labelAccuracy)
    #expect(accuracy.value > 0.6 && abs(accuracy.value - (classes.floorLabelAccuracy?.value ?? 0)) < 0.15)
    #expect(classes.smallestShare == classes.shares.min())
    let entropy = classes.shares.reduce(0) { $0 - ($1 > 0 ? $1 * log($1) : 0) }
    #expect(abs(classes.entropy - entropy) < 1e-12 && entropy <= log(3) + 1e-12)
  }

  @Test func whatTheCountsCannotSupportIsRefused() throws {
    let few = Self.unlabelled(noisyImages(19, seed: 3))
    expectUserError(.usage, "at least 20 samples, found 19") { try Self.evaluate(few) }
    let some = Self.unlabelled(noisyImages(50, seed: 3))
    expectUserError(.usage, "30 features", "at least 60 samples, found 50") {
      try Self.evaluate(some, dimensions: 30)
    }
    expectUserError(.usage, "references", "400", "found 401") { try Self.evaluate(some) { $0.references = 401 } }
    expectUserError(.usage, "reference images, found 10") { try Self.evaluate(some) { $0.references = 10 } }
    // With too few held-out images there is no floor, but the rest is present.
    let data = DatasetSplits(train: Self.data.train, validation: noisyImages(10, seed: 2), rule: "by hand")
    let evaluation = try Self.evaluate(some, data: data)
    #expect(evaluation.floor == nil && evaluation.memory.heldOutImages == 10)
  }
}

struct HeldOutEvaluationTests {
  @Test("Likelihoods are means over images with their standard errors")
  func likelihood() throws {
    // Two batches, the second smaller.
    let images = ImageDataset(
      name: "levels", source: "", width: 2, height: 1, channels: 1,
      pixels: (0..<300).map { UInt8($0 % 2 == 0 ? $0 / 2 : 0) })
    let evaluation = try onTensors { backend in
      try LikelihoodEvaluation(
        ToyModel(on: backend, conditional: false), images, importanceSamples: 7, seed: 0
      ) { _ in }
    }
    let levels = try #require(evaluation.figures["first-level"])
    #expect(evaluation.images == 150 && evaluation.importanceSamples == 7)
    #expect(abs(levels.mean - 74.5) < 1e-9)
    // The variance of 0 … 149 is (150² − 1) / 12 · 150 / 149.
    #expect(abs(levels.standardError - ((22499.0 / 12 * 150 / 149) / 150).squareRoot()) < 1e-9)
    #expect(evaluation.figures["samples"]?.mean == 7 && evaluation.figures["samples"]?.standardError == 0)
    #expect(MeanFigure([3]).standardError == 0)
  }

  @Test func aClassifiersAccuracyIsThatOfItsClasses() throws {
    struct Extractor: FeatureExtractor {
      let name = "fixed"
      let resize = "none"
      let dimensions = 1
      let classNames = ["a", "b", "c"]
      func extract(_ images: ImageDataset, progress: (Double) throws -> Void) rethrows -> (
        points: FeatureSet, classes: [Int]
      ) {
        // Always wrong about b.
        (
          FeatureSet([Float](repeating: 0, count: images.count), dimensions: 1),
          (images.labels ?? []).map { $0 == 1 ? 0 : Int($0) }
        )
      }
    }
    let evaluation = try ClassificationEvaluation(
      Extractor(), noisyImages(30, seed: 1), bootstrap: Bootstrap()
    ) { _ in }
    #expect(evaluation.recall == [1, 0, 1] && abs(evaluation.accuracy.value - 2.0 / 3) < 1e-12)
    expectUserError(.usage, "a, b, c") {
      try ClassificationEvaluation(
        Extractor(), noisyImages(30, seed: 1, classes: ["x", "y"]), bootstrap: Bootstrap()
      ) { _ in }
    }
  }
}
