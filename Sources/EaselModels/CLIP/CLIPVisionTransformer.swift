import EaselLayers

/// The sizes of a ``CLIPVisionTransformer``.
public struct CLIPVisionConfiguration: Hashable, Sendable {
  /// Rows and columns of an image, in pixels.
  public var height, width: Int
  /// The channels of an image.
  public var channels: Int
  /// Rows and columns of a patch, in pixels; what is left of an image at the right and at the bottom is not seen.
  public var patch: Int
  public var encoder: CLIPEncoderConfiguration

  /// The image network of OpenAI's ViT-B/32 by default.
  public init(
    height: Int = 224, width: Int = 224, channels: Int = 3, patch: Int = 32,
    encoder: CLIPEncoderConfiguration = CLIPEncoderConfiguration(width: 768, layers: 12, heads: 12)
  ) {
    (self.height, self.width, self.channels) = (height, width, channels)
    (self.patch, self.encoder) = (patch, encoder)
  }

  /// The number of patches of an image.
  public var patches: Int { (height / patch) * (width / patch) }
}

/// CLIP's vision transformer (Radford et al. 2021), transformers' `CLIPVisionModel`: patches and a class token.
///
/// Parameters: `embeddings.class_embedding` `[C]`, `embeddings.patch_embedding.weight` `[C, channels, patch, patch]`,
/// `embeddings.position_embedding.weight` `[patches + 1, C]`, `pre_layrnorm` (spelt so), `encoder.layers.i.…`,
/// `post_layernorm`. In files all of them are below `vision_model`.
public struct CLIPVisionTransformer {
  public let configuration: CLIPVisionConfiguration
  private let classToken, positions: Parameter
  private let patches: Conv2d
  private let encoder: CLIPEncoder
  private let firstNorm, lastNorm: LayerNorm

  /// It traps if the heads do not divide the width, or if an image has no patch.
  public init(_ configuration: CLIPVisionConfiguration, _ scope: Scope) {
    require(configuration.patches > 0, "\(configuration) has no patches")
    self.configuration = configuration
    let (width, epsilon) = (configuration.encoder.width, configuration.encoder.epsilon)
    let embeddings = scope["embeddings"]
    let initializer = Initializer.normal(deviation: 1 / Float(width).squareRoot())
    classToken = embeddings.parameter("class_embedding", [width], initializer)
    patches = Conv2d(
      inputChannels: configuration.channels, outputChannels: width, kernelSize: configuration.patch,
      stride: configuration.patch, bias: false, embeddings["patch_embedding"])
    positions = embeddings["position_embedding"].parameter("weight", [configuration.patches + 1, width], initializer)
    firstNorm = LayerNorm(width, epsilon: epsilon, scope["pre_layrnorm"])
    encoder = CLIPEncoder(configuration.encoder, scope["encoder"])
    lastNorm = LayerNorm(width, epsilon: epsilon, scope["post_layernorm"])
  }

  /// Looks at images.
  ///
  /// - Parameter images: `[N, H, W, channels]`, with the mean and the deviation that the network was trained with; other
  ///   sizes trap.
  /// - Returns: all tokens before the last norm, the class token first, `[N, patches + 1, C]`, and the class token after
  ///   it, `[N, C]`.
  public func callAsFunction(_ images: Variable) -> (tokens: Variable, pooled: Variable) {
    let count = images.shape[0]
    require(
      images.shape == [count, configuration.height, configuration.width, configuration.channels],
      "\(images.shape) for \(configuration)")
    let seen = patches(images).reshaped([count, configuration.patches, configuration.encoder.width])
    // The class token, then the patches.
    let places = (0..<count).flatMap { _ in (-1..<configuration.patches).map { Int32($0) } }
    let indices = Tensor(places, on: images.backend).reshaped([count, configuration.patches + 1])
    let tokens = gatherTokens(seen, indices, filler: classToken.variable(on: images.tape))
    let all = encoder(firstNorm(tokens.adding(positions: positions.variable(on: images.tape))), mask: nil)
    return (all, lastNorm(all.token(at: [Int](repeating: 0, count: count))))
  }
}
