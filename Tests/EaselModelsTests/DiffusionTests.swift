import EaselModels
import EaselTestSupport
import Foundation
import Testing

/// What a diffusion model does with a tiny network.
@Suite struct DiffusionTests {
  // MARK: Sampling

  @Test("An image of a seed is the same whatever the range", arguments: Backends.available, SamplingCase.all)
  func anyRange(_ kind: BackendKind, _ sampling: SamplingCase) throws {
    let ranges = [0..<4, 3..<7, 14..<18, 16..<20, 5..<5]
    let (all, parts) = try onTensors(kind) { backend in
      let model = try perturbedDiffusion(sampling.settings, on: backend)
      func sample(_ range: Range<Int>) throws -> [Float] {
        try model.sample(range, sampling.options) { _ in }.values()
      }
      return (try sample(0..<20), try ranges.map(sample))
    }
    #expect(all.count == 20 * 64)
    #expect(allFinite(all))
    for (range, part) in zip(ranges, parts) {
      #expect(part == Array(all[range.lowerBound * 64..<range.upperBound * 64]), "\(range)")
    }
  }

  @Test("The seed alone decides", arguments: SamplingCase.all)
  func seeds(_ sampling: SamplingCase) throws {
    let results = try onTensors { backend in
      let model = try perturbedDiffusion(sampling.settings, on: backend)
      return try [UInt64(1), 1, 2].map { seed -> [Float] in
        var options = sampling.options
        options.seed = seed
        return try model.sample(0..<2, options) { _ in }.values()
      }
    }
    #expect(results[0] == results[1])
    #expect(largestDifference(results[0], results[2]) > 0.01)
    #expect(Set(results[0][..<64]) != Set(results[0][64...]), "two images of one seed are alike")
  }

  @Test("Only a sampler with its own noise draws more than the initial noise")
  func samplersDiffer() throws {
    let results = try onTensors { backend in
      let model = try perturbedDiffusion(on: backend)
      return try [("ddim", 0), ("ddim", 0.5), ("ddpm", nil)].map { sampler, eta in
        try model.sample(0..<1, SamplingOptions(sampler: sampler, eta: eta)) { _ in }.values()
      }
    }
    #expect(largestDifference(results[0], results[1]) > 1e-3)
    #expect(largestDifference(results[0], results[2]) > 1e-3)
  }

  @Test func progressRisesToOne() throws {
    let shares = try onTensors { backend in
      var shares: [Double] = []
      _ = try perturbedDiffusion(on: backend).sample(10..<30, SamplingOptions(steps: 3)) { shares.append($0) }
      return shares
    }
    #expect(shares.count == 6)
    #expect(shares.last == 1)
    #expect(zip(shares, shares.dropFirst()).allSatisfy { $0 < $1 })
  }

  @Test func clippedSamplesStayInRange() throws {
    let values = try onTensors { backend in
      try perturbedDiffusion(on: backend).sample(0..<4, SamplingOptions()) { _ in }.values()
    }
    #expect(values.allSatisfy { $0 >= 0 && $0 <= 1 })
  }

  @Test(
    "Options that make no sense are refused",
    arguments: [
      Refusal(SamplingOptions(steps: 2000), "steps", "1 to 1000", "2000"),
      Refusal(SamplingOptions(steps: 0), "steps"), Refusal(SamplingOptions(steps: -1), "steps"),
      Refusal(SamplingOptions(sampler: "dddim"), "sampler", "dddim", "Did you mean ddim?"),
      Refusal(SamplingOptions(sampler: "dpm+"), "sampler", "dpm+", "Did you mean dpm++?"),
      Refusal(SamplingOptions(sampler: "eular"), "sampler", "eular", "Did you mean euler?"),
      Refusal(SamplingOptions(conditions: [.label(0)]), "label", "without labels"),
      Refusal(SamplingOptions(conditions: [.label(3)]), conditional: true, "label", "0 to 2", "3"),
      Refusal(SamplingOptions(conditions: [.label(-1)]), conditional: true, "label", "-1"),
      Refusal(SamplingOptions(guidance: 2), "guidance", "without labels"),
      Refusal(SamplingOptions(conditions: [.label(0)], guidance: -1), conditional: true, "guidance"),
      Refusal(SamplingOptions(conditions: [.label(0)], guidance: .nan), conditional: true, "guidance"),
      Refusal(SamplingOptions(eta: 1.5), "eta", "0 to 1"), Refusal(SamplingOptions(eta: -0.1), "eta"),
      Refusal(SamplingOptions(eta: .nan), "eta"),
    ])
  func refusals(_ refusal: Refusal) {
    for samples in [false, true] {
      expectUserError(.usage, refusal.parts) {
        try onTensors { backend in
          let data: DataDescription = refusal.conditional ? .tinyLabelled : .tiny
          let model = try Diffusion(tinyDiffusion { $0.conditional = refusal.conditional }, .float32(on: backend, data))
          if samples {
            _ = try model.sample(0..<1, refusal.options) { _ in }
          } else {
            try model.validate(refusal.options)
          }
        }
      }
    }
  }

  @Test("Options that do make sense are not refused")
  func acceptedOptions() throws {
    try onTensors { backend in
      let model = try Diffusion(tinyDiffusion { $0.conditional = true }, .float32(on: backend, .tinyLabelled))
      try model.validate(SamplingOptions())
      try model.validate(
        SamplingOptions(seed: .max, steps: 1000, sampler: "ddpm", conditions: [.label(2)], guidance: 7.5))
      try model.validate(SamplingOptions(steps: 1, sampler: "heun", conditions: [.label(0)], guidance: 0))
      try model.validate(SamplingOptions(steps: 1, sampler: "dpm++", guidance: 2, eta: 1))
    }
  }

  @Test("A model's own noise applies only to its own sampler, and is reported")
  func ownEta() throws {
    try onTensors { backend in
      func model(_ eta: Double) throws -> Diffusion {
        try perturbedDiffusion(
          tinyDiffusion {
            $0.sampler = .dpm
            $0.samplerEta = eta
          }, on: backend)
      }
      let (noisy, plain) = (try model(1), try model(0))
      func picture(_ model: Diffusion, _ options: SamplingOptions) throws -> [Float] {
        try model.sample(0..<2, options) { _ in }.values()
      }
      let noise = try picture(noisy, SamplingOptions())
      #expect(try noise == picture(plain, SamplingOptions(eta: 1)))
      #expect(try noise != picture(plain, SamplingOptions()))
      #expect(try picture(noisy, SamplingOptions(eta: 0)) == picture(plain, SamplingOptions()))
      // Another sampler adds none.
      for sampler in ["ddim", "heun"] {
        let options = SamplingOptions(sampler: sampler)
        #expect(try picture(noisy, options) == picture(plain, options))
        #expect(!noisy.description(of: options).contains { $0.key == "Eta" })
      }
      #expect(noisy.description(of: SamplingOptions()).contains { $0 == ("Eta", "1.0") })
      #expect(!plain.description(of: SamplingOptions()).contains { $0.key == "Eta" })
    }
  }

  // MARK: Labels

  @Test("Labels and guidance change the picture; guidance 1 is none", arguments: Backends.available)
  func labels(_ kind: BackendKind) throws {
    let pictures = try onTensors(kind) { backend in
      let model = try perturbedDiffusion(
        tinyDiffusion {
          $0.conditional = true
          $0.clip = false
        }, .tinyLabelled, on: backend)
      func picture(_ label: Int?, _ guidance: Float?) throws -> [Float] {
        try model.sample(0..<2, SamplingOptions(conditions: label.map { [.label($0)] }, guidance: guidance)) { _ in }
          .values()
      }
      return [
        "turns": try picture(nil, 1), "disc": try picture(0, 1), "ring": try picture(1, 1),
        "turns × 0": try picture(nil, 0), "ring × 0": try picture(1, 0),
        "ring × 1.5": try picture(1, 1.5), "ring × default": try picture(1, nil),
        "codes": model.decode(try #require(model.randomCodes(0..<2, seed: 0))).values(),
      ]
    }
    func difference(_ a: String, _ b: String) -> Float { largestDifference(pictures[a] ?? [], pictures[b] ?? []) }
    // Image k shows class k.
    #expect(pictures["turns"]?[..<64] == pictures["disc"]?[..<64])
    #expect(pictures["turns"]?[64...] == pictures["ring"]?[64...])
    #expect(pictures["ring × 1.5"] == pictures["ring × default"])
    // Guidance 0 is the model without labels.
    #expect(pictures["turns × 0"] == pictures["ring × 0"])
    #expect(difference("codes", "ring × 0") < 1e-4)
    #expect(difference("disc", "ring") > 1e-3)
    #expect(difference("ring", "ring × 0") > 1e-3)
    #expect(difference("ring", "ring × 1.5") > 1e-3)
  }

  @Test("Guidance goes from the prediction without a label beyond the one with it")
  func guidance() throws {
    // With one step to the image, unclipped, the picture is linear in the prediction.
    let pictures = try onTensors { backend in
      let settings = tinyDiffusion {
        $0.conditional = true
        $0.prediction = .sample
        $0.clip = false
        $0.samplerSteps = 1
      }
      let model = try perturbedDiffusion(settings, .tinyLabelled, on: backend)
      return try [Float(0), 1, 3].map {
        try model.sample(0..<3, SamplingOptions(guidance: $0)) { _ in }.values()
      }
    }
    let expected = zip(pictures[0], pictures[1]).map { without, with in 3 * with - 2 * without }
    #expect(largestDifference(pictures[0], pictures[1]) > 1e-2)
    #expect(largestDifference(pictures[2], expected) < 1e-5)
  }

  @Test("Labels are dropped in training as often as set, and never outside it")
  func labelDropout() throws {
    let labels: [Int32] = (0..<16).map { $0 % 3 }
    /// The losses of the same images and noise, in training and in validation.
    func losses(dropout: Float, labelled: Bool) throws -> (training: Float, validation: Float) {
      try onTensors { backend in
        let settings = tinyDiffusion {
          $0.conditional = true
          $0.labelDropout = dropout
        }
        let model = try perturbedDiffusion(settings, .tinyLabelled, on: backend)
        let batch = blobs(count: 16, labels: labelled ? labels : nil)
        func loss(_ tape: Tape?) -> Float {
          model.loss(batch, on: tape) { RandomDraw(seed: 1, stream: .noise, draw: $0) }.loss.value.item()
        }
        return (loss(Tape()), loss(nil))
      }
    }
    let (always, never) = (try losses(dropout: 0.9999, labelled: true), try losses(dropout: 0, labelled: true))
    let (sometimes, unlabelled) = (try losses(dropout: 0.5, labelled: true), try losses(dropout: 0, labelled: false))
    #expect(never.training == never.validation)
    #expect(always.validation == never.validation)
    #expect(always.training == unlabelled.training)
    #expect(abs(never.training - unlabelled.training) > 1e-4)
    #expect(sometimes.training != never.training)
    #expect(sometimes.training != unlabelled.training)
  }

  @Test func conditionalModelNeedsLabels() {
    expectUserError(.usage, "conditional", "labels") {
      try onTensors { backend in
        _ = try Diffusion(tinyDiffusion { $0.conditional = true }, .float32(on: backend, .tiny))
      }
    }
  }

  @Test("Dropout acts in training only, and differs between steps")
  func dropout() throws {
    let losses = try onTensors { backend in
      try [Float(0), 0.5].map { dropout -> [Float] in
        let model = try perturbedDiffusion(tinyDiffusion { $0.dropout = dropout }, on: backend)
        return [nil, Tape(), Tape()].enumerated().map { index, tape in
          model.loss(blobs(count: 4), on: tape) { draw in
            // Other dropout masks for the last, the same noise and timesteps.
            RandomDraw(seed: index == 2 && draw > 2 ? 8 : 1, stream: .noise, draw: draw)
          }.loss.value.item()
        }
      }
    }
    #expect(losses[0][0] == losses[1][0])
    #expect(Set(losses[0]).count == 1)
    #expect(Set(losses[1]).count == 3)
  }

  // MARK: Codes

  // A network that predicts the image is excluded: untrained, it predicts the same one for every code.
  @Test(
    "A code leads back to its image, the nearer the more steps",
    arguments: [
      CodeCase(.linear, .epsilon, .ddim), CodeCase(.linear, .velocity, .ddim), CodeCase(.cosine, .velocity, .dpm),
      CodeCase(.linear, .epsilon, .heun), CodeCase(.edm, .velocity, .heun), CodeCase(.edm, .velocity, .ddim),
    ])
  func codesLeadBack(_ code: CodeCase) throws {
    func error(steps: Int) throws -> Float {
      let (images, back) = try onTensors { backend in
        let settings = tinyDiffusion {
          $0.timesteps = 200
          $0.samplerSteps = steps
          $0.noiseSchedule = code.schedule
          $0.prediction = code.target
          $0.sampler = code.sampler
        }
        let model = try perturbedDiffusion(settings, by: 0.03, on: backend)
        // 18 is more than are computed at a time.
        let images = uniformImages(DataDescription.tiny.shape(18), on: backend)
        return (images.values(), model.decode(model.encode(images)).values())
      }
      #expect(allFinite(back))
      return largestDifference(images, back)
    }
    let (few, many) = (try error(steps: 10), try error(steps: 200))
    #expect(many < 0.02)
    #expect(many < few / 2)
  }

  @Test("Random codes lead to the images of the same seed")
  func randomCodes() throws {
    let (decoded, sampled) = try onTensors { backend in
      // Far enough that samples would leave the range of pixels.
      let model = try perturbedDiffusion(by: 0.3, on: backend)
      let codes = try #require(model.randomCodes(3..<6, seed: 4))
      return (
        model.decode(codes).values(), try model.sample(3..<6, SamplingOptions(seed: 4)) { _ in }.values()
      )
    }
    #expect(largestDifference(decoded, sampled) < 1e-4)
    #expect(decoded.allSatisfy { (0...1).contains($0) })
  }

  @Test("Codes are decoded as images are sampled with the same steps, sampler, labels and guidance")
  func steeredCodes() throws {
    try onTensors { backend in
      let model = try perturbedDiffusion(tinyDiffusion { $0.conditional = true }, .tinyLabelled, on: backend)
      let codes = try #require(model.randomCodes(0..<3, seed: 4))
      for options in [
        SamplingOptions(seed: 4, steps: 3, conditions: [.label(1)]),
        SamplingOptions(seed: 4, sampler: "heun", conditions: [.label(2), .label(0)], guidance: 3),
      ] {
        let (decoded, sampled) = (try model.decode(codes, options) { _ in }, try model.sample(0..<3, options) { _ in })
        #expect(decoded.values() == sampled.values())
        let description = try model.describe(decoding: options)
        #expect(description.contains { $0 == ("Sampler", options.sampler ?? "ddim") })
        #expect(description.contains { $0 == ("Steps", String(options.steps ?? 6)) })
      }
      let images = uniformImages(DataDescription.tinyLabelled.shape(3), on: backend)
      let (free, labelled) = (
        model.encode(images), try model.encode(images, SamplingOptions(conditions: [.label(1)])) { _ in }
      )
      #expect(free.values() != labelled.values())
    }
    let refused: [(SamplingOptions, String)] = [
      (SamplingOptions(sampler: "ddpm"), "sampler: expected ddim"), (SamplingOptions(eta: 0.5), "eta: expected 0"),
      (SamplingOptions(guidance: 2), "guidance: without a label"), (SamplingOptions(steps: 0), "steps"),
      (SamplingOptions(conditions: [.label(3)]), "label"),
    ]
    for (options, message) in refused {
      expectUserError(.usage, message) {
        try onTensors { backend in
          let model = try perturbedDiffusion(tinyDiffusion { $0.conditional = true }, .tinyLabelled, on: backend)
          return try model.decode(try #require(model.randomCodes(0..<1, seed: 0)), options) { _ in }.count
        }
      }
    }
  }

  // MARK: Denoising

  @Test("Denoising keeps the shape, and next to no noise the picture", arguments: [DataDescription.tiny, .odd])
  func denoise(_ data: DataDescription) throws {
    let (images, results) = try onTensors { backend in
      let model = try perturbedDiffusion(tinyDiffusion { $0.channels = [8, 16, 16] }, data, on: backend)
      let images = uniformImages(data.shape(17), on: backend)
      return (
        images.values(),
        try [0, 1e-3, 0.3, 50].map {
          try model.restore(images, from: Corruption(.gaussian, strength: $0), seed: 1) { _ in }.values()
        }
      )
    }
    for result in results {
      #expect(result.count == images.count)
      #expect(result.allSatisfy { $0 >= 0 && $0 <= 1 })
    }
    #expect(largestDifference(results[0], images) < 0.05)
    #expect(largestDifference(results[1], images) < 0.05)
    #expect(largestDifference(results[2], images) > 0.1)
  }

  @Test("A model that knows the noise removes it")
  func denoiseWithPerfectModel() throws {
    // An untrained network predicts zero. For the clean image this is the middle between black and white.
    let values = try onTensors { backend in
      let model = try Diffusion(tinyDiffusion { $0.prediction = .sample }, .float32(on: backend, .tiny))
      let grey = Tensor(repeating: 0.5, shape: DataDescription.tiny.shape(2), on: backend)
      let noisy = backend.add(grey, normalValues(grey.shape, seed: 2, on: backend), alpha: 1, beta: 0.2)
      return try model.restore(noisy, from: Corruption(.gaussian, strength: 0.2), seed: 0) { _ in }.values()
    }
    #expect(values.allSatisfy { abs($0 - 0.5) < 1e-6 })
  }

  @Test("Denoising begins at the level with the same noise", arguments: [Float(0.1), 0.5, 1])
  func denoiseStart(_ noise: Float) throws {
    // A velocity of zero makes one step of x into √ᾱ x, and x is √ᾱ times the image: ᾱ = 1 / (1 + σ²) of it is left.
    let values = try onTensors { backend in
      let settings = tinyDiffusion {
        $0.prediction = .velocity
        $0.samplerSteps = 1
      }
      let model = try Diffusion(settings, .float32(on: backend, .tiny))
      let white = Tensor(repeating: 1, shape: DataDescription.tiny.shape(1), on: backend)
      return try model.restore(white, from: Corruption(.gaussian, strength: noise), seed: 0) { _ in }.values()
    }
    // σ in units of −1…1 is twice the noise; the result is back in 0…1.
    let left = 1 / (1 + 4 * noise * noise)
    #expect(values.allSatisfy { abs($0 - (left + 1) / 2) < 0.01 })
  }

  // MARK: The network

  @Test("Sizes that cannot be halved are padded with zeros and cropped", arguments: Backends.available)
  func oddSizes(_ kind: BackendKind) throws {
    let (found, expected) = try onTensors(kind) { backend in
      let network = try TinyNetwork(on: backend)
      let x = normalValues([2, 13, 10, 1], seed: 1, on: backend)
      // 13 × 10 to 16 × 12: multiples of four.
      let border = Insets(top: 1, left: 1, bottom: 2, right: 1)
      return (network(x), network(backend.pad(x, border)) { backend.pad($0, -border) })
    }
    #expect(found.count == 2 * 13 * 10)
    #expect(found == expected)
  }

  @Test("An image's result does not depend on its batch", arguments: Backends.available)
  func batchInvariance(_ kind: BackendKind) throws {
    let (together, alone) = try onTensors(kind) { backend in
      let network = try TinyNetwork(on: backend)
      let x = normalValues([3, 13, 10, 1], seed: 1, on: backend)
      return (network(x), (0..<3).flatMap { network(x[$0..<$0 + 1], firstTimestep: $0) })
    }
    #expect(norm(together) > 1)
    #expect(relativeError(alone, together) < 1e-5)
  }

  @Test("Odd sizes sample, encode and decode", arguments: Backends.available)
  func oddModel(_ kind: BackendKind) throws {
    let shapes = try onTensors(kind) { backend in
      let model = try perturbedDiffusion(tinyDiffusion { $0.channels = [8, 16, 16] }, .odd, on: backend)
      let images = try model.sample(0..<3, SamplingOptions(steps: 2)) { _ in }
      return [images.shape, model.encode(images).shape, model.decode(images).shape]
    }
    #expect(shapes == [Shape](repeating: [3, 13, 10, 1], count: 3))
  }
}

@Suite struct InterpolationTests {
  let a: [Float] = [1, 2, -2, 0.5]
  let b: [Float] = [-0.5, 2.5, 1, -1]

  @Test("A path begins and ends where it should", arguments: [Interpolation.linear, .spherical], [2, 3, 9])
  func endpoints(_ interpolation: Interpolation, _ frames: Int) {
    let path = interpolation.path(from: a, to: b, frames: frames)
    #expect(path.count == frames)
    #expect(largestDifference(path[0], a) < 1e-6)
    #expect(largestDifference(path[frames - 1], b) < 1e-6)
    if frames % 2 == 1, interpolation == .linear {
      #expect(largestDifference(path[frames / 2], zip(a, b).map { ($0 + $1) / 2 }) < 1e-6)
    }
  }

  @Test("The spherical path keeps the length and rotates evenly")
  func sphericalKeepsNorm() {
    let longer = b.map { $0 * Float(norm(a) / norm(b)) }
    let path = Interpolation.spherical.path(from: a, to: longer, frames: 7)
    for code in path { #expect(abs(norm(code) - norm(a)) < 1e-5) }
    let steps = zip(path, path.dropFirst()).map { norm(zip($0, $1).map { $0 - $1 }) }
    for step in steps { #expect(abs(step - steps[0]) < 1e-5) }
    let straight = Interpolation.linear.path(from: a, to: longer, frames: 7)
    #expect(norm(straight[3]) < 0.9 * norm(a))
  }

  @Test("Codes without an angle between them are joined by a line", arguments: [Float(1), 2, 0, -1])
  func degenerate(_ factor: Float) {
    let end = a.map { $0 * factor }
    let path = Interpolation.spherical.path(from: a, to: end, frames: 5)
    #expect(path.allSatisfy(allFinite))
    #expect(largestDifference(path[0], a) < 1e-6)
    #expect(largestDifference(path[4], end) < 1e-6)
  }

  @Test func oneFrameIsTheFirst() {
    #expect(Interpolation.spherical.path(from: a, to: b, frames: 1) == [a])
  }
}

// MARK: - Helpers

extension DataDescription {
  /// Neither side can be halved twice.
  fileprivate static let odd = DataDescription(width: 10, height: 13, channels: 1)
}

/// A way from images to codes and back.
struct CodeCase: Sendable, CustomTestStringConvertible {
  let schedule: NoiseSchedule.Kind
  let target: PredictionTarget
  let sampler: DiffusionSampler.Method
  var testDescription: String { "\(schedule) \(target) \(sampler)" }

  init(_ schedule: NoiseSchedule.Kind, _ target: PredictionTarget, _ sampler: DiffusionSampler.Method) {
    (self.schedule, self.target, self.sampler) = (schedule, target, sampler)
  }
}

/// A way to sample.
struct SamplingCase: Sendable, CustomTestStringConvertible {
  static let all = [
    SamplingCase("ddim", SamplingOptions(seed: 7, sampler: "ddim")),
    SamplingCase("ddim with noise", SamplingOptions(seed: 7, sampler: "ddim", eta: 0.7)),
    SamplingCase("ddpm in few steps", SamplingOptions(seed: 7, steps: 4, sampler: "ddpm")),
    SamplingCase(
      "ddpm with trailing steps and large variance", SamplingOptions(seed: 7, steps: 5, sampler: "ddpm"),
      tinyDiffusion {
        $0.spacing = .trailing
        $0.variance = .fixedLarge
      }),
    SamplingCase(
      "velocity on a cosine schedule, all steps", SamplingOptions(seed: 7, steps: 12, sampler: "ddpm"),
      tinyDiffusion {
        $0.prediction = .velocity
        $0.noiseSchedule = .cosine
        $0.timesteps = 12
      }),
    SamplingCase("dpm++", SamplingOptions(seed: 7, sampler: "dpm++")),
    SamplingCase(
      "heun on the edm schedule", SamplingOptions(seed: 7, sampler: "heun"),
      tinyDiffusion {
        $0.prediction = .velocity
        $0.noiseSchedule = .edm
      }),
    // Enough quadratic steps that some have no length.
    SamplingCase(
      "ddpm with a learned variance", SamplingOptions(seed: 7, steps: 40, sampler: "ddpm"),
      tinyDiffusion {
        $0.variance = .learnedRange
        $0.spacing = .quadratic
      }),
  ]

  let testDescription: String
  let options: SamplingOptions
  let settings: DiffusionSettings

  init(_ description: String, _ options: SamplingOptions, _ settings: DiffusionSettings = tinyDiffusion()) {
    (testDescription, self.options, self.settings) = (description, options, settings)
  }
}

/// Options that are refused, and the text that the message must have.
struct Refusal: Sendable {
  let options: SamplingOptions
  let conditional: Bool
  let parts: [String]

  init(_ options: SamplingOptions, conditional: Bool = false, _ parts: String...) {
    (self.options, self.conditional, self.parts) = (options, conditional, parts)
  }
}

/// A U-Net of three levels, with its zeros changed.
private struct TinyNetwork {
  let network: UNet
  let component: Component

  init(on backend: any Backend) throws {
    let scope = Scope()
    network = UNet(
      UNetConfiguration(
        inputChannels: 1, outputChannels: 1, channels: [8, 16, 16], layersPerBlock: 1, attentionLevels: [1],
        attentionHeadWidth: 8, groups: 4), scope)
    component = Component("", scope.makeArena(on: backend, seed: 1))
    component.perturb(by: 0.1)
  }

  /// Every image has its own timestep.
  func callAsFunction(_ x: Tensor, firstTimestep: Int = 0, then finish: (Tensor) -> Tensor = { $0 }) -> [Float] {
    let timesteps = (0..<x.shape[0]).map { Float(100 * ($0 + firstTimestep)) }
    return finish(network(Variable(x), timesteps: timesteps).value).values()
  }
}
