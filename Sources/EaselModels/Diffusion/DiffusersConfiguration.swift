import EaselSupport
import EaselTensors
import Foundation

extension UNetConfiguration {
  /// The network that a `config.json` of diffusers' `UNet2DModel` describes. What the file leaves out has diffusers'
  /// defaults.
  ///
  /// - Throws: `UserError` (bad data) naming the field that is unknown or has a value that ``UNet`` has no switch for.
  public init(diffusers json: Data) throws {
    let fields = try DiffusersFields(json)
    try fields.expect("_class_name", among: ["UNet2DModel"])
    try fields.expect("act_fn", among: ["silu", "swish"])
    try fields.expect("downsample_type", among: ["conv"])
    try fields.expect("upsample_type", among: ["conv"])
    try fields.expect("mid_block_type", among: ["UNetMidBlock2D"])
    try fields.expect("resnet_time_scale_shift", among: ["default"])
    try fields.expect("time_embedding_type", among: ["positional"])
    try fields.expect("center_input_sample", among: [false])
    try fields.expect("add_attention", among: [true])
    try fields.expect("mid_block_scale_factor", among: [1.0])
    try fields.expect("class_embed_type", among: [String]())
    try fields.expect("attn_norm_num_groups", among: [Int]())

    let channels = try fields.value("block_out_channels", default: [224, 448, 672, 896])
    guard let first = channels.first else { throw fields.refusal("block_out_channels", "expected a level, found none") }
    try fields.expect("time_embedding_dim", among: [4 * first])
    let attention = try fields.attentionLevels(count: channels.count)
    self.init(
      inputChannels: try fields.value("in_channels", default: 3),
      outputChannels: try fields.value("out_channels", default: 3), channels: channels,
      layersPerBlock: try fields.value("layers_per_block", default: 2), attentionLevels: attention,
      attentionHeadWidth: fields.has("attention_head_dim") ? try fields.value("attention_head_dim", default: nil) : 8,
      groups: try fields.value("norm_num_groups", default: 32), epsilon: try fields.value("norm_eps", default: 1e-5),
      flipSinToCos: try fields.value("flip_sin_to_cos", default: true),
      frequencyShift: try fields.value("freq_shift", default: 0),
      downsamplePadding: try fields.value("downsample_padding", default: 1),
      dropout: try fields.value("dropout", default: 0), classCount: try fields.value("num_class_embeds", default: 0))
    try checkSizes(fields)
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

/// The fields of a diffusers configuration.
private struct DiffusersFields {
  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  private struct Document: Decodable {
    let container: KeyedDecodingContainer<Key>
    init(from decoder: any Decoder) throws { container = try decoder.container(keyedBy: Key.self) }
  }

  private static let known: Set<String> = [
    "act_fn", "add_attention", "attention_head_dim", "attn_norm_num_groups", "block_out_channels",
    "center_input_sample", "class_embed_type", "down_block_types", "downsample_padding", "downsample_type", "dropout",
    "flip_sin_to_cos", "freq_shift", "in_channels", "layers_per_block", "mid_block_scale_factor", "mid_block_type",
    "norm_eps", "norm_num_groups", "num_class_embeds", "num_train_timesteps", "out_channels",
    "resnet_time_scale_shift", "sample_size", "time_embedding_dim", "time_embedding_type", "up_block_types",
    "upsample_type",
  ]

  private let container: KeyedDecodingContainer<Key>

  init(_ json: Data) throws {
    do {
      container = try JSONDecoder().decode(Document.self, from: json).container
    } catch {
      throw UserError(.badData, "config.json: expected a JSON object, found something else")
    }
    let unknown = container.allKeys.map(\.stringValue).filter { !$0.hasPrefix("_") && !Self.known.contains($0) }
    if let key = unknown.min() { throw refusal(key, "this field of UNet2DModel is not known here") }
  }

  func has(_ key: String) -> Bool { container.contains(Key(stringValue: key)) }

  /// A field's value; the default if it is missing or null.
  func value<Value: Decodable>(_ key: String, default standard: Value) throws -> Value {
    do {
      return try container.decodeIfPresent(Value.self, forKey: Key(stringValue: key)) ?? standard
    } catch {
      throw refusal(key, "expected a value of type \(Value.self)")
    }
  }

  /// Refuses a field unless it is missing, null or one of the given values.
  func expect<Value: Decodable & Equatable>(_ key: String, among values: [Value]) throws {
    guard let found: Value = try value(key, default: nil), !values.contains(found) else { return }
    let expected = values.isEmpty ? "null" : values.map { "\($0)" }.joined(separator: " or ")
    throw refusal(key, "expected \(expected), found \(found)")
  }

  /// The levels whose blocks have attention, which must be the same on the way down and up.
  func attentionLevels(count: Int) throws -> Set<Int> {
    func levels(_ key: String, plain: String, attention: String, default standard: [String]) throws -> [Bool] {
      let blocks = try value(key, default: standard)
      guard blocks.count == count else { throw refusal(key, "expected \(count) blocks, found \(blocks.count)") }
      if let other = blocks.first(where: { $0 != plain && $0 != attention }) {
        throw refusal(key, "expected \(plain) or \(attention), found \(other)")
      }
      return blocks.map { $0 == attention }
    }
    let down = try levels(
      "down_block_types", plain: "DownBlock2D", attention: "AttnDownBlock2D",
      default: ["DownBlock2D"] + Array(repeating: "AttnDownBlock2D", count: 3))
    let up = try levels(
      "up_block_types", plain: "UpBlock2D", attention: "AttnUpBlock2D",
      default: Array(repeating: "AttnUpBlock2D", count: 3) + ["UpBlock2D"])
    guard down == up.reversed() else {
      throw refusal("up_block_types", "expected attention at the same levels as in down_block_types")
    }
    return Set(down.indices.filter { down[$0] })
  }

  func refusal(_ key: String, _ problem: String) -> UserError {
    UserError(.badData, "config.json: \(key): \(problem)")
  }
}
