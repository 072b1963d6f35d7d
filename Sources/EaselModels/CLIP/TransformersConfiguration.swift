import EaselSupport
import EaselTensors
import Foundation

extension CLIPTextConfiguration {
  /// The network that a `config.json` of transformers' `CLIPTextModel` describes, or the text network of `CLIPModel`. What
  /// the file leaves out has transformers' defaults.
  ///
  /// - Throws: `UserError` (bad data) naming the field with a value that the network cannot have.
  public init(transformers json: Data) throws {
    let fields = try DiffusersFields(json, known: nil)
    try fields.expect("model_type", among: ["clip", "clip_text_model"])
    try self.init(fields.has("text_config") ? fields.object("text_config") : fields)
  }

  fileprivate init(_ fields: DiffusersFields) throws {
    self.init(
      vocabularySize: try fields.size("vocab_size", 1...(1 << 20), default: 49_408),
      contextLength: try fields.size("max_position_embeddings", 2...65_536, default: 77),
      encoder: try CLIPEncoderConfiguration(fields, width: 512, hiddenWidth: 2048, heads: 8))
  }
}

extension CLIPVisionConfiguration {
  /// The network that a `config.json` of transformers' `CLIPVisionModel` describes, or the image network of `CLIPModel`.
  /// What the file leaves out has transformers' defaults.
  ///
  /// - Throws: `UserError` (bad data) naming the field with a value that the network cannot have.
  public init(transformers json: Data) throws {
    let fields = try DiffusersFields(json, known: nil)
    try fields.expect("model_type", among: ["clip", "clip_vision_model"])
    try self.init(fields.has("vision_config") ? fields.object("vision_config") : fields)
  }

  fileprivate init(_ fields: DiffusersFields) throws {
    let side = try fields.size("image_size", 1...8192, default: 224)
    self.init(
      height: side, width: side, channels: try fields.size("num_channels", 1...64, default: 3),
      patch: try fields.size("patch_size", 1...side, default: 32),
      encoder: try CLIPEncoderConfiguration(fields, width: 768, hiddenWidth: 3072, heads: 12))
  }
}

extension CLIPEncoderConfiguration {
  /// - Parameters:
  ///   - fields: the fields of one network.
  ///   - width: the width that a file without one means.
  ///   - hiddenWidth: likewise.
  ///   - heads: likewise.
  fileprivate init(_ fields: DiffusersFields, width: Int, hiddenWidth: Int, heads: Int) throws {
    let activations = ["quick_gelu": Activation.quickGELU, "gelu": .gelu]
    let activation = try fields.value("hidden_act", default: "quick_gelu")
    guard let function = activations[activation] else {
      throw fields.refusal("hidden_act", "expected quick_gelu or gelu, found \(activation.debugDescription)")
    }
    let width = try fields.size("hidden_size", 1...65_536, default: width)
    let heads = try fields.size("num_attention_heads", 1...width, default: heads)
    guard width % heads == 0 else {
      throw fields.refusal("num_attention_heads", "expected a divisor of hidden_size (\(width)), found \(heads)")
    }
    let epsilon: Float = try fields.value("layer_norm_eps", default: 1e-5)
    guard epsilon > 0, epsilon.isFinite else { throw fields.refusal("layer_norm_eps", "expected a number above 0") }
    self.init(
      width: width, hiddenWidth: try fields.size("intermediate_size", 1...262_144, default: hiddenWidth),
      layers: try fields.size("num_hidden_layers", 1...256, default: 12), heads: heads, activation: function,
      epsilon: epsilon)
  }
}
