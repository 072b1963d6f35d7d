import EaselLayers
import EaselSupport

/// A network from an image `[N, H, W, C]` to a code `[N, latent]`.
protocol ImageEncoder { func callAsFunction(_ images: Variable) -> Variable }
/// A network from a code `[N, latent]` to an image `[N, H, W, C]`.
protocol ImageDecoder { func callAsFunction(_ codes: Variable) -> Variable }

/// The networks of an autoencoder.
public enum CoderArchitecture: String, FieldChoice {
  case convolutional
  /// One matrix each way: an autoencoder's best code then spans the principal components.
  case linear
}

/// The networks that turn an image into a short code and back. Every kind of autoencoder consists of them.
struct ImageCoder {
  let encoder: any ImageEncoder
  let decoder: any ImageDecoder

  /// - Parameters:
  ///   - outputs: how many numbers the encoder gives for an image.
  ///   - latent: how many numbers the decoder takes for an image.
  ///   - baseChannels: convolutional only: channels of the first convolution; each strided stage doubles them.
  ///   - tied: linear only: whether the decoder is the transposed encoder.
  init(
    _ architecture: CoderArchitecture, _ data: DataDescription, outputs: Int, latent: Int, baseChannels: Int,
    tied: Bool = false, _ scope: Scope
  ) {
    switch architecture {
    case .convolutional:
      encoder = ConvolutionalEncoder(data, baseChannels: baseChannels, outputs: outputs, scope["encoder"])
      decoder = ConvolutionalDecoder(data, baseChannels: baseChannels, latent: latent, scope["decoder"])
    case .linear:
      let linear = LinearEncoder(data, outputs: outputs, scope["encoder"])
      encoder = linear
      decoder = LinearDecoder(data, latent: latent, tiedTo: tied ? linear : nil, scope["decoder"])
    }
  }
}

extension Field {
  /// The fields for the networks' kind and sizes, which all families of coders share.
  static func coder(
    _ architecture: WritableKeyPath<Root, CoderArchitecture> & Sendable, latent: WritableKeyPath<Root, Int> & Sendable,
    baseChannels: WritableKeyPath<Root, Int> & Sendable
  ) -> [Field] {
    [
      Field("architecture", architecture, "the kind of network"),
      Field("latent", latent, .from(1, to: 65_536), "numbers in a code"),
      Field(
        "base-channels", baseChannels, .from(8, to: 4096),
        "channels of the first convolution; each halving doubles them"
      ).needing("architecture=convolutional") { $0[keyPath: architecture] == .convolutional },
    ]
  }
}

extension FieldCheck {
  /// Checks the width of convolutional networks.
  mutating func coder(baseChannels: Int) {
    require(baseChannels % 8 == 0, "base-channels: expected a multiple of 8 (the norms' groups), found \(baseChannels)")
  }
}
