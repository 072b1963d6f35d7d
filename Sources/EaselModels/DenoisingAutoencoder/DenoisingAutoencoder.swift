import EaselLayers

/// An autoencoder that receives damaged images and learns to reconstruct the clean ones (Vincent et al. 2008).
public final class DenoisingAutoencoder: SingleLossModel, ImageEncoding {
  public let context: ModelContext
  public let components: [Component]
  public let corruption: Corruption
  private let coder: ImageCoder

  public init(_ settings: DenoisingAutoencoderSettings, _ context: ModelContext) throws {
    self.context = context
    corruption = Corruption(settings.corruption, strength: settings.strength)
    let scope = Scope()
    coder = ImageCoder(
      settings.architecture, context.data, outputs: settings.latent, latent: settings.latent,
      baseChannels: settings.baseChannels, scope)
    components = [try Component("", scope, context)]
  }

  /// The mean squared error between reconstructions of the damaged images and the clean ones.
  public func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    let clean = batch.tensor(on: context.backend)
    let damaged = corruption.apply(to: clean, draw(0))
    let output = coder.decoder(coder.encoder(Variable(damaged.cast(to: context.type), on: tape)))
    return (elementwiseLoss(.squaredError, output.cast(to: .float32), clean), [:])
  }

  public func benchmarkPass(_ batch: Batch) { _ = images(codes(batch.tensor(on: context.backend))) }

  public var interpolation: Interpolation { .linear }

  public func encode(_ images: Tensor) -> Tensor { Chunks.map(images) { images, _ in codes(images) } }
  public func decode(_ codes: Tensor) -> Tensor { Chunks.map(codes) { codes, _ in images(codes) } }

  private func codes(_ images: Tensor) -> Tensor {
    coder.encoder(Variable(images.cast(to: context.type))).value.cast(to: .float32)
  }

  private func images(_ codes: Tensor) -> Tensor {
    coder.decoder(Variable(codes.cast(to: context.type))).value.cast(to: .float32)
  }

  public func randomCodes(_ range: Range<Int>, seed: UInt64) -> Tensor? { nil }
}

extension DenoisingAutoencoder: Restoring {
  /// For any kind of damage: the network has learned one kind and does what it can with others.
  public func restore(
    _ images: Tensor, from corruption: Corruption, seed: UInt64, progress: (Double) throws -> Void
  ) rethrows -> Tensor {
    let codes = encode(images)
    try progress(0.5)
    let restored = decode(codes)
    try progress(1)
    return restored
  }
}
