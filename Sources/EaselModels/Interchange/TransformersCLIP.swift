import EaselLayers
import EaselSupport
import EaselText
import Foundation

/// The `config.json` of transformers' `CLIPModel` or `CLIPTextModel`, as the settings of a model of images and texts.
public struct TransformersCLIP {
  public private(set) var settings = CLIPSettings()
  /// How many tokens the vocabulary must have.
  public let vocabularySize: Int
  /// Rows and columns of images, in pixels; nil for a text network alone.
  public let imageSize: Int?
  /// The images' channels.
  public let channels: Int

  /// OpenAI's mean and deviation of the channels of images, which transformers takes where no file has others.
  private static let usualMean: [Float] = [0.48145466, 0.4578275, 0.40821073]
  private static let usualDeviation: [Float] = [0.26862954, 0.26130258, 0.27577711]

  /// - Parameters:
  ///   - json: the file.
  ///   - processor: `preprocessor_config.json` or `processor_config.json`; nil if there is none.
  ///   - filler: the token that fills up texts; empty for that of their end.
  /// - Throws: `UserError` (bad data) naming the field with a value that no model has.
  public init(_ json: Data, processor: Data? = nil, filler: String = "") throws {
    let fields = try DiffusersFields(json, known: nil)
    let text = try CLIPTextConfiguration(transformers: json)
    settings.filler = filler
    (settings.contextLength, vocabularySize) = (text.contextLength, text.vocabularySize)
    settings.textWidth = text.encoder.width
    settings.textHiddenWidth = text.encoder.ownHiddenWidth
    (settings.textLayers, settings.textHeads) = (text.encoder.layers, text.encoder.heads)
    settings.hiddenActivation = text.encoder.activation == .gelu ? .gelu : .quickGELU
    settings.embeddingWidth = try fields.size("projection_dim", 2...8192, default: 512)
    var encoders = [text.encoder]
    if fields.has("vision_config") {
      let vision = try CLIPVisionConfiguration(transformers: json)
      settings.imageEncoder = .vit
      (imageSize, channels, settings.patch) = (vision.width, vision.channels, vision.patch)
      settings.imageWidth = vision.encoder.width
      settings.imageHiddenWidth = vision.encoder.ownHiddenWidth
      (settings.imageLayers, settings.imageHeads) = (vision.encoder.layers, vision.encoder.heads)
      encoders.append(vision.encoder)
      guard channels == 1 || channels == 3 else {
        throw fields.refusal("vision_config: num_channels", "expected 1 or 3, found \(channels)")
      }
      if vision.encoder.activation != text.encoder.activation {
        throw fields.refusal("vision_config: hidden_act", "expected that of text_config, found another")
      }
      try readProcessor(processor)
    } else {
      (settings.imageEncoder, imageSize, channels) = (.none, nil, 3)
    }
    let usual = CLIPEncoderConfiguration(width: 8, layers: 1, heads: 1).epsilon
    if let other = encoders.first(where: { $0.epsilon != usual }) {
      throw fields.refusal("layer_norm_eps", "expected \(usual), found \(other.epsilon)")
    }
    try settings.validate()
  }

  private mutating func readProcessor(_ json: Data?) throws {
    var (mean, deviation) = (Self.usualMean, Self.usualDeviation)
    if let json {
      var fields = try DiffusersFields(json, of: "preprocessor_config.json", known: nil)
      if fields.has("image_processor") { fields = try fields.object("image_processor") }
      try fields.expect("do_normalize", among: [true])
      try fields.expect("do_rescale", among: [true])
      mean = try fields.value("image_mean", default: mean)
      deviation = try fields.value("image_std", default: deviation)
    }
    guard mean.count == channels, deviation.count == channels else {
      throw UserError(.badData, "preprocessor_config.json: image_mean, image_std: expected \(channels) numbers each")
    }
    // The settings' own default.
    if mean.allSatisfy({ $0 == 0.5 }), deviation.allSatisfy({ $0 == 0.5 }) { return }
    (settings.imageMean, settings.imageDeviation) = (mean, deviation)
  }

  /// The names and shapes of the tensors that a file of weights has.
  public var tensors: [String: Shape] {
    let scope = Scope()
    _ = CLIPTextTransformer(settings.textNetwork(vocabularySize: vocabularySize), scope["text_model"])
    if let imageSize {
      let data = DataDescription(width: imageSize, height: imageSize, channels: channels)
      _ = CLIPVisionTransformer(settings.imageTransformer(data), scope["vision_model"])
      _ = settings.heads(scope)
    }
    return scope.shapes
  }
}

// MARK: - Writing

extension CLIPTextConfiguration {
  /// The `config.json` of a transformers model with this network.
  ///
  /// - Parameters:
  ///   - tokenizer: makes its tokens.
  ///   - filler: the token that fills up texts; empty for that of their end.
  ///   - projection: the length of vectors that the pooled token would become.
  func transformersDocument(_ tokenizer: BytePairTokenizer, filler: String, projection: Int) -> JSONValue {
    let fields: [String: JSONValue] = [
      "architectures": ["CLIPTextModel"], "bos_token_id": JSONValue(Int(tokenizer.start)),
      "eos_token_id": JSONValue(Int(tokenizer.end)), "max_position_embeddings": JSONValue(contextLength),
      "model_type": "clip_text_model",
      "pad_token_id": JSONValue(tokenizer.tokens.firstIndex(of: filler) ?? Int(tokenizer.end)),
      "projection_dim": JSONValue(projection), "vocab_size": JSONValue(vocabularySize),
    ]
    return .object(fields.merging(encoder.transformersFields) { $1 })
  }
}

extension CLIPEncoderConfiguration {
  /// The hidden width as settings have it: 0 for four times the width.
  fileprivate var ownHiddenWidth: Int { hiddenWidth == 4 * width ? 0 : hiddenWidth }

  fileprivate var transformersFields: [String: JSONValue] {
    [
      "attention_dropout": 0.0, "dtype": "float32", "hidden_act": activation == .gelu ? "gelu" : "quick_gelu",
      "hidden_size": JSONValue(width), "initializer_factor": 1.0, "initializer_range": 0.02,
      "intermediate_size": JSONValue(hiddenWidth), "layer_norm_eps": JSONValue(epsilon),
      "num_attention_heads": JSONValue(heads), "num_hidden_layers": JSONValue(layers),
    ]
  }
}

extension DiffusionSettings {
  /// The `config.json` of transformers' `CLIPTextModel` with the text network that is trained along.
  package func textDocument(_ tokenizer: BytePairTokenizer) -> JSONValue {
    textNetwork(vocabularySize: tokenizer.tokens.count)
      .transformersDocument(tokenizer, filler: "", projection: textWidth)
  }
}

extension CLIPSettings {
  /// The `config.json` of transformers' `CLIPTextModel` with the text network alone.
  package func textDocument(_ tokenizer: BytePairTokenizer) -> JSONValue {
    textNetwork(vocabularySize: tokenizer.tokens.count)
      .transformersDocument(tokenizer, filler: filler, projection: embeddingWidth)
  }

  /// The `config.json` of transformers' `CLIPModel`.
  ///
  /// - Throws: `UserError` (unavailable) for a network of images that is no vision transformer of square images.
  package func document(_ tokenizer: BytePairTokenizer, _ data: DataDescription) throws -> JSONValue {
    guard imageEncoder == .vit else {
      throw UserError(
        .unavailable, "image-encoder: transformers' CLIPModel has no residual convolutions",
        hint: "Train one with \(field: "set") image-encoder=vit.")
    }
    guard data.width == data.height else {
      throw UserError(
        .unavailable, "transformers' CLIPModel takes square images only, found \(data.width)×\(data.height)")
    }
    let image = imageTransformer(data)
    let vision: [String: JSONValue] = [
      "image_size": JSONValue(data.width), "model_type": "clip_vision_model", "num_channels": JSONValue(data.channels),
      "patch_size": JSONValue(patch), "projection_dim": JSONValue(embeddingWidth),
    ]
    return [
      "architectures": ["CLIPModel"], "dtype": "float32", "initializer_factor": 1.0, "logit_scale_init_value": 2.6592,
      "model_type": "clip", "projection_dim": JSONValue(embeddingWidth), "text_config": textDocument(tokenizer),
      "vision_config": .object(vision.merging(image.encoder.transformersFields) { $1 }),
    ]
  }

  /// The `preprocessor_config.json` of transformers' `CLIPModel`.
  package func processorDocument(_ data: DataDescription) -> JSONValue {
    func each(_ values: [Float]) -> JSONValue {
      .list((0..<data.channels).map { JSONValue(values.isEmpty ? 0.5 : values[min($0, values.count - 1)]) })
    }
    let side = JSONValue(data.width)
    return [
      "crop_size": ["height": side, "width": side], "do_center_crop": true,
      "do_convert_rgb": .flag(data.channels == 3), "do_normalize": true, "do_rescale": true, "do_resize": true,
      "image_mean": each(imageMean), "image_processor_type": "CLIPImageProcessor", "image_std": each(imageDeviation),
      "resample": 3, "rescale_factor": JSONValue(1.0 / 255), "size": ["shortest_edge": side],
    ]
  }
}
