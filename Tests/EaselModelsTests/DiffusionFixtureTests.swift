import EaselModels
import EaselTestSupport
import Foundation
import Testing

/// Solvers, preconditioning and bounds against Tests/Fixtures/diffusion.json.
@Suite struct DiffusionFixtureTests {
  @Test("Karras et al.'s levels, and the network's timesteps for them", arguments: ["linear", "cosine"])
  func levels(_ name: String) throws {
    let expected = try #require(DiffusionFixture.load().levels[name])
    let schedule = NoiseSchedule(try #require(.init(rawValue: name)), timesteps: 1000)
    let found = schedule.karrasLevels(10, from: schedule.level(999).ratio)
    #expect(found.count == expected.sigmas.count)
    for (level, (sigma, timestep)) in zip(found, zip(expected.sigmas, expected.timesteps)) {
      // diffusers computes β in float32, so the last β of a cosine schedule is off by 1e-4.
      #expect(abs(level.ratio - sigma) < 2e-4 * sigma)
      #expect(abs(Double(level.condition) - timestep) < 1e-2)
    }
  }

  @Test("Solvers have the same results as diffusers'", arguments: Backends.available)
  func walks(_ kind: BackendKind) throws {
    let fixture = try DiffusionFixture.load()
    #expect(fixture.walks.count == 40)
    for expected in fixture.walks {
      let sampler = DiffusionSampler(try #require(.init(rawValue: expected.sampler)), eta: expected.eta)
      let schedule = NoiseSchedule(try #require(.init(rawValue: expected.schedule)), timesteps: 1000)
      let target = try #require(PredictionTarget(rawValue: expected.prediction))
      let path = try onTensors(kind) { backend -> [[Float]] in
        let levels = sampler.levels(expected.steps, of: schedule, LevelSpacing(.leading))
        let start = Tensor(fixture.start, shape: [1, 3, 4, 1], on: backend)
        // Each beginning of the way is tested separately.
        return (1...expected.steps).map { steps in
          sampler.walk(start, through: Array(levels[...steps])) { x, level in
            let shift = Float(level.ratio / (1 + level.ratio))
            let output = Tensor(x.values().map { sin(2 * $0 + shift) }, shape: x.shape, on: backend)
            return target.interpret(output, at: level, x, clips: false)
          } noise: { _ in
            precondition(sampler.eta > 0, "this solver draws no noise")
            return start
          }.values()
        }
      }
      for (step, (found, place)) in zip(path, expected.path).enumerated() {
        #expect(
          relativeError(found, place) < 2e-3,
          "\(sampler.method), \(sampler.eta), \(schedule.kind), \(target), step \(step)")
      }
    }
  }

  @Test("Velocity on the edm schedule is Karras et al.'s preconditioning and weighting")
  func preconditioning() throws {
    let expected = try DiffusionFixture.load().edm
    let schedule = NoiseSchedule(.edm, timesteps: 1000)
    for (index, sigma) in expected.sigmas.enumerated() {
      let level = schedule.level(ratio: sigma)
      #expect(abs(Double(level.condition) - 1000 * expected.conditions[index]) < 1e-3)
      func row(_ values: [Double]) -> ArraySlice<Double> { values[6 * index..<6 * (index + 1)] }
      let target = PredictionTarget.velocity.target(at: level)
      var loss = 0.0
      for (image, (noise, (output, input))) in zip(
        row(expected.image), zip(row(expected.noise), zip(row(expected.output), row(expected.input))))
      {
        let noisy = level.signal * image + level.sigma * noise
        #expect(abs(noisy - input) < 1e-7)
        // F has the opposite sign of v.
        loss += pow(-output - (target.image * image + target.noise * noise), 2) / 6
      }
      #expect(abs(loss - expected.losses[index]) < 1e-6 * loss)
    }
  }

  @Test(
    "The variational bound's terms, and the gradient with respect to the variance",
    arguments: [NoiseSchedule.Kind.linear, .cosine], PosteriorVariance.allCases)
  func bound(_ kind: NoiseSchedule.Kind, _ variance: PosteriorVariance) throws {
    let fixture = try DiffusionFixture.load().bound
    let expected = try #require(fixture.cases["\(kind.rawValue).\(variance.rawValue)"])
    let found = try onTensors { backend -> (terms: [Float], gradient: [Float], prior: [Float]) in
      let schedule = NoiseSchedule(kind, timesteps: 1000)
      let shape: Shape = [7, 1, 5, 1]
      func tensor(_ values: [Float]) -> Tensor { Tensor(values, shape: shape, on: backend) }
      let bound = VariationalBound(schedule: schedule, variance: variance)
      let (image, noise) = (tensor(fixture.image), tensor(fixture.noise))
      // The image's error is that of the noise times the timestep's factor.
      let factors = fixture.timesteps.map {
        Float(PredictionTarget.epsilon.image(at: schedule.level($0)).output)
      }
      let errors = backend.scaledSum(
        noise - tensor(fixture.predicted), by: Tensor(factors, shape: [7], on: backend), nil, by: nil)
      let tape = Tape()
      let output = tape.variable(tensor(fixture.output))
      let terms = bound.terms(image, errors: errors, output: output, timesteps: fixture.timesteps)
      let bits = Float(1 / (5 * Foundation.log(2.0)))
      if variance == .learnedRange {
        tape.backward(from: weightedSum(terms, weights: Tensor(repeating: bits, shape: [7], on: backend)))
      }
      return (
        terms.value.values().map { $0 * bits }, tape.gradient(of: output)?.values() ?? [],
        bound.prior(image).values().map { $0 * bits }
      )
    }
    for (found, expected) in zip(found.terms, expected.terms) {
      #expect(abs(found - expected) < 1e-4 * max(abs(expected), 1e-3), "\(found) \(expected)")
    }
    if variance == .learnedRange { #expect(relativeError(found.gradient, expected.gradient) < 1e-4) }
    #expect(relativeError(found.prior, try #require(fixture.priors[kind.rawValue])) < 1e-2)
  }
}

/// diffusion.json as make_diffusion.py writes it.
private struct DiffusionFixture: Decodable {
  struct Levels: Decodable { let sigmas, timesteps: [Double] }

  struct Walk: Decodable {
    let sampler, schedule, prediction: String
    let steps: Int
    let eta: Double
    let path: [[Float]]
  }

  struct Preconditioning: Decodable {
    let sigmas, image, noise, output, input, conditions, losses: [Double]
  }

  struct Bound: Decodable {
    struct Terms: Decodable { let terms, gradient: [Float] }

    let timesteps: [Int]
    let image, noise, predicted, output: [Float]
    let cases: [String: Terms]
    let priors: [String: [Float]]
  }

  let levels: [String: Levels]
  let start: [Float]
  let walks: [Walk]
  let edm: Preconditioning
  let bound: Bound

  static func load() throws -> DiffusionFixture {
    try JSONDecoder().decode(DiffusionFixture.self, from: contents(fixture("diffusion.json")))
  }
}
