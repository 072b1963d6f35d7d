import Foundation
import Models
import RunStorage
import Testing

/// The convolutional autoencoder against PyTorch's (Tests/Fixtures/make_fixtures.py).
@Suite struct AutoencoderTests {
  @Test("Output, loss and gradients are PyTorch's", arguments: Backends.available)
  func golden(_ kind: BackendKind) throws {
    let file = try SafetensorsReader(path: fixture("autoencoder.safetensors"))
    let found = try onTensors(kind) { backend in
      let settings = autoencoder { $0.baseChannels = 8 }
      let data = DataDescription(width: 28, height: 28, channels: 1)
      let model = try Autoencoder(settings, .float32(on: backend, data))
      let arena = model.components[0].arena
      try arena.load(fromTorch: file)

      let input = try file.images("input")
      let images = Tensor(input.values, shape: input.shape, on: backend)
      let tape = Tape()
      let loss = model.reconstructionLoss(of: images, on: tape)
      tape.backward(from: loss)
      let norms = arena.parameters.map { (name: $0.name, norm: Float(norm($0.gradient.values()))) }
      return (output: model.decode(model.encode(images)).values(), loss: loss.value.item(), norms: norms)
    }
    #expect(relativeError(found.output, try file.images("output").values) < 1e-4)
    #expect(relativeError([found.loss], try file.floats("loss")) < 1e-4)
    #expect(found.norms.count == TorchName.all.count * 2)
    for (name, norm) in found.norms {
      let expected = try file.floats("gradient-norm." + TorchName.of(name).full)[0]
      // With groups of one channel, the norm takes a convolution's bias away again.
      #expect(abs(norm - expected) < 1e-3 * max(expected, 1e-5), "\(name): \(norm), expected \(expected)")
    }
  }

  @Test(
    "Any size comes back in its own shape", arguments: Backends.available,
    [(64, 64, 3), (30, 21, 1), (5, 7, 3), (1, 1, 1)])
  func anySize(_ kind: BackendKind, _ size: (width: Int, height: Int, channels: Int)) throws {
    let data = DataDescription(width: size.width, height: size.height, channels: size.channels)
    let result = try onTensors(kind) { backend in
      let settings = autoencoder { $0.baseChannels = 8 }
      let model = try Autoencoder(settings, .float32(on: backend, data))
      model.prepareForTraining(TrainingSettings())
      let images = uniformImages(data.shape(2), on: backend)
      let codes = model.encode(images)
      let back = model.decode(codes)
      let metrics = model.trainingStep(blobs(data, count: 2), TrainingStep(index: 0, settings: TrainingSettings()))
      return (codes: codes.shape, back: back.shape, values: back.values(), metrics: metrics)
    }
    #expect(result.codes == [2, 32])
    #expect(result.back == data.shape(2))
    #expect(allFinite(result.values))
    #expect(result.metrics["loss"]?.isFinite == true)
    #expect((result.metrics["gradient-norm"] ?? 0) > 0)
  }

  @Test("An autoencoder has codes, and draws nothing out of nowhere")
  func capabilities() throws {
    let (capabilities, hasCodes) = try onTensors { backend in
      let model = try Autoencoder(AutoencoderSettings(), .float32(on: backend, .tiny))
      return (model.capabilities, model.randomCodes(0..<1, seed: 0) != nil)
    }
    #expect(capabilities == ["reconstruct", "interpolate"])
    #expect(!hasCodes)
  }
}

/// A linear autoencoder finds the principal components (Bourlard and Kamp 1988; Baldi and Hornik 1989).
@Suite struct LinearAutoencoderTests {
  static let count = 400
  static let data = DataDescription(width: 4, height: 4, channels: 1)
  static let latent = 3

  @Test("Trained to the end, a linear autoencoder is principal component analysis", arguments: [false, true])
  func principalComponents(tied: Bool) throws {
    let batch = try Self.spectrum()
    let columns = Self.data.shape(1).count
    let (decoder, loss) = try onTensors { backend -> ([Float], Float) in
      let settings = autoencoder {
        $0.architecture = .linear
        $0.latent = Self.latent
        $0.tied = tied
      }
      let model = try Autoencoder(settings, .float32(on: backend, Self.data))
      let training = TrainingSettings {
        $0.learningRate = 0.02
        $0.learningRateDecay = .cosine
        $0.scheduleSteps = 1500
      }
      model.prepareForTraining(training)
      for index in 0..<training.scheduleSteps {
        _ = model.trainingStep(batch, TrainingStep(index: index, settings: training))
      }
      let parameters = model.components[0].arena.parameters
      #expect(parameters.count == (tied ? 3 : 4))
      let name = tied ? "encoder.weight" : "decoder.weight"
      let weight = try #require(parameters.first { $0.name == name }).value
      // As [pixels, codes].
      let values =
        tied ? permuted(weight.values(), weight.shape.sizes, order: [1, 0]) : weight.values()
      return (values, model.validationLoss(batch))
    }

    // What LAPACK says: the first right singular vectors of the centred images.
    let svd = LinearAlgebra.singularValues(of: Self.centred(batch), rows: Self.count, columns: columns)
    let left = svd.s.dropFirst(Self.latent).reduce(0.0) { $0 + Double($1) * Double($1) }
    let optimum = left / Double(Self.count * columns)
    #expect(Double(loss) > 0.999 * optimum)
    #expect(Double(loss) < 1.01 * optimum)

    // The sine of the largest angle: what is left of an orthonormal basis of the decoder's columns outside of the components.
    let basis = LinearAlgebra.singularValues(of: decoder, rows: columns, columns: Self.latent).u
    var outside = basis
    for component in 0..<Self.latent {
      let direction = svd.vt[component * columns..<(component + 1) * columns].map { $0 }
      for code in 0..<Self.latent {
        let share = (0..<columns).reduce(Float(0)) { $0 + direction[$1] * basis[$1 * Self.latent + code] }
        for pixel in 0..<columns { outside[pixel * Self.latent + code] -= share * direction[pixel] }
      }
    }
    let sine = LinearAlgebra.singularValues(of: outside, rows: columns, columns: Self.latent).s[0]
    #expect(sine < 0.01)
  }

  /// 400 pictures with singular values that fall in clear steps.
  private static func spectrum() throws -> Batch {
    let columns = data.shape(1).count
    let (coefficients, directions) = try onTensors { backend -> ([Float], [Float]) in
      let square = normalValues([columns, columns], seed: 1, on: backend).values()
      return (
        normalValues([count, columns], seed: 2, on: backend).values(),
        LinearAlgebra.singularValues(of: square, rows: columns, columns: columns).vt
      )
    }
    let deviations = (0..<columns).map { $0 < 3 ? [110, 80, 55][$0] : 15 / Float($0 - 1) }
    var pixels: [UInt8] = []
    for image in 0..<count {
      for pixel in 0..<columns {
        let level = (0..<columns).reduce(Float(120)) { sum, k in
          sum + deviations[k] * coefficients[image * columns + k] * directions[k * columns + pixel]
        }
        pixels.append(UInt8(max(0, min(255, level))))
      }
    }
    return Batch(
      step: 0, pixels: pixels, labels: nil, count: count, width: data.width, height: data.height, channels: 1)
  }

  /// The pictures as rows with values 0 to 1, less their mean.
  private static func centred(_ batch: Batch) -> [Float] {
    let columns = batch.pixels.count / batch.count
    var means = [Double](repeating: 0, count: columns)
    for (place, level) in batch.pixels.enumerated() { means[place % columns] += Double(level) / Double(batch.count) }
    return batch.pixels.enumerated().map { Float((Double($1) - means[$0 % columns]) / 255) }
  }
}

// MARK: - Helpers

private func autoencoder(_ change: (inout AutoencoderSettings) -> Void) -> AutoencoderSettings {
  var settings = AutoencoderSettings()
  change(&settings)
  return settings
}

/// A parameter's name in the fixture.
private struct TorchName {
  static let all = [
    "encoder.stages.0.conv": "e.net.0", "encoder.stages.0.norm": "e.net.1", "encoder.stages.1.conv": "e.net.3",
    "encoder.stages.1.norm": "e.net.4", "encoder.stages.2.conv": "e.net.6", "encoder.stages.2.norm": "e.net.7",
    "encoder.output": "e.net.10", "decoder.input": "d.fc", "decoder.stages.0.norm": "d.net.0",
    "decoder.stages.0.conv": "d.net.3", "decoder.stages.1.norm": "d.net.4", "decoder.stages.1.conv": "d.net.7",
    "decoder.stages.2.norm": "d.net.8", "decoder.stages.2.conv": "d.net.10",
  ]

  let layer: String
  /// `weight` or `bias`.
  let kind: String

  static func of(_ name: String) -> TorchName {
    let dot = name.lastIndex(of: ".") ?? name.startIndex
    return TorchName(layer: String(name[..<dot]), kind: String(name[name.index(after: dot)...]))
  }

  var full: String { "\(Self.all[layer] ?? "no layer \(layer)").\(kind)" }
}

extension Arena {
  /// The fixture's weights. PyTorch flattens `[C, H, W]`, Easel `[H, W, C]`: the layers beside the code are permuted.
  fileprivate func load(fromTorch file: SafetensorsReader) throws {
    for parameter in parameters {
      let name = TorchName.of(parameter.name)
      let shape = file.entries[name.full]?.shape ?? []
      guard shape == parameter.shape.sizes else {
        throw UserError(.badData, "\(parameter.name) is \(parameter.shape), \(name.full) is \(shape)")
      }
      var values = try file.floats(name.full)
      let flattened = [32, 7, 7]
      switch (name.layer, name.kind) {
      case ("encoder.output", "weight"): values = permuted(values, [32] + flattened, order: [0, 2, 3, 1])
      case ("decoder.input", "weight"): values = permuted(values, flattened + [32], order: [1, 2, 0, 3])
      case ("decoder.input", "bias"): values = permuted(values, flattened, order: [1, 2, 0])
      default: break
      }
      parameter.value.withMutableFloats { _ = $0.update(fromContentsOf: values) }
    }
    values.storage.markModified()
  }
}
