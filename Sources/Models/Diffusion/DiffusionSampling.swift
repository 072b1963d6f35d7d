import Layers

extension Diffusion: StepwiseSampling {
  public func validate(_ options: SamplingOptions) throws {
    var check = SettingsCheck()
    if let steps = options.steps { check(steps, "--steps", 1...settings.timesteps) }
    if let eta = options.eta { check.require((0...1).contains(eta), "--eta: expected 0 to 1, found \(eta)") }
    if let guidance = options.guidance {
      check(guidance, "--guidance", atLeast: 0)
      check.require(settings.conditional, "--guidance: this model was trained without labels (conditional: false)")
    }
    try check.finish()
    try SamplingOptions.check(labels: options.labels, of: classCount)
    let sampler = try sampler(options)
    if options.eta != nil, !sampler.method.takesEta {
      throw UserError(
        .usage, "--eta: expected the sampler ddim or dpm++, found \(sampler.method.rawValue)",
        hint: "ddpm always draws its noise, heun never any.")
    }
  }

  /// Of the labels that it knows; 0 without.
  var classCount: Int { settings.conditional ? context.data.classNames.count : 0 }

  /// The noise of a sampler's steps: the model's own belongs to its own sampler.
  private func eta(_ options: SamplingOptions) -> Double? {
    let own = settings.sampler.takesEta && settings.samplerEta > 0 ? settings.samplerEta : nil
    return options.eta ?? (options.sampler == nil ? own : nil)
  }

  private func sampler(_ options: SamplingOptions) throws -> DiffusionSampler {
    var sampler = DiffusionSampler(settings.sampler, variance: settings.variance, eta: eta(options) ?? 0)
    guard let name = options.sampler else { return sampler }
    guard let method = DiffusionSampler.Method(rawValue: name) else {
      let known = DiffusionSampler.Method.allCases.map(\.rawValue)
      throw UserError(
        .usage, "--sampler: there is no sampler \(name)",
        hint: nearestName(to: name, among: known).map { "Did you mean \($0)?" }
          ?? "Known: \(known.joined(separator: ", ")).")
    }
    sampler.method = method
    return sampler
  }

  public func sample(
    _ range: Range<Int>, _ options: SamplingOptions, watch: StepWatcher?, progress: (Double) -> Void
  ) throws -> Tensor {
    try validate(options)
    let sampler = try sampler(options)
    let levels = sampler.levels(options.steps ?? settings.samplerSteps, of: schedule, settings.spacing)
    func make(_ first: Int) -> Tensor {
      let condition = Conditioning(
        labels: settings.conditional ? options.labels(of: first..<first + Chunks.size, classCount) : nil,
        guidance: options.guidance ?? settings.guidance)
      let noise = normal(context.data.shape(Chunks.size), seed: options.seed, first: first, draw: 0)
      watch?(0, first, unit(noise))
      return walk(
        noise, through: levels, sampler, condition, clips: settings.clip, seed: options.seed, first: first
      ) {
        progress(Chunks.share(of: range, first: first, $0))
      } watch: { step, x in
        watch?(step, first, unit(x))
      }
    }
    let made = Chunks.series(range, shape: context.data.shape, on: context.backend, progress: { _ in }, make: make)
    return unit(made)
  }

  public func columns(_ options: SamplingOptions) -> Int? {
    options.columns(classCount)
  }

  public func description(of options: SamplingOptions) -> [(key: String, value: String)] {
    var description = [
      ("Steps", String(options.steps ?? settings.samplerSteps)),
      ("Sampler", options.sampler ?? settings.sampler.rawValue),
    ]
    if let eta = eta(options) { description.append(("Eta", String(eta))) }
    if settings.conditional {
      description.append(("Label", options.labelDescription))
      description.append(("Guidance", String(options.guidance ?? settings.guidance)))
    }
    return description.map { (key: $0.0, value: $0.1) }
  }

  /// A sampler's walk with this network. Sample n takes the random numbers of index `first + n`.
  func walk(
    _ x: Tensor, through levels: [NoiseLevel], _ sampler: DiffusionSampler, _ condition: Conditioning, clips: Bool,
    seed: UInt64, first: Int, progress: (Double) -> Void = { _ in },
    watch: (_ steps: Int, _ x: Tensor) -> Void = { _, _ in }
  ) -> Tensor {
    sampler.walk(x, through: levels) { x, level in
      denoised(x, at: level, condition, clips: clips)
    } noise: { step in
      normal(x.shape, seed: seed, first: first, draw: step)
    } progress: { steps, x in
      watch(steps, x)
      progress(Double(steps) / Double(levels.count - 1))
    }
  }
}

extension Diffusion: ImageEncoding {
  public var interpolation: Interpolation { .spherical }

  /// The model's sampler where it is deterministic, and the levels from noise to image. Nothing is clipped: a code has to lead
  /// back to its image.
  private var codec: (sampler: DiffusionSampler, levels: [NoiseLevel]) {
    let sampler = DiffusionSampler(settings.sampler == .ddpm ? .ddim : settings.sampler)
    return (sampler, sampler.levels(settings.samplerSteps, of: schedule, settings.spacing))
  }

  /// The noise that the sampler leads to the image: the sampler run backwards.
  public func encode(_ images: Tensor) -> Tensor {
    let (sampler, down) = codec
    let levels = Array(down.dropLast().reversed())
    return Chunks.map(signed(images)) { clean, first in
      // The first step takes the noise that the network sees in the clean image at the lowest level.
      let scaled = context.backend.affine(clean, scale: Float(levels[0].signal), shift: 0)
      let noise = denoised(scaled, at: levels[0], Conditioning(), clips: false).noise
      return walk(
        levels[0].add(noise, to: clean), through: levels, sampler, Conditioning(), clips: false, seed: 0, first: first)
    }
  }

  public func decode(_ codes: Tensor) -> Tensor {
    let (sampler, levels) = codec
    return unit(
      Chunks.map(codes) { chunk, first in
        walk(chunk, through: levels, sampler, Conditioning(), clips: false, seed: 0, first: first)
      })
  }

  public func randomCodes(_ range: Range<Int>, seed: UInt64) -> Tensor? {
    normal(context.data.shape(range.count), seed: seed, first: range.lowerBound, draw: 0)
  }
}
