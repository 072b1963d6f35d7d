import EaselOptimizers
import EaselText

/// Consistency models: images out of noise in one, two or four passes, tuned from a diffusion model (Geng et al. 2024).
public enum ConsistencyFamily: ModelFamily {
  public static let name = "consistency"
  public static let summary = "draws images out of noise in one to four passes"
  public static let convolves3x3 = true
  public static var parts: [ModelPart] { DiffusionFamily.parts }

  /// The network, its conditioning and its noise are the diffusion model's; how it draws is not.
  public static var startingPoint: StartingPoint? {
    let free: [PartialKeyPath<DiffusionSettings>] = [
      \.dropout, \.labelDropout, \.guidance, \.clip, \.clipRange,
    ]
    let own: [PartialKeyPath<DiffusionSettings>] = [
      \.sampler, \.samplerSteps, \.samplerEta, \.spacing, \.stepsOffset, \.karrasSigmas, \.maximumNoise, \.endsClean,
      \.trainingNoise.mean, \.trainingNoise.deviation,
    ]
    let keys = DiffusionSettings.fields.map(\.key)
    let others = Set((free + own).map(DiffusionSettings.key))
    return StartingPoint(
      families: [DiffusionFamily.name, name], example: "diffusion-edm", fixed: Set(keys).subtracting(others),
      suggested: Set(free.map(DiffusionSettings.key)))
  }

  public static let presets = [
    Preset(
      "consistency", "a trained diffusion model, from its checkpoint, tuned to draw in 1, 2 or 4 passes",
      data: DataDescription(width: 28, height: 28, channels: 1),
      training: TrainingSettings {
        $0.steps = 5000
        $0.batchSize = 64
        $0.learningRate = 1e-3
        $0.emaDecay = 0.999
        $0.optimizer = .adamw
        $0.learningRateDecay = .cosine
        $0.warmupSteps = 100
        $0.clipNorm = 1
      },
      model: ConsistencySettings {
        $0.diffusion = DiffusionFamily.preconditioned {
          $0.sampler = .consistency
          $0.samplerSteps = 2
          $0.samplerEta = 0
        }
      })
  ]

  public static func vocabulary(
    _ settings: ConsistencySettings, captions: [[String]]?, parts: [String: any Model]
  ) throws -> Vocabulary? {
    try DiffusionFamily.vocabulary(settings.diffusion, captions: captions, parts: parts)
  }

  public static func make(_ settings: ConsistencySettings, _ context: ModelContext) throws -> any Model {
    try Consistency(settings, context)
  }
}
