import EaselModels
import EaselSupport
import EaselTestSupport
import Foundation
import Testing

/// Schedulers' files of diffusers: what is read from them draws diffusers' pictures (Tests/Fixtures/scheduler-runs.json).
@Suite struct DiffusersSchedulerTests {
  private struct Runs: Decodable {
    struct Run: Decodable {
      let config: String
      let steps: Int
      let eta: Double
      let result: [Float]
    }

    let start: [Float]
    let runs: [Run]

    static func load() throws -> Runs {
      try JSONDecoder().decode(Runs.self, from: contents(fixture("scheduler-runs.json")))
    }
  }

  /// What the settings draw in the fixture's way.
  private func draw(_ settings: DiffusionSettings, _ run: Runs.Run, _ start: [Float], _ kind: BackendKind) throws
    -> [Float]
  {
    try onTensors(kind) { backend in
      let eta = settings.sampler == .ddim ? run.eta : settings.samplerEta
      let sampler = DiffusionSampler(settings.sampler, variance: settings.variance, eta: eta)
      let levels = sampler.levels(run.steps, of: settings.schedule, settings.levelSpacing())
      #expect(levels.count == run.steps + 1)
      let x = Tensor(start, shape: [1, 3, 4, 1], on: backend)
      return sampler.walk(x, through: levels) { x, level in
        let output = backend.affine(x, scale: 0.6, shift: Float(0.3 * sin(Double(level.condition))))
        return settings.prediction.interpret(output, at: level, x, clips: settings.clip, to: settings.clipRange)
      } noise: { step in
        let values = (0..<start.count).map { Float(1.2 * sin(Double(step * ($0 + 1)) + 0.5)) }
        return Tensor(values, shape: x.shape, on: backend)
      }.values()
    }
  }

  @Test(
    "Settings that are read from files, and those read again from files that they made, draw the same pictures",
    arguments: Backends.available)
  func drawsTheSamePictures(_ kind: BackendKind) throws {
    let fixture = try Runs.load()
    #expect(fixture.runs.count == 28)
    for run in fixture.runs {
      let read = try DiffusersScheduler(Data(run.config.utf8)).settings
      let again = try DiffusersScheduler(DiffusersScheduler.json(for: read)).settings
      for settings in [read, again] {
        try settings.validate()
        let found = try draw(settings, run, fixture.start, kind)
        #expect(relativeError(found, run.result) < 1e-4, "\(run.config)")
      }
    }
  }

  private func read(_ fields: String) throws -> DiffusersScheduler { try DiffusersScheduler(Data("{\(fields)}".utf8)) }

  @Test func readsDefaultsAndStrangeFields() throws {
    let plain = try read(#""_class_name": "DDPMScheduler", "_diffusers_version": "0.4.0""#)
    var expected = DiffusionSettings()
    (expected.sampler, expected.samplerSteps) = (.ddpm, 1000)
    #expect(plain.settings.schedule == expected.schedule && plain.remarks.isEmpty)
    #expect(plain.settings.sampler == .ddpm && plain.settings.samplerSteps == 1000 && plain.settings.clip)
    #expect(plain.settings.variance == .fixedSmall && plain.settings.spacing == .leading)

    let moved = try read(
      #""_class_name": "DDIMScheduler", "skip_prk_steps": true, "use_karras_sigmas": true, "unheard_of": [1], "#
        + #""trained_betas": null, "lambda_min_clipped": -Infinity"#)
    #expect(moved.settings.sampler == .ddim && moved.settings.endsClean && moved.settings.samplerSteps == 50)
    #expect(moved.remarks.count == 1 && moved.remarks[0].contains("use_clipped_model_output"))

    let stable = try read(
      #""_class_name": "PNDMScheduler", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "#
        + #""clip_sample": false, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1"#)
    #expect(stable.settings.sampler == .ddim && !stable.settings.endsClean && !stable.settings.clip)
    #expect(stable.settings.noiseSchedule == .scaledLinear && stable.settings.stepsOffset == 1)
    #expect(stable.remarks.count == 1 && stable.remarks[0].contains("PNDMScheduler is read as DDIM"))

    var base = DiffusionSettings()
    (base.channels, base.samplerSteps) = ([64, 64], 20)
    let kept = try DiffusersScheduler(Data(#"{"_class_name": "EulerDiscreteScheduler"}"#.utf8), into: base).settings
    #expect(kept.channels == [64, 64] && kept.samplerSteps == 20 && kept.sampler == .euler && !kept.karrasSigmas)
    #expect(kept.spacing == .linspace && !kept.clip)
    // Thresholding that may not rise above 1 is clipping; Euler's scheduler has no such field.
    for (name, clips) in [("DPMSolverMultistep", true), ("DDIM", true), ("EulerDiscrete", false)] {
      let settings = try read(
        #""_class_name": "\#(name)Scheduler", "thresholding": true, "clip_sample": false"#
      ).settings
      #expect(settings.clip == clips && settings.clipRange == 1)
      #expect(try DiffusersScheduler(DiffusersScheduler.json(for: settings)).settings.clip == clips)
    }
  }

  @Test("Values that would change pictures are refused by their keys")
  func refusesWhatItCannotFollow() {
    let cases: [(scheduler: String, field: String, key: String)] = [
      ("LMSDiscrete", "", "_class_name"), ("DDPM", #""variance_type": "learned""#, "variance_type"),
      ("DDPM", #""variance_type": "fixed_large_log""#, "variance_type"),
      ("DDPM", #""thresholding": true, "sample_max_value": 1.5"#, "sample_max_value"),
      ("DDPM", #""rescale_betas_zero_snr": true"#, "rescale_betas_zero_snr"),
      ("DDPM", #""beta_schedule": "sigmoid""#, "beta_schedule"),
      ("DDPM", #""prediction_type": "flow""#, "prediction_type"),
      ("DDPM", #""num_train_timesteps": 1"#, "num_train_timesteps"),
      ("DDPM", #""num_train_timesteps": 1e9"#, "num_train_timesteps"),
      ("DDPM", #""num_train_timesteps": "many""#, "num_train_timesteps"), ("DDPM", #""beta_start": 0"#, "beta_start"),
      ("DDPM", #""beta_end": 1"#, "beta_end"), ("DDPM", #""beta_end": NaN"#, "beta_end"),
      ("DDPM", #""beta_end": 0.9"#, "beta_end"), ("DDPM", #""trained_betas": [0.1, 0.2]"#, "trained_betas"),
      ("DDPM", #""num_train_timesteps": 2, "trained_betas": [0.1, 1]"#, "trained_betas"),
      ("DDPM", #""clip_sample_range": 0"#, "clip_sample_range"),
      ("DDPM", #""timestep_spacing": "odd""#, "timestep_spacing"),
      ("DDPM", #""steps_offset": 1000"#, "steps_offset"), ("DDPM", #""steps_offset": -1"#, "steps_offset"),
      ("EulerDiscrete", #""timestep_type": "continuous""#, "timestep_type"),
      ("EulerDiscrete", #""interpolation_type": "log_linear""#, "interpolation_type"),
      ("EulerDiscrete", #""use_beta_sigmas": true"#, "use_beta_sigmas"),
      ("EulerDiscrete", #""final_sigmas_type": "sigma_min""#, "final_sigmas_type"),
      ("EulerDiscrete", #""use_karras_sigmas": true, "sigma_min": 0.1"#, "sigma_min"),
      ("EulerDiscrete", #""use_karras_sigmas": true, "sigma_max": 1000"#, "sigma_max"),
      ("HeunDiscrete", #""clip_sample": true"#, "clip_sample"),
      ("HeunDiscrete", #""use_karras_sigmas": true, "timestep_spacing": "leading""#, "timestep_spacing"),
      ("DPMSolverMultistep", #""solver_order": 3"#, "solver_order"),
      ("DPMSolverMultistep", #""solver_type": "heun""#, "solver_type"),
      ("DPMSolverMultistep", #""algorithm_type": "dpmsolver""#, "algorithm_type"),
      ("DPMSolverMultistep", #""use_lu_lambdas": true"#, "use_lu_lambdas"),
      ("DPMSolverMultistep", #""use_flow_sigmas": true"#, "use_flow_sigmas"),
      ("DPMSolverMultistep", #""lambda_min_clipped": -4"#, "lambda_min_clipped"),
      ("DPMSolverMultistep", #""variance_type": "learned""#, "variance_type"),
    ]
    for (scheduler, field, key) in cases {
      expectUserError(.badData, "scheduler_config.json: \(key): ") {
        try read(#""_class_name": "\#(scheduler)Scheduler""# + (field.isEmpty ? "" : ", " + field))
      }
    }
    for text in ["", "[]", "{", "null", "\u{FF}"] {
      expectUserError(.badData, "scheduler_config.json: expected a JSON object") {
        try DiffusersScheduler(Data(text.utf8))
      }
    }
  }

  @Test("Settings without a scheduler in diffusers are refused by their keys")
  func refusesToWrite() {
    func refuses(_ key: String, _ change: (inout DiffusionSettings) -> Void) {
      var settings = DiffusionSettings()
      change(&settings)
      expectUserError(.unavailable, "\(key): diffusers has no scheduler") { try DiffusersScheduler.json(for: settings) }
    }
    refuses("noise-schedule") { ($0.noiseSchedule, $0.prediction) = (.edm, .velocity) }
    refuses("spacing") { $0.spacing = .quadratic }
    refuses("sampler-eta") { ($0.sampler, $0.samplerEta) = (.dpm, 0.5) }
    refuses("sampler") { $0.sampler = .consistency }
  }

  @Test(.enabled(if: Python.has("diffusers"), "needs Python with diffusers"))
  func diffusersReadsWhatIsWritten() throws {
    let folder = try ScratchFolder()
    for (method, name) in [
      (DiffusionSampler.Method.ddpm, "DDPMScheduler"), (.ddim, "DDIMScheduler"), (.euler, "EulerDiscreteScheduler"),
      (.heun, "HeunDiscreteScheduler"), (.dpm, "DPMSolverMultistepScheduler"),
    ] {
      var settings = DiffusionSettings()
      (settings.sampler, settings.noiseSchedule, settings.prediction) = (method, .cosine, .velocity)
      try folder.write(DiffusersScheduler.json(for: settings), to: "scheduler_config.json")
      let output = try Python.output(
        """
        import diffusers
        s = diffusers.\(name).from_pretrained("\(folder.path)")
        s.set_timesteps(10)
        print(s.config.beta_schedule, s.config.prediction_type, s.config.num_train_timesteps, len(s.timesteps))
        """)
      #expect(output.hasPrefix("squaredcos_cap_v2 v_prediction 1000 1"), "\(name)")
    }
  }
}
