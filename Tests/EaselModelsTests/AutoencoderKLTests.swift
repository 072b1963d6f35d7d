import EaselModels
import EaselRunStorage
import EaselSupport
import EaselTestSupport
import Foundation
import Testing

/// The networks against diffusers' `AutoencoderKL` and `VQModel` (Tests/Fixtures/make_autoencoder_kl.py).
@Suite struct AutoencoderKLFixtureTests {
  @Test("Moments, images and gradients are diffusers'", arguments: ["kl", "kl-bare"], Backends.available)
  func normalDistributions(_ name: String, _ kind: BackendKind) throws {
    try expectGolden(name, kind, values: ["mean", "log-variance", "output"]) { loaded, x in
      let (mean, logVariance) = loaded.network.moments(loaded.network.encode(x))
      let latents = mean + activate(.exp, 0.5 * logVariance) * Variable(try loaded.tensor("noise"), on: x.tape)
      let output = loaded.network.decode(latents, size: (x.shape[1], x.shape[2]))
      let divergence = activate(.square, mean) + activate(.exp, logVariance) - logVariance
      let samples = x.shape[0]
      let weights = Tensor(repeating: 0.005 / Float(samples), shape: [samples], on: x.backend)
      let cost = affine(
        weightedSum(sumSamples(divergence), weights: weights), scale: 1,
        shift: -0.005 * Float(mean.value.count / samples))
      return (
        [mean.value, logVariance.value, output.value],
        elementwiseLoss(.squaredError, output, try loaded.tensor("target")) + cost
      )
    }
  }

  @Test("Vectors, images and gradients are diffusers', those of the codebook too", arguments: Backends.available)
  func codebook(_ kind: BackendKind) throws {
    try expectGolden("vq", kind, values: ["latents", "output"]) { loaded, x in
      let quantizer = try #require(loaded.network.quantizer)
      let latents = loaded.network.encode(x)
      let result = quantizer(latents, commitment: 0.25)
      #expect(result.indices == (try loaded.file.integers("vq.indices").map { Int($0) }))
      #expect(quantizer.quantize(latents.value).values() == result.quantized.value.values())
      let output = loaded.network.decode(result.quantized, size: (x.shape[1], x.shape[2]))
      return (
        [latents.value, output.value],
        elementwiseLoss(.squaredError, output, try loaded.tensor("target")) + result.loss
      )
    }
  }

  /// Compares values, the loss and the gradients of a case with the fixture's.
  private func expectGolden(
    _ name: String, _ kind: BackendKind, values: [String],
    forward: @escaping @Sendable (LoadedAutoencoder, Variable) throws -> (values: [Tensor], loss: Variable)
  ) throws {
    let file = try SafetensorsReader(path: fixture("autoencoder-kl.safetensors"))
    let found = try onTensors(kind) { backend in
      let loaded = try LoadedAutoencoder(name, file, on: backend)
      let tape = Tape()
      let x = tape.variable(try loaded.tensor("x"))
      let result = try forward(loaded, x)
      tape.backward(from: result.loss)
      return (
        values: result.values.map { $0.values() }, loss: result.loss.value.item(),
        input: tape.gradient(of: x)?.values() ?? [],
        gradients: loaded.arena.parameters.map { (name: $0.name, values: $0.gradient.values()) }
      )
    }
    for (found, value) in zip(found.values, values) {
      #expect(relativeError(found, try file.images("\(name).\(value)").values) < 1e-4, "\(value)")
    }
    #expect(relativeError([found.loss], try file.floats("\(name).loss")) < 1e-4)
    #expect(relativeError(found.input, try file.images("\(name).gradient.x").values) < 1e-3)
    // Every parameter of diffusers', and no other.
    let weights = file.names.filter { $0.hasPrefix("\(name).weight.") }
    #expect(Set(weights) == Set(found.gradients.map { "\(name).weight.\($0.name)" }))
    let norms = try found.gradients.map { try file.floats("\(name).gradient-norm.\($0.name)") }
    let whole = norm(norms.flatMap(\.self))
    var complete = 0
    for (gradient, expected) in zip(found.gradients, norms) {
      let length = Float(norm(gradient.values))
      #expect(isSameGradient([length], expected, whole: whole), "\(gradient.name)")
      let key = "\(name).gradient.\(gradient.name)"
      guard file.entries[key] != nil else { continue }
      complete += 1
      #expect(isSameGradient(gradient.values, try file.floats(key), whole: whole), "\(gradient.name)")
    }
    #expect(complete > 3)
  }

  @Test("The model's terms are diffusers'", arguments: ["kl", "vq"], Backends.available)
  func terms(_ name: String, _ kind: BackendKind) throws {
    let file = try SafetensorsReader(path: fixture("autoencoder-kl.safetensors"))
    let input = try file.images("\(name).x")
    let isQuantized = name == "vq"
    let found = try onTensors(kind) { backend in
      try [AutoencoderKLSettings.Reconstruction.l1, .l2].map { error in
        let settings = AutoencoderKLSettings {
          ($0.kind, $0.channels, $0.groups) = isQuantized ? (.vq, [4, 8], 2) : (.kl, [8, 16], 4)
          ($0.layersPerBlock, $0.codes, $0.reconstruction, $0.klWeight) = (isQuantized ? 2 : 1, 16, error, 3)
        }
        let data = DataDescription(width: input.shape[2], height: input.shape[1], channels: 3)
        let model = try AutoencoderKL(settings, .float32(on: backend, data))
        try model.components[0].arena.load(
          model.components[0].arena.values, from: file, prefix: "\(name).weight.")
        var noise: Tensor?
        if !isQuantized {
          let values = try file.images("\(name).noise")
          noise = Tensor(values.values, shape: values.shape, on: backend)
        }
        let images = Tensor(input.values, shape: input.shape, on: backend)
        let result = model.loss(images, noise: noise, on: nil)
        return (loss: result.loss.value.item(), metrics: result.metrics)
      }
    }
    for (found, error) in zip(found, ["l1", "l2"]) {
      let expected = try file.floats("\(name).\(error)")
      let term = isQuantized ? "quantization" : "divergence"
      let cost = try file.floats("\(name).\(term)")
      #expect(relativeError([found.metrics["reconstruction"] ?? .nan], expected) < 1e-4)
      #expect(relativeError([found.metrics[isQuantized ? "quantization" : "kl"] ?? .nan], cost) < 1e-4)
      // The divergence is divided by the numbers in an image, as the error is.
      let weight = isQuantized ? 1 : 3 / Float(12 * 8 * 3)
      #expect(relativeError([found.loss], [expected[0] + weight * cost[0]]) < 1e-4)
    }
  }
}

@Suite struct AutoencoderKLTests {
  private static func settings(_ change: (inout AutoencoderKLSettings) -> Void = { _ in }) -> AutoencoderKLSettings {
    AutoencoderKLSettings {
      ($0.channels, $0.groups, $0.latentChannels, $0.codes) = ([8, 16], 4, 2, 8)
      ($0.discriminatorWidth, $0.discriminatorLayers) = (4, 1)
      change(&$0)
    }
  }

  /// A frozen classifier that was never trained, for the perceptual loss.
  private static func classifier(_ data: DataDescription, on backend: any Backend) throws -> Classifier {
    var data = data
    data.classNames = ["a", "b"]
    let model = try Classifier(
      ClassifierSettings { ($0.baseChannels, $0.features) = (8, 8) }, .float32(on: backend, data, seed: 3))
    model.components[0].perturb(by: 0.1)
    model.freeze()
    return model
  }

  private static func model(
    _ settings: AutoencoderKLSettings, _ data: DataDescription = .tiny, perceptual: Bool = false,
    perturbed deviation: Float = 0.1, on backend: any Backend
  ) throws -> AutoencoderKL {
    let parts = perceptual ? ["perceptual": try classifier(data, on: backend)] : [:]
    let model = try AutoencoderKL(
      settings, ModelContext(backend: backend, type: .float32, seed: 1, data: data, parts: parts))
    model.components[0].perturb(by: deviation)
    return model
  }

  @Test(
    "The whole loss has the gradients of finite differences", arguments: Backends.available,
    [AutoencoderKLSettings.Kind.kl, .vq])
  func finiteDifferences(_ kind: BackendKind, _ latents: AutoencoderKLSettings.Kind) throws {
    let pairs = try onTensors(kind) { backend -> [(name: String, found: Double, expected: Double)] in
      let model = try Self.model(
        Self.settings { ($0.kind, $0.reconstruction, $0.klWeight, $0.perceptual) = (latents, .l2, 5, "classifier") },
        perceptual: true, on: backend)
      let arena = model.components[0].arena
      let images = backend.affine(uniformImages(DataDescription.tiny.shape(2), on: backend), scale: 2, shift: -1)
      let noise = normalValues(model.latentShape(2), seed: 7, on: backend)
      let tape = Tape()
      tape.backward(from: model.loss(images, noise: noise, on: tape).loss)
      // Straight-through gradients of what precedes a codebook are no derivatives.
      let names = arena.parameters.map(\.name).filter { latents == .kl || $0.hasPrefix("decoder") }
      return ["weight", "bias"].flatMap { suffix in
        names.filter { $0.hasSuffix(suffix) }.enumerated().filter { $0.offset.isMultiple(of: 7) }.map(\.element)
      }.compactMap { name in
        guard let parameter = arena.parameters.first(where: { $0.name == name }) else { return nil }
        // Along the gradient itself, the derivative is the gradient's length.
        let gradient = parameter.gradient.values()
        let length = norm(gradient)
        if length < 1e-4 { return nil }
        let step = 2e-3
        func loss(_ distance: Double) -> Double {
          let before = parameter.value.values()
          parameter.value.withMutableFloats { values in
            for place in values.indices { values[place] += Float(distance / length) * gradient[place] }
          }
          arena.values.storage.markModified()
          let value = Double(model.loss(images, noise: noise, on: nil).loss.value.item())
          parameter.value.withMutableFloats { _ = $0.update(fromContentsOf: before) }
          arena.values.storage.markModified()
          return value
        }
        return (name, length, (loss(step) - loss(-step)) / (2 * step))
      }
    }
    #expect(pairs.count > 5)
    for (name, found, expected) in pairs {
      #expect(abs(found - expected) < 0.02 * abs(expected) + 2e-4, "\(name): \(found) for \(expected)")
    }
  }

  @Test("The perceptual model is not changed and gets no gradients, but changes what is learned")
  func perceptual() throws {
    let (before, after, gradients, losses) = try onTensors { backend in
      var losses: [Float] = []
      var values: [[Float]] = []
      var gradients: [Float] = []
      for weight: Float in [0, 2] {
        let model = try Self.model(
          Self.settings { ($0.perceptual, $0.perceptualWeight) = ("classifier", weight) }, perceptual: true,
          on: backend)
        let part = try #require(model.context.parts["perceptual"]).components[0].arena
        values.append(part.values.values())
        model.prepareForTraining(TrainingSettings())
        let metrics = model.trainingStep(blobs(count: 4), TrainingStep(index: 0, settings: TrainingSettings()))
        values.append(part.values.values())
        gradients += part.gradients.values()
        #expect((metrics["perceptual"] ?? 0) > 0)
        losses.append((metrics["loss"] ?? .nan) - weight * (metrics["perceptual"] ?? .nan))
      }
      return (values[0], values[3], gradients, losses)
    }
    #expect(before == after && gradients.allSatisfy { $0 == 0 })
    #expect(abs(losses[0] - losses[1]) < 1e-5)
  }

  @Test("Images with other channels than the perceptual model's, or too few pixels, are refused")
  func perceptualRefusals() throws {
    try onTensors { backend in
      let part = try Self.classifier(.tiny, on: backend)
      for (data, text) in [
        (DataDescription(width: 8, height: 8, channels: 3), "with 1 channels"),
        (DataDescription(width: 8, height: 3, channels: 1), "found 8×3"),
      ] {
        expectUserError(.usage, text) {
          try AutoencoderKL(
            Self.settings(),
            ModelContext(backend: backend, type: .float32, seed: 1, data: data, parts: ["perceptual": part]))
        }
      }
      expectUserError(.usage, "6×6", "5×8") {
        try AutoencoderKL(
          Self.settings { $0.adversarialWeight = 1 },
          .float32(on: backend, DataDescription(width: 5, height: 8, channels: 1)))
      }
    }
  }

  @Test("The discriminator begins to learn and to judge after its share of the training")
  func adversarialStart() throws {
    let steps = try onTensors { backend in
      let model = try Self.model(
        Self.settings { ($0.adversarialWeight, $0.adversarialStart) = (0.5, 0.5) }, on: backend)
      let settings = TrainingSettings { ($0.steps, $0.batchSize, $0.learningRate) = (4, 4, 1e-3) }
      model.prepareForTraining(settings)
      #expect(model.components.map(\.role) == [.trained, .trainingOnly])
      return (0..<4).map { index in
        let before = model.components.map { $0.arena.values.values() }
        let metrics = model.trainingStep(blobs(count: 4), TrainingStep(index: index, settings: settings))
        return (metrics: metrics, changed: zip(model.components, before).map { $0.arena.values.values() != $1 })
      }
    }
    #expect(steps.map(\.changed) == [[true, false], [true, false], [true, true], [true, true]])
    for (index, step) in steps.enumerated() {
      #expect((step.metrics["discriminator"] != nil) == (index >= 2))
      #expect((step.metrics["generator"] != nil) == (index >= 2))
      let reconstruction = step.metrics["reconstruction"] ?? .nan
      let judged = 0.5 * (step.metrics["generator"] ?? 0)
      #expect(abs((step.metrics["loss"] ?? .nan) - reconstruction - judged) < 1e-4)
    }
    // The hinge loss of a discriminator that knows nothing.
    #expect(abs((steps[2].metrics["discriminator"] ?? .nan) - 2) < 0.5)
  }

  @Test("Latents have a deviation of about 1, in the trained and the averaged network")
  func scale() throws {
    let (factors, deviations) = try onTensors { backend in
      let model = try Self.model(Self.settings(), on: backend)
      let settings = TrainingSettings {
        // So slow that the latents stay as they are.
        ($0.batchSize, $0.learningRate, $0.emaDecay, $0.accumulate) = (16, 1e-6, 0.9, 3)
      }
      model.prepareForTraining(settings)
      var factors: [Float] = []
      for index in 0..<5 {
        let metrics = model.trainingStep(blobs(count: 16), TrainingStep(index: index, settings: settings))
        #expect(metrics["latent-mean"] == nil)
        factors.append(metrics["scaling-factor"] ?? .nan)
      }
      let images = blobs(count: 16).tensor(on: backend)
      func deviation(_ latents: Tensor) -> Double {
        let values = latents.values().map(Double.init)
        let mean = values.reduce(0, +) / Double(values.count)
        return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)).squareRoot()
      }
      let arena = model.components[0].arena
      let scale = try #require(arena.buffers.first { $0.name == "scaling_factor" })
      #expect(scale.value.values() == [factors[4]])
      #expect(arena.withAverage { scale.value.values() } == [factors[4]])
      return (
        factors, [deviation(model.latents(of: images)), arena.withAverage { deviation(model.latents(of: images)) }]
      )
    }
    #expect(factors[0] != 1 && allFinite(factors))
    for deviation in deviations { #expect(abs(deviation - 1) < 0.01, "\(deviations)") }
  }

  @Test(
    "Images of any size have latents that do not depend on the batch, and come back in their size",
    arguments: Backends.available, [AutoencoderKLSettings.Kind.kl, .vq])
  func codes(_ kind: BackendKind, _ latents: AutoencoderKLSettings.Kind) throws {
    for (width, height, channels) in [(8, 8, 1), (7, 10, 3), (1, 1, 1)] {
      let data = DataDescription(width: width, height: height, channels: channels)
      try onTensors(kind) { backend in
        let model = try Self.model(Self.settings { ($0.kind, $0.channels) = (latents, [8, 8, 16]) }, data, on: backend)
        let images = uniformImages(data.shape(21), on: backend)
        let codes = model.latents(of: images)
        #expect(codes.shape == model.latentShape(21))
        #expect(codes.shape == [21, (height + 3) / 4, (width + 3) / 4, 2])
        #expect(model.latents(of: images[18..<20]).values() == codes[18..<20].values())
        let made = model.images(ofLatents: codes)
        #expect(made.shape == data.shape(21) && allFinite(made.values()))
        #expect(model.images(ofLatents: codes[18..<20]).values() == made[18..<20].values())
        #expect(model.decode(model.encode(images)).values() == made.values())
        if latents == .vq {
          // Decoding quantises: latents that are a little off decode to the same images, nearly all of them.
          let nudged = backend.affine(codes, scale: 1 + 1e-6, shift: 0)
          #expect(largestDifference(model.images(ofLatents: nudged).values(), made.values()) < 1e-3)
        }
      }
    }
  }

  @Test("A few pictures are learned", arguments: [AutoencoderKLSettings.Kind.kl, .vq])
  func learns(_ latents: AutoencoderKLSettings.Kind) throws {
    let steps = try onTensors { backend in
      let model = try Self.model(
        Self.settings { ($0.kind, $0.latentChannels) = (latents, 3) }, perturbed: 0, on: backend)
      let settings = TrainingSettings { ($0.batchSize, $0.learningRate) = (8, 3e-3) }
      model.prepareForTraining(settings)
      return model.train(on: blobs(count: 8), settings, atMost: 600) { ($0["psnr"] ?? 0) > 25 }
    }
    #expect(steps != nil)
  }
}

/// One of the fixture's networks with its weights.
private struct LoadedAutoencoder {
  let network: AutoencoderKLNetwork
  let arena: Arena
  let file: SafetensorsReader
  private let name: String
  private let backend: any Backend

  init(_ name: String, _ file: SafetensorsReader, on backend: any Backend) throws {
    (self.name, self.file, self.backend) = (name, file, backend)
    let scope = Scope()
    network = AutoencoderKLNetwork(try #require(Self.configurations[name]), scope)
    arena = scope.makeArena(on: backend, seed: 1)
    try arena.load(arena.values, from: file, prefix: "\(name).weight.")
  }

  func tensor(_ key: String) throws -> Tensor {
    let images = try file.images("\(name).\(key)")
    return Tensor(images.values, shape: images.shape, on: backend)
  }

  private static let configurations = [
    "kl": AutoencoderKLConfiguration(
      inputChannels: 3, outputChannels: 3, channels: [8, 16], latentChannels: 3, groups: 4),
    "kl-bare": AutoencoderKLConfiguration(
      inputChannels: 1, outputChannels: 1, channels: [4, 8, 8], latentChannels: 2, groups: 2, middleAttention: false,
      hasQuantConvolution: false, hasPostQuantConvolution: false),
    "vq": AutoencoderKLConfiguration(
      inputChannels: 3, outputChannels: 3, channels: [4, 8], layersPerBlock: 2, latentChannels: 3, groups: 2, codes: 16
    ),
  ]
}
