import EaselLayers
import EaselSupport
import Foundation

/// The `config.json` of diffusers' `AutoencoderKL` or `VQModel`, as the settings of an autoencoder.
public struct DiffusersAutoencoder {
  public let settings: AutoencoderKLSettings
  /// Latents are multiplied by it.
  public let scalingFactor: Float
  /// The images' channels.
  public let channels: Int
  /// Rows and columns of images.
  public let size: (height: Int, width: Int)

  private static let plainClass = "AutoencoderKL"
  private static let quantizingClass = "VQModel"
  /// The classes that are read.
  public static let classes = [plainClass, quantizingClass]

  private static let known: Set<String> = [
    // Both.
    "act_fn", "block_out_channels", "down_block_types", "in_channels", "latent_channels", "layers_per_block",
    "mid_block_add_attention", "norm_num_groups", "out_channels", "sample_size", "scaling_factor", "up_block_types",
    // AutoencoderKL.
    "latents_mean", "latents_std", "shift_factor", "use_post_quant_conv", "use_quant_conv",
    // VQModel.
    "lookup_from_codebook", "norm_type", "num_vq_embeddings", "vq_embed_dim",
    // Whether float16 is avoided, which is not used here.
    "force_upcast",
  ]

  /// - Parameters:
  ///   - json: the file.
  ///   - size: rows and columns of images, if others know them better than the file.
  /// - Throws: `UserError` (bad data) naming the field that is unknown or has a value that no autoencoder has.
  public init(_ json: Data, size: (height: Int, width: Int)? = nil) throws {
    let fields = try DiffusersFields(json, known: Self.known)
    try fields.expect("_class_name", among: Self.classes)
    let quantizes = try fields.value("_class_name", default: Self.plainClass) == Self.quantizingClass
    try fields.expect("act_fn", among: ["silu", "swish"])
    try fields.expect("shift_factor", among: [0.0])
    try fields.expect("latents_mean", among: [[Double]]())
    try fields.expect("latents_std", among: [[Double]]())
    for key in ["use_quant_conv", "use_post_quant_conv"] { try fields.expect(key, among: [true]) }
    try fields.expect("norm_type", among: ["group"])
    try fields.expect("lookup_from_codebook", among: [false])
    let channels = try fields.value("block_out_channels", default: [64])
    for (key, block) in [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")] {
      let blocks = try fields.value(key, default: [block])
      guard blocks == [String](repeating: block, count: channels.count) else {
        throw fields.refusal(key, "expected \(channels.count) times \(block), found \(blocks)")
      }
    }
    let latentChannels = try fields.value("latent_channels", default: quantizes ? 3 : 4)
    try fields.expect("vq_embed_dim", among: [latentChannels])
    let input = try fields.value("in_channels", default: 3)
    try fields.expect("out_channels", among: [input])
    guard input == 1 || input == 3 else { throw fields.refusal("in_channels", "expected 1 or 3, found \(input)") }
    // A VQModel without the field is older than it, and was trained without any.
    let factor = try fields.value("scaling_factor", default: quantizes ? 1 : Float(0.18215))
    guard factor > 0, factor.isFinite else {
      throw fields.refusal("scaling_factor", "expected a number above 0, found \(factor)")
    }
    scalingFactor = factor
    self.channels = input
    let sides = try size ?? (fields.has("sample_size") ? fields.imageSize("sample_size") : (32, 32))
    guard max(sides.height, sides.width) <= DiffusersFields.maximumSide else {
      throw fields.refusal(
        "block_out_channels",
        "expected images of at most \(DiffusersFields.maximumSide) pixels a side, found \(sides.width)×\(sides.height)")
    }
    self.size = sides
    var settings = AutoencoderKLSettings()
    settings.kind = quantizes ? .vq : .kl
    settings.channels = channels
    settings.layersPerBlock = try fields.value("layers_per_block", default: 1)
    settings.latentChannels = latentChannels
    settings.groups = try fields.value("norm_num_groups", default: 32)
    settings.middleAttention = try fields.value("mid_block_add_attention", default: true)
    if quantizes { settings.codes = try fields.value("num_vq_embeddings", default: 256) }
    try settings.validate()
    self.settings = settings
  }

  /// The names and shapes of the tensors that a file of weights has.
  public var tensors: [String: Shape] {
    let scope = Scope()
    _ = AutoencoderKLNetwork(settings.network(DataDescription(width: 1, height: 1, channels: channels)), scope)
    return scope.shapes
  }

  /// What a component of an autoencoder puts before the names of ``tensors``.
  public static let prefix = AutoencoderKL.componentName + "."
  /// The name of a tensor `[1]` with the factor, which diffusers has in `config.json`.
  public static let scaleName = AutoencoderKL.scaleName
}

extension AutoencoderKL {
  /// The `config.json` of a diffusers model with this network.
  ///
  /// - Throws: `UserError` (unavailable) if images cannot be halved at every level.
  public func diffusersDocument() throws -> JSONValue {
    let (data, factor) = (context.data, 1 << (settings.channels.count - 1))
    guard data.width % factor == 0, data.height % factor == 0 else {
      throw UserError(
        .unavailable,
        "diffusers cannot halve \(data.width)×\(data.height) \(settings.channels.count - 1) times, as this network does",
        hint: "Train with images whose sides are multiples of \(factor), or with fewer levels.")
    }
    let levels = settings.channels.count
    func blocks(_ name: String) -> JSONValue { JSONValue([String](repeating: name, count: levels)) }
    let common: [String: JSONValue] = [
      "act_fn": "silu", "block_out_channels": JSONValue(settings.channels),
      "down_block_types": blocks("DownEncoderBlock2D"), "in_channels": JSONValue(data.channels),
      "latent_channels": JSONValue(settings.latentChannels), "layers_per_block": JSONValue(settings.layersPerBlock),
      "mid_block_add_attention": .flag(settings.middleAttention), "norm_num_groups": JSONValue(settings.groups),
      "out_channels": JSONValue(data.channels),
      "sample_size": data.height == data.width ? JSONValue(data.height) : JSONValue([data.height, data.width]),
      "scaling_factor": JSONValue(scalingFactor), "up_block_types": blocks("UpDecoderBlock2D"),
    ]
    let own: [String: JSONValue] =
      switch settings.kind {
      case .kl:
        [
          "_class_name": "AutoencoderKL", "force_upcast": true, "latents_mean": nil, "latents_std": nil,
          "shift_factor": nil, "use_post_quant_conv": true, "use_quant_conv": true,
        ]
      case .vq:
        [
          "_class_name": "VQModel", "force_upcast": false, "lookup_from_codebook": false, "norm_type": "group",
          "num_vq_embeddings": JSONValue(settings.codes), "vq_embed_dim": nil,
        ]
      }
    return .object(common.merging(own) { $1 })
  }
}
