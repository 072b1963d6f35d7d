import EaselModels
import EaselRunStorage
import EaselTestSupport
import Foundation
import Testing

/// The classifier against PyTorch's (Tests/Fixtures/make_classifier.py) and by itself.
@Suite struct ClassifierTests {
  private static let data = DataDescription(width: 13, height: 10, channels: 3, classNames: ["a", "b", "c"])

  private static func settings(_ change: (inout ClassifierSettings) -> Void = { _ in }) -> ClassifierSettings {
    var settings = ClassifierSettings()
    (settings.baseChannels, settings.features) = (8, 16)
    change(&settings)
    return settings
  }

  private static func draw(_ draw: UInt32) -> RandomDraw { RandomDraw(seed: 0, stream: .noise, draw: draw) }

  /// The fixture's batch, and the model with its weights.
  private static func golden(_ backend: any Backend, type: ScalarType = .float32) throws -> (
    model: Classifier, batch: Batch, file: SafetensorsReader
  ) {
    let file = try SafetensorsReader(path: fixture("classifier.safetensors"))
    let context = ModelContext(backend: backend, type: type, seed: 1, data: data)
    let model = try Classifier(settings { $0.labelSmoothing = 0.1 }, context)
    try model.components[0].arena.load(model.components[0].arena.values, from: file)
    let pixels = try file.withBytes("pixels") { Array($0) }
    let labels = try file.floats("labels").map { Int32($0) }
    let batch = Batch(
      number: 0, pixels: pixels, annotations: Annotations(labels: labels), count: 5, width: 13, height: 10, channels: 3)
    return (model, batch, file)
  }

  @Test("Features, losses, gradients and ten steps are PyTorch's", arguments: Backends.available)
  func golden(_ kind: BackendKind) throws {
    struct Found: Sendable {
      var features, logits, losses: [Float]
      var gradients: [(name: String, values: [Float])]
      var accuracy: Float?
    }
    let found = try onTensors(kind) { backend -> Found in
      let (model, batch, _) = try Self.golden(backend)
      let arena = model.components[0].arena
      let images = batch.tensor(on: backend)
      let tape = Tape()
      let (loss, metrics) = model.loss(batch, on: tape, draw: Self.draw)
      tape.backward(from: loss)
      let gradients = arena.parameters.map { (name: $0.name, values: $0.gradient.values()) }
      let plain = model.loss(batch, on: nil, draw: Self.draw).loss
      let (features, logits) = (model.features(images).values(), model.logits(images).values())
      return Found(
        features: features, logits: logits, losses: [loss.value.item(), plain.value.item()], gradients: gradients,
        accuracy: metrics["accuracy"])
    }
    let file = try SafetensorsReader(path: fixture("classifier.safetensors"))
    #expect(relativeError(found.features, try file.floats("features")) < 1e-5)
    #expect(relativeError(found.logits, try file.floats("logits")) < 1e-5)
    #expect(relativeError(found.losses, try file.floats("loss") + file.floats("plain-loss")) < 1e-5)
    try expectCurve(file.floats("losses"), on: kind) { backend, prepare in
      let (model, batch, _) = try Self.golden(backend)
      let training = TrainingSettings {
        $0.optimizer = .adamw
        $0.weightDecay = 1e-2
      }
      model.prepareForTraining(training)
      prepare(model.components.map(\.arena))
      return (0...10).map { index in
        model.trainingStep(batch, TrainingStep(index: index, settings: training))["loss"] ?? .nan
      }
    }
    let expected = try found.gradients.map { try file.floats("gradient." + $0.name) }
    let whole = norm(expected.flatMap(\.self))
    for (gradient, expected) in zip(found.gradients, expected) {
      #expect(isSameGradient(gradient.values, expected, whole: whole), "\(gradient.name)")
    }
    let logits = try file.floats("logits")
    let labels = try file.floats("labels")
    let right = (0..<5).filter { row in
      logits[3 * row + Int(labels[row])] == logits[3 * row..<3 * row + 3].max()
    }
    #expect(found.accuracy == Float(right.count) / 5)
  }

  @Test("With bfloat16 activations it is nearly the same", .enabled(if: Backends.bfloat16 != .none))
  func bfloat16() throws {
    let found = try onTensors(.onednn) { backend in
      let (model, batch, _) = try Self.golden(backend, type: .bfloat16)
      let tape = Tape()
      tape.backward(from: model.loss(batch, on: tape, draw: Self.draw).loss)
      return (
        model.features(batch.tensor(on: backend)).values(), model.components[0].arena.parameters[0].gradient.values()
      )
    }
    let file = try SafetensorsReader(path: fixture("classifier.safetensors"))
    #expect(relativeError(found.0, try file.floats("features")) < 0.03)
    #expect(relativeError(found.1, try file.floats("gradient.stem.weight")) < 0.1)
  }

  @Test("The preset has 128 features and fits in 1.5 MB of bfloat16")
  func preset() throws {
    let (features, count) = try onTensors { backend in
      let preset = try AnyPreset.named("classifier")
      let model = try preset.makeModel(preset.configuration(), .float32(on: backend, preset.data))
      guard let classifier = model as? Classifier else { return (Shape([]), 0) }
      return (
        classifier.features(uniformImages(preset.data.shape(2), on: backend)).shape,
        model.components.map(\.arena.count).reduce(0, +)
      )
    }
    #expect(features == [2, 128])
    #expect((100_000...750_000).contains(count), "\(count)")
  }

  @Test("It learns its training images, at any size", arguments: [(8, 8, 1), (4, 4, 3), (17, 5, 3)])
  func learns(_ size: (width: Int, height: Int, channels: Int)) throws {
    let data = DataDescription(
      width: size.width, height: size.height, channels: size.channels, classNames: ["dark", "bright"])
    let steps = try onTensors { backend in
      let model = try Classifier(Self.settings { $0.blocks = 2 }, .float32(on: backend, data))
      let training = TrainingSettings { $0.learningRate = 3e-3 }
      model.prepareForTraining(training)
      // Brightness counts, and noise per pixel does not.
      let pixels = (0..<12 * data.shape(1).count).map { place -> UInt8 in
        let image = place / data.shape(1).count
        return UInt8(truncatingIfNeeded: place * 7919 % 101 + (image % 2) * 120)
      }
      let batch = Batch(
        number: 0, pixels: pixels, annotations: Annotations(labels: (0..<12).map { $0 % 2 }), count: 12,
        width: data.width, height: data.height,
        channels: data.channels)
      let before = model.validationLoss(batch)
      return model.train(on: batch, training) { metrics in
        metrics["accuracy"] == 1 && model.validationLoss(batch) < 0.2 * before
      }
    }
    #expect(steps != nil)
  }

  @Test func whatCannotBeClassifiedIsRefused() throws {
    for (classes, side, words) in [
      ([], 8, ["at least 2 classes, found 0"]), (["one"], 8, ["found 1"]), (["a", "b"], 3, ["4×4", "3×3"]),
    ] {
      let data = DataDescription(width: side, height: side, channels: 1, classNames: classes)
      expectUserError(.usage, words) {
        try onTensors { backend in
          _ = try ClassifierFamily.make(ClassifierSettings(), .float32(on: backend, data))
        }
      }
    }
    expectUserError(.usage, "features", "multiple of 8") { try Self.settings { $0.features = 20 }.validate() }
    expectUserError(.usage, "label-smoothing") { try Self.settings { $0.labelSmoothing = 1 }.validate() }
  }
}
