import EaselModels
import EaselTestSupport
import Foundation
import Testing

/// Diffusion models that work on the latents of another model.
@Suite struct LatentDiffusionTests {
  @Test("Every way to use it gives images of the data's size", arguments: Backends.available)
  func verbs(_ kind: BackendKind) throws {
    try onTensors(kind) { backend in
      let model = try latentDiffusion(on: backend).model
      let images = uniformImages([3, 8, 8, 1], on: backend)
      let all = try model.sample(0..<3, SamplingOptions()) { _ in }
      #expect(all.shape == [3, 8, 8, 1] && allFinite(all.values()))
      #expect(try model.sample(1..<3, SamplingOptions()) { _ in }.values() == Array(all.values()[64...]))
      var frames = 0
      _ = try model.sample(0..<1, SamplingOptions()) { _, _, picture in
        frames += picture.shape == [1, 8, 8, 1] ? 1 : 0
      } progress: { _ in
      }
      #expect(frames == 7)
      let codes = try #require(model.randomCodes(0..<2, seed: 1))
      #expect(codes.shape == [2, 4, 4, 1])
      #expect(model.decode(codes).shape == [2, 8, 8, 1])
      #expect(model.encode(images).shape == [3, 4, 4, 1])
      let damaged = Corruption(.gaussian, strength: 0.2)
      #expect(try model.restore(images, from: damaged, seed: 1) { _ in }.shape == images.shape)
      #expect(try model.translate(images, TranslationOptions(strength: 0.3)) { _ in }.shape == images.shape)
      expectUserError(.usage, "latents", "likelihood") {
        try model.likelihood(Batch(images.images()), importanceSamples: nil, seed: 0) { _ in }
      }
    }
  }

  @Test("Known pixels stay as they are, and a latent with a missing pixel is drawn anew")
  func inpainting() throws {
    try onTensors { backend in
      let (model, _) = try latentDiffusion(on: backend)
      let images = uniformImages([1, 8, 8, 1], on: backend)
      var missing = [Float](repeating: 0, count: 64)
      for place in [9, 10, 17, 18] { missing[place] = 1 }
      let mask = Tensor(missing, shape: [1, 8, 8, 1], on: backend)
      var resampling = RePaintResampling()
      (resampling.steps, resampling.rounds) = (10, 1)
      let made = try model.inpaint(images, missing: mask, resampling, seed: 1) { _ in }.values()
      for (place, (made, original)) in zip(made, images.values()).enumerated() {
        #expect((made == original) == (missing[place] == 0), "\(place)")
      }
    }
  }

  @Test("Training images are encoded once, and a training that is repeated has the same losses", arguments: [0, 0.5])
  func memory(_ augment: Float) throws {
    let (losses, calls) = try onTensors { backend -> ([[Float]], [Int]) in
      let settings = TrainingSettings { ($0.batchSize, $0.learningRate) = (4, 0) }
      let pixels = (0..<4 * 64).map { place -> UInt8 in
        let image = place / 64
        return UInt8((place * 7 + image * (place + 13)) % 256)
      }
      let batches = (0..<60).map { Batch(number: $0, pixels: pixels, count: 4, width: 8, height: 8, channels: 1) }
      let runs = try (0..<2).map { _ -> ([Float], Int) in
        let (model, space) = try latentDiffusion(on: backend) { $0.augment = augment }
        model.prepareForTraining(settings)
        let losses = batches.map {
          model.trainingStep($0, TrainingStep(index: $0.number, settings: settings))["loss"] ?? .nan
        }
        return (losses, space.encoded)
      }
      return (runs.map(\.0), runs.map(\.1))
    }
    #expect(losses[0] == losses[1] && allFinite(losses[0]))
    // Of a changed image there are sixteen versions.
    #expect(calls == (augment == 0 ? [4, 4] : [calls[0], calls[0]]))
    #expect(calls[0] <= 64 && (augment == 0 || calls[0] > 32), "\(calls)")
  }

  @Test("A held-out image that is a training image too is judged as it is, whatever was kept of it")
  func duplicates() throws {
    try onTensors { backend in
      let settings = TrainingSettings { ($0.batchSize, $0.learningRate) = (2, 0) }
      let batch = Batch(uniformImages([2, 8, 8, 1], on: backend).images())
      let (model, _) = try latentDiffusion(on: backend) { $0.augment = 1 }
      model.prepareForTraining(settings)
      let before = model.validationLoss(batch)
      for index in 0..<40 {
        #expect(model.trainingStep(batch, TrainingStep(index: index, settings: settings))["loss"]?.isFinite == true)
      }
      #expect(model.validationLoss(batch) == before)
      let (other, _) = try latentDiffusion(on: backend) { $0.augment = 1 }
      other.prepareForTraining(settings)
      for index in 0..<40 { _ = other.trainingStep(batch, TrainingStep(index: index, settings: settings)) }
      #expect(other.validationLoss(batch) == before)
    }
  }

  @Test("A network of latents is not made larger for large images")
  func sizes() throws {
    let preset = try #require(DiffusionFamily.presets.first)
    let large = DataDescription(width: 128, height: 128, channels: 3)
    #expect(!DiffusionFamily.settings(preset, for: large).isEmpty)
    var model = preset.model
    model.space = "means"
    let latent = Preset(preset.name, preset.summary, data: preset.data, training: preset.training, model: model)
    #expect(DiffusionFamily.settings(latent, for: large).isEmpty)
  }

  @Test("A space for images of another size, and one that is not there, are refused")
  func misfits() throws {
    try onTensors { backend in
      let settings = tinyDiffusion { $0.space = "means" }
      let large = DataDescription(width: 16, height: 8, channels: 1)
      let parts: [String: any Model] = ["space": Means(on: backend)]
      expectUserError(.usage, "space: means is for images of 8×8 with 1 channels, found 16×8") {
        try Diffusion(settings, ModelContext(backend: backend, type: .float32, seed: 1, data: large, parts: parts))
      }
      expectUserError(.usage, "space: expected the model means as a part, found none") {
        try Diffusion(settings, .float32(on: backend, .tiny))
      }
    }
  }

  @Test("Latents of abandoned work are not kept")
  func abandoned() throws {
    try onTensors { backend in
      let settings = TrainingSettings { ($0.batchSize, $0.learningRate) = (2, 0) }
      let batch = Batch(uniformImages([2, 8, 8, 1], on: backend).images())
      let (model, space) = try latentDiffusion(on: backend)
      model.prepareForTraining(settings)
      let step = TrainingStep(index: 0, settings: settings)
      #expect(model.guardedStep(batch, step, unless: { true }) == nil)
      let before = space.encoded
      let loss = model.trainingStep(batch, step)["loss"]
      #expect(space.encoded == before + 2)
      let (other, _) = try latentDiffusion(on: backend)
      other.prepareForTraining(settings)
      #expect(other.trainingStep(batch, step)["loss"] == loss)
    }
  }
}

// MARK: - Helpers

/// Latents that are the means of four pixels.
private final class Means: LatentCoding {
  let context: ModelContext
  let components: [Component] = []
  /// How many images were encoded.
  var encoded = 0

  init(on backend: any Backend) { context = .float32(on: backend, .tiny) }

  func trainingStep(_ batch: Batch, _ step: TrainingStep) -> EaselModels.Metrics { [:] }
  func validationLoss(_ batch: Batch) -> Float { 0 }
  func latentShape(_ count: Int) -> Shape { [count, 4, 4, 1] }

  func latents(of images: Tensor) -> Tensor {
    encoded += images.shape[0]
    return averagePool(Variable(context.backend.affine(images, scale: 3, shift: -1.5))).value
  }

  func images(ofLatents latents: Tensor) -> Tensor {
    upsampleNearest(Variable(context.backend.affine(latents, scale: 1 / 3, shift: 0.5))).value
  }
}

private func latentDiffusion(
  on backend: any Backend, _ change: (inout DiffusionSettings) -> Void = { _ in }
) throws -> (model: Diffusion, space: Means) {
  let space = Means(on: backend)
  let settings = tinyDiffusion {
    $0.space = "means"
    change(&$0)
  }
  let model = try Diffusion(
    settings,
    ModelContext(backend: backend, type: .float32, seed: 1, data: .tiny, parts: ["space": space]))
  model.components[0].perturb(by: 0.1)
  return (model, space)
}
