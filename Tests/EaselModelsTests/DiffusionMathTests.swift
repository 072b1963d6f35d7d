import EaselModels
import EaselTestSupport
import Foundation
import Testing

/// Schedules, samplers and time embeddings against diffusers (Tests/Fixtures/schedulers.json).
@Suite struct DiffusionMathTests {
  // MARK: Schedules

  @Test("β, ᾱ and variances are diffusers'", arguments: ["linear", "squaredcos_cap_v2"])
  func schedule(_ name: String) throws {
    let expected = try #require(SchedulerFixture.load().schedules[name])
    let schedule = NoiseSchedule(diffusersName: name)
    for (index, timestep) in expected.timesteps.enumerated() {
      // diffusers computes β in float32.
      #expect(schedule.posterior(timestep).large.isNear(expected.betas[index], relative: 1e-4))
      #expect(schedule.alphaBar(timestep).isNear(expected.alphasCumprod[index], relative: 1e-4))
      func variance(_ kind: PosteriorVariance) -> Double { schedule.posterior(timestep).variance(kind) }
      #expect(variance(.fixedSmall).isNear(expected.fixedSmall[index], relative: 1e-4))
      #expect(variance(.fixedLarge).isNear(expected.fixedLarge[index], relative: 1e-4))
    }
  }

  @Test("The variance of test_scheduler_ddpm.py", arguments: [(0, 0), (487, 0.00979), (999, 0.02)])
  func knownVariance(_ timestep: Int, _ expected: Double) {
    let schedule = NoiseSchedule(.linear, timesteps: 1000)
    #expect(abs(schedule.posterior(timestep).variance(.fixedSmall) - expected) < 1e-5)
  }

  @Test("ᾱ falls from nearly 1 to nearly 0 for any number of timesteps", arguments: NoiseSchedule.Kind.allCases)
  func alphaBarFalls(_ kind: NoiseSchedule.Kind) {
    let schedule = NoiseSchedule(kind, timesteps: 1000)
    #expect(schedule.count == 1000)
    #expect(schedule.alphaBar(-1) == 1)
    #expect(schedule.alphaBar(0) > 0.999)
    #expect(schedule.alphaBar(999) < (kind == .scaledLinear ? 1e-3 : 2e-4))
    #expect((0..<1000).allSatisfy { schedule.alphaBar($0) < schedule.alphaBar($0 - 1) })
    #expect((0..<1000).allSatisfy { schedule.posterior($0).large > 0 && schedule.posterior($0).large <= 0.9990001 })
    let two = NoiseSchedule(kind, timesteps: 2)
    #expect((0..<2).allSatisfy { two.posterior($0).large.isFinite && two.posterior($0).large > 0 })
  }

  @Test("The timestep for a noise is the one with the same amount of noise")
  func timestepForNoise() {
    let schedule = NoiseSchedule(.linear, timesteps: 1000)
    for timestep in [0, 1, 10, 487, 999] {
      let alphaBar = schedule.alphaBar(timestep)
      #expect(schedule.timestep(forNoise: ((1 - alphaBar) / alphaBar).squareRoot()) == timestep)
    }
    #expect(schedule.timestep(forNoise: 0) == 0)
    #expect(schedule.timestep(forNoise: 1e6) == 999)
    #expect(schedule.timestep(forNoise: .infinity) == 999)
  }

  @Test("Training draws timesteps uniformly, and ln σ of the edm schedule from N(−1.2, 1.2²)")
  func trainingLevels() throws {
    func levels(_ schedule: NoiseSchedule) throws -> [NoiseLevel] {
      try onTensors { schedule.trainingLevels(10_000, RandomDraw(seed: 1, stream: .noise), on: $0) }
    }
    func moments(_ values: [Double]) -> (mean: Double, deviation: Double) {
      let mean = values.reduce(0, +) / 10_000
      return (mean, (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 10_000).squareRoot())
    }
    let linear = NoiseSchedule(.linear, timesteps: 1000)
    let uniform = try levels(linear)
    let found = moments(uniform.map { Double($0.condition) })
    #expect(abs(found.mean - 499.5) < 12 && abs(found.deviation - 288.7) < 8)
    #expect(uniform.allSatisfy { $0 == linear.level(Int($0.condition)) })
    let normal = try levels(NoiseSchedule(.edm, timesteps: 1000))
    let logarithms = moments(normal.map { log($0.ratio) })
    #expect(abs(logarithms.mean + 1.2) < 0.05 && abs(logarithms.deviation - 1.2) < 0.04)
    #expect(Set(normal).count > 9000)
    let settings = DiffusionSettings {
      ($0.noiseSchedule, $0.trainingNoise) = (.edm, LogNormal(mean: 0.3, deviation: 0.5))
    }
    let chosen = moments(try levels(settings.schedule).map { log($0.ratio) })
    #expect(abs(chosen.mean - 0.3) < 0.02 && abs(chosen.deviation - 0.5) < 0.02)
  }

  // MARK: Spacing

  @Test(
    "Spacings by hand",
    arguments: [
      (TimestepSpacing.leading, 4, 10, [7, 5, 2, 0]), (.leading, 3, 1000, [666, 333, 0]), (.leading, 1, 10, [0]),
      // numpy rounds the halves 7.5 and 2.5 to even, and so does diffusers.
      (.trailing, 4, 10, [9, 7, 4, 1]), (.trailing, 3, 1000, [999, 666, 332]), (.trailing, 1, 10, [9]),
      (.linspace, 4, 10, [9, 6, 3, 0]), (.linspace, 3, 1000, [999, 500, 0]), (.linspace, 2, 10, [9, 0]),
      (.quadratic, 4, 1000, [800, 355, 88, 0]), (.quadratic, 3, 10, [8, 2, 0]), (.quadratic, 1, 10, [0]),
    ])
  func spacing(_ spacing: TimestepSpacing, _ steps: Int, _ total: Int, _ expected: [Int]) {
    #expect(spacing.timesteps(steps, of: total) == expected)
  }

  @Test("Every spacing stays in range and falls", arguments: TimestepSpacing.allCases, [1, 2, 7, 50, 999, 1000])
  func spacingStaysInside(_ spacing: TimestepSpacing, _ steps: Int) {
    let timesteps = spacing.timesteps(steps, of: 1000)
    #expect(timesteps.count == steps)
    #expect(timesteps.allSatisfy { (0..<1000).contains($0) })
    #expect(zip(timesteps, timesteps.dropFirst()).allSatisfy { $0 >= $1 })
    if spacing != .quadratic { #expect(Set(timesteps).count == steps) }
  }

  /// The timesteps visited, whether or not their number is divisible by the steps.
  @Test("Evenly spaced timesteps are evenly spaced for every number of steps", arguments: [2, 7, 100, 1000])
  func evenSpacing(_ total: Int) {
    for steps in 1...total {
      let (leading, trailing) = (
        TimestepSpacing.leading.timesteps(steps, of: total), TimestepSpacing.trailing.timesteps(steps, of: total)
      )
      let stride = Double(total) / Double(steps)
      for timesteps in [leading, trailing] {
        let gaps = zip(timesteps, timesteps.dropFirst()).map { Double($0 - $1) }
        #expect(timesteps.count == steps && gaps.allSatisfy { abs($0 - stride) < 1 + 1e-9 }, "\(steps)")
      }
      #expect(leading.last == 0 && trailing.first == total - 1)
      // The first and the last are at most a stride from their ends.
      #expect(Double(total - leading[0]) < stride + 1 && Double(trailing[steps - 1]) < stride, "\(steps)")
      if total.isMultiple(of: steps) {
        #expect(leading == (0..<steps).map { $0 * (total / steps) }.reversed(), "\(steps)")
      }
    }
  }

  // MARK: Paths

  /// A network that predicts the same image for anything, and clipping changes that image. Every sampler mixes the
  /// result with the initial noise of x, in any number of steps.
  @Test(
    "Clipping does not drift with any number of steps", arguments: DiffusionSampler.Method.deterministic,
    NoiseSchedule.Kind.allCases)
  func clippingDoesNotDrift(_ method: DiffusionSampler.Method, _ kind: NoiseSchedule.Kind) throws {
    let schedule = NoiseSchedule(kind, timesteps: 1000)
    let errors = try onTensors { backend in
      let sampler = DiffusionSampler(method)
      return [10, 100, 333, 999, 1000].map { steps -> Float in
        let levels = Array(sampler.levels(steps, of: schedule, LevelSpacing(.leading)).dropLast())
        let (first, last) = (levels[0], levels[levels.count - 1])
        let x = normalValues([1, 4, 4, 1], seed: 1, on: backend)
        let found = sampler.walk(x, through: levels) { x, level in
          // A prediction of the clean image beyond the range.
          PredictionTarget.sample.interpret(
            Tensor(repeating: -1.5, shape: x.shape, on: backend), at: level, x, clips: true)
        } noise: { _ in
          fatalError("no noise")
        }
        let image = Tensor(repeating: -1, shape: x.shape, on: backend)
        return largestDifference(found.values(), last.add(first.noise(in: x, of: image), to: image).values())
      }
    }
    for error in errors { #expect(error < 1e-3) }
  }

  /// Images of normal numbers have a denoiser in closed form, which turns noise z into mean + deviation · z.
  @Test(
    "With an exact denoiser every sampler, spacing and number of steps leads to the same images",
    arguments: TimestepSpacing.allCases, [true, false])
  func exactDenoiser(_ spacing: TimestepSpacing, _ clips: Bool) throws {
    let (mean, deviation) = (0.6, 0.3)
    let errors = try onTensors { backend in
      WayCase.all.map { way -> (WayCase, [Float]) in
        let schedule = NoiseSchedule(way.schedule, timesteps: 1000)
        let levels = way.sampler.levels(way.steps, of: schedule, LevelSpacing(spacing))
        // The initial noise; at an edm level, x is scaled.
        let z = normalValues([64, 4, 4, 1], seed: 2, on: backend)
        let scale = Float(levels[0].sigma)
        let found = way.sampler.walk(backend.affine(z, scale: scale, shift: 0), through: levels) { x, level in
          let fraction = deviation * deviation / (deviation * deviation + level.ratio * level.ratio)
          let image = backend.affine(x, scale: Float(fraction / level.signal), shift: Float(mean * (1 - fraction)))
          return PredictionTarget.sample.interpret(image, at: level, x, clips: clips)
        } noise: { step in
          normalValues(z.shape, seed: UInt64(100 + step), on: backend)
        }.values()
        // The flow keeps a pixel's distance from the mean in deviations. A sampler with its own noise draws from all
        // images that would look the same at the first level.
        let ratio = levels[0].ratio
        let whole = (deviation * deviation + ratio * ratio).squareRoot()
        let fraction = deviation * deviation / (whole * whole)
        let (middle, spread) =
          way.sampler.drawsNoise
          ? (mean * (1 - fraction), (pow(fraction * ratio, 2) + fraction * ratio * ratio).squareRoot())
          : (mean - deviation * mean / whole, deviation * ratio / whole)
        let expected = z.values().map { value -> Float in
          let image = Float(middle) + Float(spread) * value
          return clips ? max(-1, min(1, image)) : image
        }
        if way.sampler.drawsNoise {
          // Other images of the same distribution; compare them in order.
          return (way, zip(found.sorted(), expected.sorted()).map { abs($0 - $1) })
        }
        return (way, zip(found, expected).map { abs($0 - $1) })
      }
    }
    for (way, differences) in errors {
      let average = Double(differences.reduce(0, +)) / Double(differences.count)
      // First-order solvers are off by the length of a step; the mean of 1,024 random numbers is off by a hundredth.
      let bound = (way.sampler.drawsNoise ? 0.03 : 0.012) + 3 / Double(way.steps)
      #expect(average < bound, "\(way)")
    }
  }

  // MARK: Steps

  @Test("Single steps are diffusers'", arguments: [DiffusionSampler.Method.ddpm, .ddim], Backends.available)
  func steps(_ method: DiffusionSampler.Method, _ kind: BackendKind) throws {
    let fixture = try SchedulerFixture.load()
    let cases = method == .ddpm ? fixture.ddpmSteps : fixture.ddimSteps
    #expect(cases.count > 30)
    for step in cases {
      let found = try onTensors(kind) { backend in
        func image(_ values: [Float]) -> Tensor { Tensor(values, shape: [1, 3, 4, 1], on: backend) }
        let (sample, output) = (image(fixture.inputs.sample), image(fixture.inputs.modelOutput))
        let stepper = try step.stepper(method)
        let next = stepper.step(output, at: step.timestep, previous: step.previousTimestep, sample) {
          image(fixture.inputs.noise)
        }
        return (next: next.values(), image: stepper.interpret(output, at: step.timestep, sample).image.values())
      }
      #expect(relativeError(found.next, step.previous) < 1e-4, "\(step)")
      #expect(relativeError(found.image, step.x0) < 1e-4, "\(step)")
    }
  }

  /// Sums that diffusers' own tests check, without random numbers.
  @Test(
    "The sums of test_scheduler_ddim.py",
    arguments: [
      KnownSum(172.0067), KnownSum(52.5302, target: .velocity), KnownSum(149.8295, betaStart: 0.01),
      KnownSum(149.0784, betaStart: 0.01, setsAlphaToOne: false), KnownSum(354.5418, skipping: 8),
    ])
  func knownSums(_ known: KnownSum) throws {
    let found = try onTensors { backend -> Double in
      // diffusers' dummy sample: 0…767 as (channels, height, width, batch), then the batch first.
      func sample(_ values: [Float]) -> Tensor {
        Tensor(permuted(values, [3, 8, 8, 4], order: [3, 1, 2, 0]), shape: [4, 8, 8, 3], on: backend)
      }
      let ramp = (0..<768).map { Float($0) / 768 }
      let stepper = known.stepper
      let timesteps = Array(TimestepSpacing.leading.timesteps(10, of: 1000).dropFirst(known.skipped))
      var x = sample(ramp)
      if known.skipped > 0 { x = stepper.addNoise(sample(ramp.reversed()), to: x, at: timesteps[0]) }
      for (index, timestep) in timesteps.enumerated() {
        let prediction = Float(timestep) / Float(timestep + 1) * x
        let previous = index + 1 < timesteps.count ? timesteps[index + 1] : -1
        x = stepper.step(prediction, at: timestep, previous: previous, x) { fatalError("DDIM draws no noise") }
      }
      return x.values().reduce(0) { $0 + Double(abs($1)) }
    }
    #expect(abs(found - known.expected) < 1e-3)
  }

  @Test("With the true noise one step leads back to the image", arguments: PredictionTarget.allCases, [0, 1, 487, 999])
  func addNoiseAndBack(_ target: PredictionTarget, _ timestep: Int) throws {
    let (image, back) = try onTensors { backend in
      let stepper = Stepper(target: target, clips: false)
      let image = -1 * uniformImages([2, 4, 4, 1], on: backend)
      let noise = normalValues(image.shape, seed: 3, on: backend)
      let noisy = stepper.addNoise(noise, to: image, at: timestep)
      let alphaBar = stepper.schedule.alphaBar(timestep)
      let truth: Tensor =
        switch target {
        case .epsilon: noise
        case .sample: image
        case .velocity:
          backend.add(
            noise, image, alpha: Float(alphaBar.squareRoot()), beta: -Float((1 - alphaBar).squareRoot()))
        }
      let back = stepper.step(truth, at: timestep, previous: -1, noisy) { fatalError("DDIM draws no noise") }
      return (image.values(), back.values())
    }
    // At t = 999 the division is by √ᾱ = 0.006, the remaining share of the image.
    #expect(largestDifference(back, image) < (timestep == 999 ? 2e-4 : 1e-5))
  }

  @Test("With η = 1 DDIM's noise is the ancestral sampler's")
  func etaOne() throws {
    let difference = try onTensors { backend in
      func result(_ method: DiffusionSampler.Method) -> [Float] {
        let stepper = Stepper(DiffusionSampler(method, eta: 1), clips: false)
        let shape: Shape = [1, 4, 4, 1]
        return stepper.step(
          normalValues(shape, seed: 1, on: backend), at: 300, previous: 280, normalValues(shape, seed: 2, on: backend)
        ) { normalValues(shape, seed: 3, on: backend) }.values()
      }
      return largestDifference(result(.ddim), result(.ddpm))
    }
    #expect(difference < 1e-5)
  }

  @Test("A step towards noise and back leads to the starting point", arguments: DiffusionSampler.Method.deterministic)
  func inversion(_ method: DiffusionSampler.Method) throws {
    let (start, up, back) = try onTensors { backend in
      let stepper = Stepper(DiffusionSampler(method), clips: false)
      let x = uniformImages([1, 4, 4, 1], on: backend)
      // The noise that the network would predict in both places.
      let noise = normalValues(x.shape, seed: 3, on: backend)
      let up = stepper.step(noise, at: 100, previous: 200, x) { fatalError("no noise") }
      let back = stepper.step(noise, at: 200, previous: 100, up) { fatalError("no noise") }
      return (x.values(), up.values(), back.values())
    }
    #expect(largestDifference(start, back) < 1e-5)
    #expect(largestDifference(start, up) > 0.1)
  }

  @Test("Noise in two steps is the same as noise in one", arguments: NoiseSchedule.Kind.allCases, [-1, 0, 300, 700])
  func moreNoise(_ kind: NoiseSchedule.Kind, _ timestep: Int) throws {
    let schedule = NoiseSchedule(kind, timesteps: 1000)
    let (low, high) = (schedule.level(timestep), schedule.level(700))
    // The shares of the image, the first noise and the second noise in the result.
    let parts = try onTensors { backend in
      func number(_ value: Float) -> Tensor { Tensor([value], shape: [1, 1, 1, 1], on: backend) }
      return [(1, 0, 0), (0, 1, 0), (0, 0, 1)].map { image, first, second in
        Double(high.add(number(second), to: low.add(number(first), to: number(image)), at: low).item())
      }
    }
    #expect(abs(parts[0] - high.signal) < 1e-6)
    #expect(abs((parts[1] * parts[1] + parts[2] * parts[2]).squareRoot() - high.sigma) < 1e-6)
    #expect(timestep == 700 ? parts[2] < 1e-3 : parts[2] > 0.1)
  }

  // MARK: Time embeddings

  @Test("Time embeddings are diffusers'")
  func timeEmbeddings() throws {
    for expected in try SchedulerFixture.load().timeEmbeddings {
      let embedding = TimestepEmbedding(
        width: expected.dimension, flipSinToCos: expected.flipSinToCos, frequencyShift: expected.frequencyShift)
      let found = embedding(expected.timesteps)
      // Off by float32's rounding of an angle of 999.
      #expect(largestDifference(found, expected.values.flatMap(\.self)) < 1e-4)
    }
  }
}

// MARK: - Helpers

/// A sampler, a schedule and a number of steps.
private struct WayCase: CustomStringConvertible {
  let sampler: DiffusionSampler
  let schedule: NoiseSchedule.Kind
  let steps: Int

  static let all: [WayCase] = [
    DiffusionSampler(.ddpm), .init(.ddim), .init(.ddim, eta: 1), .init(.dpm), .init(.dpm, eta: 1), .init(.heun),
    .init(.euler),
  ].flatMap { sampler in
    NoiseSchedule.Kind.allCases.flatMap { schedule in
      [25, 333, 501, 1000].map { WayCase(sampler: sampler, schedule: schedule, steps: $0) }
    }
  }

  var description: String { "\(sampler.method) \(sampler.eta) \(schedule) \(steps)" }
}

extension DiffusionSampler {
  fileprivate var drawsNoise: Bool { method == .ddpm || eta > 0 }
}

/// A row of diffusers' test_scheduler_ddim.py.
struct KnownSum: Sendable, CustomTestStringConvertible {
  let expected: Double
  let skipped: Int
  let stepper: Stepper

  init(
    _ expected: Double, target: PredictionTarget = .epsilon, betaStart: Double = 1e-4, setsAlphaToOne: Bool = true,
    skipping skipped: Int = 0
  ) {
    self.expected = expected
    self.skipped = skipped
    stepper = Stepper(
      schedule: NoiseSchedule(.linear, timesteps: 1000, betaStart: betaStart), target: target,
      setsAlphaToOne: setsAlphaToOne)
  }

  var testDescription: String { "\(expected)" }
}

extension Double {
  fileprivate func isNear(_ other: Double, relative tolerance: Double) -> Bool {
    abs(self - other) <= tolerance * abs(other)
  }
}

extension NoiseSchedule {
  fileprivate init(diffusersName: String) {
    self.init(diffusersName == "linear" ? .linear : .cosine, timesteps: 1000)
  }

  /// The share of the image's variance that is left at a timestep; 1 before the first.
  fileprivate func alphaBar(_ timestep: Int) -> Double {
    let ratio = level(timestep).ratio
    return 1 / (1 + ratio * ratio)
  }

  fileprivate func posterior(_ timestep: Int) -> Posterior {
    Posterior(from: level(timestep), to: level(timestep - 1))
  }
}

extension DiffusionSampler.Method {
  fileprivate static let deterministic: [Self] = [.ddim, .euler, .dpm, .heun]
}

/// Single steps between timesteps with a network's output given, as diffusers' schedulers take them.
struct Stepper {
  var sampler = DiffusionSampler(.ddim)
  var schedule = NoiseSchedule(.linear, timesteps: 1000)
  var target = PredictionTarget.epsilon
  var clips = true
  /// ᾱ before the first timestep is taken as 1, not as that of timestep 0.
  var setsAlphaToOne = true

  init(
    _ sampler: DiffusionSampler = DiffusionSampler(.ddim), schedule: NoiseSchedule? = nil,
    target: PredictionTarget = .epsilon, clips: Bool = true, setsAlphaToOne: Bool = true
  ) {
    (self.sampler, self.target, self.clips, self.setsAlphaToOne) = (sampler, target, clips, setsAlphaToOne)
    if let schedule { self.schedule = schedule }
  }

  func interpret(_ output: Tensor, at timestep: Int, _ x: Tensor) -> Denoised {
    target.interpret(output, at: schedule.level(timestep), x, clips: clips)
  }

  func step(_ output: Tensor, at timestep: Int, previous: Int, _ x: Tensor, noise: () -> Tensor) -> Tensor {
    let last = setsAlphaToOne ? previous : max(0, previous)
    return sampler.walk(x, through: [schedule.level(timestep), schedule.level(last)]) { x, level in
      target.interpret(output, at: level, x, clips: clips)
    } noise: { _ in
      noise()
    }
  }

  func addNoise(_ noise: Tensor, to image: Tensor, at timestep: Int) -> Tensor {
    schedule.level(timestep).add(noise, to: image)
  }
}

/// schedulers.json as make_fixtures.py writes it.
private struct SchedulerFixture: Decodable {
  struct Schedule: Decodable {
    let timesteps: [Int]
    let betas, alphasCumprod, fixedSmall, fixedLarge: [Double]

    enum CodingKeys: String, CodingKey {
      case timesteps, betas
      case alphasCumprod = "alphas-cumprod"
      case fixedSmall = "fixed-small"
      case fixedLarge = "fixed-large"
    }
  }

  struct Inputs: Decodable {
    let sample, modelOutput, noise: [Float]

    enum CodingKeys: String, CodingKey {
      case sample, noise
      case modelOutput = "model-output"
    }
  }

  struct Step: Decodable {
    let schedule, prediction: String
    let clip: Bool
    let variance: String?
    let eta: Double?
    let setsAlphaToOne: Bool?
    let inferenceSteps: Int?
    let timestep: Int
    let previous, x0: [Float]

    enum CodingKeys: String, CodingKey {
      case schedule, prediction, clip, variance, eta, timestep, previous, x0
      case setsAlphaToOne = "set-alpha-to-one"
      case inferenceSteps = "inference-steps"
    }

    var previousTimestep: Int { max(-1, timestep - 1000 / (inferenceSteps ?? 1000)) }

    func stepper(_ method: DiffusionSampler.Method) throws -> Stepper {
      let targets: [String: PredictionTarget] = [
        "epsilon": .epsilon, "sample": .sample, "v_prediction": .velocity,
      ]
      let sampler = DiffusionSampler(
        method, variance: variance == "fixed_large" ? .fixedLarge : .fixedSmall, eta: eta ?? 0)
      return Stepper(
        sampler, schedule: NoiseSchedule(diffusersName: schedule), target: try #require(targets[prediction]),
        clips: clip, setsAlphaToOne: setsAlphaToOne ?? true)
    }
  }

  struct TimeEmbedding: Decodable {
    let dimension: Int
    let flipSinToCos: Bool
    let frequencyShift: Float
    let timesteps: [Float]
    let values: [[Float]]

    enum CodingKeys: String, CodingKey {
      case dimension, timesteps, values
      case flipSinToCos = "flip-sin-to-cos"
      case frequencyShift = "frequency-shift"
    }
  }

  let schedules: [String: Schedule]
  let inputs: Inputs
  let ddpmSteps, ddimSteps: [Step]
  let timeEmbeddings: [TimeEmbedding]

  enum CodingKeys: String, CodingKey {
    case schedules, inputs
    case ddpmSteps = "ddpm-steps"
    case ddimSteps = "ddim-steps"
    case timeEmbeddings = "time-embeddings"
  }

  static func load() throws -> SchedulerFixture {
    try JSONDecoder().decode(SchedulerFixture.self, from: contents(fixture("schedulers.json")))
  }
}
