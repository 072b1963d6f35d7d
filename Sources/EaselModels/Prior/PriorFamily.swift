import EaselSupport
import EaselText

/// Diffusion models of the vectors of images, given those of their captions (Ramesh et al. 2022, “Hierarchical
/// text-conditional image generation with CLIP latents”).
public enum PriorFamily: ModelFamily {
  public static let name = "prior"
  public static let summary = "finds vectors of images for texts, between clip and a diffusion model of such vectors"

  public static let parts = [
    ModelPart(PriorSettings.key(\.clip), "vectors of images and texts", example: CLIPFamily.name) {
      $0 is any ImageTextEmbedding
    }
  ]

  public static let presets = [
    Preset(
      "prior", "a transformer of 4 blocks, 32×32 in colour, for the vectors of a checkpoint of clip",
      data: DataDescription(width: 32, height: 32, channels: 3),
      training: TrainingSettings {
        $0.batchSize = 256
        $0.learningRate = 1e-3
        $0.optimizer = .adamw
        $0.beta2 = 0.98
        $0.weightDecay = 0.01
        $0.decayVectors = false
        $0.clipNorm = 1
        $0.warmupSteps = 100
        $0.learningRateDecay = .cosine
        $0.emaDecay = 0.999
        $0.steps = 3000
      },
      model: PriorSettings())
  ]

  /// Its texts are read by the checkpoint of clip, which has the words.
  public static func vocabulary(
    _ settings: PriorSettings, captions: [[String]]?, parts: [String: any Model]
  ) throws -> Vocabulary? {
    guard captions != nil else {
      throw UserError(
        .usage, "\(name) learns captions: expected images with captions, found none",
        hint: "Captions may be made of the classes' names with \(field: "caption-template").")
    }
    return nil
  }

  public static func make(_ settings: PriorSettings, _ context: ModelContext) throws -> any Model {
    try Prior(settings, context)
  }
}
