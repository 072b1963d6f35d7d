import EaselKit

/// A family whose models use another checkpoint's model: one matrix that rotates the codes of a frozen autoencoder.
enum PartFamily: ModelFamily {
  static let name = "turned"
  static let summary = "turns the codes of an autoencoder by one matrix"
  static let parts = [
    ModelPart("coder", "codes of images", example: ToyFamily.name) { $0 is any ImageEncoding }
  ]

  static let presets = [
    Preset(
      "turned", "one matrix", data: DataDescription(width: 8, height: 8, channels: 1),
      training: TrainingSettings {
        $0.batchSize = 16
        $0.learningRate = 1e-2
        $0.steps = 50
        $0.emaDecay = 0.9
      },
      model: PartSettings())
  ]

  static func make(_ settings: PartSettings, _ context: ModelContext) throws -> any Model {
    guard let coder = context.parts["coder"] as? any ImageEncoding else {
      throw UserError(.usage, "coder: expected a checkpoint for codes of images, found none")
    }
    return try Turned(coder, context)
  }
}

struct PartSettings: ModelSettings {
  var coder = ""

  static let fields: [Field<PartSettings>] = [
    Field("coder", \.coder, "the run or checkpoint of the autoencoder").fixed
  ]
}

final class Turned: SingleLossModel, ImageEncoding {
  let context: ModelContext
  let components: [Component]
  let coder: any ImageEncoding
  private let matrix: Linear

  init(_ coder: any ImageEncoding, _ context: ModelContext) throws {
    (self.coder, self.context) = (coder, context)
    let (scope, width) = (Scope(), 4)
    matrix = Linear(width, width, scope["matrix"])
    components = [try Component("", scope, context)]
  }

  func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    let codes = coder.encode(batch.tensor(on: context.backend))
    return (elementwiseLoss(.squaredError, matrix(Variable(codes, on: tape)), codes), [:])
  }

  func encode(_ images: Tensor) -> Tensor { matrix(Variable(coder.encode(images))).value }
  func decode(_ codes: Tensor) -> Tensor { coder.decode(codes) }
}
