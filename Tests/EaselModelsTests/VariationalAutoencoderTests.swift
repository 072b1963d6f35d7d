import EaselModels
import EaselRunStorage
import EaselTestSupport
import Foundation
import Testing

@Suite struct VariationalAutoencoderTests {
  static let pixels = DataDescription(width: 4, height: 4, channels: 1)

  /// The name of a case in the fixture, and its settings.
  static let cases: [(name: String, settings: VariationalAutoencoderSettings)] = [
    ("bernoulli", vae()), ("gaussian", vae { $0.likelihood = .gaussian }),
    ("learned-gaussian", vae { $0.likelihood = .learnedGaussian }),
    ("discretized-logistic", vae { $0.likelihood = .discretizedLogistic }),
    (
      "free-bits",
      vae {
        $0.beta = 0.7
        $0.freeBits = 0.4
      }
    ),
  ]

  @Test("Loss and gradients are PyTorch's", arguments: Backends.available, cases)
  func golden(_ kind: BackendKind, _ example: (name: String, settings: VariationalAutoencoderSettings)) throws {
    let file = try SafetensorsReader(path: fixture("vae.safetensors"))
    let found = try onTensors(kind) { backend in
      let model = try VariationalAutoencoder(example.settings, .float32(on: backend, Self.pixels))
      let arena = model.components[0].arena
      for parameter in arena.parameters where parameter.name != "decoder.log_scale" {
        let values = try file.floats(parameter.name)
        parameter.value.withMutableFloats { _ = $0.update(fromContentsOf: values) }
      }
      arena.parameters.first { $0.name == "decoder.log_scale" }?.value.withMutableFloats { $0[0] = -1.5 }
      arena.values.storage.markModified()
      let images = Tensor(try file.floats("x"), shape: Self.pixels.shape(5), on: backend)
      let noise = Tensor(try file.floats("noise"), shape: [5, 3], on: backend)
      let tape = Tape()
      let (loss, metrics) = model.loss(images, noise: noise, step: 0, on: tape)
      tape.backward(from: loss)
      return (
        loss: loss.value.item(), elbo: metrics["elbo"],
        gradients: arena.parameters.map { (name: $0.name, values: $0.gradient.values()) }
      )
    }
    #expect(relativeError([found.loss], try file.floats("\(example.name).loss")) < 1e-5)
    if example.name != "free-bits" { #expect(found.elbo.map { abs($0 + found.loss) < 1e-3 } == true) }
    let hasScale = [.learnedGaussian, .discretizedLogistic].contains(example.settings.likelihood)
    #expect(found.gradients.count == (hasScale ? 5 : 4))
    for (name, values) in found.gradients {
      let expected = try file.floats("\(example.name).gradient.\(name)")
      #expect(relativeError(values, expected) < 1e-4, "\(name)")
    }
  }

  @Test("β rises over the warm-up")
  func warmUp() throws {
    let losses = try onTensors { backend in
      let model = try VariationalAutoencoder(
        vae {
          $0.klWarmupSteps = 4
          $0.beta = 2
        }, .float32(on: backend, Self.pixels))
      let images = uniformImages(Self.pixels.shape(3), on: backend)
      let noise = normalValues([3, 3], seed: 1, on: backend)
      return [0, 1, 3, 9].map { step in
        let (loss, metrics) = model.loss(images, noise: noise, step: step, on: nil)
        return (loss.value.item() - (metrics["reconstruction"] ?? 0)) / (metrics["kl"] ?? 0)
      }
    }
    #expect(largestDifference(losses, [0.5, 1, 2, 2]) < 1e-3)
  }

  // MARK: Linear and Gaussian: everything is known

  /// p(x | z) = N(W z + b, σ²) with orthogonal columns of W, and log p(x) of the images.
  private struct LinearGaussian {
    static let sigma: Float = 0.2
    let model: VariationalAutoencoder
    /// Whether the encoder is the true posterior; if not, it is off by a little.
    init(isExact: Bool, on backend: any Backend) throws {
      model = try VariationalAutoencoder(
        vae {
          $0.likelihood = .gaussian
          $0.sigma = Self.sigma
          $0.latent = 2
        }, .float32(on: backend, pixels))
      let lengths: [Float] = [0.5, 0.25]
      let offset = isExact ? Float(0) : 0.6
      func set(_ name: String, _ value: (Int) -> Float) {
        let parameter = model.components[0].arena.parameters.first { $0.name == name }
        parameter?.value.withMutableFloats { for i in $0.indices { $0[i] = value(i) } }
      }
      // W's columns are pixels 0 and 5. The posterior of z_j is N(l (x − b) / (l² + σ²), σ² / (l² + σ²)).
      let places = [0, 5]
      let variance = Self.sigma * Self.sigma
      set("decoder.weight") { $0 / 2 == places[$0 % 2] ? lengths[$0 % 2] : 0 }
      set("decoder.bias") { _ in 0.5 }
      set("encoder.weight") { place in
        let (row, pixel) = (place / 16, place % 16)
        guard row < 2, pixel == places[row] else { return 0 }
        return lengths[row] / (lengths[row] * lengths[row] + variance)
      }
      set("encoder.bias") { row in
        let length = lengths[row % 2]
        let total = length * length + variance
        return row < 2 ? -0.5 * length / total + offset : log(variance / total) + offset
      }
      model.components[0].arena.values.storage.markModified()
    }

    /// x has independent normal pixels with mean ½ and variance l² + σ² at two places, σ² elsewhere.
    static func logLikelihood(_ image: [Float]) -> Double {
      image.enumerated().reduce(0) { sum, pixel in
        let length = pixel.offset == 0 ? 0.5 : pixel.offset == 5 ? 0.25 : 0
        let variance = length * length + Double(sigma * sigma)
        let distance = Double(pixel.element) - 0.5
        return sum - 0.5 * (distance * distance / variance + log(2 * .pi * variance))
      }
    }
  }

  @Test("With the true posterior every importance weight is the likelihood; with another, the bounds approach it")
  func linearGaussian() throws {
    let batch = blobs(Self.pixels, count: 6)
    let exact = (0..<6).map { index in
      LinearGaussian.logLikelihood(batch.pixels[index * 16..<(index + 1) * 16].map { Float($0) / 255 })
    }
    let (right, wrong, closedForm) = try onTensors { backend in
      func figures(_ isExact: Bool, _ samples: Int) throws -> [String: [Double]] {
        try LinearGaussian(isExact: isExact, on: backend).model.likelihood(
          batch, importanceSamples: samples, seed: 1
        ) { _ in }
      }
      // KL of the posterior's N(m, s²) from N(0, 1), by hand.
      let model = try LinearGaussian(isExact: true, on: backend).model
      let means = model.encode(batch.tensor(on: backend)).values().map(Double.init)
      let variances = [0.04 / (0.25 + 0.04), 0.04 / (0.0625 + 0.04)]
      let divergences = (0..<6).map { image in
        (0..<2).reduce(0.0) { sum, unit in
          let mean = means[2 * image + unit]
          return sum + 0.5 * (mean * mean + variances[unit] - log(variances[unit]) - 1)
        }
      }
      return (try figures(true, 3), try [1, 20, 2000].map { try figures(false, $0) }, divergences)
    }
    func mean(_ values: [Double]?) -> Double { (values ?? []).reduce(0, +) / 6 }
    for (bound, likelihood) in zip(right["iwae"] ?? [], exact) { #expect(abs(bound - likelihood) < 1e-3) }
    for (divergence, expected) in zip(right["kl"] ?? [], closedForm) { #expect(abs(divergence - expected) < 1e-4) }
    let bounds = wrong.map { mean($0["iwae"]) }
    let truth = mean(exact)
    #expect(right["iwae"]?.count == 6 && right["kl"]?.count == 6)
    #expect(bounds[0] < truth - 0.1 && bounds[0] < bounds[1] && abs(bounds[2] - truth) < 0.05, "\(bounds), \(truth)")
    #expect(mean(wrong[0]["elbo"]) < truth)
  }

  // MARK: The rest

  @Test("Only the discretised logistic has bits per dimension; all of them are finite", arguments: cases.dropLast())
  func likelihoods(_ example: (name: String, settings: VariationalAutoencoderSettings)) throws {
    let figures = try onTensors { backend in
      let model = try VariationalAutoencoder(example.settings, .float32(on: backend, Self.pixels))
      return try model.likelihood(blobs(Self.pixels, count: 4), importanceSamples: nil, seed: 0) { _ in }
    }
    #expect(figures.keys.contains("bits-per-dimension") == (example.name == "discretized-logistic"))
    #expect(figures["iwae"] == nil)
    #expect(figures["active-units"]?.count == 1)
    #expect(figures.allSatisfy { $0.key == "active-units" || $0.value.count == 4 && $0.value.allSatisfy(\.isFinite) })
    for index in 0..<4 {
      let parts = ["elbo", "reconstruction", "kl"].map { figures[$0]?[index] ?? .nan }
      #expect(abs(parts[0] + parts[1] + parts[2]) < 1e-6)
    }
  }

  @Test(
    "A bin of the discretised logistic has the probability that its levels add up to", arguments: [-6.0, -2.0, 1.0])
  func binsAddUp(logScale: Float) throws {
    let total = try onTensors { backend in
      let pixel = DataDescription(width: 1, height: 1, channels: 1)
      let model = try VariationalAutoencoder(
        vae {
          $0.likelihood = .discretizedLogistic
          $0.latent = 1
        }, .float32(on: backend, pixel))
      for parameter in model.components[0].arena.parameters {
        parameter.value.withMutableFloats {
          $0.update(repeating: parameter.name == "decoder.log_scale" ? logScale : 0.3)
        }
      }
      // One image for each level; the encoder matters only through its variance, and the code is set to zero.
      for name in ["decoder.weight", "encoder.weight", "encoder.bias"] {
        model.components[0].arena.parameters.first { $0.name == name }?.value.withMutableFloats {
          $0.update(repeating: 0)
        }
      }
      let batch = Batch(
        number: 0, pixels: (0...255).map(UInt8.init), count: 256, width: 1, height: 1, channels: 1)
      let figures = try model.likelihood(batch, importanceSamples: nil, seed: 0) { _ in }
      return (figures["reconstruction"] ?? []).reduce(0) { $0 + exp(-$1) }
    }
    #expect(abs(total - 1) < 1e-4)
  }

  @Test("Random codes are images, the same whatever the range; a sampler's options are refused")
  func samples() throws {
    let (all, some, shape) = try onTensors { backend in
      let model = try VariationalAutoencoder(vae(), .float32(on: backend, Self.pixels))
      let options = SamplingOptions(seed: 4)
      let all = try model.sample(0..<40, options) { _ in }
      return (
        all[18..<35].values(), try model.sample(18..<35, options) { _ in }.values(), all.shape
      )
    }
    #expect(shape == Self.pixels.shape(40))
    #expect(all == some && all.allSatisfy { (0...1).contains($0) })
    expectUserError(.usage, "steps") {
      try onTensors { backend in
        let model = try VariationalAutoencoder(vae(), .float32(on: backend, Self.pixels))
        _ = try model.sample(0..<1, SamplingOptions(steps: 3)) { _ in }
      }
    }
  }

  @Test("Training raises the bound", arguments: cases.dropLast())
  func learns(_ example: (name: String, settings: VariationalAutoencoderSettings)) throws {
    let data = DataDescription(width: 9, height: 8, channels: 3)
    let steps = try onTensors { backend in
      var settings = example.settings
      settings.architecture = .convolutional
      settings.baseChannels = 8
      let model = try VariationalAutoencoder(settings, .float32(on: backend, data))
      let training = TrainingSettings { $0.learningRate = 3e-3 }
      model.prepareForTraining(training)
      let batch = blobs(data, count: 8)
      let before = model.validationLoss(batch)
      return model.train(on: batch, training) { _ in model.validationLoss(batch) < before - 5 }
    }
    #expect(steps != nil)
  }

  @Test("The means of pixels drawn black or white are their levels")
  func binarization() throws {
    let data = DataDescription(width: 4, height: 4, channels: 1)
    let (grey, binary) = try onTensors { backend in
      // If a decoder gives σ(0) = ½ everywhere, log-likelihoods do not depend on the drawn pixels.
      func reconstruction(_ binarize: Bool) throws -> [Double] {
        let model = try VariationalAutoencoder(vae { $0.binarize = binarize }, .float32(on: backend, data))
        for parameter in model.components[0].arena.parameters {
          parameter.value.withMutableFloats { $0.update(repeating: 0) }
        }
        return try model.likelihood(blobs(data, count: 3), importanceSamples: nil, seed: 0) { _ in }["reconstruction"]
          ?? []
      }
      return (try reconstruction(false), try reconstruction(true))
    }
    for value in grey + binary { #expect(abs(value - 16 * log(2)) < 1e-4) }
    expectUserError(.usage, "binarize") {
      try vae {
        $0.binarize = true
        $0.likelihood = .gaussian
      }.validate()
    }
  }
}

/// A linear VAE of three latent numbers.
private func vae(_ change: (inout VariationalAutoencoderSettings) -> Void = { _ in }) -> VariationalAutoencoderSettings
{
  VariationalAutoencoderSettings {
    $0.architecture = .linear
    $0.latent = 3
    change(&$0)
  }
}
