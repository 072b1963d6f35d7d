import EaselSupport
import Foundation

/// A `scheduler_config.json` of diffusers: how noise grows, what the network predicts, and how pictures are drawn.
///
/// The file's fields are the arguments of the scheduler's class (diffusers `schedulers/scheduling_*.py`); what it leaves
/// out has their defaults. Others, which schedulers leave behind when they are made from one another, are passed over.
public struct DiffusersScheduler: Sendable {
  /// The settings that the file was read into. Only those that it describes are changed.
  public private(set) var settings: DiffusionSettings
  /// What is drawn otherwise than by diffusers, in sentences.
  public private(set) var remarks: [String] = []

  private static let file = "scheduler_config.json"

  private static let schedules: [String: NoiseSchedule.Kind] = [
    "linear": .linear, "scaled_linear": .scaledLinear, "squaredcos_cap_v2": .cosine,
  ]
  private static let predictions: [String: PredictionTarget] = [
    "epsilon": .epsilon, "sample": .sample, "v_prediction": .velocity,
  ]
  private static let spacings: [String: TimestepSpacing] = [
    "leading": .leading, "linspace": .linspace, "trailing": .trailing,
  ]
  private static let classes: [String: DiffusionSampler.Method] = [
    "DDPMScheduler": .ddpm, "DDIMScheduler": .ddim, "PNDMScheduler": .ddim, "EulerDiscreteScheduler": .euler,
    "HeunDiscreteScheduler": .heun, "DPMSolverMultistepScheduler": .dpm,
  ]
  /// Files with more β than this would make settings too long to read.
  private static let maximumBetaCount = 2000

  // MARK: Reading

  /// - Parameters:
  ///   - json: the file's content.
  ///   - settings: the settings for what the file does not describe.
  /// - Throws: `UserError` (bad data) naming the field whose value Easel's samplers cannot follow.
  public init(_ json: Data, into settings: DiffusionSettings = DiffusionSettings()) throws {
    self.settings = settings
    let fields = try DiffusersFields(json, of: Self.file, known: nil)
    let name = try fields.value("_class_name", default: "")
    self.settings.sampler = try Self.choice("_class_name", default: "", of: Self.classes, fields)
    try readNoise(fields)
    try fields.expect("rescale_betas_zero_snr", among: [false])

    let isSpacedByLine = self.settings.sampler.isSolver
    self.settings.spacing = try Self.choice(
      "timestep_spacing", default: isSpacedByLine ? "linspace" : "leading", of: Self.spacings, fields)
    let offset = try Self.number("steps_offset", default: 0, 0..<self.settings.timesteps, fields)
    self.settings.stepsOffset = self.settings.spacing == .leading ? offset : 0
    self.settings.samplerEta = 0
    self.settings.samplerSteps = min(settings.samplerSteps, self.settings.timesteps)
    self.settings.endsClean = true
    // Dynamic thresholding whose bound may not rise above 1 clips. Other classes leave the fields behind.
    let hasThreshold = ["DDPMScheduler", "DDIMScheduler", "DPMSolverMultistepScheduler"].contains(name)
    self.settings.clip = try hasThreshold && fields.value("thresholding", default: false)
    self.settings.clipRange = 1
    if self.settings.clip { try fields.expect("sample_max_value", among: [1.0]) }
    switch self.settings.sampler {
    case .ddpm:
      // An ancestral sampler takes all steps.
      self.settings.samplerSteps = self.settings.timesteps
      self.settings.variance = try Self.choice(
        "variance_type", default: "fixed_small",
        of: [
          "fixed_small": .fixedSmall, "fixed_small_log": .fixedSmall, "fixed_large": .fixedLarge,
          "learned_range": .learnedRange,
        ], fields)
      try readClipping(fields)
    case .ddim where name == "PNDMScheduler":
      self.settings.endsClean = try fields.value("set_alpha_to_one", default: false)
      remarks.append("PNDMScheduler is read as DDIM: pictures are drawn by another formula on the same timesteps.")
    case .ddim:
      self.settings.endsClean = try fields.value("set_alpha_to_one", default: true)
      try readClipping(fields)
      if self.settings.clip {
        remarks.append(
          "Where an image is clipped, diffusers keeps the predicted noise unless use_clipped_model_output is true; "
            + "Easel derives it from the clipped image.")
      }
    default: try readSolver(fields)
    }
  }

  private mutating func readNoise(_ fields: DiffusersFields) throws {
    settings.timesteps = try Self.number("num_train_timesteps", default: 1000, 2..<100_001, fields)
    settings.prediction = try Self.choice("prediction_type", default: "epsilon", of: Self.predictions, fields)
    settings.betas = try fields.value("trained_betas", default: [])
    if settings.betas.isEmpty {
      settings.noiseSchedule = try Self.choice("beta_schedule", default: "linear", of: Self.schedules, fields)
      settings.betaStart = try Self.fraction("beta_start", default: 1e-4, fields)
      settings.betaEnd = try Self.fraction("beta_end", default: 0.02, fields)
    } else {
      try checkBetas(fields)
    }
    guard settings.schedule.keepsSignal else {
      throw fields.refusal(
        settings.betas.isEmpty ? "beta_end" : "trained_betas",
        "expected less noise: nothing of an image is left at the end")
    }
  }

  private mutating func checkBetas(_ fields: DiffusersFields) throws {
    settings.noiseSchedule = .linear
    guard settings.betas.count == settings.timesteps, settings.betas.count <= Self.maximumBetaCount else {
      throw fields.refusal(
        "trained_betas",
        "expected as many numbers as num_train_timesteps, \(settings.timesteps), and at most "
          + "\(Self.maximumBetaCount), found \(settings.betas.count)")
    }
    if let beta = settings.betas.first(where: { !($0 > 0 && $0 < 1) }) {
      throw fields.refusal("trained_betas", "expected numbers between 0 and 1, found \(beta)")
    }
  }

  private mutating func readClipping(_ fields: DiffusersFields) throws {
    if settings.clip { return }
    settings.clip = try fields.value("clip_sample", default: true)
    guard settings.clip else { return }
    settings.clipRange = try fields.value("clip_sample_range", default: 1)
    guard settings.clipRange > 0, settings.clipRange.isFinite else {
      throw fields.refusal("clip_sample_range", "expected a number above 0, found \(settings.clipRange)")
    }
  }

  private mutating func readSolver(_ fields: DiffusersFields) throws {
    for key in [
      "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas", "use_flow_sigmas", "use_dynamic_shifting",
    ] { try fields.expect(key, among: [false]) }
    try fields.expect("final_sigmas_type", among: ["zero"])
    settings.karrasSigmas = try fields.value("use_karras_sigmas", default: false)
    // diffusers begins at the most noise, even where nothing of an image is left in it.
    let most = settings.schedule.level(settings.timesteps - 1).ratio
    settings.maximumNoise = most
    switch settings.sampler {
    case .euler:
      try fields.expect("interpolation_type", among: ["linear"])
      try fields.expect("timestep_type", among: ["discrete"])
      guard settings.karrasSigmas else { break }
      try fields.expect("sigma_min", among: [Double]())
      settings.maximumNoise = try fields.value("sigma_max", default: most)
      guard settings.maximumNoise > 0, settings.maximumNoise <= most else {
        throw fields.refusal("sigma_max", "expected null or a number up to \(most), found \(settings.maximumNoise)")
      }
    case .heun:
      try fields.expect("clip_sample", among: [false])
      if settings.karrasSigmas { try fields.expect("timestep_spacing", among: ["linspace"]) }
    default:
      try fields.expect("solver_order", among: [2])
      // diffusers takes the last three for the first.
      try fields.expect("solver_type", among: ["midpoint", "logrho", "bh1", "bh2"])
      settings.samplerEta = try Self.choice(
        "algorithm_type", default: "dpmsolver++", of: ["dpmsolver++": 0, "sde-dpmsolver++": 1], fields)
      if try fields.value("variance_type", default: nil as String?) != nil {
        settings.variance = try Self.choice("variance_type", default: "", of: ["learned_range": .learnedRange], fields)
      }
      let least = -log(most)
      let clipped = try fields.value("lambda_min_clipped", default: -Double.infinity)
      guard clipped <= least else {
        throw fields.refusal("lambda_min_clipped", "expected at most \(least), the schedule's least, found \(clipped)")
      }
      if settings.karrasSigmas, settings.noiseSchedule != .cosine {
        remarks.append("The network receives fractions of timesteps on Karras et al.'s levels; diffusers rounds them.")
      } else if !settings.karrasSigmas, settings.spacing == .leading {
        remarks.append(
          "The timesteps are spread over all \(settings.timesteps); diffusers' begin lower unless their number of "
            + "steps and one more divide that.")
      }
    }
  }

  /// What a word stands for.
  private static func choice<Value>(
    _ key: String, default standard: String, of choices: [String: Value], _ fields: DiffusersFields
  ) throws -> Value {
    let word = try fields.value(key, default: standard)
    guard let choice = choices[word] else {
      throw fields.refusal(key, "expected \(choices.keys.sorted().joined(separator: ", ")), found \(word)")
    }
    return choice
  }

  private static func number(
    _ key: String, default standard: Int, _ range: Range<Int>, _ fields: DiffusersFields
  ) throws -> Int {
    let number = try fields.value(key, default: standard)
    guard range.contains(number) else {
      throw fields.refusal(key, "expected \(range.lowerBound) to \(range.upperBound - 1), found \(number)")
    }
    return number
  }

  private static func fraction(_ key: String, default standard: Double, _ fields: DiffusersFields) throws -> Double {
    let number = try fields.value(key, default: standard)
    guard number > 0, number < 1 else {
      throw fields.refusal(key, "expected a number between 0 and 1, found \(number)")
    }
    return number
  }

  // MARK: Writing

  /// The file that makes diffusers draw as a model with these settings does, with all of its class's fields that matter.
  ///
  /// - Throws: `UserError` (unavailable) naming the setting that no scheduler of diffusers has.
  public static func json(for settings: DiffusionSettings) throws -> Data {
    func unavailable(_ key: String, _ problem: String) -> UserError {
      UserError(.unavailable, "\(key): diffusers has no scheduler for \(problem)")
    }
    func word<Value: Equatable>(_ value: Value, in words: [String: Value]) -> String? {
      words.first { $0.value == value }.map { quoted($0.key) }
    }
    guard let schedule = word(settings.noiseSchedule, in: schedules) else {
      throw unavailable(
        "noise-schedule", "\(settings.noiseSchedule.rawValue), whose network receives the logarithm of the noise")
    }
    let isKarras = settings.sampler.isSolver && settings.karrasSigmas
    // On Karras et al.'s levels from the most noise to the least, timesteps do not matter.
    let spacing = isKarras && settings.sampler != .euler ? TimestepSpacing.linspace : settings.spacing
    guard let spacingWord = word(spacing, in: spacings) else {
      throw unavailable("spacing", "\(spacing.rawValue) spacing")
    }
    var fields = [
      "num_train_timesteps": "\(settings.timesteps)", "beta_schedule": schedule,
      "beta_start": "\(settings.betaStart)", "beta_end": "\(settings.betaEnd)",
      "trained_betas": settings.betas.isEmpty ? "null" : "\(settings.betas)",
      "prediction_type": word(settings.prediction, in: predictions) ?? "null", "timestep_spacing": spacingWord,
      "steps_offset": "\(spacing == .leading ? settings.stepsOffset : 0)",
    ]
    func set(_ others: [String: String]) { fields.merge(others) { $1 } }
    let clipping = [
      "clip_sample": "\(settings.clip)", "clip_sample_range": "\(settings.clipRange)", "thresholding": "false",
      "dynamic_thresholding_ratio": "0.995", "sample_max_value": "1.0", "rescale_betas_zero_snr": "false",
    ]
    let learned = settings.variance == .learnedRange
    switch settings.sampler {
    case .ddpm:
      set(clipping)
      let variance = learned ? "learned_range" : settings.variance == .fixedLarge ? "fixed_large" : "fixed_small"
      set(["_class_name": quoted("DDPMScheduler"), "variance_type": quoted(variance)])
    case .ddim:
      set(clipping)
      set(["_class_name": quoted("DDIMScheduler"), "set_alpha_to_one": "\(settings.endsClean)"])
    case .euler:
      let most = settings.schedule.level(settings.timesteps - 1).ratio
      set([
        "_class_name": quoted("EulerDiscreteScheduler"), "use_karras_sigmas": "\(isKarras)",
        "sigma_max": isKarras && settings.maximumNoise < most ? "\(settings.maximumNoise)" : "null",
      ])
    case .heun:
      set(["_class_name": quoted("HeunDiscreteScheduler"), "use_karras_sigmas": "\(isKarras)"])
    case .dpm:
      guard settings.samplerEta == 0 || settings.samplerEta == 1 else {
        throw unavailable("sampler-eta", "\(settings.samplerEta), only for 0 and 1")
      }
      set([
        "_class_name": quoted("DPMSolverMultistepScheduler"), "use_karras_sigmas": "\(isKarras)",
        "algorithm_type": quoted(settings.samplerEta == 0 ? "dpmsolver++" : "sde-dpmsolver++"),
        "solver_order": "2", "solver_type": quoted("midpoint"), "final_sigmas_type": quoted("zero"),
        // The scheduler's only way to clip, and only to −1…1.
        "thresholding": "\(settings.clip && settings.clipRange == 1)", "sample_max_value": "1.0",
        "variance_type": learned ? quoted("learned_range") : "null",
      ])
    case .consistency: throw unavailable("sampler", "consistency models of its schedules")
    }
    let lines = fields.sorted { $0.key < $1.key }.map { "  \(quoted($0.key)): \($0.value)" }
    return Data("{\n\(lines.joined(separator: ",\n"))\n}\n".utf8)
  }

  /// A plain word as JSON.
  private static func quoted(_ word: String) -> String { "\"\(word)\"" }
}
