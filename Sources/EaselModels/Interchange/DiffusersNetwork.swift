import EaselSupport
import EaselTensors
import Foundation

/// The `config.json` of diffusers' `UNet2DModel` or `UNet2DConditionModel`, as the settings of a diffusion model.
public struct DiffusersNetwork {
  public let configuration: UNetConfiguration
  /// Rows and columns of what the network works on, in pixels or places of latents.
  public let size: (height: Int, width: Int)

  /// More would make a list of classes that nobody can read.
  private static let maximumClassCount = 100_000

  /// - Parameter json: the file.
  /// - Throws: `UserError` (bad data) naming the field that is unknown or has a value that no diffusion model has.
  public init(_ json: Data) throws {
    configuration = try UNetConfiguration(diffusers: json)
    let fields = try DiffusersFields(json, known: nil)
    size = try fields.imageSize("sample_size")
    if configuration.embeddingWidth > 0 {
      throw fields.refusal("class_embed_type", "expected null, found projection")
    }
    if let depth = configuration.crossAttention?.depth, depth != 1 {
      throw fields.refusal("transformer_layers_per_block", "expected 1, found \(depth)")
    }
    if configuration.classCount > Self.maximumClassCount {
      throw fields.refusal(
        "num_class_embeds", "expected at most \(Self.maximumClassCount), found \(configuration.classCount)")
    }
    guard [configuration.inputChannels, 2 * configuration.inputChannels].contains(configuration.outputChannels) else {
      throw fields.refusal(
        "out_channels",
        "expected as many as in_channels (\(configuration.inputChannels)), or twice as many for a learned variance, "
          + "found \(configuration.outputChannels)")
    }
  }

  /// Gives settings the network's sizes.
  ///
  /// - Throws: `UserError` (usage) for sizes that no settings have.
  public func apply(to settings: inout DiffusionSettings) throws {
    let c = configuration
    (settings.channels, settings.layersPerBlock) = (c.channels, c.layersPerBlock)
    settings.attentionLevels = c.attentionLevels.sorted()
    (settings.attentionHeadWidth, settings.attentionHeads) = (c.attentionHeadWidth ?? 0, c.attentionHeads ?? 0)
    (settings.groups, settings.normEpsilon) = (c.groups, c.epsilon)
    (settings.flipSinToCos, settings.frequencyShift) = (c.flipSinToCos, c.frequencyShift)
    (settings.downsamplePadding, settings.dropout) = (c.downsamplePadding, c.dropout)
    settings.linearProjection = c.crossAttention?.linearProjection ?? false
    (settings.conditional, settings.captions) = (c.classCount > 0, c.crossAttention != nil)
    if c.outputChannels > c.inputChannels { settings.variance = .learnedRange }
    try settings.validate()
  }
}

extension UNetConfiguration {
  /// The `config.json` of a diffusers model with this network, except its input of changes to training images, which is
  /// zero for drawn ones.
  ///
  /// - Parameter size: rows and columns of what the network works on.
  /// - Throws: `UserError` (unavailable) if the rows and columns cannot be halved at every level.
  public func diffusersDocument(size: (height: Int, width: Int)) throws -> JSONValue {
    let factor = 1 << (channels.count - 1)
    guard size.height % factor == 0, size.width % factor == 0 else {
      throw UserError(
        .unavailable,
        "diffusers cannot halve \(size.width)×\(size.height) \(channels.count - 1) times, as this network does",
        hint: "Train with images whose sides are multiples of \(factor), or with fewer levels.")
    }
    func blocks(_ plain: String, _ attention: String) -> [String] {
      channels.indices.map { attentionLevels.contains($0) ? attention : plain }
    }
    let common: [String: JSONValue] = [
      "act_fn": "silu", "block_out_channels": JSONValue(channels), "center_input_sample": false,
      "downsample_padding": JSONValue(downsamplePadding), "dropout": JSONValue(dropout),
      "flip_sin_to_cos": .flag(flipSinToCos),
      "freq_shift": Int(exactly: frequencyShift).map { JSONValue($0) } ?? JSONValue(frequencyShift),
      "in_channels": JSONValue(inputChannels), "layers_per_block": JSONValue(layersPerBlock),
      "mid_block_scale_factor": 1, "norm_eps": JSONValue(epsilon), "norm_num_groups": JSONValue(groups),
      "num_class_embeds": classCount == 0 ? nil : JSONValue(classCount), "out_channels": JSONValue(outputChannels),
      "resnet_time_scale_shift": "default", "class_embed_type": nil,
      "sample_size": size.height == size.width ? JSONValue(size.height) : JSONValue([size.height, size.width]),
      "time_embedding_type": "positional",
    ]
    guard let text = crossAttention else {
      // This network's field is a width, which has to be the same wherever pixels attend to each other.
      let attending = attentionLevels.map { channels[$0] } + channels.suffix(1)
      let widths = Set(attending.map { $0 / self.heads($0) })
      let isSingle = attending.allSatisfy { self.heads($0) == 1 }
      guard isSingle || widths.count == 1 else {
        throw UserError(
          .unavailable, "diffusers' UNet2DModel has heads of one width, found \(widths.sorted())",
          hint: "Train with attention-head-width instead of attention-heads.")
      }
      let plain: [String: JSONValue] = [
        "_class_name": "UNet2DModel", "add_attention": true,
        "attention_head_dim": isSingle ? nil : widths.first.map { JSONValue($0) } ?? nil, "attn_norm_num_groups": nil,
        "down_block_types": JSONValue(blocks("DownBlock2D", "AttnDownBlock2D")), "downsample_type": "conv",
        "mid_block_type": "UNetMidBlock2D", "num_train_timesteps": nil, "time_embedding_dim": nil,
        "up_block_types": JSONValue(blocks("UpBlock2D", "AttnUpBlock2D").reversed()), "upsample_type": "conv",
      ]
      return .object(common.merging(plain) { $1 })
    }
    // The field's name notwithstanding, these are numbers of heads.
    let heads = channels.map(heads)
    let own: [String: JSONValue] = [
      "_class_name": "UNet2DConditionModel", "addition_embed_type": nil, "addition_embed_type_num_heads": 64,
      "addition_time_embed_dim": nil,
      "attention_head_dim": Set(heads).count == 1 ? JSONValue(heads[0]) : JSONValue(heads), "attention_type": "default",
      "class_embeddings_concat": false, "conv_in_kernel": 3, "conv_out_kernel": 3,
      "cross_attention_dim": JSONValue(text.tokenWidth), "cross_attention_norm": nil,
      "down_block_types": JSONValue(blocks("DownBlock2D", "CrossAttnDownBlock2D")), "dual_cross_attention": false,
      "encoder_hid_dim": nil, "encoder_hid_dim_type": nil, "mid_block_only_cross_attention": nil,
      "mid_block_type": "UNetMidBlock2DCrossAttn", "num_attention_heads": nil, "only_cross_attention": false,
      "projection_class_embeddings_input_dim": nil, "resnet_out_scale_factor": 1.0, "resnet_skip_time_act": false,
      "reverse_transformer_layers_per_block": nil, "time_cond_proj_dim": nil, "time_embedding_act_fn": nil,
      "time_embedding_dim": nil, "timestep_post_act": nil, "transformer_layers_per_block": JSONValue(text.depth),
      "up_block_types": JSONValue(blocks("UpBlock2D", "CrossAttnUpBlock2D").reversed()), "upcast_attention": false,
      "use_linear_projection": .flag(text.linearProjection),
    ]
    return .object(common.merging(own) { $1 })
  }
}

extension DiffusersFields {
  /// The largest side of an image, as in checkpoints.
  static let maximumSide = 65_535

  /// Rows and columns, from one number or from two.
  ///
  /// - Throws: `UserError` (bad data) if the field is missing or no size.
  func imageSize(_ key: String) throws -> (height: Int, width: Int) {
    guard has(key) else { throw refusal(key, "expected the size of images, found nothing") }
    let pair = try? value(key, default: [Int]())
    let sides = try pair ?? [Int](repeating: value(key, default: 0), count: 2)
    guard sides.count == 2, sides.allSatisfy((1...Self.maximumSide).contains) else {
      throw refusal(key, "expected a number from 1 to \(Self.maximumSide), or two, found \(sides)")
    }
    return (sides[0], sides[1])
  }
}
