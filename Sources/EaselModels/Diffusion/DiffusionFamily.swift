import EaselOptimizers
import EaselSupport
import EaselText

/// Denoising diffusion models: images out of noise, step by step (Ho et al. 2020).
public enum DiffusionFamily: ModelFamily {
  public static let name = "diffusion"
  public static let summary = "draws images out of noise, step by step"
  public static let convolves3x3 = true

  public static let parts = [
    ModelPart(DiffusionSettings.key(\.space), "latents of images", example: "autoencoder-kl") {
      $0 is any LatentCoding
    },
    ModelPart(DiffusionSettings.key(\.text), "an encoder of texts", example: "clip") { $0 is any TextEncoding },
    ModelPart(DiffusionSettings.key(\.likeness), "vectors of images and texts", example: "clip") {
      $0 is any ImageTextEmbedding
    },
  ]

  public static let presets = [
    Preset(
      "diffusion-small", "U-Net 32/64/128, attention at a quarter of the size: minutes on a laptop",
      data: DataDescription(width: 28, height: 28, channels: 1),
      training: recipe(steps: 6000),
      model: small()),
    Preset(
      "diffusion-edm", "diffusion-small's network with EDM's noise levels: better pictures for the same minutes",
      data: DataDescription(width: 28, height: 28, channels: 1),
      training: recipe(steps: 5000) { $0.batchSize = 64 },
      model: preconditioned()),
    Preset(
      "diffusion-quick", "a smaller network with EDM's noise levels and its data's classes: for five minutes",
      data: DataDescription(width: 28, height: 28, channels: 1, classNames: FashionMNIST.classNames),
      training: recipe(steps: 3000) {
        $0.batchSize = 32
        $0.learningRate = 2e-3
        $0.emaDecay = 0.99
        $0.warmupSteps = 100
      },
      model: preconditioned {
        $0.channels = [32, 64, 96]
        $0.layersPerBlock = 1
        $0.conditional = true
        $0.guidance = 1
        $0.samplerSteps = 25
      }),
    Preset(
      "diffusion-base", "U-Net 64/128/128/128, attention at half the size",
      data: DataDescription(width: 32, height: 32, channels: 1),
      training: recipe(steps: 20_000) {
        $0.batchSize = 64
        $0.learningRate = 3e-4
        $0.emaDecay = 0.9995
      },
      model: DiffusionSettings {
        $0.channels = [64, 128, 128, 128]
        $0.attentionLevels = [1]
      }),
    Preset(
      "diffusion-conditional", "diffusion-small with its data's classes, which can be chosen by label",
      data: DataDescription(width: 28, height: 28, channels: 1, classNames: FashionMNIST.classNames),
      training: recipe(steps: 8000),
      model: small {
        $0.conditional = true
        $0.sampler = .dpm
        $0.samplerSteps = 25
      }),
    Preset(
      "diffusion-emoji",
      "diffusion-edm for small sets of colour pictures: few images, shown often and changed each time",
      data: DataDescription(width: 32, height: 32, channels: 3),
      training: recipe(steps: 22_000) { $0.batchSize = 32 },
      model: preconditioned { $0.augment = 0.12 }),
    Preset(
      "diffusion-text", "draws what captions say, 32×32 in colour; its text encoder is trained along",
      data: DataDescription(width: 32, height: 32, channels: 3),
      training: recipe(steps: 26_000) { $0.batchSize = 32 },
      model: captioned()),
    Preset(
      "diffusion-latent", "64×64 in colour, on the 16×16 latents of an autoencoder-kl",
      data: DataDescription(width: 64, height: 64, channels: 3),
      training: recipe(steps: 15_000) { $0.batchSize = 32 },
      model: latent(AutoencoderKLFamily.name)),
    Preset(
      "diffusion-latent-128", "128×128 in colour, on the 16×16 latents of an autoencoder-kl-128",
      data: DataDescription(width: 128, height: 128, channels: 3),
      training: recipe(steps: 15_000) { $0.batchSize = 32 },
      model: latent("\(AutoencoderKLFamily.name)-128")),
    Preset(
      "diffusion-cifar10", "the network and recipe of Ho et al. for 32×32 colour images",
      data: DataDescription(width: 32, height: 32, channels: 3),
      training: recipe(steps: 800_000) {
        $0.optimizer = .adam
        $0.learningRate = 2e-4
        $0.learningRateDecay = .constant
        $0.warmupSteps = 5000
        $0.emaDecay = 0.9999
        $0.flip = true
      },
      model: DiffusionSettings {
        $0.channels = [128, 256, 256, 256]
        $0.attentionLevels = [1]
        $0.normEpsilon = 1e-6
        $0.flipSinToCos = false
        $0.frequencyShift = 1
        $0.downsamplePadding = 0
        $0.dropout = 0.1
        $0.variance = .fixedLarge
      }),
  ]

  /// The network of diffusion-small.
  private static func small(_ change: (inout DiffusionSettings) -> Void = { _ in }) -> DiffusionSettings {
    DiffusionSettings {
      $0.channels = [32, 64, 128]
      $0.attentionLevels = [2]
      $0.groups = 8
      change(&$0)
    }
  }

  /// The same with the recipe of Karras et al. 2022. It is drawn with noise in the steps, which corrects mistakes of a
  /// little-trained network.
  static func preconditioned(_ change: (inout DiffusionSettings) -> Void = { _ in }) -> DiffusionSettings {
    small {
      $0.noiseSchedule = .edm
      $0.prediction = .velocity
      $0.sampler = .dpm
      $0.samplerEta = 1
      change(&$0)
    }
  }

  /// The same with captions. It trains with more noise: what a caption says is decided where nothing is to be seen yet.
  private static func captioned(_ change: (inout DiffusionSettings) -> Void = { _ in }) -> DiffusionSettings {
    preconditioned {
      $0.layersPerBlock = 1
      $0.attentionHeadWidth = 32
      $0.trainingNoise = LogNormal(mean: 0.2, deviation: 1.4)
      $0.captions = true
      $0.pooledText = true
      $0.guidance = 3
      $0.samplerSteps = 25
      change(&$0)
    }
  }

  /// The same on the latents that a checkpoint makes. It trains with more noise: a little does not show in the pictures
  /// that latents become.
  private static func latent(_ space: String) -> DiffusionSettings {
    preconditioned {
      $0.space = space
      $0.dataDeviation = 1
      $0.trainingNoise = LogNormal(mean: 0.4, deviation: 1.2)
      $0.channels = [64, 96, 160]
      $0.layersPerBlock = 1
      $0.attentionLevels = [1, 2]
      $0.attentionHeadWidth = 32
      $0.samplerSteps = 25
    }
  }

  /// What the presets share.
  private static func recipe(
    steps: Int, _ change: (inout TrainingSettings) -> Void = { _ in }
  ) -> TrainingSettings {
    TrainingSettings {
      $0.steps = steps
      $0.batchSize = 128
      $0.learningRate = 1e-3
      $0.emaDecay = 0.999
      $0.optimizer = .adamw
      $0.learningRateDecay = .cosine
      $0.warmupSteps = 200
      $0.clipNorm = 1
      change(&$0)
    }
  }

  /// For each doubling of the size, adds a finer level with few channels before the others, and makes batches smaller:
  /// steps with images twice as large would take four times as long, and a few minutes would have too few of them.
  public static func settings(
    _ preset: Preset<DiffusionSettings>, for data: DataDescription
  ) -> [(key: String, value: String)] {
    let model = preset.model
    // Latents are small, whatever the images' size.
    if !model.space.isEmpty { return [] }
    let made = max(preset.data.width, preset.data.height)
    var (channels, batch, added) = (model.channels, preset.training.batchSize, 0)
    while channels.count < 8, max(data.width, data.height) >> added >= 3 * made / 2 {
      let finer = max(16, (channels.first ?? 16) / 2)
      channels.insert((finer + model.groups - 1) / model.groups * model.groups, at: 0)
      batch = max(16, batch / 4)
      added += 1
    }
    if added == 0 { return [] }
    func list(_ numbers: [Int]) -> String { "[\(numbers.map(String.init).joined(separator: ", "))]" }
    return [
      ("channels", list(channels)), ("attention-levels", list(model.attentionLevels.map { $0 + added })),
      ("batch-size", String(batch)),
    ]
  }

  public static func vocabulary(
    _ settings: DiffusionSettings, captions: [[String]]?, parts: [String: any Model]
  ) throws -> Vocabulary? {
    guard settings.captions else { return nil }
    guard let texts = captions?.joined(), !texts.isEmpty else {
      throw UserError(
        .usage, "captions: expected data with captions, found none",
        hint: "Put them into metadata.jsonl, or make them of the classes' names with \(field: "caption-template").")
    }
    // A text encoder of another checkpoint has a tokenizer already; what words this model sees is its own affair.
    let given = parts[DiffusionSettings.key(\.text)]?.context.vocabulary?.tokenizer
    return Vocabulary(of: texts, try given ?? BytePairTokenizer(training: texts, size: settings.vocabularySize))
  }

  public static func make(_ settings: DiffusionSettings, _ context: ModelContext) throws -> any Model {
    try Diffusion(settings, context)
  }
}
