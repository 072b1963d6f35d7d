import EaselLayers

/// The switches of a ``UNet``, as diffusers' `UNet2DModel` (`unet_2d.py`) and, with ``crossAttention``,
/// `UNet2DConditionModel` (`unet_2d_condition.py`) have them.
public struct UNetConfiguration: Hashable, Sendable {
  /// Attention of an image's pixels to the tokens of a text.
  public struct CrossAttention: Hashable, Sendable {
    /// The width of the tokens.
    public var tokenWidth: Int
    /// Transformer blocks in each place.
    public var depth: Int
    /// Whether the layers around the blocks have weights `[C, C]` instead of `[C, C, 1, 1]`.
    public var linearProjection: Bool

    public init(tokenWidth: Int, depth: Int = 1, linearProjection: Bool = false) {
      (self.tokenWidth, self.depth, self.linearProjection) = (tokenWidth, depth, linearProjection)
    }
  }

  public var inputChannels: Int
  public var outputChannels: Int
  /// Channels of each level, finest first.
  public var channels: [Int]
  public var layersPerBlock: Int
  /// Levels with attention after each residual block, 0 the finest.
  public var attentionLevels: Set<Int>
  /// Channels of one attention head; nil for a single head.
  public var attentionHeadWidth: Int?
  /// The heads of every attention; nil if ``attentionHeadWidth`` decides.
  public var attentionHeads: Int?
  /// The attention's texts, at ``attentionLevels`` and in the middle; nil for an image's pixels alone.
  public var crossAttention: CrossAttention?
  public var groups: Int
  public var epsilon: Float
  public var flipSinToCos: Bool
  public var frequencyShift: Float
  /// 1: symmetric padding of the strided convolutions; 0: one pixel at the right and the bottom (Ho et al.).
  public var downsamplePadding: Int
  public var dropout: Float
  /// 0 for an unconditional network.
  public var classCount: Int
  /// The width of vectors that describe images, as diffusers' `class_embed_type` "projection"; 0 for none.
  public var embeddingWidth: Int
  /// How many numbers describe the changes to a training image (Karras et al. 2022); 0 for none. diffusers has no such
  /// switch.
  public var augmentationWidth: Int

  public init(
    inputChannels: Int, outputChannels: Int, channels: [Int], layersPerBlock: Int = 2, attentionLevels: Set<Int>,
    attentionHeadWidth: Int? = nil, attentionHeads: Int? = nil, crossAttention: CrossAttention? = nil,
    groups: Int = 32, epsilon: Float = 1e-5, flipSinToCos: Bool = true,
    frequencyShift: Float = 0, downsamplePadding: Int = 1, dropout: Float = 0, classCount: Int = 0,
    embeddingWidth: Int = 0, augmentationWidth: Int = 0
  ) {
    self.inputChannels = inputChannels
    self.outputChannels = outputChannels
    self.channels = channels
    self.layersPerBlock = layersPerBlock
    self.attentionLevels = attentionLevels
    self.attentionHeadWidth = attentionHeadWidth
    self.attentionHeads = attentionHeads
    self.crossAttention = crossAttention
    self.groups = groups
    self.epsilon = epsilon
    self.flipSinToCos = flipSinToCos
    self.frequencyShift = frequencyShift
    self.downsamplePadding = downsamplePadding
    self.dropout = dropout
    self.classCount = classCount
    self.embeddingWidth = embeddingWidth
    self.augmentationWidth = augmentationWidth
  }

  /// The heads of an attention of this many channels.
  func heads(_ channels: Int) -> Int {
    attentionHeads ?? attentionHeadWidth.map { max(1, channels / $0) } ?? 1
  }
}

/// The U-Net of Ho et al. 2020, with the same layers and names as diffusers' `UNet2DModel`; with attention to a text's
/// tokens, that of Rombach et al. 2022 and diffusers' `UNet2DConditionModel`.
///
/// Images whose sides cannot be halved at every level are padded with zeros inside and cropped back.
public struct UNet {
  /// What the pixels of a place attend to.
  private enum PixelAttention {
    case pixels(ImageAttention)
    case text(SpatialTransformer)

    func callAsFunction(_ x: Variable, _ conditioning: Conditioning) -> Variable {
      switch self {
      case .pixels(let attention): return attention(x)
      case .text(let transformer):
        guard let tokens = conditioning.tokens else { fatalShape("a network with cross-attention needs tokens") }
        return transformer(x, tokens: tokens.values, mask: tokens.mask)
      }
    }
  }

  private struct Level {
    var resnets: [ResidualBlock] = []
    var attentions: [PixelAttention] = []
    /// The strided or the upsampling convolution; nil at the last level.
    var resampler: Conv2d?

    /// One residual block and its attention.
    func apply(
      _ index: Int, to x: Variable, time: Variable, _ conditioning: Conditioning, dropping: (Variable) -> Variable
    ) -> Variable {
      let y = resnets[index](x, time: time, dropping: dropping)
      return attentions.isEmpty ? y : attentions[index](y, conditioning)
    }
  }

  public let configuration: UNetConfiguration
  private let timestepEmbedding: TimestepEmbedding
  private let input: Conv2d
  private let time1, time2: Linear
  /// Turns classes into what is added to the embedding of the time; nil for a network without them.
  public let conditioner: ClassConditioner?
  /// Turns vectors into what is added to the embedding of the time: diffusers' `class_embed_type` "projection"; nil for a
  /// network that reads none.
  private let projection: (first: Linear, second: Linear)?
  private let augmentationEmbedding: Linear?
  private var down: [Level] = []
  private let middle: (ResidualBlock, PixelAttention, ResidualBlock)
  private var up: [Level] = []
  private let outputNorm: GroupNorm
  private let output: Conv2d

  public init(_ configuration: UNetConfiguration, _ scope: Scope) {
    self.configuration = configuration
    let c = configuration
    let first = c.channels[0]
    let last = c.channels[c.channels.count - 1]
    let timeChannels = 4 * first
    let initializer = Initializer.fanAverageUniform(scale: 1)

    func resnet(_ inputs: Int, _ outputs: Int, _ scope: Scope) -> ResidualBlock {
      ResidualBlock(
        inputChannels: inputs, outputChannels: outputs, timeChannels: timeChannels, groups: c.groups,
        epsilon: c.epsilon, scope)
    }
    func attention(_ channels: Int, _ scope: Scope) -> PixelAttention {
      let heads = c.heads(channels)
      guard let text = c.crossAttention else {
        return .pixels(
          ImageAttention(channels: channels, heads: heads, groups: c.groups, epsilon: c.epsilon, scope))
      }
      return .text(
        SpatialTransformer(
          channels: channels, tokenWidth: text.tokenWidth, heads: heads, depth: text.depth, groups: c.groups,
          linearProjection: text.linearProjection, scope))
    }

    timestepEmbedding = TimestepEmbedding(
      width: first, flipSinToCos: c.flipSinToCos, frequencyShift: c.frequencyShift)
    input = Conv2d(
      inputChannels: c.inputChannels, outputChannels: first, kernelSize: 3, padding: 1, initializer: initializer,
      scope["conv_in"])
    time1 = Linear(first, timeChannels, initializer: initializer, scope["time_embedding"]["linear_1"])
    time2 = Linear(timeChannels, timeChannels, initializer: initializer, scope["time_embedding"]["linear_2"])
    let classScope = scope["class_embedding"]
    conditioner = c.classCount > 0 ? ClassConditioner(count: c.classCount, width: timeChannels, classScope) : nil
    projection =
      c.embeddingWidth == 0
      ? nil
      : (
        Linear(c.embeddingWidth, timeChannels, initializer: initializer, classScope["linear_1"]),
        Linear(timeChannels, timeChannels, initializer: initializer, classScope["linear_2"])
      )
    augmentationEmbedding =
      c.augmentationWidth == 0
      ? nil
      : Linear(
        c.augmentationWidth, timeChannels, bias: false, initializer: .zeros, scope["augmentation_embedding"])

    // The channels that each step down stores for the way up.
    var skipChannels = [first]
    var channels = first
    for (index, outputs) in c.channels.enumerated() {
      let scope = scope["down_blocks"][index]
      var level = Level()
      for layer in 0..<c.layersPerBlock {
        level.resnets.append(resnet(channels, outputs, scope["resnets"][layer]))
        if c.attentionLevels.contains(index) {
          level.attentions.append(attention(outputs, scope["attentions"][layer]))
        }
        channels = outputs
        skipChannels.append(outputs)
      }
      if index < c.channels.count - 1 {
        let window =
          c.downsamplePadding == 0
          ? ConvolutionWindow(stride: 2, top: 0, left: 0, bottom: 1, right: 1)
          : ConvolutionWindow(stride: 2, padding: c.downsamplePadding)
        level.resampler = Conv2d(
          inputChannels: outputs, outputChannels: outputs, kernelSize: 3, window: window, initializer: initializer,
          scope["downsamplers"][0]["conv"])
        skipChannels.append(outputs)
      }
      down.append(level)
    }

    let middleScope = scope["mid_block"]
    middle = (
      resnet(last, last, middleScope["resnets"][0]), attention(last, middleScope["attentions"][0]),
      resnet(last, last, middleScope["resnets"][1])
    )

    for (index, outputs) in c.channels.reversed().enumerated() {
      let scope = scope["up_blocks"][index]
      var level = Level()
      for layer in 0...c.layersPerBlock {
        level.resnets.append(resnet(channels + skipChannels.removeLast(), outputs, scope["resnets"][layer]))
        if c.attentionLevels.contains(c.channels.count - 1 - index) {
          level.attentions.append(attention(outputs, scope["attentions"][layer]))
        }
        channels = outputs
      }
      if index < c.channels.count - 1 {
        level.resampler = Conv2d(
          inputChannels: outputs, outputChannels: outputs, kernelSize: 3, padding: 1, initializer: initializer,
          scope["upsamplers"][0]["conv"])
      }
      up.append(level)
    }

    outputNorm = GroupNorm(
      groups: c.groups, channels: first, epsilon: c.epsilon, activation: .silu, scope["conv_norm_out"])
    output = Conv2d(
      inputChannels: first, outputChannels: c.outputChannels, kernelSize: 3, padding: 1, initializer: .zeros,
      scope["conv_out"])
  }

  /// - Parameters:
  ///   - x: images `[N, H, W, inputChannels]`.
  ///   - timesteps: one for each image.
  ///   - conditioning: the images' conditions: what ``conditioner`` gives, vectors `[N, embeddingWidth]`, and tokens
  ///     `[N, T, tokenWidth]` for cross-attention; empty for an unconditional network.
  ///   - augmentation: float32 `[N, augmentationWidth]`; nil, or zeros, for unchanged images.
  ///   - dropout: the random numbers that drop activations; nil outside training.
  /// - Returns: `[N, H, W, outputChannels]`.
  public func callAsFunction(
    _ x: Variable, timesteps: [Float], conditioning: Conditioning = Conditioning(),
    augmentation: Tensor? = nil, dropout: RandomDraw? = nil
  ) -> Variable {
    require(timesteps.count == x.shape[0], "\(timesteps.count) timesteps for \(x.shape[0]) images")
    let time = embed(timesteps, conditioning, augmentation: augmentation, like: x)
    var draw = dropout
    // Each dropout of a pass uses its own random numbers.
    func dropping(_ x: Variable) -> Variable {
      guard let current = draw else { return x }
      draw?.draw += 1
      return EaselGradients.dropout(x, probability: configuration.dropout, current)
    }

    // Every level halves the image.
    let border = Insets(bringing: x.imageSize, toMultiplesOf: 1 << (configuration.channels.count - 1))
    var hidden = input(pad(x, border))
    var skips = [hidden]
    for level in down {
      for layer in level.resnets.indices {
        hidden = level.apply(layer, to: hidden, time: time, conditioning, dropping: dropping)
        skips.append(hidden)
      }
      if let downsample = level.resampler {
        hidden = downsample(hidden)
        skips.append(hidden)
      }
    }
    hidden = middle.0(hidden, time: time, dropping: dropping)
    hidden = middle.1(hidden, conditioning)
    hidden = middle.2(hidden, time: time, dropping: dropping)
    for level in up {
      for layer in level.resnets.indices {
        hidden = level.apply(
          layer, to: concatenate([hidden, skips.removeLast()]), time: time, conditioning, dropping: dropping)
      }
      if let upsample = level.resampler { hidden = upsample(upsampleNearest(hidden)) }
    }
    return pad(output(outputNorm(hidden)), -border)
  }

  /// The time embedding that residual blocks read, through its last SiLU: `[N, 4 · channels[0]]`.
  private func embed(_ timesteps: [Float], _ conditioning: Conditioning, augmentation: Tensor?, like x: Variable)
    -> Variable
  {
    require(
      (conditioning.embedded == nil) == (conditioner == nil), "a network of classes needs them, others take none")
    require((conditioning.vectors == nil) == (projection == nil), "a network of vectors needs them, others take none")
    require(
      (conditioning.tokens == nil) == (configuration.crossAttention == nil),
      "a network with cross-attention needs tokens, others take none")
    let sinusoids = Tensor(
      timestepEmbedding(timesteps), shape: [timesteps.count, timestepEmbedding.width], type: x.value.type,
      on: x.backend)
    var embedding = time2(activate(.silu, time1(Variable(sinusoids, on: x.tape))))
    if let embedded = conditioning.embedded { embedding = embedding + embedded }
    if let projection, let vectors = conditioning.vectors {
      embedding = embedding + projection.second(activate(.silu, projection.first(vectors)))
    }
    if let augmentationEmbedding, let augmentation {
      embedding = embedding + augmentationEmbedding(Variable(augmentation.cast(to: x.value.type), on: x.tape))
    }
    return activate(.silu, embedding)
  }
}
