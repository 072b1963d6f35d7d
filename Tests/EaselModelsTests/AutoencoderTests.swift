import EaselModels
import EaselRunStorage
import EaselSupport
import EaselTestSupport
import Foundation
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
    let expected = try found.norms.map { try file.floats("gradient-norm." + TorchName.of($0.name).full) }
    let whole = norm(expected.flatMap(\.self))
    for (gradient, expected) in zip(found.norms, expected) {
      #expect(isSameGradient([gradient.norm], expected, whole: whole), "\(gradient.name)")
    }
  }

  @Test(
    "Images of any size keep their shape", arguments: Backends.available,
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

  @Test("An autoencoder has codes, but does not draw new images")
  func capabilities() throws {
    let codes = try onTensors {
      try Autoencoder(AutoencoderSettings(), .float32(on: $0, .tiny)).randomCodes(0..<1, seed: 0)
    }
    #expect(codes == nil)
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
    let found = try onTensors { backend in
      let model = try Self.trained(on: batch, tied: tied, backend)
      let parameters = model.components[0].arena.parameters
      let weight = try #require(parameters.first { $0.name == (tied ? "encoder.weight" : "decoder.weight") }).value
      // As [pixels, codes].
      let decoder = tied ? permuted(weight.values(), weight.shape.sizes, order: [1, 0]) : weight.values()
      // By LAPACK, the components are the first right singular vectors of the centred images.
      let svd = LinearAlgebra.singularValues(of: Self.centred(batch), rows: Self.count, columns: columns)
      return (
        names: parameters.map(\.name), loss: Double(model.validationLoss(batch)), singularValues: svd.s,
        sine: Self.sineOfLargestAngle(decoder: decoder, components: svd.vt)
      )
    }
    let left = norm(Array(found.singularValues.dropFirst(Self.latent)))
    let optimum = left * left / Double(Self.count * columns)
    #expect(found.names.contains("decoder.weight") == !tied)
    #expect(found.loss > 0.999 * optimum)
    #expect(found.loss < 1.01 * optimum)
    #expect(found.sine < 0.01)
  }

  private static func trained(on batch: Batch, tied: Bool, _ backend: any Backend) throws -> Autoencoder {
    let settings = autoencoder {
      $0.architecture = .linear
      $0.latent = latent
      $0.tied = tied
    }
    let training = TrainingSettings {
      $0.learningRate = 0.02
      $0.learningRateDecay = .cosine
      $0.steps = 1500
    }
    let model = try Autoencoder(settings, .float32(on: backend, data))
    model.prepareForTraining(training)
    for index in 0..<training.steps {
      _ = model.trainingStep(batch, TrainingStep(index: index, settings: training))
    }
    return model
  }

  /// How far the decoder's columns `[pixels, codes]` deviate from the first components, rows of `[_, pixels]`: the part
  /// of an orthonormal basis of the columns outside the components.
  private static func sineOfLargestAngle(decoder: [Float], components: [Float]) -> Float {
    let pixels = data.shape(1).count
    let basis = LinearAlgebra.singularValues(of: decoder, rows: pixels, columns: latent).u
    var outside = basis
    for component in 0..<latent {
      let direction = Array(components[component * pixels..<(component + 1) * pixels])
      for code in 0..<latent {
        let fraction = (0..<pixels).reduce(Float(0)) { $0 + direction[$1] * basis[$1 * latent + code] }
        for pixel in 0..<pixels { outside[pixel * latent + code] -= fraction * direction[pixel] }
      }
    }
    return LinearAlgebra.singularValues(of: outside, rows: pixels, columns: latent).s[0]
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
    let deviations = (0..<columns).map { $0 < 3 ? [100, 80, 60][$0] : 30 - 1.5 * Float($0) }
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
      number: 0, pixels: pixels, count: count, width: data.width, height: data.height, channels: 1)
  }

  /// The pictures as rows with values 0 to 1, minus their mean.
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
  /// The fixture's weights. PyTorch flattens `[C, H, W]`, Easel `[H, W, C]`, so the layers at the code are permuted.
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
