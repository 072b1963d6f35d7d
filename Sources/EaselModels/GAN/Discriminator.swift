import EaselLayers
import EaselSupport

/// How a discriminator receives labels.
public enum LabelConditioning: String, FieldChoice {
  case none
  /// The score gains the product of a class's vector and the image's features (Miyato and Koyama 2018).
  case projection
  /// A learned plane for each class is one more channel of the image (Mirza and Osindero 2014).
  case concatenation
}

/// The discriminator of a DCGAN: images `[N, H, W, C]` in [−1, 1] to scores `[N]`, higher for more real.
struct Discriminator {
  private struct Block {
    let conv: Conv2d
    let norm: BatchNorm?
    let spectral: SpectralNorm?
  }

  private let halvings: Halvings
  private var blocks: [Block] = []
  private let output: Linear
  private let outputSpectral: SpectralNorm?
  private let classes: Embedding?
  private let planes: Embedding?
  private static let activation = Activation.leakyReLU(slope: 0.2)

  /// - Parameters:
  ///   - hasNorms: whether all blocks but the first have BatchNorm. Without it, the scores of images do not depend on
  ///     each other.
  ///   - hasSpectralNorm: whether all weights but those of classes are divided by their largest singular value.
  init(
    _ data: DataDescription, baseChannels: Int, hasNorms: Bool, hasSpectralNorm: Bool,
    conditioning: LabelConditioning, _ scope: Scope
  ) {
    // A norm compensates for any scale of its input. Without norms, scores that begin near zero would take long to
    // grow.
    let weights = hasNorms ? Initializer.normal(deviation: 0.02) : .heNormal
    halvings = Halvings(data)
    let classCount = data.classNames.count
    planes =
      conditioning == .concatenation
      ? Embedding(
        count: classCount, width: data.height * data.width, initializer: .normal(deviation: 1), scope["planes"]) : nil
    var channels = data.channels + (conditioning == .concatenation ? 1 : 0)
    for level in 0..<halvings.count {
      let outputs = halvings.channels(baseChannels, at: level)
      let scope = scope["blocks"][level]
      let conv = Conv2d(
        inputChannels: channels, outputChannels: outputs, kernelSize: 4, stride: 2, padding: 1, initializer: weights,
        scope["conv"])
      let norm =
        hasNorms && level > 0
        ? BatchNorm(
          outputs, activation: Self.activation, initializer: .normal(mean: 1, deviation: 0.02), scope["norm"]) : nil
      blocks.append(
        Block(conv: conv, norm: norm, spectral: hasSpectralNorm ? SpectralNorm(conv.weight, scope["conv"]) : nil))
      channels = outputs
    }
    let features = halvings.bottom.height * halvings.bottom.width * channels
    output = Linear(features, 1, initializer: weights, scope["output"])
    outputSpectral = hasSpectralNorm ? SpectralNorm(output.weight, scope["output"]) : nil
    classes =
      conditioning == .projection
      ? Embedding(count: classCount, width: features, initializer: .normal(deviation: 0.02), scope["classes"]) : nil
  }

  /// - Parameters:
  ///   - direction: a change of the images.
  ///   - labels: int32 `[N]`.
  /// - Returns: float32 `[N]`, and the change of each score per change of its image along `direction`.
  func callAsFunction(
    _ images: Variable, direction: Variable? = nil, labels: Tensor?
  ) -> (scores: Variable, changes: Variable?) {
    let tape = images.tape
    var hidden = images
    var change = direction
    if let planes, let labels {
      let shape = [images.shape[0], images.shape[1], images.shape[2], 1]
      hidden = concatenate([hidden, planes(labels, type: images.value.type, on: tape).reshaped(shape)])
      change = change.map { change in
        let nothing = Tensor(repeating: 0, shape: Shape(shape), type: change.value.type, on: images.backend)
        return concatenate([change, Variable(nothing, on: tape)])
      }
    }
    hidden = pad(hidden, halvings.border)
    change = change.map { pad($0, halvings.border) }
    for block in blocks {
      let weight = block.spectral?(on: tape) ?? block.conv.weight.variable(on: tape)
      let sums = conv2d(hidden, weight: weight, bias: block.conv.bias?.variable(on: tape), window: block.conv.window)
      require(change == nil || block.norm == nil, "BatchNorm mixes images: no direction goes through it")
      change = change.map {
        tangent(of: Self.activation, at: sums, conv2d($0, weight: weight, window: block.conv.window))
      }
      hidden = block.norm.map { $0(sums, BatchNorm.training) } ?? activate(Self.activation, sums)
    }

    let weight = outputSpectral?(on: tape) ?? output.weight.variable(on: tape)
    let vectors = classes.flatMap { classes in labels.map { classes($0, type: hidden.value.type, on: tape) } }
    func score(_ features: Variable, bias: Parameter?) -> Variable {
      let features = features.reshaped([images.shape[0], -1])
      let score = linear(features, weight: weight, bias: bias?.variable(on: tape)).cast(to: .float32).reshaped([-1])
      return vectors.map { score + sumSamples($0 * features) } ?? score
    }
    return (score(hidden, bias: output.bias), change.map { score($0, bias: nil) })
  }

  /// Updates the spectral norms for the present weights.
  func iterateSpectralNorms() {
    for block in blocks { block.spectral?.iterate() }
    outputSpectral?.iterate()
  }
}
