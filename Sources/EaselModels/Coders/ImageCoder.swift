import EaselLayers

/// A network from an image `[N, H, W, C]` to a code `[N, latent]`.
protocol ImageEncoder { func callAsFunction(_ images: Variable) -> Variable }
/// A network from a code `[N, latent]` to an image `[N, H, W, C]`.
protocol ImageDecoder { func callAsFunction(_ codes: Variable) -> Variable }

/// Which networks an autoencoder has.
public enum CoderArchitecture: String, Codable, Sendable, CaseIterable {
  case convolutional
  /// One matrix each way: an autoencoder's best code then spans the principal components.
  case linear
}

/// The networks that turn an image into a short code and back: what autoencoders of every kind are made of.
struct ImageCoder {
  let encoder: any ImageEncoder
  let decoder: any ImageDecoder

  /// - Parameters:
  ///   - outputs: numbers that the encoder gives for an image.
  ///   - latent: numbers that the decoder takes for one.
  ///   - baseChannels: convolutional only: channels of the first convolution; each strided stage doubles them.
  ///   - tied: linear only: the decoder is the encoder transposed.
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

extension SettingsCheck {
  /// What the networks need of their sizes.
  mutating func coder(latent: Int, baseChannels: Int) {
    self(latent, "latent", 1...65_536)
    self(baseChannels, "base-channels", 8...4096)
    require(
      baseChannels % 8 == 0, "base-channels: expected a multiple of 8 (the norms' groups), found \(baseChannels)")
  }
}
