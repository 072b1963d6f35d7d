import EaselLayers
import EaselModels
import EaselTestSupport
import Foundation
import Testing

/// Consistency models: their training target and their images.
@Suite struct ConsistencyTests {
  // MARK: Tuning

  @Test(
    "The smaller noise is the paper's",
    arguments: [
      // t (1 − q^−(stage + 1) (1 + 8 / (1 + e^t))), by hand.
      (4.0, 0, 1.0, 0.21211716), (4, 3, 1, 0.98768933), (4, 0, 80, 60), (4, 1, 80, 75), (2, 0, 2, 0.04637664),
      (4, 0, 0.01, 0), (4, 1, 0.5, 0.5 * (1 - (1 + 8 * 0.37754067) / 16)), (256, 0, 0.1, 0.09812494),
    ])
  func smallerNoise(_ shrink: Double, _ stage: Int, _ t: Double, _ expected: Double) {
    var tuning = ConsistencyTuning()
    tuning.shrink = shrink
    #expect(abs(tuning.smallerNoise(than: t, stage: stage) - expected) < 1e-7 * max(1, t))
  }

  @Test("Stages divide the training evenly, whatever its length")
  func stages() {
    var tuning = ConsistencyTuning()
    tuning.stages = 4
    #expect([0, 0.2, 0.25, 0.6, 0.99, 1, 2].map { tuning.stage(at: $0) } == [0, 0, 1, 2, 3, 3, 3])
  }

  private static let settings = TrainingSettings {
    ($0.batchSize, $0.optimizer, $0.learningRate, $0.steps, $0.seed) = (6, .sgd, 1, 8, 5)
  }

  /// One step of gradient descent, at rate 1, for a model and for a second network with the same parameters, whose loss
  /// is written out in Karras et al.'s terms, one image after the other.
  private func steps(stage: Int, targetIsTaped: Bool) throws -> (loss: [Float], changes: [[Float]], clean: Int) {
    try onTensors { backend in
      let settings = tinyConsistency { ($0.tuning.huber, $0.tuning.shrink) = (0.02, 4) }
      let model = try perturbedConsistency(settings, on: backend)
      let batch = blobs(count: 6)
      model.prepareForTraining(Self.settings)
      let before = model.components[0].arena.values.values()
      // Eight steps in four stages.
      let step = TrainingStep(index: 2 * stage, settings: Self.settings)
      let found = model.trainingStep(batch, step)["loss"] ?? .nan
      let change = zip(model.components[0].arena.values.values(), before).map { $0 - $1 }

      let scope = Scope()
      let network = UNet(
        UNetConfiguration(
          inputChannels: 1, outputChannels: 1, channels: [8, 16], layersPerBlock: 1, attentionLevels: [1], groups: 4),
        scope)
      let beside = Component("", scope.makeArena(on: backend, seed: 1))
      beside.perturb(by: 0.1)
      #expect(beside.arena.values.values() == before)
      let images = batch.tensor(signed: true, on: backend)
      let (noise, numbers) = (Tensor(uninitialized: images.shape, on: backend), Tensor(uninitialized: [6], on: backend))
      backend.fillNormal(noise, step.draw(0, for: batch))
      backend.fillNormal(numbers, step.draw(1, for: batch))

      let tape = Tape()
      func f(_ image: Int, _ sigma: Double, _ tape: Tape?) -> Variable {
        let x = backend.add(images[image..<image + 1], noise[image..<image + 1], alpha: 1, beta: Float(sigma))
        let variance = sigma * sigma + 0.25
        let input = backend.affine(x, scale: Float(1 / variance.squareRoot()), shift: 0)
        let output = network(Variable(input, on: tape), timesteps: [Float(250 * log(sigma))])
        return Float(-sigma * 0.5 / variance.squareRoot()) * output
          + Variable(backend.affine(x, scale: Float(0.25 / variance), shift: 0), on: tape)
      }
      var (total, clean) = (Variable(Tensor([0], shape: [], on: backend), on: tape), 0)
      for (image, number) in numbers.values().enumerated() {
        let t = exp(-1.1 + 2 * Double(number))
        let r = t * max(0, 1 - pow(4, -Double(stage + 1)) * (1 + 8 / (1 + exp(t))))
        if r < 0.002 { clean += 1 }
        let target =
          r < 0.002
          ? Variable(images[image..<image + 1], on: tape)
          : targetIsTaped ? f(image, r, tape) : Variable(f(image, r, nil).value, on: tape)
        let difference = f(image, t, tape) - target
        let sum = sumSamples(difference * difference).reshaped([])
        total =
          total
          + elementwise(sum) { sum in
            let root = (sum / 64 + 0.02 * 0.02).squareRoot()
            let weight = (1 / (t * t) + 4) / 6
            return (weight * (root - 0.02), weight / (2 * 64 * root))
          }
      }
      tape.backward(from: total)
      return ([found, total.value.item()], [change, beside.arena.gradients.values().map { -$0 }], clean)
    }
  }

  @Test("The loss and its gradient follow the formula, with a target without a gradient", arguments: 0..<4)
  func lossByHand(_ stage: Int) throws {
    let steps = try steps(stage: stage, targetIsTaped: false)
    #expect(abs(steps.loss[0] - steps.loss[1]) < 1e-3 * steps.loss[1], "\(steps.loss)")
    #expect(relativeError(steps.changes[0], steps.changes[1]) < 1e-3)
    // The first stage has images that are compared with themselves, the last has none.
    #expect(stage == 0 ? (1...5).contains(steps.clean) : stage < 3 || steps.clean == 0)
    let taped = try self.steps(stage: stage, targetIsTaped: true)
    #expect(abs(taped.loss[0] - taped.loss[1]) < 1e-3 * taped.loss[1])
    #expect(relativeError(taped.changes[0], taped.changes[1]) > 0.02, "a target with a gradient would not be noticed")
  }

  @Test("Held-out images are judged by the last stage, in every stage")
  func validation() throws {
    let losses = try onTensors { backend in
      try [0, 7].map { index in
        let model = try perturbedConsistency(on: backend)
        model.begin(TrainingStep(index: index, settings: Self.settings))
        return model.validationLoss(blobs(count: 4))
      }
    }
    #expect(losses[0] == losses[1])
  }

  // MARK: Drawing

  /// The end of the probability flow for normal images N(0.3, 0.5²), which is the consistency function itself.
  private static func exact(_ x: Tensor, _ level: NoiseLevel) -> Denoised {
    let fraction = 0.5 / (0.25 + level.ratio * level.ratio).squareRoot()
    return Denoised(
      image: x.backend.affine(x, scale: Float(fraction / level.signal), shift: Float(0.3 * (1 - fraction))))
  }

  @Test(
    "With the exact function, images have the right distribution in any number of passes", arguments: [1, 2, 4, 9])
  func exactFunction(_ passes: Int) throws {
    let values = try onTensors { backend -> [Float] in
      let schedule = NoiseSchedule(.edm, timesteps: 1000)
      let sampler = DiffusionSampler(.consistency)
      let levels = sampler.levels(passes, of: schedule, LevelSpacing(.leading))
      #expect(levels.count == passes + 1 && levels.last == .clean && abs(levels[0].ratio - 80) < 1e-9)
      #expect(zip(levels, levels.dropFirst()).allSatisfy { $0.ratio > $1.ratio })
      let shape: Shape = [20_000, 1, 1, 1]
      return sampler.walk(normalValues(shape, seed: 1, on: backend), through: levels) {
        Self.exact($0, $1)
      } noise: {
        normalValues(shape, seed: 1 + UInt64($0), on: backend)
      }.values()
    }
    let mean = values.reduce(0) { $0 + Double($1) } / 20_000
    let deviation = (values.reduce(0) { $0 + pow(Double($1) - mean, 2) } / 20_000).squareRoot()
    #expect(abs(mean - 0.3) < 0.015 && abs(deviation - 0.5) < 0.01, "\(mean), \(deviation)")
  }

  @Test("A code leads back to its image except for the last pass", arguments: [1, 2, 4])
  func exactCodes(_ passes: Int) throws {
    let (back, expected) = try onTensors { backend in
      let sampler = DiffusionSampler(.consistency)
      let levels = sampler.levels(passes, of: NoiseSchedule(.edm, timesteps: 1000), LevelSpacing(.leading))
      let clean = uniformImages([2, 4, 4, 3], on: backend)
      func noise(_ step: Int) -> Tensor { normalValues(clean.shape, seed: 7 + UInt64(step), on: backend) }
      let code = sampler.encode(clean, through: levels, denoise: Self.exact, noise: noise)
      #expect(code.shape == [2, 4, 4, 3 * passes] && sampler.noiseCount(levels) == passes)
      func part(_ step: Int) -> Tensor { backend.slice(code, 3 * step..<3 * (step + 1)) }
      let back = sampler.walk(part(0), through: levels, denoise: Self.exact, noise: part)
      let last = levels[passes - 1]
      return (back.values(), Self.exact(last.add(noise(passes - 1), to: clean), last).image.values())
    }
    #expect(largestDifference(back, expected) < 1e-4)
  }

  @Test("Images of a seed are the same whatever the range, and their codes decode to them", arguments: [1, 2, 4])
  func seeds(_ passes: Int) throws {
    let options = SamplingOptions(seed: 7, steps: passes, conditions: [.label(2), .label(0)])
    let (all, part, other, decoded, reconstructed) = try onTensors { backend in
      let model = try perturbedConsistency(
        tinyConsistency { $0.diffusion.conditional = true }, .tinyLabelled, on: backend)
      let codes = try #require(model.randomCodes(0..<18, options))
      let images = uniformImages(DataDescription.tiny.shape(18), on: backend)
      return (
        try model.sample(0..<18, options) { _ in }.values(), try model.sample(15..<18, options) { _ in }.values(),
        try model.sample(0..<18, SamplingOptions(seed: 8, steps: passes, conditions: [.label(2), .label(0)])) { _ in }
          .values(),
        try model.decode(codes, options) { _ in }.values(),
        try model.decode(model.encode(images, options) { _ in }, options) { _ in }.values()
      )
    }
    #expect(allFinite(all) && part == Array(all[(15 * 64)...]) && all == decoded)
    #expect(largestDifference(all, other) > 0.01)
    #expect(allFinite(reconstructed) && reconstructed.count == all.count)
  }

  @Test("More passes give other pictures, and the default is two")
  func passes() throws {
    let pictures = try onTensors { backend in
      let model = try perturbedConsistency(on: backend)
      let pictures = try [nil, 1, 2, 4].map { try model.sample(0..<2, SamplingOptions(steps: $0)) { _ in }.values() }
      let description = model.description(of: SamplingOptions(steps: 4)).map { "\($0.key): \($0.value)" }
      #expect(description == ["Steps: 4", "Sampler: consistency"])
      try model.validate(SamplingOptions(steps: 1, sampler: "consistency"))
      return pictures
    }
    #expect(pictures[0] == pictures[2])
    #expect(pictures[1] != pictures[2] && pictures[2] != pictures[3])
  }

  @Test("It draws, encodes, denoises, redraws and fills in, and bounds no likelihood")
  func capabilities() throws {
    try onTensors { backend in
      let model = try perturbedConsistency(on: backend)
      #expect(!((model as any Model) is any LikelihoodBounding))
      let images = uniformImages(DataDescription.tiny.shape(2), on: backend)
      let mask = Tensor((0..<128).map { $0 % 8 < 4 ? 1 : 0 }, shape: images.shape, on: backend)
      let filled = try model.inpaint(images, missing: mask, seed: 1) { _ in }.values()
      for (place, value) in images.values().enumerated() where place % 8 >= 4 { #expect(filled[place] == value) }
      #expect(largestDifference(filled, images.values()) > 0.05)
      let results = try [
        model.restore(images, from: Corruption(.gaussian, strength: 1e-3), seed: 1) { _ in }.values(),
        model.restore(images, from: Corruption(.gaussian, strength: 0.3), seed: 1) { _ in }.values(),
        model.translate(images, TranslationOptions(strength: 0.02)) { _ in }.values(),
        model.translate(images, TranslationOptions(strength: 0.6)) { _ in }.values(),
      ]
      let distances = results.map { relativeError($0, images.values()) }
      #expect(distances[0] < 0.1 && distances[0] < distances[1] && distances[2] < distances[3], "\(distances)")
    }
  }

  @Test(
    "Options that make no sense are refused",
    arguments: [
      Refusal(SamplingOptions(steps: 0), "steps"),
      Refusal(SamplingOptions(sampler: "ddim"), "sampler", "not trained for ddim", "consistency"),
      Refusal(SamplingOptions(sampler: "consistancy"), "sampler", "Did you mean consistency?"),
      Refusal(SamplingOptions(eta: 0), "eta", "consistency alone"),
      Refusal(SamplingOptions(conditions: [.label(0)]), "label", "without labels"),
    ])
  func refusals(_ refusal: Refusal) {
    expectUserError(.usage, refusal.parts) {
      try onTensors { try perturbedConsistency(on: $0).validate(refusal.options) }
    }
    expectUserError(.usage, "sampler", "not trained for consistency") {
      try onTensors { try perturbedDiffusion(on: $0).validate(SamplingOptions(sampler: "consistency")) }
    }
  }
}
