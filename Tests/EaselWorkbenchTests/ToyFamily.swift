import EaselKit

/// A family from nothing: one matrix from an image to a short code, and one back.
enum ToyFamily: ModelFamily {
  static let name = "toy"
  static let summary = "compresses an image by one matrix and brings it back by another"

  static let presets = [
    Preset(
      "toy", "4 numbers a code", data: DataDescription(width: 8, height: 8, channels: 1),
      training: TrainingSettings {
        $0.batchSize = 16
        $0.learningRate = 1e-2
        $0.steps = 200
      },
      model: ToySettings())
  ]

  static func make(_ settings: ToySettings, _ context: ModelContext) throws -> any Model {
    try Toy(settings, context)
  }
}

/// What can be set, as `latent=4`.
struct ToySettings: ModelSettings {
  var latent = 4

  static let fields: [Field<ToySettings>] = [
    Field("latent", \.latent, .from(1, to: 4096), "numbers in a code")
  ]
}

/// The network, its loss, and what it can be asked for.
final class Toy: SingleLossModel, ImageEncoding {
  let context: ModelContext
  let components: [Component]
  private let encoder, decoder: Linear

  init(_ settings: ToySettings, _ context: ModelContext) throws {
    self.context = context
    let (scope, pixels) = (Scope(), context.data.shape(1).count)
    encoder = Linear(pixels, settings.latent, scope["encoder"])
    decoder = Linear(settings.latent, pixels, scope["decoder"])
    components = [try Component("", scope, context)]
  }

  /// Images `[N, H, W, C]` to codes `[N, latent]`.
  private func codes(_ images: Variable) -> Variable { encoder(images.reshaped([images.shape[0], -1])) }

  /// And back.
  private func images(_ codes: Variable) -> Variable {
    decoder(codes).reshaped(context.data.shape(codes.shape[0]).sizes)
  }

  /// The mean squared error of what comes back, in float32.
  func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    let shown = batch.tensor(on: context.backend)
    let output = images(codes(Variable(shown.cast(to: context.type), on: tape)))
    return (elementwiseLoss(.squaredError, output.cast(to: .float32), shown), [:])
  }

  func encode(_ images: Tensor) -> Tensor {
    Chunks.map(images) { images, _ in codes(Variable(images.cast(to: context.type))).value.cast(to: .float32) }
  }

  func decode(_ codes: Tensor) -> Tensor {
    Chunks.map(codes) { codes, _ in images(Variable(codes.cast(to: context.type))).value.cast(to: .float32) }
  }
}
