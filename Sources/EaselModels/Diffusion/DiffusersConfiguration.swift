import EaselSupport
import EaselTensors
import Foundation

extension UNetConfiguration {
  /// The network that a `config.json` of diffusers' `UNet2DModel` or `UNet2DConditionModel` describes. What the file leaves
  /// out has diffusers' defaults.
  ///
  /// - Throws: `UserError` (bad data) naming the field that is unknown or has a value that ``UNet`` has no switch for.
  public init(diffusers json: Data) throws {
    let fields = try DiffusersFields(json, known: Self.known)
    try fields.expect("_class_name", among: [Self.plainClass, Self.textClass])
    let readsTexts = try fields.value("_class_name", default: Self.plainClass) == Self.textClass
    try fields.expect("act_fn", among: ["silu", "swish"])
    try fields.expect("resnet_time_scale_shift", among: ["default"])
    try fields.expect("time_embedding_type", among: ["positional"])
    try fields.expect("center_input_sample", among: [false])
    try fields.expect("mid_block_scale_factor", among: [1.0])

    let channels = try fields.value(
      "block_out_channels", default: readsTexts ? [320, 640, 1280, 1280] : [224, 448, 672, 896])
    guard let first = channels.first else { throw fields.refusal("block_out_channels", "expected a level, found none") }
    // Before anything is computed with them.
    guard channels.allSatisfy((1...65_536).contains) else {
      throw fields.refusal("block_out_channels", "expected 1 to 65536 channels, found \(channels)")
    }
    try fields.expect("time_embedding_dim", among: [4 * first])
    let standard = readsTexts ? 4 : 3
    self.init(
      inputChannels: try fields.size("in_channels", 1...65_536, default: standard),
      outputChannels: try fields.size("out_channels", 1...65_536, default: standard), channels: channels,
      layersPerBlock: try fields.value("layers_per_block", default: 2), attentionLevels: [],
      groups: try fields.value("norm_num_groups", default: 32), epsilon: try fields.value("norm_eps", default: 1e-5),
      flipSinToCos: try fields.value("flip_sin_to_cos", default: true),
      frequencyShift: try fields.value("freq_shift", default: 0),
      downsamplePadding: try fields.value("downsample_padding", default: 1),
      dropout: try fields.value("dropout", default: 0), classCount: try fields.value("num_class_embeds", default: 0))
    try readsTexts ? readTextFields(fields) : readPlainFields(fields)
    try checkSizes(fields)
  }

  private static let plainClass = "UNet2DModel"
  private static let textClass = "UNet2DConditionModel"

  private static let known: Set<String> = [
    // Both.
    "act_fn", "attention_head_dim", "block_out_channels", "center_input_sample", "class_embed_type", "down_block_types",
    "downsample_padding", "dropout", "flip_sin_to_cos", "freq_shift", "in_channels", "layers_per_block",
    "mid_block_scale_factor", "mid_block_type", "norm_eps", "norm_num_groups", "num_class_embeds", "out_channels",
    "resnet_time_scale_shift", "sample_size", "time_embedding_dim", "time_embedding_type", "up_block_types",
    // UNet2DModel.
    "add_attention", "attn_norm_num_groups", "downsample_type", "num_train_timesteps", "upsample_type",
    // UNet2DConditionModel.
    "attention_type", "conv_in_kernel", "conv_out_kernel", "cross_attention_dim", "num_attention_heads",
    "projection_class_embeddings_input_dim", "resnet_out_scale_factor", "transformer_layers_per_block",
    "addition_embed_type_num_heads", "use_linear_projection",
    // It changes only the type in which scores are computed; here, they are float32 always.
    "upcast_attention",
  ]

  /// What only `UNet2DModel` has.
  private mutating func readPlainFields(_ fields: DiffusersFields) throws {
    try fields.expect("downsample_type", among: ["conv"])
    try fields.expect("upsample_type", among: ["conv"])
    try fields.expect("mid_block_type", among: ["UNetMidBlock2D"])
    try fields.expect("add_attention", among: [true])
    try fields.expect("class_embed_type", among: [String]())
    try fields.expect("attn_norm_num_groups", among: [Int]())
    attentionLevels = try fields.attentionLevels(
      count: channels.count, down: ("DownBlock2D", "AttnDownBlock2D"), up: ("UpBlock2D", "AttnUpBlock2D"),
      default: [false, true, true, true])
    attentionHeadWidth = fields.has("attention_head_dim") ? try fields.value("attention_head_dim", default: nil) : 8
  }

  /// What only `UNet2DConditionModel` has.
  private mutating func readTextFields(_ fields: DiffusersFields) throws {
    try fields.expect("mid_block_type", among: ["UNetMidBlock2DCrossAttn"])
    try fields.expect("attention_type", among: ["default"])
    try fields.expect("conv_in_kernel", among: [3])
    try fields.expect("conv_out_kernel", among: [3])
    try fields.expect("resnet_out_scale_factor", among: [1.0])
    try fields.expect("class_embed_type", among: ["projection"])
    if try fields.value("class_embed_type", default: nil as String?) != nil {
      embeddingWidth = try fields.value("projection_class_embeddings_input_dim", default: 0)
      if embeddingWidth <= 0 {
        throw fields.refusal("projection_class_embeddings_input_dim", "expected a number above 0")
      }
    }
    attentionLevels = try fields.attentionLevels(
      count: channels.count, down: ("DownBlock2D", "CrossAttnDownBlock2D"), up: ("UpBlock2D", "CrossAttnUpBlock2D"),
      default: [true, true, true, false])
    crossAttention = CrossAttention(
      tokenWidth: try fields.value("cross_attention_dim", default: 1280),
      depth: try fields.value("transformer_layers_per_block", default: 1),
      linearProjection: try fields.value("use_linear_projection", default: false))

    // The field's name notwithstanding, these are numbers of heads.
    let key = fields.isNull("num_attention_heads") ? "attention_head_dim" : "num_attention_heads"
    let heads = try fields.list(key, count: channels.count, default: 8)
    let widths = zip(channels, heads).map { channels, heads in
      heads > 0 && channels % heads == 0 ? channels / heads : 0
    }
    if widths.contains(0) { throw fields.refusal(key, "expected divisors of block_out_channels, found \(heads)") }
    if let first = widths.first, widths.allSatisfy({ $0 == first }) {
      attentionHeadWidth = first
    } else if heads.allSatisfy({ $0 == heads[0] }) {
      attentionHeads = heads[0]
    } else {
      throw fields.refusal(key, "expected heads of one width or the same number everywhere, found \(heads)")
    }
  }

  /// Checks sizes that would otherwise trap when the network is made.
  private func checkSizes(_ fields: DiffusersFields) throws {
    func check(_ holds: Bool, _ key: String, _ expectation: String) throws {
      if !holds { throw fields.refusal(key, "expected \(expectation)") }
    }
    try check(groups > 0, "norm_num_groups", "a number above 0")
    try check(
      channels.count <= 8 && channels.allSatisfy { $0 > 0 && $0 % groups == 0 }, "block_out_channels",
      "at most 8 multiples of norm_num_groups (\(groups))")
    if let text = crossAttention {
      try check((1...65_536).contains(text.tokenWidth), "cross_attention_dim", "1 to 65536")
      try check((1...64).contains(text.depth), "transformer_layers_per_block", "1 to 64")
    }
    try check(inputChannels > 0, "in_channels", "a number above 0")
    try check(outputChannels > 0, "out_channels", "a number above 0")
    try check(layersPerBlock > 0, "layers_per_block", "a number above 0")
    try check(classCount >= 0, "num_class_embeds", "null or a number above 0")
    try check((0...1).contains(downsamplePadding), "downsample_padding", "0 or 1")
    try check((0..<1).contains(dropout), "dropout", "0 to below 1")
    try check(epsilon > 0, "norm_eps", "a number above 0")
    try check(frequencyShift < Float(max(1, channels[0] / 2)), "freq_shift", "less than half of block_out_channels[0]")
    if let width = attentionHeadWidth {
      let divides = width > 0 && channels.allSatisfy { $0 < width || $0 % width == 0 }
      try check(divides, "attention_head_dim", "null or a divisor of the channels")
    }
  }
}
