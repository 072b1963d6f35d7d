import EaselLayers
import EaselSupport

/// A residual network that predicts the class of an image.
///
/// A ``ResidualEncoder`` and a linear layer. The encoder's means are the features. Like those of the network that
/// Fréchet distances are usually computed with, they come after the nonlinearity, and each is an average of activations
/// of normalised channels, so that no feature outweighs the others by its scale.
public final class Classifier: SingleLossModel {
  public let context: ModelContext
  public let components: [Component]
  private let settings: ClassifierSettings
  private let encoder: ResidualEncoder
  private let head: Linear

  /// - Throws: `UserError` (usage) if the data have fewer than two classes.
  public init(_ settings: ClassifierSettings, _ context: ModelContext) throws {
    guard context.data.classNames.count >= 2 else {
      throw UserError(
        .usage,
        "a classifier learns labels: expected data with at least 2 classes, found \(context.data.classNames.count)",
        hint: "In a folder of images, the sub-folders are the classes.")
    }
    self.context = context
    self.settings = settings
    try ResidualEncoder.requireSize(of: context.data)
    let scope = Scope()
    encoder = ResidualEncoder(
      inputChannels: context.data.channels, baseChannels: settings.baseChannels, features: settings.features,
      blocks: settings.blocks, scope)
    head = Linear(settings.features, context.data.classNames.count, scope["head"])
    components = [try Component("", scope, context)]
  }

  /// The features of images `[N, H, W, C]`, 0 to 1: `[N, features]`.
  private func features(_ images: Tensor, on tape: Tape?) -> Variable {
    encoder(context.signed(Variable(images, on: tape)))
  }

  /// The purposes that random numbers are drawn for.
  private enum Draw {
    static let attack: UInt32 = 0
  }

  /// The images to learn from: with `adversarial-epsilon`, those that mislead the present network most (Madry et al.
  /// 2018).
  private func lesson(_ batch: Batch, _ labels: [Int32], _ draw: (UInt32) -> RandomDraw) -> Tensor {
    let images = batch.tensor(on: context.backend)
    guard settings.adversarialEpsilon > 0 else { return images }
    let arena = components[0].arena
    arena.isFrozen = true
    defer { arena.isFrozen = false }
    return AdversarialAttack(epsilon: settings.adversarialEpsilon / 255, steps: settings.adversarialSteps).changed(
      images, labels.map(Int.init), of: context.data.classNames.count, by: self, draw(Draw.attack))
  }

  public func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    guard let labels = batch.labels else { fatalError("a classifier was given images without labels") }
    // Held-out images are judged as they are, by their labels alone, without smoothing.
    let images = tape == nil ? batch.tensor(on: context.backend) : lesson(batch, labels, draw)
    let logits = head(features(images, on: tape)).cast(to: .float32)
    let target = targets(labels, smoothing: tape == nil ? 0 : settings.labelSmoothing)
    let right = zip(logits.value.argmax(), labels).filter { $0 == Int($1) }.count
    return (crossEntropy(logits, target), ["accuracy": Float(right) / Float(batch.count)])
  }

  /// The distribution that each image's label stands for.
  private func targets(_ labels: [Int32], smoothing: Float) -> Tensor {
    let classes = context.data.classNames.count
    var values = [Float](repeating: smoothing / Float(classes), count: labels.count * classes)
    for (index, label) in labels.enumerated() { values[index * classes + Int(label)] += 1 - smoothing }
    return Tensor(values, shape: [labels.count, classes], on: context.backend)
  }

  public func benchmarkPass(_ batch: Batch) { _ = logits(batch.tensor(on: context.backend)) }
}

extension Classifier: Classifying, FeatureExtracting {
  public func features(_ images: Tensor) -> Tensor { features(images, on: nil).value.cast(to: .float32) }

  public func logits(ofFeatures features: Tensor) -> Tensor {
    head(Variable(features.cast(to: context.type))).value.cast(to: .float32)
  }
}

extension Classifier: DifferentiableClassifying {
  public func logits(_ images: Variable) -> Variable { head(encoder(context.signed(images))).cast(to: .float32) }
}

extension Classifier: DifferentiableFeatures {
  public func requireFeatureMaps(of data: DataDescription) throws {
    try ResidualEncoder.requireSize(of: data)
    guard data.channels == context.data.channels else {
      throw UserError(
        .usage,
        "a classifier of images with \(context.data.channels) channels cannot see the features of "
          + "images with \(data.channels)")
    }
  }

  /// The results of the stages at full, half and quarter size.
  public func featureMaps(_ images: Variable) -> [Variable] { encoder.featureMaps(context.signed(images)) }
}

extension Tensor {
  /// The index of the largest element in each row of a matrix; the first if there are several.
  public func argmax() -> [Int] {
    let (columns, values) = (shape.last, values())
    return (0..<shape[0]).map { row in
      var best = 0
      for column in 1..<max(1, columns) where values[row * columns + column] > values[row * columns + best] {
        best = column
      }
      return best
    }
  }
}
