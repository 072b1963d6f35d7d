import EaselLayers

/// An encoder and a decoder, trained together on the squared error of reconstructions.
public final class Autoencoder: SingleLossModel, ImageEncoding {
  public let context: ModelContext
  public let components: [Component]
  private let latent: Int
  private let coder: ImageCoder

  public init(_ settings: AutoencoderSettings, _ context: ModelContext) throws {
    self.context = context
    latent = settings.latent
    let scope = Scope()
    coder = ImageCoder(
      settings.architecture, context.data, outputs: latent, latent: latent, baseChannels: settings.baseChannels,
      tied: settings.tied, scope)
    components = [try Component("", scope, context)]
  }

  public func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    (reconstructionLoss(of: batch.tensor(on: context.backend), on: tape), [:])
  }

  /// The mean squared error of the reconstructions of images `[N, H, W, C]`, 0 to 1.
  public func reconstructionLoss(of images: Tensor, on tape: Tape?) -> Variable {
    let output = coder.decoder(coder.encoder(Variable(images.cast(to: context.type), on: tape)))
    return elementwiseLoss(.squaredError, output.cast(to: .float32), images)
  }

  public func benchmarkPass(_ batch: Batch) {
    _ = images(Tensor(repeating: 0.5, shape: [batch.count, latent], on: context.backend))
  }

  public var interpolation: Interpolation { .linear }

  public func encode(_ images: Tensor) -> Tensor { Chunks.map(images) { images, _ in codes(images) } }
  public func decode(_ codes: Tensor) -> Tensor { Chunks.map(codes) { codes, _ in images(codes) } }

  private func codes(_ images: Tensor) -> Tensor {
    coder.encoder(Variable(images.cast(to: context.type))).value.cast(to: .float32)
  }

  private func images(_ codes: Tensor) -> Tensor {
    coder.decoder(Variable(codes.cast(to: context.type))).value.cast(to: .float32)
  }

  /// An autoencoder does not know how its codes are distributed.
  public func randomCodes(_ range: Range<Int>, seed: UInt64) -> Tensor? { nil }
}
