import Foundation
import Layers
import RunStorage

/// A denoising diffusion probabilistic model (Ho et al. 2020): a U-Net that learns what noise an image contains.
///
/// Inside, images have values −1 to 1. Optionally it is conditioned on labels, with classifier-free guidance (Ho and
/// Salimans 2022).
public final class Diffusion: SingleLossModel {
  public let context: ModelContext
  public let components: [Component]
  public let settings: DiffusionSettings
  public let schedule: NoiseSchedule
  private let network: UNet

  /// Images are made this many at a time, always: kernels may add in another order for another batch, and image k shall be
  /// the same whatever the count.
  static let chunk = 16

  /// The purposes that random numbers are drawn for.
  private enum Draw {
    static let noise: UInt32 = 0
    static let timestep: UInt32 = 1
    static let labelDropout: UInt32 = 2
    /// The first of those of the dropout layers.
    static let dropout: UInt32 = 16
  }

  public init(_ settings: DiffusionSettings, _ context: ModelContext) throws {
    if settings.conditional, context.data.classNames.isEmpty {
      throw UserError(
        .usage, "conditional: expected data with labels, found none",
        hint: "Set conditional=false, or put the images into one folder for each class.")
    }
    self.settings = settings
    self.context = context
    schedule = NoiseSchedule(settings.noiseSchedule, timesteps: settings.timesteps)
    let scope = Scope()
    network = UNet(settings.network(context.data), scope)
    components = [Component("", scope.makeArena(on: context.backend, seed: context.seed))]
  }

  // MARK: Training

  /// The mean squared error of the prediction at a random timestep for each image.
  public func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    let backend = context.backend
    let images = batch.tensor(signed: true, on: backend)
    let noise = Tensor(uninitialized: images.shape, on: backend)
    backend.fillNormal(noise, draw(Draw.noise))
    let timesteps = uniform(batch.count, draw(Draw.timestep)).map {
      min(settings.timesteps - 1, Int($0 * Float(settings.timesteps)))
    }
    func perSample(_ value: (Double) -> Double) -> Tensor {
      Tensor(timesteps.map { Float(value(schedule.alphaBar($0))) }, shape: [batch.count], on: backend)
    }
    let signal = perSample { $0.squareRoot() }
    let sigma = perSample { (1 - $0).squareRoot() }
    let noisy = backend.mix(images, by: signal, noise, by: sigma)
    let target: Tensor
    switch settings.prediction {
    case .epsilon: target = noise
    case .sample: target = images
    case .velocity: target = backend.mix(noise, by: signal, images, by: -1 * sigma)
    }
    let prediction = network(
      Variable(noisy.cast(to: context.type), on: tape), timesteps: timesteps.map(Float.init),
      classes: classes(of: batch, tape == nil ? nil : draw(Draw.labelDropout)),
      dropout: tape == nil || settings.dropout == 0 ? nil : draw(Draw.dropout))
    return (Gradients.loss(.squaredError, prediction.cast(to: .float32), target), [:])
  }

  public func samplingPass(_ batch: Batch) {
    _ = predict(batch.tensor(signed: true, on: context.backend), at: settings.timesteps / 2)
  }

  private func uniform(_ count: Int, _ draw: RandomDraw) -> [Float] {
    let numbers = Tensor(uninitialized: [count], on: context.backend)
    context.backend.fillUniform(numbers, draw)
    return numbers.values()
  }

  /// The labels that the network is told: some are left out in training.
  private func classes(of batch: Batch, _ dropping: RandomDraw?) -> Tensor? {
    guard settings.conditional else { return nil }
    var labels = batch.labels ?? [Int32](repeating: -1, count: batch.count)
    if let dropping {
      for (index, number) in uniform(batch.count, dropping).enumerated() where number < settings.labelDropout {
        labels[index] = -1
      }
    }
    return Tensor(labels, on: context.backend)
  }

  // MARK: Sampling

  /// The network's prediction, float32, for images at one timestep.
  ///
  /// - Parameters:
  ///   - label: the class of all images; nil for none.
  ///   - guidance: how far to go from the prediction without a label to the one with it.
  func predict(_ x: Tensor, at timestep: Int, label: Int? = nil, guidance: Float = 1) -> Tensor {
    func run(_ label: Int?) -> Tensor {
      let count = x.shape[0]
      let classes =
        settings.conditional
        ? Tensor([Int32](repeating: Int32(label ?? -1), count: count), on: context.backend) : nil
      return network(
        Variable(x.cast(to: context.type)), timesteps: [Float](repeating: Float(timestep), count: count),
        classes: classes
      ).value.cast(to: .float32)
    }
    guard let label, guidance != 1 else { return run(label) }
    // w · with − (w − 1) · without
    return context.backend.add(run(label), run(nil), alpha: guidance, beta: 1 - guidance)
  }

  private func sampler(_ options: SamplingOptions) throws -> DiffusionSampler {
    var method = settings.sampler
    if let name = options.sampler {
      guard let named = DiffusionSampler.Method(rawValue: name) else {
        let known = DiffusionSampler.Method.allCases.map(\.rawValue)
        throw UserError(
          .usage, "--sampler: there is no sampler \(name)",
          hint: nearestName(to: name, among: known).map { "Did you mean \($0)?" }
            ?? "Known: \(known.joined(separator: ", ")).")
      }
      method = named
    }
    return DiffusionSampler(
      schedule: schedule, method: method, target: settings.prediction, variance: settings.variance,
      eta: options.eta ?? 0, clips: settings.clip)
  }

  /// Goes from noise down a list of timesteps to an image. Sample n takes the random numbers of index `first + n`.
  private func descend(
    _ noise: Tensor, _ timesteps: [Int], _ sampler: DiffusionSampler, _ options: SamplingOptions, first: Int,
    progress: (Int) -> Void = { _ in }
  ) -> Tensor {
    var x = noise
    for (index, timestep) in timesteps.enumerated() {
      let prediction = predict(x, at: timestep, label: options.label, guidance: options.guidance ?? 1)
      let previous = index + 1 < timesteps.count ? timesteps[index + 1] : -1
      x = sampler.step(prediction, at: timestep, previous: previous, x) {
        normal(x.shape, seed: options.seed, first: first, draw: UInt32(index + 1))
      }
      progress(index + 1)
    }
    return x
  }

  private func normal(_ shape: Shape, seed: UInt64, first: Int, draw: UInt32) -> Tensor {
    let noise = Tensor(uninitialized: shape, on: context.backend)
    context.backend.fillNormal(
      noise, RandomDraw(seed: seed, stream: .sampling, index: UInt64(first), draw: draw))
    return noise
  }

  /// Runs work on images in chunks of a fixed size; the last is filled up with zeros that are then dropped.
  private func inChunks(_ images: Tensor, _ work: (_ chunk: Tensor, _ first: Int) -> Tensor) -> Tensor {
    let shape = images.shape
    let joined = Tensor(uninitialized: shape, on: context.backend)
    for first in stride(from: 0, to: shape[0], by: Diffusion.chunk) {
      let range = first..<min(first + Diffusion.chunk, shape[0])
      let chunk = Tensor(repeating: 0, shape: context.data.shape(Diffusion.chunk), on: context.backend)
      context.backend.copy(images[range], into: chunk[0..<range.count])
      context.backend.copy(work(chunk, first)[0..<range.count], into: joined[range])
    }
    return joined
  }

  /// From −1…1 to 0…1.
  private func unit(_ images: Tensor) -> Tensor { context.backend.affine(images, scale: 0.5, shift: 0.5) }
  private func signed(_ images: Tensor) -> Tensor { context.backend.affine(images, scale: 2, shift: -1) }
}

extension Diffusion: Sampling {
  public func validate(_ options: SamplingOptions) throws {
    var check = SettingsCheck()
    if let steps = options.steps { check(steps, "--steps", 1...settings.timesteps) }
    if let eta = options.eta { check.require((0...1).contains(eta), "--eta: expected 0 to 1, found \(eta)") }
    if let guidance = options.guidance { check(guidance, "--guidance", atLeast: 0) }
    if let label = options.label {
      check.require(settings.conditional, "--label: this model was trained without labels (conditional: false)")
      let classes = context.data.classNames
      check.require(
        classes.indices.contains(label), "--label: expected 0 to \(classes.count - 1), found \(label)")
    }
    check.require(
      options.guidance == nil || options.label != nil, "--guidance needs a --label to guide towards")
    try check.finish()
    _ = try sampler(options)
  }

  public func sample(_ range: Range<Int>, _ options: SamplingOptions, progress: (Double) -> Void) throws -> Tensor {
    try validate(options)
    let sampler = try sampler(options)
    let timesteps = settings.spacing.timesteps(options.steps ?? settings.samplerSteps, of: schedule.count)
    let images = Tensor(uninitialized: context.data.shape(range.count), on: context.backend)
    // Chunks begin at multiples of their size, so that an image has the same neighbours whatever the range.
    let chunks = range.lowerBound / Diffusion.chunk..<(range.upperBound + Diffusion.chunk - 1) / Diffusion.chunk
    for chunk in chunks {
      let first = chunk * Diffusion.chunk
      let noise = normal(context.data.shape(Diffusion.chunk), seed: options.seed, first: first, draw: 0)
      let result = descend(noise, timesteps, sampler, options, first: first) { done in
        progress((Double(chunk - chunks.lowerBound) + Double(done) / Double(timesteps.count)) / Double(chunks.count))
      }
      let wanted = max(first, range.lowerBound)..<min(first + Diffusion.chunk, range.upperBound)
      context.backend.copy(
        result[wanted.lowerBound - first..<wanted.upperBound - first],
        into: images[wanted.lowerBound - range.lowerBound..<wanted.upperBound - range.lowerBound])
    }
    return unit(images)
  }

  public func description(of options: SamplingOptions) -> [(key: String, value: String)] {
    var description = [
      ("Steps", String(options.steps ?? settings.samplerSteps)),
      ("Sampler", options.sampler ?? settings.sampler.rawValue),
      ("Spacing", settings.spacing.rawValue),
    ]
    if let eta = options.eta { description.append(("Eta", String(eta))) }
    if let label = options.label { description.append(("Label", String(label))) }
    if let guidance = options.guidance { description.append(("Guidance", String(guidance))) }
    return description.map { (key: $0.0, value: $0.1) }
  }
}

extension Diffusion: LatentSpace {
  public var interpolation: Interpolation { .spherical }

  /// The steps between an image and its noise.
  private var codeTimesteps: [Int] { settings.spacing.timesteps(settings.samplerSteps, of: schedule.count) }

  /// The deterministic sampler, without clipping: a code has to lead back to its image.
  private var codeSampler: DiffusionSampler {
    DiffusionSampler(schedule: schedule, method: .ddim, target: settings.prediction, clips: false)
  }

  /// The noise that DDIM leads back to the image: the sampler run backwards.
  public func encode(_ images: Tensor) -> Tensor {
    inChunks(signed(images)) { chunk, _ in
      let (sampler, timesteps) = (codeSampler, Array(codeTimesteps.reversed()))
      // The first step takes the noise that the network sees in the clean image at the lowest timestep.
      let noise = sampler.interpret(predict(chunk, at: timesteps[0]), at: timesteps[0], chunk).noise
      var x = sampler.addNoise(noise, to: chunk, at: timesteps[0])
      for (timestep, next) in zip(timesteps, timesteps.dropFirst()) {
        x = sampler.invert(predict(x, at: timestep), at: timestep, next: next, x)
      }
      return x
    }
  }

  public func decode(_ codes: Tensor) -> Tensor {
    unit(
      inChunks(codes) { chunk, first in
        descend(chunk, codeTimesteps, codeSampler, SamplingOptions(), first: first)
      })
  }

  public func randomCodes(_ range: Range<Int>, seed: UInt64) -> Tensor? {
    normal(context.data.shape(range.count), seed: seed, first: range.lowerBound, draw: 0)
  }
}

extension Diffusion: Restoring {
  public var corruption: Corruption { Corruption(.gaussian, strength: 0.3) }

  /// Takes the noisy image for one on the way from noise, at the timestep that has as much noise, and goes on from there.
  public func restore(_ images: Tensor, from corruption: Corruption, seed: UInt64) throws -> Tensor {
    guard corruption.kind == .gaussian else {
      throw UserError(
        .usage, "--corruption: a diffusion model takes gaussian noise away, not \(corruption.kind.rawValue)",
        hint: "Train a denoising-autoencoder for that.")
    }
    // Pixels 0…1 have half the deviation of −1…1.
    let start = schedule.timestep(forNoise: Double(2 * corruption.strength))
    let signal = Float(schedule.alphaBar(start).squareRoot())
    let steps = min(start + 1, settings.samplerSteps)
    let timesteps = TimestepSpacing.trailing.timesteps(steps, of: start + 1)
    let sampler = DiffusionSampler(
      schedule: schedule, method: .ddim, target: settings.prediction, clips: settings.clip)
    return unit(
      inChunks(signed(images)) { chunk, first in
        descend(
          context.backend.affine(chunk, scale: signal, shift: 0), timesteps, sampler, SamplingOptions(seed: seed),
          first: first)
      })
  }
}
