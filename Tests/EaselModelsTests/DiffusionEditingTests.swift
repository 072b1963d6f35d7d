import EaselModels
import EaselTestSupport
import Foundation
import Testing

/// Inpainting, redrawing and likelihood with a tiny network.
@Suite struct DiffusionEditingTests {
  // MARK: Inpainting

  /// The left half.
  private static func half(_ count: Int, on backend: any Backend) -> Tensor {
    Tensor((0..<count * 64).map { $0 % 8 < 4 ? 1 : 0 }, shape: [count, 8, 8, 1], on: backend)
  }

  @Test("Known pixels stay unchanged, and the others are filled in", arguments: Backends.available)
  func inpaint(_ kind: BackendKind) throws {
    let data = DataDescription(width: 8, height: 8, channels: 3)
    let (images, results, shares) = try onTensors(kind) { backend -> ([Float], [[Float]], [Double]) in
      let model = try perturbedDiffusion(tinyDiffusion { $0.variance = .learnedRange }, data, on: backend)
      let images = uniformImages(data.shape(18), on: backend)
      var other = images.values()
      for place in other.indices where place / 3 % 8 < 4 { other[place] = 0.25 }
      var shares: [Double] = []
      let mask = Self.half(18, on: backend)
      let first = try model.inpaint(images, missing: mask, seed: 1) { shares.append($0) }
      return (
        images.values(),
        [
          first.values(),
          try model.inpaint(Tensor(other, shape: images.shape, on: backend), missing: mask, seed: 1) { _ in }.values(),
          try model.inpaint(images, missing: mask, seed: 2) { _ in }.values(),
          try model.inpaint(images[0..<3], missing: mask[0..<3], seed: 1) { _ in }.values(),
        ], shares
      )
    }
    for result in results {
      #expect(allFinite(result))
      for (place, value) in result.enumerated() where place / 3 % 8 >= 4 { #expect(value == images[place]) }
    }
    #expect(largestDifference(results[0], images) > 0.05)
    #expect(results[0] == results[1], "what stands where pixels are missing was looked at")
    #expect(largestDifference(results[0], results[2]) > 0.05)
    #expect(results[3] == Array(results[0][..<results[3].count]))
    #expect(shares.last == 1 && zip(shares, shares.dropFirst()).allSatisfy { $0 < $1 })
  }

  @Test("The filled-in pixels depend on the known ones, and on jumping back")
  func inpaintLooksAround() throws {
    let results = try onTensors { backend in
      let model = try perturbedDiffusion(by: 0.2, on: backend)
      let mask = Self.half(1, on: backend)
      func made(_ level: Float, rounds: Int) throws -> [Float] {
        var resampling = RePaintResampling()
        (resampling.steps, resampling.rounds) = (10, rounds)
        let images = Tensor(repeating: level, shape: DataDescription.tiny.shape(1), on: backend)
        return try model.inpaint(images, missing: mask, resampling, seed: 1) { _ in }.values().enumerated()
          .filter { $0.offset % 8 < 4 }.map(\.element)
      }
      return [try made(0, rounds: 3), try made(1, rounds: 3), try made(0, rounds: 1)]
    }
    #expect(largestDifference(results[0], results[1]) > 1e-3)
    #expect(largestDifference(results[0], results[2]) > 1e-3)
  }

  @Test("A model of grey images fills in grey")
  func inpaintWithPerfectModel() throws {
    // An untrained network predicts zero; for the clean image this is the middle between black and white.
    let values = try onTensors { backend in
      let model = try Diffusion(tinyDiffusion { $0.prediction = .sample }, .float32(on: backend, .tiny))
      let white = Tensor(repeating: 1, shape: DataDescription.tiny.shape(1), on: backend)
      return try model.inpaint(white, missing: Self.half(1, on: backend), seed: 0) { _ in }.values()
    }
    for (place, value) in values.enumerated() { #expect(abs(value - (place % 8 < 4 ? 0.5 : 1)) < 1e-6) }
  }

  @Test("Nonsensical numbers of jumps are refused")
  func resamplingRefusals() {
    for change in [\RePaintResampling.steps, \.jump, \.rounds] {
      var resampling = RePaintResampling()
      resampling[keyPath: change] = 0
      let refused = resampling
      expectUserError(.usage, "0") {
        try onTensors { backend in
          let images = uniformImages(DataDescription.tiny.shape(1), on: backend)
          return try perturbedDiffusion(on: backend).inpaint(
            images, missing: Self.half(1, on: backend), refused, seed: 0
          ) { _ in }.count
        }
      }
    }
  }

  // MARK: Redrawing

  @Test("The higher the strength, the less remains of an image", arguments: Diffusion.samplers)
  func redraw(_ sampler: DiffusionSampler.Method) throws {
    let (images, results) = try onTensors { backend -> ([Float], [[Float]]) in
      let settings = tinyDiffusion {
        $0.sampler = sampler
        $0.samplerSteps = 20
      }
      let model = try perturbedDiffusion(settings, on: backend)
      let images = uniformImages(DataDescription.tiny.shape(17), on: backend)
      func redrawn(_ strength: Double?, seed: UInt64 = 1, of images: Tensor) throws -> [Float] {
        try model.translate(images, TranslationOptions(seed: seed, strength: strength)) { _ in }.values()
      }
      return (
        images.values(),
        try [0, 0.05, 0.3, 1].map { try redrawn($0, of: images) }
          + [redrawn(0.3, seed: 2, of: images), redrawn(0.3, of: images[0..<2]), redrawn(nil, of: images)]
      )
    }
    #expect(results[0] == images)
    let distances = results[..<4].map { relativeError($0, images) }
    #expect(zip(distances, distances.dropFirst()).allSatisfy { $0 < $1 }, "\(distances)")
    #expect(distances[1] < 0.2)
    #expect(largestDifference(results[2], results[4]) > 0.01)
    #expect(results[5] == Array(results[2][..<128]))
    #expect(results[6] != results[2])
  }

  @Test("If a label is given, it is drawn")
  func redrawLabels() throws {
    let results = try onTensors { backend in
      let model = try perturbedDiffusion(tinyDiffusion { $0.conditional = true }, .tinyLabelled, on: backend)
      let images = uniformImages(DataDescription.tiny.shape(1), on: backend)
      return try [nil, 0, 1].map {
        try model.translate(images, TranslationOptions(condition: $0.map(Condition.label))) { _ in }.values()
      }
    }
    #expect(largestDifference(results[0], results[1]) > 1e-3)
    #expect(largestDifference(results[1], results[2]) > 1e-3)
  }

  @Test(
    "Options that make no sense are refused",
    arguments: [
      (TranslationOptions(direction: "a-to-b"), ["direction", "redraw", "a-to-b"]),
      (TranslationOptions(strength: 1.5), ["strength", "0 to 1"]),
      (TranslationOptions(strength: .nan), ["strength"]),
      (TranslationOptions(condition: .label(1)), ["label", "without labels"]),
      (TranslationOptions(copies: 2), ["copies", "diffusion"]),
    ])
  func refusals(_ options: TranslationOptions, _ parts: [String]) {
    expectUserError(.usage, parts) {
      try onTensors { backend in
        let images = uniformImages(DataDescription.tiny.shape(1), on: backend)
        return try perturbedDiffusion(on: backend).translate(images, options) { _ in }.count
      }
    }
  }

  @Test("It translates by redrawing")
  func directions() throws {
    let directions = try onTensors { try perturbedDiffusion(on: $0).directions.map(\.name) }
    #expect(directions == ["redraw"])
  }

  // MARK: Likelihood

  @Test("Bits per dimension are the sum of their terms, whatever the batch", arguments: PosteriorVariance.allCases)
  func likelihood(_ variance: PosteriorVariance) throws {
    let (all, few, other) = try onTensors { backend in
      let settings = tinyDiffusion {
        $0.variance = variance
        $0.timesteps = 12
        $0.noiseSchedule = .cosine
      }
      let model = try perturbedDiffusion(settings, on: backend)
      func figures(_ count: Int, seed: UInt64) throws -> [String: [Double]] {
        try model.likelihood(blobs(count: count), importanceSamples: nil, seed: seed) { _ in }
      }
      return (try figures(18, seed: 1), try figures(2, seed: 1), try figures(18, seed: 2))
    }
    #expect(Set(all.keys) == ["bits-per-dimension", "vlb", "prior", "decoder"])
    for image in 0..<18 {
      func figure(_ name: String) -> Double { all[name]?[image] ?? .nan }
      #expect(abs(figure("bits-per-dimension") - figure("vlb") - figure("prior")) < 1e-4)
      #expect(figure("decoder") > 0 && figure("decoder") < figure("vlb") && figure("prior") > 0)
    }
    for (name, values) in few { #expect(values == Array(all[name]?[..<2] ?? [])) }
    #expect(all["vlb"] != other["vlb"] && all["prior"] == other["prior"])
  }

  /// White noise of few levels has a known entropy. The bound cannot be below it, and an untrained model is far above.
  @Test("The bound has the right size")
  func likelihoodOfGrey() throws {
    // The model always predicts grey, and the images are grey, so only the last level remains to be encoded.
    let figures = try onTensors { backend in
      let settings = tinyDiffusion {
        $0.prediction = .sample
        $0.timesteps = 1000
      }
      let model = try Diffusion(settings, .float32(on: backend, .tiny))
      let grey = Batch(
        number: 0, pixels: [UInt8](repeating: 128, count: 64), count: 1, width: 8, height: 8, channels: 1)
      return try model.likelihood(grey, importanceSamples: nil, seed: 0) { _ in }
    }
    // 128 is 1/255 off the middle. Each later term is ½ precision · error² for the posterior's precision; their sum telescopes
    // to half of 1/σ² at the first timestep over that at the last.
    let schedule = NoiseSchedule(.linear, timesteps: 1000)
    let terms = 0.5 * pow(1 / 255, 2) / pow(schedule.level(0).ratio, 2) / log(2)
    let deviation = Posterior(from: schedule.level(1), to: schedule.level(0)).small.squareRoot()
    // Φ((x ± 1/255 − 0) / σ) with x = 1/255.
    let decoder = -log2(0.5 * (erf(2 / 255 / deviation / sqrt(2)) - erf(0)))
    #expect(abs((figures["decoder"]?[0] ?? .nan) - decoder) < 0.02)
    #expect(abs((figures["vlb"]?[0] ?? .nan) - terms - (figures["decoder"]?[0] ?? 0)) < 0.02 * terms)
  }

  @Test("A conditional model receives the labels")
  func likelihoodWithLabels() throws {
    let figures = try onTensors { backend in
      let settings = tinyDiffusion {
        $0.conditional = true
        $0.timesteps = 5
      }
      let model = try perturbedDiffusion(settings, .tinyLabelled, on: backend)
      return try [nil, [1, 2], [1, 0]].map { (labels: [Int32]?) in
        try model.likelihood(blobs(count: 2, labels: labels), importanceSamples: nil, seed: 0) { _ in }["vlb"] ?? []
      }
    }
    #expect(figures[0][0] != figures[1][0])
    #expect(figures[1][0] == figures[2][0] && figures[1][1] != figures[2][1])
  }

  @Test func importanceSamplesAreRefused() {
    expectUserError(.usage, "importance-samples") {
      try onTensors { backend in
        try perturbedDiffusion(on: backend).likelihood(blobs(count: 1), importanceSamples: 5, seed: 0) { _ in }
      }
    }
  }
}
