import EaselModels
import EaselRunStorage
import EaselTestSupport
import Foundation
import Testing

/// Losses and gradients of a small DCGAN against PyTorch's (Tests/Fixtures/make_gan_fixtures.py).
@Suite struct GANGoldenTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let settings: GANSettings
    var testDescription: String { name }

    init(_ name: String, _ loss: AdversarialLoss, _ change: (inout GANSettings) -> Void = { _ in }) {
      self.name = name
      settings = GANSettings {
        ($0.latent, $0.baseChannels, $0.loss) = (6, 4, loss)
        change(&$0)
      }
    }

    static let all = [
      Case("minimax", .minimax), Case("non-saturating", .nonSaturating), Case("least-squares", .leastSquares),
      Case("hinge", .hinge), Case("wasserstein", .wasserstein), Case("wgan-gp", .wassersteinGradientPenalty),
      Case("r1", .r1), Case("smoothed", .nonSaturating) { $0.labelSmoothing = 0.1 },
      Case("smoothed-squares", .leastSquares) { $0.labelSmoothing = 0.1 },
      Case("projection", .hinge) { $0.conditional = .projection },
      Case("projection-r1", .r1) { $0.conditional = .projection },
      Case("concatenation", .nonSaturating) { $0.conditional = .concatenation },
      Case("concatenation-wgan-gp", .wassersteinGradientPenalty) { $0.conditional = .concatenation },
      Case("spectral", .hinge) { $0.spectralNorm = true }, Case("spectral-r1", .r1) { $0.spectralNorm = true },
    ]
  }

  static let data = DataDescription(width: 20, height: 20, channels: 1, classNames: ["a", "b", "c"])

  private static func load(_ model: GAN, from file: SafetensorsReader) throws {
    for component in model.components {
      for parameter in component.arena.parameters {
        var name = component.prefix + parameter.name
        // If labels are another channel, the first convolution has one more.
        if parameter.shape == [4, 2, 4, 4] { name = "plane-conv" }
        guard let entry = file.entries[name] else {
          // The generator of a conditional model also has classes; without labels they are not used.
          #expect(name == "generator.classes.weight")
          continue
        }
        #expect(entry.elementCount == parameter.shape.count, "\(name)")
        let values = try file.floats(name)
        parameter.value.withMutableFloats { _ = $0.update(fromContentsOf: values) }
      }
      component.arena.values.storage.markModified()
    }
  }

  struct Found {
    var discriminator: Float?
    var gradients: [(name: String, values: [Float])]
    var generator: Float
    var imageGradient: [Float]
  }

  @Test("The losses and their gradients are PyTorch's", arguments: Backends.available, Case.all)
  func golden(_ kind: BackendKind, _ example: Case) throws {
    let file = try SafetensorsReader(path: fixture("gan.safetensors"))
    let found = try onTensors(kind) { backend in
      let model = try GAN(example.settings, .float32(on: backend, Self.data))
      try Self.load(model, from: file)
      let real = Tensor(try file.floats("real"), shape: Self.data.shape(4), on: backend)
      let fake = Tensor(try file.floats("fake"), shape: Self.data.shape(4), on: backend)
      let place = Tensor(try file.floats("place"), shape: [4], on: backend)
      let labels = Tensor(try file.floats("labels").map { Int32($0) }, on: backend)
      model.iterateSpectralNorms()
      let metrics = model.discriminatorLoss(real: real, fake: fake, labels: labels, between: place)
      let gradients = model.components[1].arena.parameters.map { ($0.name, $0.gradient.values()) }
      let tape = Tape()
      let image = tape.variable(fake)
      let loss = model.generatorLoss(fake: image, labels: labels)
      tape.backward(from: loss)
      return Found(
        discriminator: metrics["discriminator"], gradients: gradients, generator: loss.value.item(),
        imageGradient: tape.gradient(of: image)?.values() ?? [])
    }
    let errors = try [
      relativeError([found.discriminator ?? .nan], file.floats("\(example.name).discriminator")),
      relativeError([found.generator], file.floats("\(example.name).generator")),
      relativeError(found.imageGradient, file.floats("\(example.name).image-gradient")),
    ]
    #expect(errors[0] < 1e-4 && errors[1] < 1e-4 && errors[2] < 1e-3, "\(errors)")
    let expected = try found.gradients.map { try file.floats("\(example.name).gradient.\($0.name)") }
    let whole = norm(expected.flatMap(\.self))
    for (gradient, expected) in zip(found.gradients, expected) {
      let isSame = isSameGradient(gradient.values, expected, whole: whole)
      #expect(isSame, "\(gradient.name)")
    }
  }

  @Test("The generator's images, running statistics and gradients are PyTorch's", arguments: Backends.available)
  func generator(_ kind: BackendKind) throws {
    let file = try SafetensorsReader(path: fixture("gan.safetensors"))
    let found = try onTensors(kind) { backend in
      let model = try GAN(Case.all[1].settings, .float32(on: backend, Self.data))
      try Self.load(model, from: file)
      let tape = Tape()
      let codes = Tensor(try file.floats("codes"), shape: [4, 6], on: backend)
      let fake = model.generate(codes, labels: nil, on: tape)
      tape.backward(from: model.generatorLoss(fake: fake, labels: nil))
      let arena = model.components[0].arena
      return (
        images: fake.value.values(),
        buffers: arena.buffers.prefix(2).map { (name: $0.name, values: $0.value.values()) },
        gradients: arena.parameters.map { (name: $0.name, values: $0.gradient.values()) }
      )
    }
    #expect(try relativeError(found.images, file.floats("fake")) < 1e-4)
    #expect(found.buffers.map(\.name) == ["norms.0.running_mean", "norms.0.running_var"])
    for (buffer, name) in zip(found.buffers, ["running_mean.0", "running_var.0"]) {
      #expect(try relativeError(buffer.values, file.floats(name)) < 1e-4)
    }
    let expected = try found.gradients.map { try file.floats("non-saturating.generator-gradient.\($0.name)") }
    let whole = norm(expected.flatMap(\.self))
    for (gradient, expected) in zip(found.gradients, expected) {
      let isSame = isSameGradient(gradient.values, expected, whole: whole)
      #expect(isSame, "\(gradient.name)")
    }
  }
}

@Suite struct GANTests {
  @Test("A skipped step leaves running statistics unchanged")
  func statisticsOfSoundSteps() throws {
    let (statistics, nonFinite) = try onTensors { backend in
      let model = try GAN(Self.small(), .float32(on: backend, .tiny))
      let settings = TrainingSettings { $0.batchSize = 4 }
      model.prepareForTraining(settings)
      let images = Batch(
        (0..<4).map { image in
          Image(width: 8, height: 8, channels: 1, pixels: (0..<64).map { UInt8($0 * (image + 3) * 7 % 251) })
        })
      var (statistics, nonFinite): ([[[Float]]], [String?]) = ([], [])
      for (index, poison) in [0, Float.nan, 0].enumerated() {
        model.components[0].arena.parameters[0].gradient.withMutableFloats { $0[0] = poison }
        nonFinite.append(model.guardedStep(images, TrainingStep(index: index, settings: settings))?.nonFinite)
        statistics.append(model.components[0].arena.buffers.map { $0.value.values() })
      }
      return (statistics, nonFinite)
    }
    #expect(statistics[0] == statistics[1] && statistics[1] != statistics[2])
    #expect(nonFinite[0] == nil && nonFinite[2] == nil)
    #expect(nonFinite[1]?.hasPrefix("the gradient of ") == true && nonFinite[1]?.hasSuffix(" (generator)") == true)
  }

  static func small(_ change: (inout GANSettings) -> Void = { _ in }) -> GANSettings {
    GANSettings {
      ($0.latent, $0.baseChannels) = (8, 8)
      change(&$0)
    }
  }

  @Test("Every loss trains both networks and stays finite", arguments: AdversarialLoss.allCases)
  func everyLossTrains(loss: AdversarialLoss) throws {
    let result = try onTensors { backend in
      let model = try GAN(Self.small { $0.loss = loss }, .float32(on: backend, .tiny))
      let settings = TrainingSettings { $0.emaDecay = 0.9 }
      model.prepareForTraining(settings)
      let before = model.components.map { $0.arena.values.values() }
      var metrics: Metrics = [:]
      for index in 0..<5 {
        metrics = model.trainingStep(blobs(count: 6), TrainingStep(index: index, settings: settings))
      }
      let after = model.components.map { $0.arena.values.values() }
      return (
        changed: zip(before, after).map { $0 != $1 }, finite: after.allSatisfy(allFinite), metrics: metrics,
        average: model.components.map { $0.arena.average != nil }
      )
    }
    #expect(result.changed == [true, true] && result.finite)
    #expect(result.metrics.values.allSatisfy { $0.isFinite })
    #expect((result.metrics["penalty"] != nil) == (loss == .r1 || loss == .wassersteinGradientPenalty))
    #expect(result.average == [true, false])
  }

  @Test("A wasserstein critic's weights are clipped")
  func clipping() throws {
    let largest = try onTensors { backend in
      let model = try GAN(Self.small { $0.loss = .wasserstein }, .float32(on: backend, .tiny))
      model.prepareForTraining(TrainingSettings())
      _ = model.trainingStep(blobs(count: 4), TrainingStep(index: 0, settings: TrainingSettings()))
      return model.components[1].arena.values.values().map(abs).max() ?? 0
    }
    #expect(largest == 0.01)
  }

  @Test("The ratio of steps is the chosen one")
  func ratio() throws {
    let steps = try onTensors { backend in
      let model = try GAN(
        Self.small {
          $0.discriminatorSteps = 3
          $0.generatorSteps = 2
        }, .float32(on: backend, .tiny))
      model.prepareForTraining(TrainingSettings())
      for index in 0..<7 {
        _ = model.trainingStep(blobs(count: 4), TrainingStep(index: index, settings: TrainingSettings()))
      }
      return model.components.map { $0.optimizer?.stepCount }
    }
    #expect(steps == [4, 7])
  }

  @Test("Without norms over the batch, a batch in parts is the same step", arguments: [AdversarialLoss.r1, .hinge])
  func accumulation(loss: AdversarialLoss) throws {
    let weights = try onTensors { backend in
      try [1, 3].map { parts in
        let model = try GAN(
          Self.small {
            $0.loss = loss
            $0.norm = .none
          }, .float32(on: backend, .tiny))
        let settings = TrainingSettings {
          $0.accumulate = parts
          $0.optimizer = .sgd
        }
        model.prepareForTraining(settings)
        _ = model.trainingStep(blobs(count: 9), TrainingStep(index: 0, settings: settings))
        return model.components[1].arena.values.values()
      }
    }
    // The generator's BatchNorm uses the statistics of a part; real images alone say little, so the bound is loose.
    #expect(relativeError(weights[1], weights[0]) < 1e-2)
  }

  @Test(
    "Images have the right size and values, and are the same whatever the range", arguments: [(48, 32, 3), (28, 28, 1)])
  func samples(_ size: (width: Int, height: Int, channels: Int)) throws {
    let data = DataDescription(
      width: size.width, height: size.height, channels: size.channels, classNames: ["a", "b", "c"])
    let (all, some, shape, third) = try onTensors { backend in
      let model = try GAN(Self.small { $0.conditional = .projection }, .float32(on: backend, data))
      model.prepareForTraining(TrainingSettings())
      let batch = blobs(data, count: 4, labels: [0, 1, 2, 0])
      for index in 0..<2 { _ = model.trainingStep(batch, TrainingStep(index: index, settings: TrainingSettings())) }
      let options = SamplingOptions(seed: 4)
      let all = try model.sample(0..<20, options) { _ in }
      return (
        all[7..<18].values(), try model.sample(7..<18, options) { _ in }.values(), all.shape,
        [
          try model.sample(2..<3, SamplingOptions(seed: 4, conditions: [.label(2)])) { _ in }.values(),
          all[2..<3].values(),
        ]
      )
    }
    #expect(shape == data.shape(20) && all == some && all.allSatisfy { (0...1).contains($0) })
    // Image 2 has class 2 unless another is requested.
    #expect(third[0] == third[1])
  }

  @Test("The average's statistics are those of its own images, and the same when computed again")
  func standingStatistics() throws {
    let (mean, first, cut, second, before, after) = try onTensors { backend in
      let model = try GAN(Self.small(), .float32(on: backend, .tiny))
      let settings = TrainingSettings { $0.emaDecay = 0.5 }
      model.prepareForTraining(settings)
      let arena = model.components[0].arena
      for index in 0..<3 { _ = model.trainingStep(blobs(count: 8), TrainingStep(index: index, settings: settings)) }
      let before = arena.buffers.map { $0.value.values() }
      model.refreshAverageStatistics()
      let first = arena.withAverage { arena.buffers.map { $0.value.values() } }
      // Over fewer images if that is enough; this has no effect on a full computation later.
      model.refreshAverageStatistics { true }
      let cut = arena.withAverage { arena.buffers.map { $0.value.values() } }
      model.refreshAverageStatistics()
      let second = arena.withAverage { arena.buffers.map { $0.value.values() } }
      // The first norm's input is the code's linear layer; its mean over codes of mean zero is the bias.
      let bias = arena.parameters.first { $0.name == "input.bias" }
      let values = arena.withAverage { bias?.value.values() ?? [] }
      let channels = arena.buffers[0].shape.count
      let mean = (0..<channels).map { channel in
        stride(from: channel, to: values.count, by: channels).reduce(Float(0)) { $0 + values[$1] }
          / Float(values.count / channels)
      }
      return (mean, first, cut, second, before, arena.buffers.map { $0.value.values() })
    }
    #expect(first == second, "settling again")
    #expect(before == after, "the trained statistics")
    #expect(first != before && cut != first && cut != before)
    #expect(largestDifference(cut[0], first[0]) < 0.2)
    #expect(largestDifference(first[0], mean) < 0.02)
  }

  @Test("Settings that do not fit together are refused")
  func refusals() throws {
    expectUserError(.usage, "norm", "wgan-gp") {
      try Self.small {
        $0.loss = .wassersteinGradientPenalty
        $0.norm = .batch
      }.validate()
    }
    expectUserError(.usage, "conditional", "labels") {
      try onTensors { backend in
        _ = try GAN(Self.small { $0.conditional = .projection }, .float32(on: backend, .tiny))
      }
    }
    for options in [SamplingOptions(conditions: [.label(1)]), SamplingOptions(steps: 4), SamplingOptions(guidance: 2)] {
      expectUserError(.usage, ":") {
        try onTensors { backend in try GAN(Self.small(), .float32(on: backend, .tiny)).validate(options) }
      }
    }
  }

  @Test("Its images come near to the training images")
  func learns() throws {
    let steps = try onTensors { backend in
      let model = try GAN(
        Self.small {
          $0.baseChannels = 16
          ($0.loss, $0.discriminatorSteps) = (.wassersteinGradientPenalty, 4)
        }, .float32(on: backend, .tiny))
      let settings = TrainingSettings {
        $0.learningRate = 1e-3
        $0.beta1 = 0.5
      }
      model.prepareForTraining(settings)
      let batch = blobs(count: 64)
      let before = model.validationLoss(batch)
      return model.train(on: batch, settings) { _ in model.validationLoss(batch) < 0.6 * before }
    }
    #expect(steps != nil)
  }
}

@Suite struct DiversityTests {
  private static func monitor(_ generated: [[Float]], labels: [Int32]?) throws -> (Float, Float?, String?) {
    try onTensors { backend in
      let real = (0..<8).map { [Float($0 % 2), Float($0 / 2)] }
      let monitor = DiversityMonitor(
        generated: Tensor(generated.flatMap(\.self), shape: [generated.count, 2], on: backend),
        real: Tensor(real.flatMap(\.self), shape: [8, 2], on: backend), labels: labels)
      return (monitor.spread, monitor.classEntropy, monitor.alarm)
    }
  }

  @Test("Images like the real ones raise no alarm; repeating one image or one class does")
  func collapse() throws {
    let labels: [Int32] = [0, 1, 0, 1, 0, 1, 0, 1]
    let healthy = try Self.monitor((0..<8).map { [Float($0 % 2), Float($0 / 2)] }, labels: labels)
    #expect(abs(healthy.0 - 1) < 1e-6 && healthy.1.map { abs($0 - 1) < 1e-6 } == true && healthy.2 == nil)
    let same = try Self.monitor((0..<8).map { [0.5 + 0.01 * Float($0), 1] }, labels: nil)
    #expect(same.0 < 0.02 && same.1 == nil && same.2?.contains("mode collapse") == true)
    // All in the column of class 0, as far apart as the real ones.
    let oneClass = try Self.monitor((0..<8).map { [-1, 2 * Float($0)] }, labels: labels)
    #expect(oneClass.0 > 1 && oneClass.1 == 0 && oneClass.2?.contains("classes") == true)
  }
}
