import EaselLayers

/// The switches of an ``AutoencoderKLNetwork``, as diffusers' `AutoencoderKL` and `VQModel` have them.
public struct AutoencoderKLConfiguration: Hashable, Sendable {
  public var inputChannels: Int
  public var outputChannels: Int
  /// Channels of each level, finest first; all but the last halve the image.
  public var channels: [Int]
  /// Residual blocks of a level on the way down; on the way up there is one more.
  public var layersPerBlock: Int
  public var latentChannels: Int
  public var groups: Int
  /// Whether the pixels of the coarsest level attend to each other.
  public var middleAttention: Bool
  /// Whether a 1×1 convolution follows the encoder.
  public var hasQuantConvolution: Bool
  /// Whether a 1×1 convolution precedes the decoder, as in every `VQModel`.
  public var hasPostQuantConvolution: Bool
  /// The number of vectors of the codebook; nil for normal distributions of latents.
  public var codes: Int?

  public init(
    inputChannels: Int, outputChannels: Int, channels: [Int], layersPerBlock: Int = 1, latentChannels: Int = 4,
    groups: Int = 32, middleAttention: Bool = true, hasQuantConvolution: Bool = true,
    hasPostQuantConvolution: Bool = true, codes: Int? = nil
  ) {
    self.inputChannels = inputChannels
    self.outputChannels = outputChannels
    self.channels = channels
    self.layersPerBlock = layersPerBlock
    self.latentChannels = latentChannels
    self.groups = groups
    self.middleAttention = middleAttention
    self.hasQuantConvolution = hasQuantConvolution
    self.hasPostQuantConvolution = hasPostQuantConvolution
    self.codes = codes
  }

  /// The image's side divided by that of its latents.
  public var factor: Int { 1 << (channels.count - 1) }

  /// The epsilon of every norm (`vae.py`).
  static let epsilon: Float = 1e-6

  func resnet(_ inputs: Int, _ outputs: Int, _ scope: Scope) -> ResidualBlock {
    ResidualBlock(
      inputChannels: inputs, outputChannels: outputs, timeChannels: nil, groups: groups,
      epsilon: AutoencoderKLConfiguration.epsilon, scope)
  }

  func convolution(
    _ inputs: Int, _ outputs: Int, kernelSize: Int = 3, bias: Initializer = .zeros, _ scope: Scope
  ) -> Conv2d {
    Conv2d(
      inputChannels: inputs, outputChannels: outputs, kernelSize: kernelSize, padding: kernelSize / 2,
      initializer: .fanAverageUniform(scale: 1), biasInitializer: bias, scope)
  }

  func outputNorm(_ channels: Int, _ scope: Scope) -> GroupNorm {
    GroupNorm(
      groups: groups, channels: channels, epsilon: AutoencoderKLConfiguration.epsilon, activation: .silu, scope)
  }
}

/// The autoencoder of latent diffusion (Rombach et al. 2022), with the same layers and names as diffusers'
/// `AutoencoderKL` or, with a codebook, `VQModel`.
///
/// Images have values −1 to 1. Those whose sides cannot be halved at every level are padded with zeros.
public struct AutoencoderKLNetwork {
  public let configuration: AutoencoderKLConfiguration
  /// The codebook; nil for normal distributions of latents.
  public let quantizer: VectorQuantizer?
  private let encoder: LatentEncoder
  private let quantConvolution, postQuantConvolution: Conv2d?
  private let decoder: LatentDecoder

  public init(_ configuration: AutoencoderKLConfiguration, _ scope: Scope) {
    let c = configuration
    self.configuration = c
    // A mean and a log-variance, or a vector to quantise.
    let outputs = c.codes == nil ? 2 * c.latentChannels : c.latentChannels
    encoder = LatentEncoder(c, outputs: outputs, scope["encoder"])
    quantizer = c.codes.map { VectorQuantizer(codes: $0, width: c.latentChannels, scope["quantize"]) }
    quantConvolution =
      c.hasQuantConvolution
      ? c.convolution(
        outputs, outputs, kernelSize: 1, bias: c.codes == nil ? .shares([0, Self.firstLogVariance]) : .zeros,
        scope["quant_conv"]) : nil
    postQuantConvolution =
      c.hasPostQuantConvolution
      ? c.convolution(c.latentChannels, c.latentChannels, kernelSize: 1, scope["post_quant_conv"]) : nil
    decoder = LatentDecoder(c, scope["decoder"])
  }

  /// What the encoder says about images `[N, H, W, inputChannels]`: `[N, h, w, 2 · latentChannels]`, the mean and then
  /// the log-variance of each latent number, or `[N, h, w, latentChannels]`, the vectors to quantise.
  public func encode(_ images: Variable) -> Variable {
    let encoded = encoder(pad(images, border(of: images.imageSize)))
    return quantConvolution.map { $0(encoded) } ?? encoded
  }

  /// The log-variance that latents begin with. With the noise of a log-variance of 0, latents say little at first, and the
  /// decoder learns to ignore some of their numbers, which takes long to undo.
  private static let firstLogVariance: Float = -6

  /// The mean and the log-variance of latents, float32 `[N, h, w, latentChannels]`, from what
  /// ``encode(_:)`` gives. The log-variance is limited to −30…20; beyond that its gradient is 0.
  public func moments(_ encoded: Variable) -> (mean: Variable, logVariance: Variable) {
    let parts = splitChannels(encoded.cast(to: .float32), into: 2)
    return (parts[0], clamp(parts[1], -30, 20))
  }

  /// Images from latents that are not quantised any more.
  ///
  /// - Parameters:
  ///   - latents: `[N, h, w, latentChannels]`.
  ///   - size: height and width of the images. Those of the decoder's result are multiples of
  ///     ``AutoencoderKLConfiguration/factor``; its border is cut off.
  /// - Returns: `[N, H, W, outputChannels]`.
  public func decode(_ latents: Variable, size: (height: Int, width: Int)) -> Variable {
    pad(decoder(postQuantConvolution.map { $0(latents) } ?? latents), -border(of: size))
  }

  /// The height and width of the latents of images of a size.
  public func latentSize(of size: (height: Int, width: Int)) -> (height: Int, width: Int) {
    let border = border(of: size)
    return (
      (size.height + border.top + border.bottom) / configuration.factor,
      (size.width + border.left + border.right) / configuration.factor
    )
  }

  private func border(of size: (height: Int, width: Int)) -> Insets {
    Insets(bringing: size, toMultiplesOf: configuration.factor)
  }
}

/// The blocks of the coarsest level. Parameters: `resnets.0`, `attentions.0`, `resnets.1`.
private struct MiddleBlock {
  private let first, second: ResidualBlock
  private let attention: ImageAttention?

  init(_ configuration: AutoencoderKLConfiguration, channels: Int, _ scope: Scope) {
    first = configuration.resnet(channels, channels, scope["resnets"][0])
    attention =
      configuration.middleAttention
      ? ImageAttention(
        channels: channels, heads: 1, groups: configuration.groups, epsilon: AutoencoderKLConfiguration.epsilon,
        scope["attentions"][0]) : nil
    second = configuration.resnet(channels, channels, scope["resnets"][1])
  }

  func callAsFunction(_ x: Variable) -> Variable {
    let y = first(x, time: nil)
    return second(attention.map { $0(y) } ?? y, time: nil)
  }
}

/// Images `[N, H, W, C]` to `[N, h, w, outputs]`, as diffusers' `Encoder` (`vae.py`).
private struct LatentEncoder {
  private let input: Conv2d
  private var levels: [(resnets: [ResidualBlock], downsample: Conv2d?)] = []
  private let middle: MiddleBlock
  private let outputNorm: GroupNorm
  private let output: Conv2d

  init(_ c: AutoencoderKLConfiguration, outputs: Int, _ scope: Scope) {
    var channels = c.channels[0]
    input = c.convolution(c.inputChannels, channels, scope["conv_in"])
    for (index, width) in c.channels.enumerated() {
      let scope = scope["down_blocks"][index]
      let resnets = (0..<c.layersPerBlock).map { layer in
        c.resnet(layer == 0 ? channels : width, width, scope["resnets"][layer])
      }
      let downsample =
        index == c.channels.count - 1
        ? nil
        : Conv2d(
          inputChannels: width, outputChannels: width, kernelSize: 3,
          window: ConvolutionWindow(stride: 2, top: 0, left: 0, bottom: 1, right: 1),
          initializer: .fanAverageUniform(scale: 1), scope["downsamplers"][0]["conv"])
      levels.append((resnets, downsample))
      channels = width
    }
    middle = MiddleBlock(c, channels: channels, scope["mid_block"])
    outputNorm = c.outputNorm(channels, scope["conv_norm_out"])
    output = c.convolution(channels, outputs, scope["conv_out"])
  }

  func callAsFunction(_ images: Variable) -> Variable {
    var hidden = input(images)
    for level in levels {
      for resnet in level.resnets { hidden = resnet(hidden, time: nil) }
      if let downsample = level.downsample { hidden = downsample(hidden) }
    }
    return output(outputNorm(middle(hidden)))
  }
}

/// Latents `[N, h, w, latentChannels]` to images `[N, H, W, C]`, as diffusers' `Decoder` (`vae.py`).
private struct LatentDecoder {
  private let input: Conv2d
  private let middle: MiddleBlock
  private var levels: [(resnets: [ResidualBlock], upsample: Conv2d?)] = []
  private let outputNorm: GroupNorm
  private let output: Conv2d

  init(_ c: AutoencoderKLConfiguration, _ scope: Scope) {
    var channels = c.channels[c.channels.count - 1]
    input = c.convolution(c.latentChannels, channels, scope["conv_in"])
    middle = MiddleBlock(c, channels: channels, scope["mid_block"])
    for (index, width) in c.channels.reversed().enumerated() {
      let scope = scope["up_blocks"][index]
      let resnets = (0...c.layersPerBlock).map { layer in
        c.resnet(layer == 0 ? channels : width, width, scope["resnets"][layer])
      }
      let upsample =
        index == c.channels.count - 1
        ? nil : c.convolution(width, width, scope["upsamplers"][0]["conv"])
      levels.append((resnets, upsample))
      channels = width
    }
    outputNorm = c.outputNorm(channels, scope["conv_norm_out"])
    output = c.convolution(channels, c.outputChannels, scope["conv_out"])
  }

  func callAsFunction(_ latents: Variable) -> Variable {
    var hidden = middle(input(latents))
    for level in levels {
      for resnet in level.resnets { hidden = resnet(hidden, time: nil) }
      if let upsample = level.upsample { hidden = upsample(upsampleNearest(hidden)) }
    }
    return output(outputNorm(hidden))
  }
}
