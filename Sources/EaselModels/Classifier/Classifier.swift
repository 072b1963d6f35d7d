import EaselLayers
import EaselSupport

/// A residual network that predicts the class of an image.
///
/// Pre-activation residual blocks at three sizes (the image's, half and quarter) with average pooling between them;
/// then GroupNorm, SiLU, the mean over positions, and a linear layer. The means are the features. Like those of the
/// network that Fréchet distances are usually computed with, they come after the nonlinearity, and each is an average
/// of activations of normalised channels, so that no feature outweighs the others by its scale.
public final class Classifier: SingleLossModel {
  public let context: ModelContext
  public let components: [Component]
  private let settings: ClassifierSettings
  private let stem: Conv2d
  /// The blocks of each size.
  private var stages: [[ResidualBlock]] = []
  private let norm: GroupNorm
  private let head: Linear

  private static let groups = 8

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
    try Classifier.requireSize(of: context.data)
    let scope = Scope()
    let channels = [settings.baseChannels, 2 * settings.baseChannels, settings.features]
    stem = Conv2d(
      inputChannels: context.data.channels, outputChannels: channels[0], kernelSize: 3, padding: 1,
      initializer: .heNormal, scope["stem"])
    for (level, width) in channels.enumerated() {
      stages.append(
        (0..<settings.blocks).map { block in
          ResidualBlock(
            inputChannels: block == 0 ? channels[max(0, level - 1)] : width, outputChannels: width, timeChannels: nil,
            groups: Classifier.groups, epsilon: 1e-5, scope["stages"][level][block])
        })
    }
    norm = GroupNorm(groups: Classifier.groups, channels: settings.features, activation: .silu, scope["norm"])
    head = Linear(settings.features, context.data.classNames.count, scope["head"])
    components = [try Component("", scope, context)]
  }

  private static func requireSize(of data: DataDescription) throws {
    guard min(data.width, data.height) >= 4 else {
      throw UserError(
        .usage,
        "a classifier halves images twice: expected at least 4×4, found \(data.width)×\(data.height)")
    }
  }

  /// The features of images `[N, H, W, C]`, 0 to 1: `[N, features]`.
  private func features(_ images: Tensor, on tape: Tape?) -> Variable {
    meanOverPositions(norm(stageOutputs(Variable(images, on: tape))[stages.count - 1]))
  }

  /// What each stage makes of images `[N, H, W, C]`, 0 to 1: `[N, h, w, c]`.
  private func stageOutputs(_ images: Variable) -> [Variable] {
    var hidden = stem(affine(images, scale: 2, shift: -1).cast(to: context.type))
    return stages.enumerated().map { level, blocks in
      if level > 0 { hidden = averagePool(hidden) }
      for block in blocks { hidden = block(hidden, time: nil) }
      return hidden
    }
  }

  /// `[N, H, W, C]` to `[N, C]`.
  private func meanOverPositions(_ x: Variable) -> Variable {
    let positions = x.shape[1] * x.shape[2]
    let fraction = Tensor(
      repeating: 1 / Float(positions), shape: [x.shape[0], 1, positions], type: context.type, on: context.backend)
    return matmul(Variable(fraction, on: x.tape), x.reshaped([x.shape[0], positions, -1])).reshaped([x.shape[0], -1])
  }

  public func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    guard let labels = batch.labels else { fatalError("a classifier was given images without labels") }
    let logits = head(features(batch.tensor(on: context.backend), on: tape)).cast(to: .float32)
    // Held-out images are judged by their labels alone, without smoothing.
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

extension Classifier: DifferentiableFeatures {
  public func requireFeatureMaps(of data: DataDescription) throws {
    try Classifier.requireSize(of: data)
    guard data.channels == context.data.channels else {
      throw UserError(
        .usage,
        "a classifier of images with \(context.data.channels) channels cannot see the features of "
          + "images with \(data.channels)")
    }
  }

  /// The results of the stages at full, half and quarter size.
  public func featureMaps(_ images: Variable) -> [Variable] { stageOutputs(images) }
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
