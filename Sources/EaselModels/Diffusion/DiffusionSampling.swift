import EaselLayers
import EaselSupport

extension DenoisingModel {
  public func validate(_ options: SamplingOptions) throws {
    var check = FieldCheck()
    if let steps = options.steps { check(steps, String(field: "steps"), 1...settings.timesteps) }
    if let eta = options.eta { check.require((0...1).contains(eta), "\(field: "eta"): expected 0 to 1, found \(eta)") }
    if let guidance = options.guidance {
      check(Double(guidance), String(field: "guidance"), .atLeast(0))
      check.require(
        conditionKind != .nothing, "\(field: "guidance"): this model was trained without labels and captions")
    }
    try check.finish()
    try conditionKind.check(options.conditions, of: context.data)
    if let negative = options.negative { try checkNegative(negative, options) }
    let sampler = try sampler(options)
    if options.eta != nil, !sampler.method.takesEta {
      guard Self.samplers.contains(where: \.takesEta) else {
        throw UserError(
          .usage, "\(field: "eta"): this model draws by \(sampler.method.rawValue) alone, which has no such choice")
      }
      throw UserError(
        .usage, "\(field: "eta"): expected the sampler ddim or dpm++, found \(sampler.method.rawValue)",
        hint: "ddpm always adds noise, euler and heun never do.")
    }
  }

  private func checkNegative(_ negative: Condition, _ options: SamplingOptions) throws {
    guard case .text = negative, conditionKind != .classes else {
      throw UserError(
        .usage, "\(field: "negative"): this model was trained with classes, not with texts")
    }
    try conditionKind.check([negative], of: context.data)
    guard let conditions = options.conditions, conditions.contains(where: { $0 != .nothing }) else {
      throw UserError(
        .usage, "\(field: "negative"): expected a \(field: "prompt") beside it, found none",
        hint: "Guidance goes from the one to the other.")
    }
    guard options.guidance ?? settings.guidance != 1 else {
      throw UserError(
        .usage, "\(field: "negative"): it has no effect with a guidance of 1",
        hint: "Set \(field: "guidance") to more than 1.")
    }
  }

  public var conditionKind: ConditionKind { denoiser.kind }

  public func remark(on text: String) -> String? { denoiser.remark(on: text) }

  public func conditions(like images: Tensor) throws -> [Condition] {
    try requireVectors("like")
    return denoiser.conditions(like: images)
  }

  public func conditions(of texts: [String]) throws -> [Condition] {
    try requireVectors("along")
    return denoiser.embedded(texts.map(Condition.text))
  }

  private func requireVectors(_ key: String) throws {
    if case .embeddings = conditionKind { return }
    throw UserError(
      .usage, "\(field: key): this model was trained without pictures as conditions",
      hint: "Train one with \(field: "set") likeness=CHECKPOINT of a clip model.")
  }

  /// The noise of a sampler's steps; the model's own setting applies only to its own sampler.
  private func eta(_ options: SamplingOptions) -> Double? {
    let own = settings.sampler.takesEta && settings.samplerEta > 0 ? settings.samplerEta : nil
    return options.eta ?? (options.sampler == nil ? own : nil)
  }

  private func sampler(_ options: SamplingOptions) throws -> DiffusionSampler {
    var sampler = DiffusionSampler(settings.sampler, variance: settings.variance, eta: eta(options) ?? 0)
    guard let name = options.sampler else { return sampler }
    let known = Self.samplers.map(\.rawValue)
    guard let method = DiffusionSampler.Method(rawValue: name) else {
      throw UserError(
        .usage, "\(field: "sampler"): there is no sampler \(name)",
        hint: nearestName(to: name, among: known).map { "Did you mean \($0)?" }
          ?? "Known: \(known.joined(separator: ", ")).")
    }
    guard Self.samplers.contains(method) else {
      throw UserError(
        .usage, "\(field: "sampler"): this model was not trained for \(name)",
        hint: "It takes: \(known.joined(separator: ", "))."
      )
    }
    sampler.method = method
    return sampler
  }

  public func sample(
    _ range: Range<Int>, _ options: SamplingOptions, watch: StepWatcher?, progress: (Double) throws -> Void
  ) throws -> Tensor {
    try validate(options)
    let sampler = try sampler(options)
    let levels = sampler.levels(options.steps ?? settings.samplerSteps, of: schedule, settings.levelSpacing())
    func make(_ numbers: Range<Int>) throws -> Tensor {
      let first = numbers.lowerBound
      let guidance = denoiser.guidance(
        of: numbers.count,
        to: conditionKind == .nothing ? nil : options.conditions(of: numbers, conditionKind, in: context.data),
        from: options.negative ?? .nothing, scale: options.guidance ?? settings.guidance)
      let noise = denoiser.normal(denoiser.space.shape(numbers.count), seed: options.seed, first: first, draw: 0)
      watch?(0, first, denoiser.space.decode(noise))
      return try walk(
        noise, through: levels, sampler, guidance, seed: options.seed, first: first
      ) {
        try progress(Chunks.fraction(of: range, numbers, $0))
      } watch: { step, x in
        watch?(step, first, denoiser.space.decode(x))
      }
    }
    let made = try Chunks.series(
      range, of: options.chunk, shape: denoiser.space.shape, on: context.backend, progress: { _ in }, make: make)
    return denoiser.space.decode(made)
  }

  public func columns(_ options: SamplingOptions) -> Int? {
    options.columns(conditionKind, in: context.data)
  }

  public func description(of options: SamplingOptions) -> [(key: String, value: String)] {
    var description = [
      ("Steps", String(options.steps ?? settings.samplerSteps)),
      ("Sampler", options.sampler ?? settings.sampler.rawValue),
    ]
    if let eta = eta(options) { description.append(("Eta", String(eta))) }
    if conditionKind != .nothing {
      description += options.description(of: conditionKind, in: context.data)
      description.append(("Guidance", String(options.guidance ?? settings.guidance)))
    }
    return description.map { (key: $0.0, value: $0.1) }
  }
}

extension DenoisingModel {
  public var interpolation: Interpolation { .spherical }

  /// A code has one image, so the steps add no noise beyond the code's.
  public func describe(decoding options: SamplingOptions) throws -> [(key: String, value: String)] {
    try validate(options)
    if let eta = options.eta, eta != 0 {
      throw UserError(
        .usage, "\(field: "eta"): expected 0, found \(eta): a code is decoded to its image without further noise")
    }
    if options.sampler == DiffusionSampler.Method.ddpm.rawValue {
      throw UserError(
        .usage,
        "\(field: "sampler"): expected ddim, euler, dpm++ or heun, found ddpm, whose steps add noise: a code has one image"
      )
    }
    if options.guidance != nil, options.conditions == nil {
      throw UserError(
        .usage,
        "\(field: "guidance"): without a \(field: conditionKind == .classes ? "label" : "prompt") there is nothing to guide towards",
        hint: "Add one, or leave it out.")
    }
    let codec = codec(options)
    var description = [("Steps", String(codec.levels.count - 1)), ("Sampler", codec.sampler.method.rawValue)]
    if options.conditions != nil {
      description += options.description(of: conditionKind, in: context.data)
      description.append(("Guidance", String(options.guidance ?? settings.guidance)))
    }
    return description.map { (key: $0.0, value: $0.1) }
  }

  /// The sampler (the model's own, if it is deterministic) and the levels from noise to image.
  private func codec(_ options: SamplingOptions) -> (sampler: DiffusionSampler, levels: [NoiseLevel]) {
    let own = settings.sampler == .ddpm ? .ddim : settings.sampler
    let sampler = DiffusionSampler(options.sampler.flatMap(DiffusionSampler.Method.init) ?? own)
    return (sampler, sampler.levels(options.steps ?? settings.samplerSteps, of: schedule, settings.levelSpacing()))
  }

  /// The guidance of images with these numbers; without a condition if the options have none.
  private func guidance(_ options: SamplingOptions, _ numbers: Range<Int>) -> Denoiser.Guidance {
    guard options.conditions != nil else { return denoiser.guidance(of: numbers.count) }
    return denoiser.guidance(
      of: numbers.count, to: options.conditions(of: numbers, conditionKind, in: context.data),
      from: options.negative ?? .nothing, scale: options.guidance ?? settings.guidance)
  }

  public func encode(_ images: Tensor) -> Tensor { encoded(images, SamplingOptions()) { _ in } }
  public func decode(_ codes: Tensor) -> Tensor { decoded(codes, SamplingOptions()) { _ in } }

  public func encode(
    _ images: Tensor, _ options: SamplingOptions, progress: (Double) throws -> Void
  ) throws -> Tensor {
    _ = try describe(decoding: options)
    return try encoded(images, options, progress)
  }

  public func decode(_ codes: Tensor, _ options: SamplingOptions, progress: (Double) throws -> Void) throws -> Tensor {
    _ = try describe(decoding: options)
    return try decoded(codes, options, progress)
  }

  private func encoded(
    _ images: Tensor, _ options: SamplingOptions, _ progress: (Double) throws -> Void
  ) rethrows -> Tensor {
    let (sampler, levels) = codec(options)
    let all = 0..<images.shape[0]
    return try Chunks.map(denoiser.space.encode(images), of: options.chunk) { clean, numbers in
      let guidance = guidance(options, numbers)
      return try sampler.encode(clean, through: levels) { x, level in
        denoiser.denoised(x, at: level, guidance, clips: denoiser.clips)
      } noise: { step in
        denoiser.normal(clean.shape, seed: 0, first: numbers.lowerBound, draw: step)
      } progress: { steps in
        try progress(Chunks.fraction(of: all, numbers, Double(steps) / Double(max(1, levels.count - 2))))
      }
    }
  }

  private func decoded(_ codes: Tensor, _ options: SamplingOptions, _ progress: (Double) throws -> Void) rethrows
    -> Tensor
  {
    let (sampler, levels) = codec(options)
    let channels = denoiser.space.channels
    require(
      codes.shape.last == channels * sampler.noiseCount(levels),
      "codes \(codes.shape) for \(sampler.noiseCount(levels)) noises of \(channels) channels")
    let all = 0..<codes.shape[0]
    return denoiser.space.decode(
      try Chunks.map(codes, of: options.chunk) { code, numbers in
        let guidance = guidance(options, numbers)
        func noise(_ step: Int) -> Tensor { context.backend.slice(code, step * channels..<(step + 1) * channels) }
        return try sampler.walk(noise(0), through: levels) { x, level in
          denoiser.denoised(x, at: level, guidance, clips: denoiser.clips)
        } noise: {
          noise($0)
        } progress: { steps, _ in
          try progress(Chunks.fraction(of: all, numbers, Double(steps) / Double(levels.count - 1)))
        }
      })
  }

  public func randomCodes(_ range: Range<Int>, seed: UInt64) -> Tensor? {
    randomCodes(range, SamplingOptions(seed: seed))
  }

  /// The noises that ``sample(_:_:watch:progress:)`` draws.
  public func randomCodes(_ range: Range<Int>, _ options: SamplingOptions) -> Tensor? {
    let (sampler, levels) = codec(options)
    return context.backend.concatenate(
      (0..<sampler.noiseCount(levels)).map {
        denoiser.normal(denoiser.space.shape(range.count), seed: options.seed, first: range.lowerBound, draw: $0)
      })
  }
}
