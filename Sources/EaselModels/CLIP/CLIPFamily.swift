import EaselLayers
import EaselSupport
import EaselText

/// Models of images and the texts that describe them (Radford et al. 2021, “Learning transferable visual models from
/// natural language supervision”).
public enum CLIPFamily: ModelFamily {
  public static let name = "clip"
  public static let summary = "brings images and their captions together: finds pictures by texts, and classes by names"

  public static let presets = [
    Preset(
      "clip", "residual convolutions and a small transformer for texts, 32×32 in colour",
      data: DataDescription(width: 32, height: 32, channels: 3),
      training: TrainingSettings {
        $0.batchSize = 128
        $0.learningRate = 1e-3
        $0.optimizer = .adamw
        $0.beta2 = 0.98
        $0.epsilon = 1e-6
        $0.weightDecay = 0.1
        $0.decayVectors = false
        $0.clipNorm = 1
        $0.warmupSteps = 100
        $0.learningRateDecay = .cosine
        $0.steps = 2000
      },
      model: CLIPSettings())
  ]

  public static func vocabulary(
    _ settings: CLIPSettings, captions: [[String]]?, parts: [String: any Model]
  ) throws -> Vocabulary? {
    guard settings.imageEncoder != .none else {
      throw UserError(
        .usage, "image-encoder: expected resnet or vit for a training, found none",
        hint: "A text network alone has nothing to learn from; it comes from another program.")
    }
    guard let captions else {
      throw UserError(
        .usage, "\(name) learns captions: expected images with captions, found none",
        hint: "Captions may be made of the classes' names with \(field: "caption-template").")
    }
    let missing = captions.count(where: \.isEmpty)
    guard missing == 0 else {
      throw UserError(
        .usage,
        "\(name) compares every image with a caption: expected one for each, found \(missing) images of "
          + "\(captions.count) without")
    }
    let texts = captions.joined()
    return Vocabulary(of: texts, try BytePairTokenizer(training: texts, size: settings.vocabularySize))
  }

  public static func make(_ settings: CLIPSettings, _ context: ModelContext) throws -> any Model {
    settings.imageEncoder == .none ? try CLIPTextEncoder(settings, context) : try CLIP(settings, context)
  }
}

/// The settings of a model of images and texts.
public struct CLIPSettings: ModelSettings {
  /// The network that images go through.
  public enum ImageNetwork: String, FieldChoice {
    /// A ``ResidualEncoder``.
    case resnet
    /// A ``CLIPVisionTransformer``.
    case vit
    /// None: the texts' network alone, which another model uses.
    case none
  }

  /// The function between the linear layers of a transformer's block.
  public enum HiddenActivation: String, FieldChoice {
    /// x · sigmoid(1.702 x), as in OpenAI's networks.
    case quickGELU = "quick-gelu"
    case gelu
  }

  public var imageEncoder = ImageNetwork.resnet
  /// Channels of the residual blocks at full size; twice as many at half, ``imageWidth`` at a quarter.
  public var baseChannels = 32
  /// The length of an image's features: channels at a quarter of the size, or of a token.
  public var imageWidth = 128
  /// Residual blocks at each size, or blocks of the transformer.
  public var imageLayers = 1
  /// The heads of the transformer of images.
  public var imageHeads = 4
  /// Channels between the linear layers of the blocks of the transformer of images; 0 for four times as many as tokens
  /// have.
  public var imageHiddenWidth = 0
  /// The side of a patch in pixels.
  public var patch = 4
  /// Channels of the text network's tokens.
  public var textWidth = 128
  public var textLayers = 2
  public var textHeads = 4
  /// Channels between the linear layers of the blocks of the text network; 0 for four times as many as tokens have.
  public var textHiddenWidth = 0
  /// The function between these layers, in both transformers.
  public var hiddenActivation = HiddenActivation.quickGELU
  /// How many tokens a text has at most, start and end included.
  public var contextLength = 32
  /// How many tokens the vocabulary has at most that is learned from the captions.
  public var vocabularySize = 1024
  /// The token that texts are filled up with; empty for that of their end.
  public var filler = ""
  /// The length of the vectors that images and texts become.
  public var embeddingWidth = 128
  /// What is subtracted from each channel of images, whose values are 0 to 1, and what it is then divided by; none for
  /// 0.5.
  public var imageMean: [Float] = []
  public var imageDeviation: [Float] = []

  public init() {}

  public static let fields: [Field<CLIPSettings>] = [
    Field(
      "image-encoder", \.imageEncoder,
      "the network of images: residual convolutions, a vision transformer, or none for a text network alone"),
    Field("base-channels", \.baseChannels, .from(8, to: 4096), "channels of the convolutions at full size")
      .needing("image-encoder=resnet") { $0.imageEncoder == .resnet },
    Field(
      "image-width", \.imageWidth, .from(8, to: 65_536),
      "the length of an image's features: channels at a quarter of the size, or of the transformer"
    ).needing(images, \.hasImages),
    Field(
      "image-layers", \.imageLayers, .from(1, to: 64), "residual blocks at each size, or blocks of the transformer"
    ).needing(images, \.hasImages),
    Field("image-heads", \.imageHeads, .from(1, to: 1024), "attention heads of the transformer of images")
      .needing("image-encoder=vit") { $0.imageEncoder == .vit },
    Field(
      "image-hidden-width", \.imageHiddenWidth, .from(0, to: 262_144),
      "channels between the linear layers of the transformer of images; 0 for four times its width"
    ).needing("image-encoder=vit") { $0.imageEncoder == .vit },
    Field("patch", \.patch, .from(1, to: 256), "side of the transformer's patches in pixels")
      .needing("image-encoder=vit") { $0.imageEncoder == .vit },
    Field("text-width", \.textWidth, .from(8, to: 8192), "channels of the text network"),
    Field("text-layers", \.textLayers, .from(1, to: 64), "blocks of the text network"),
    Field("text-heads", \.textHeads, .from(1, to: 1024), "attention heads of the text network"),
    Field(
      "text-hidden-width", \.textHiddenWidth, .from(0, to: 262_144),
      "channels between the linear layers of the text network; 0 for four times its width"),
    Field("hidden-activation", \.hiddenActivation, "the function between the linear layers of the transformers"),
    Field(
      "context-length", \.contextLength, .from(4, to: 1024), "tokens that are read of a text, start and end counted"),
    Field(
      "vocabulary-size", \.vocabularySize,
      .from(Double(BytePairTokenizer.trainedSizes.lowerBound), to: Double(BytePairTokenizer.trainedSizes.upperBound)),
      "most tokens of the vocabulary that is learned from the captions"),
    Field("filler", \.filler, "the token that texts are filled up with; empty for that of their end"),
    Field("embedding-width", \.embeddingWidth, .from(2, to: 8192), "length of the vectors of images and texts")
      .needing(images, \.hasImages),
    Field("image-mean", \.imageMean, "what is subtracted from each channel of images, 0 to 1; none for 0.5")
      .needing(images, \.hasImages),
    Field(
      "image-deviation", \.imageDeviation, .above(0),
      "what each channel of images is divided by after that; none for 0.5"
    ).needing(images, \.hasImages),
  ]

  private static let images = "image-encoder=resnet or image-encoder=vit"
  private var hasImages: Bool { imageEncoder != .none }

  public func check(_ check: inout FieldCheck) {
    check.require(
      textWidth % textHeads == 0, "text-heads: expected a divisor of text-width (\(textWidth)), found \(textHeads)")
    switch imageEncoder {
    case .none: break
    case .vit:
      check.require(
        imageWidth % imageHeads == 0,
        "image-heads: expected a divisor of image-width (\(imageWidth)), found \(imageHeads)")
    case .resnet:
      for (key, channels) in [("base-channels", baseChannels), ("image-width", imageWidth)] {
        check.require(
          channels % ResidualEncoder.groups == 0,
          "\(key): expected a multiple of \(ResidualEncoder.groups) (the norms' groups), found \(channels)")
      }
    }
  }

  private var activation: Activation { hiddenActivation == .gelu ? .gelu : .quickGELU }

  /// The text network.
  func textNetwork(vocabularySize: Int) -> CLIPTextConfiguration {
    CLIPTextConfiguration(
      vocabularySize: vocabularySize, contextLength: contextLength,
      encoder: CLIPEncoderConfiguration(
        width: textWidth, hiddenWidth: textHiddenWidth == 0 ? nil : textHiddenWidth, layers: textLayers,
        heads: textHeads, activation: activation))
  }

  /// The vision transformer.
  func imageTransformer(_ data: DataDescription) -> CLIPVisionConfiguration {
    CLIPVisionConfiguration(
      height: data.height, width: data.width, channels: data.channels, patch: patch,
      encoder: CLIPEncoderConfiguration(
        width: imageWidth, hiddenWidth: imageHiddenWidth == 0 ? nil : imageHiddenWidth, layers: imageLayers,
        heads: imageHeads, activation: activation))
  }

  func heads(_ scope: Scope) -> CLIPHeads {
    CLIPHeads(imageWidth: imageWidth, textWidth: textWidth, width: embeddingWidth, scope)
  }

  /// What a channel's values are multiplied by, and what is then added; nil for 2 and −1.
  func normalization(of data: DataDescription) -> (scales: [Float], shifts: [Float])? {
    if imageMean.isEmpty, imageDeviation.isEmpty { return nil }
    func each(_ values: [Float]) -> [Float] {
      (0..<data.channels).map { values.isEmpty ? 0.5 : values[min($0, values.count - 1)] }
    }
    let (means, deviations) = (each(imageMean), each(imageDeviation))
    return (deviations.map { 1 / $0 }, zip(means, deviations).map { -$0 / $1 })
  }
}
