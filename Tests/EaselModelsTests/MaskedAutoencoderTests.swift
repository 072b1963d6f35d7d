import EaselModels
import EaselRunStorage
import EaselTestSupport
import Foundation
import Testing

/// Masked autoencoders: against PyTorch (Tests/Fixtures/make_masked_autoencoder.py), and their results with pictures.
@Suite struct MaskedAutoencoderTests {
  // MARK: PyTorch

  @Test(
    "Loss and gradients are PyTorch's", arguments: Backends.available,
    [("plain", "", false, false), ("norm-pix", "", true, false), ("rezero", "rezero.", false, true)])
  func golden(_ kind: BackendKind, _ c: (name: String, prefix: String, normPix: Bool, rezero: Bool)) throws {
    let file = try SafetensorsReader(path: fixture("masked-autoencoder.safetensors"))
    let found = try onTensors(kind) { backend in
      let model = try Self.fixtureModel(on: backend, file, prefix: c.prefix) {
        ($0.normPixLoss, $0.rezero) = (c.normPix, c.rezero)
      }
      let tape = Tape()
      let loss = try model.loss(of: Self.images(file, backend), Self.mask(file, backend), on: tape)
      tape.backward(from: loss)
      let parameters = model.components[0].arena.parameters
      return (loss: loss.value.item(), gradients: parameters.map { (name: $0.name, values: $0.gradient.values()) })
    }
    #expect(relativeError([found.loss], try file.floats("\(c.name).loss")) < 1e-5)
    let names = file.entries.keys.filter { $0.hasPrefix("\(c.name).gradient.") }
    #expect(found.gradients.count == names.count)
    let expected = try found.gradients.map { try file.floats("\(c.name).gradient.\($0.name)") }
    let whole = norm(expected.flatMap(\.self))
    for (gradient, expected) in zip(found.gradients, expected) {
      // The biases of keys, a part of those of qkv, have no gradient; the rest must be right.
      #expect(isSameGradient(gradient.values, expected, whole: whole), "\(gradient.name)")
    }
  }

  @Test("Ten steps of AdamW follow PyTorch's losses", arguments: Backends.available)
  func tenSteps(_ kind: BackendKind) throws {
    let file = try SafetensorsReader(path: fixture("masked-autoencoder.safetensors"))
    try expectCurve(file.floats("plain.losses"), on: kind) { backend, prepare in
      let model = try Self.fixtureModel(on: backend, file)
      let settings = TrainingSettings {
        $0.optimizer = .adamw
        ($0.learningRate, $0.beta2, $0.weightDecay, $0.decayVectors) = (1e-2, 0.95, 0.05, false)
      }
      model.prepareForTraining(settings)
      prepare(model.components.map(\.arena))
      let (images, mask) = (try Self.images(file, backend), try Self.mask(file, backend))
      let steps = (0..<10).map { index in
        let tape = Tape()
        let loss = model.loss(of: images, mask, on: tape)
        tape.backward(from: loss)
        TrainingStep(index: index, settings: settings).update(model.components[0], loss: 0)
        return loss.value.item()
      }
      return steps + [model.loss(of: images, mask, on: nil).value.item()]
    }
  }

  @Test("Features and predictions of masked patches are PyTorch's", arguments: Backends.available)
  func pictures(_ kind: BackendKind) throws {
    let file = try SafetensorsReader(path: fixture("masked-autoencoder.safetensors"))
    let seen = try Self.visible(file)
    let (features, found) = try onTensors(kind) { backend in
      let model = try Self.fixtureModel(on: backend, file)
      let images = try Self.images(file, backend)
      let flags = seen.flatMap { visible -> [Float] in
        (0..<8 * 12).map { place -> Float in
          let patch = Int32(place / 12 / 4 * 3 + place % 12 / 4)
          return visible.contains(patch) ? 0 : 1
        }
      }
      let missing = Tensor(flags, shape: [4, 8, 12, 1], on: backend)
      let completed = try model.inpaint(images, missing: missing, seed: 0) { _ in }
      return (model.features(images).values(), backend.patches(completed, size: 4).values())
    }
    #expect(relativeError(features, try file.floats("features")) < 1e-5)
    let prediction = try file.floats("prediction")
    let patches = try onTensors { backend in backend.patches(try Self.images(file, backend), size: 4).values() }
    let wrong = found.indices.count { place in
      let known = seen[place / (6 * 48)].contains(Int32(place / 48 % 6))
      if known { return found[place] != patches[place] }
      return abs(found[place] - max(0, min(1, prediction[place]))) > 1e-5
    }
    #expect(found.count == 4 * 6 * 48 && wrong == 0, "\(wrong) pixels")
    #expect(prediction.contains { $0 < 0 } && prediction.contains { $0 > 0 })
  }

  @Test("bfloat16 is near float32", .enabled(if: Backends.bfloat16 != .none))
  func bfloat16() throws {
    let file = try SafetensorsReader(path: fixture("masked-autoencoder.safetensors"))
    let (loss, norms) = try onTensors(.onednn) { backend in
      let model = try Self.fixtureModel(on: backend, file, type: .bfloat16)
      let tape = Tape()
      let loss = try model.loss(of: Self.images(file, backend), Self.mask(file, backend), on: tape)
      tape.backward(from: loss)
      return (loss.value.item(), model.components[0].arena.parameters.map { ($0.name, $0.gradient.values()) })
    }
    #expect(relativeError([loss], try file.floats("plain.loss")) < 1e-2)
    for (name, gradient) in norms {
      #expect(relativeError(gradient, try file.floats("plain.gradient.\(name)")) < 0.05, "\(name)")
    }
  }

  // MARK: Any data

  @Test(
    "Images of any size can be trained on and completed", arguments: Backends.available,
    [(28, 28, 1), (48, 32, 3), (64, 64, 3), (30, 21, 1), (5, 7, 3)])
  func anySize(_ kind: BackendKind, _ size: (width: Int, height: Int, channels: Int)) throws {
    let data = DataDescription(width: size.width, height: size.height, channels: size.channels)
    let result = try onTensors(kind) { backend in
      let model = try MaskedAutoencoder(tiny(), .float32(on: backend, data))
      model.prepareForTraining(TrainingSettings())
      let metrics = model.trainingStep(blobs(data, count: 3), TrainingStep(index: 0, settings: TrainingSettings()))
      let images = uniformImages(data.shape(2), on: backend)
      // The right half, except the first patch.
      let start = max(4, data.width / 2)
      let flags = (0..<2 * data.width * data.height).map { $0 % data.width >= start ? Float(1) : 0 }
      let missing = Tensor(flags, shape: [2, data.height, data.width, 1], on: backend)
      var shares: [Double] = []
      let completed = try model.inpaint(images, missing: missing, seed: 0) { shares.append($0) }
      return (
        metrics: metrics, shape: completed.shape, before: images.values(), after: completed.values(), flags: flags,
        shares: shares, features: model.features(images).shape
      )
    }
    #expect(result.metrics["loss"]?.isFinite == true && (result.metrics["gradient-norm"] ?? 0) > 0)
    #expect(result.shape == data.shape(2) && result.features == [2, 16])
    #expect(result.after.allSatisfy { (0...1).contains($0) })
    #expect(result.shares == [0.5, 1])
    let wrong = result.after.indices.count { place in
      (result.after[place] == result.before[place]) == (result.flags[place / data.channels] > 0)
    }
    #expect(wrong == 0, "\(wrong) pixels")
  }

  @Test("An image's completion and features depend only on its own known pixels")
  func independence() throws {
    let data = DataDescription(width: 8, height: 8, channels: 1)
    let found = try onTensors { backend in
      let model = try MaskedAutoencoder(tiny { $0.patch = 2 }, .float32(on: backend, data))
      model.components[0].perturb(by: 0.1)
      let images = uniformImages(data.shape(70), on: backend)
      // Holes of different size, one of a single pixel.
      let flags = (0..<70 * 64).map { $0 % 64 % (2 + $0 / 64) == 1 && $0 % 64 < 40 ? Float(1) : 0 }
      let missing = Tensor(flags, shape: [70, 8, 8, 1], on: backend)
      func complete(_ images: Tensor, _ range: Range<Int>) throws -> [Float] {
        try model.inpaint(images[range], missing: missing[range], seed: 0) { _ in }.values()
      }
      // The values of missing pixels are not used.
      let hidden = images.values().enumerated().map { flags[$0] > 0 ? Float(0.123) : $1 }
      let (all, features) = (try complete(images, 0..<70), model.features(images).values())
      return (
        all: all, part: try complete(images, 65..<70),
        hidden: try complete(Tensor(hidden, shape: images.shape, on: backend), 0..<70), features: features,
        partFeatures: model.features(images[0..<5]).values()
      )
    }
    #expect(found.part == Array(found.all[65 * 64..<70 * 64]))
    #expect(found.hidden == found.all)
    #expect(found.partFeatures == Array(found.features[..<(5 * 16)]))
    #expect(Set(found.features).count > 1000)
  }

  @Test("Every held-out image has its own mask, whatever the images beside it")
  func validation() throws {
    let data = DataDescription(width: 8, height: 8, channels: 1)
    let (alone, beside, other, again) = try onTensors { backend -> (Float, Float, Float, Float) in
      let model = try MaskedAutoencoder(tiny { $0.patch = 2 }, .float32(on: backend, data))
      model.components[0].perturb(by: 0.1)
      let pixels = blobs(data, count: 3).pixels
      func loss(_ images: [Int]) -> Float {
        let chosen = images.flatMap { Array(pixels[$0 * 64..<($0 + 1) * 64]) }
        return model.validationLoss(
          Batch(number: 3, pixels: chosen, count: images.count, width: 8, height: 8, channels: 1))
      }
      // The second image's loss together with one image and with another.
      return (loss([1]), 2 * loss([0, 1]) - loss([0]), 2 * loss([2, 1]) - loss([2]), loss([1]))
    }
    #expect(alone == again)
    #expect(abs(beside - other) < 1e-5)
    #expect(abs(beside - alone) > 1e-4, "the first and the second image have the same mask")
  }

  @Test("Pictures of a model of normalised patches take the averages of the visible patches")
  func denormalized() throws {
    let data = DataDescription(width: 8, height: 4, channels: 1)
    let (found, expected) = try onTensors { backend in
      let model = try MaskedAutoencoder(
        tiny {
          $0.masked = 0.5
          $0.normPixLoss = true
        }, .float32(on: backend, data))
      // A network that predicts one deviation above the mean everywhere.
      for parameter in model.components[0].arena.parameters where parameter.name.hasPrefix("decoder_pred") {
        parameter.value.withMutableFloats { $0.update(repeating: parameter.name.hasSuffix("bias") ? 1 : 0) }
      }
      model.components[0].arena.values.storage.markModified()
      let images = 0.5 * uniformImages(data.shape(1), on: backend)
      let flags = (0..<32).map { $0 % 8 < 4 ? Float(0) : 1 }
      let completed = try model.inpaint(images, missing: Tensor(flags, shape: [1, 4, 8, 1], on: backend), seed: 0) {
        _ in
      }
      let seen = images.values().enumerated().filter { flags[$0.offset] == 0 }.map(\.element)
      let mean = seen.reduce(0, +) / 16
      let deviation = (seen.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 15 + 1e-6).squareRoot()
      return (completed.values().enumerated().filter { flags[$0.offset] > 0 }.map(\.element), mean + deviation)
    }
    #expect(found.count == 16)
    #expect(found.allSatisfy { abs($0 - expected) < 1e-5 }, "\(found) for \(expected)")
  }

  // MARK: Mistakes and sizes

  @Test("With learned positions there are as many parameters as in Benchmarks/torch_peer.py")
  func parameterCount() throws {
    let counts = try onTensors { backend in
      try [false, true].map { learned in
        let data = DataDescription(width: 28, height: 28, channels: 1)
        let settings = MaskedAutoencoderSettings { $0.learnedPositions = learned }
        return try MaskedAutoencoder(settings, .float32(on: backend, data)).components[0].arena.count
      }
    }
    #expect(counts == [1_310_928 - 49 * (128 + 64), 1_310_928])
  }

  @Test("Masks that leave nothing visible, or nothing to fill in, are refused")
  func nothingToSee() throws {
    let data = DataDescription(width: 8, height: 8, channels: 1)
    for (masked, patch) in [(Float(0.9), 4), (0.1, 8)] {
      expectUserError(.usage, "masked") {
        try onTensors { backend in
          _ = try MaskedAutoencoder(
            tiny { ($0.masked, $0.patch) = (masked, patch) }, .float32(on: backend, data))
        }
      }
    }
    expectUserError(.usage, "norm-pix-loss") {
      try onTensors { backend in
        _ = try MaskedAutoencoder(
          tiny { ($0.normPixLoss, $0.patch) = (true, 1) }, .float32(on: backend, data))
      }
    }
    expectUserError(.usage, "every patch of 4×4") {
      try onTensors { backend in
        let model = try MaskedAutoencoder(tiny(), .float32(on: backend, data))
        // One pixel of every patch.
        let flags = (0..<64).map { $0 % 4 == 3 && $0 / 8 % 4 == 0 ? Float(1) : 0 }
        let images = uniformImages(data.shape(1), on: backend)
        _ = try model.inpaint(images, missing: Tensor(flags, shape: [1, 8, 8, 1], on: backend), seed: 0) { _ in }
      }
    }
  }

  // MARK: Helpers

  /// The fixture's network.
  private static func fixtureModel(
    on backend: any Backend, _ file: SafetensorsReader, prefix: String = "", type: ScalarType = .float32,
    _ change: (inout MaskedAutoencoderSettings) -> Void = { _ in }
  ) throws -> MaskedAutoencoder {
    let data = DataDescription(width: 12, height: 8, channels: 3)
    let model = try MaskedAutoencoder(
      tiny {
        $0.masked = 0.5
        change(&$0)
      }, ModelContext(backend: backend, type: type, seed: 1, data: data))
    let arena = model.components[0].arena
    try arena.load(arena.values, from: file, prefix: prefix)
    return model
  }

  private static func images(_ file: SafetensorsReader, _ backend: any Backend) throws -> Tensor {
    Tensor(try file.floats("images"), shape: [4, 8, 12, 3], on: backend)
  }

  private static func visible(_ file: SafetensorsReader) throws -> [[Int32]] {
    let numbers = try file.withBytes("visible") { bytes in
      stride(from: 0, to: bytes.count, by: 8).map { Int32(bytes.loadUnaligned(fromByteOffset: $0, as: Int64.self)) }
    }
    return (0..<4).map { Array(numbers[$0 * 3..<($0 + 1) * 3]) }
  }

  private static func mask(_ file: SafetensorsReader, _ backend: any Backend) throws -> PatchMask {
    PatchMask(visible: try visible(file), of: 6, on: backend)
  }
}

/// The fixture's sizes.
private func tiny(_ change: (inout MaskedAutoencoderSettings) -> Void = { _ in }) -> MaskedAutoencoderSettings {
  MaskedAutoencoderSettings {
    ($0.width, $0.depth, $0.heads) = (16, 2, 2)
    ($0.decoderWidth, $0.decoderDepth, $0.decoderHeads, $0.mlpRatio) = (8, 1, 2, 2)
    change(&$0)
  }
}
