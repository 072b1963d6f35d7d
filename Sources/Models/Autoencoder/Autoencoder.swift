import Layers

/// A network from an image `[N, H, W, C]` to a code `[N, latent]`.
protocol ImageEncoder { func callAsFunction(_ images: Variable) -> Variable }
/// A network from a code `[N, latent]` to an image `[N, H, W, C]`.
protocol ImageDecoder { func callAsFunction(_ codes: Variable) -> Variable }

/// An encoder and a decoder trained together on the squared error of the image that comes back.
public final class Autoencoder: SingleLossModel, LatentSpace {
  public let context: ModelContext
  public let components: [Component]
  private let latent: Int
  private let encoder: any ImageEncoder
  private let decoder: any ImageDecoder

  public init(_ settings: AutoencoderSettings, _ context: ModelContext) throws {
    self.context = context
    latent = settings.latent
    let scope = Scope()
    switch settings.architecture {
    case .convolutional:
      encoder = ConvolutionalEncoder(
        context.data, baseChannels: settings.baseChannels, outputs: settings.latent, scope["encoder"])
      decoder = ConvolutionalDecoder(
        context.data, baseChannels: settings.baseChannels, latent: settings.latent, scope["decoder"])
    case .linear:
      let linearEncoder = LinearEncoder(context.data, latent: settings.latent, scope["encoder"])
      encoder = linearEncoder
      decoder = LinearDecoder(
        context.data, latent: settings.latent, tiedTo: settings.tied ? linearEncoder : nil, scope["decoder"])
    }
    components = [Component("", scope.makeArena(on: context.backend, seed: context.seed))]
  }

  public func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics) {
    (reconstructionLoss(of: batch.tensor(on: context.backend), on: tape), [:])
  }

  /// The mean squared error of images `[N, H, W, C]`, 0 to 1, against what comes back.
  public func reconstructionLoss(of images: Tensor, on tape: Tape?) -> Variable {
    let output = decoder(encoder(Variable(images.cast(to: context.type), on: tape)))
    return Gradients.loss(.squaredError, output.cast(to: .float32), images)
  }

  public func samplingPass(_ batch: Batch) {
    _ = decode(Tensor(repeating: 0.5, shape: [batch.count, latent], on: context.backend))
  }

  public var interpolation: Interpolation { .linear }

  public func encode(_ images: Tensor) -> Tensor {
    encoder(Variable(images.cast(to: context.type))).value.cast(to: .float32)
  }

  public func decode(_ codes: Tensor) -> Tensor {
    decoder(Variable(codes.cast(to: context.type))).value.cast(to: .float32)
  }

  /// An autoencoder knows nothing of how its codes are distributed.
  public func randomCodes(_ range: Range<Int>, seed: UInt64) -> Tensor? { nil }
}

// MARK: - Convolutional

/// The sizes of the convolutional networks: two halvings, each of which doubles the channels.
private struct Pyramid {
  let data: DataDescription
  /// Channels at full, half and quarter size.
  let channels: [Int]
  /// What has to be added to an image so that it can be halved twice.
  let border: Insets

  init(_ data: DataDescription, baseChannels: Int) {
    self.data = data
    channels = [baseChannels, 2 * baseChannels, 4 * baseChannels]
    let (rows, columns) = ((4 - data.height % 4) % 4, (4 - data.width % 4) % 4)
    border = Insets(top: rows / 2, left: columns / 2, bottom: rows - rows / 2, right: columns - columns / 2)
  }

  /// The shape of the smallest feature map, without the batch.
  var top: [Int] {
    [
      (data.height + border.top + border.bottom) / 4, (data.width + border.left + border.right) / 4, channels[2],
    ]
  }

  var topCount: Int { top.reduce(1, *) }

  func norm(_ level: Int, _ scope: Scope) -> GroupNorm {
    GroupNorm(groups: 8, channels: channels[level], activation: .silu, scope)
  }
}

/// Three convolutions with GroupNorm and SiLU, the last two with stride 2, and a linear layer.
struct ConvolutionalEncoder: ImageEncoder {
  private let pyramid: Pyramid
  private var stages: [(conv: Conv2d, norm: GroupNorm)] = []
  private let output: Linear

  init(_ data: DataDescription, baseChannels: Int, outputs: Int, _ scope: Scope) {
    pyramid = Pyramid(data, baseChannels: baseChannels)
    var channels = data.channels
    for level in 0..<3 {
      let conv = Conv2d(
        inputChannels: channels, outputChannels: pyramid.channels[level], kernelSize: 3, stride: level == 0 ? 1 : 2,
        padding: 1, scope["stages"][level]["conv"])
      stages.append((conv, pyramid.norm(level, scope["stages"][level]["norm"])))
      channels = pyramid.channels[level]
    }
    output = Linear(pyramid.topCount, outputs, scope["output"])
  }

  func callAsFunction(_ images: Variable) -> Variable {
    var hidden = pad(images, pyramid.border)
    for stage in stages { hidden = stage.norm(stage.conv(hidden)) }
    return output(hidden.reshaped([hidden.shape[0], -1]))
  }
}

/// The encoder in reverse: a linear layer, then twice nearest upsampling and a convolution, then the image.
struct ConvolutionalDecoder: ImageDecoder {
  private let pyramid: Pyramid
  private let input: Linear
  private var stages: [(norm: GroupNorm, conv: Conv2d)] = []

  init(_ data: DataDescription, baseChannels: Int, latent: Int, _ scope: Scope) {
    pyramid = Pyramid(data, baseChannels: baseChannels)
    input = Linear(latent, pyramid.topCount, scope["input"])
    for (index, level) in [2, 1, 0].enumerated() {
      let scope = scope["stages"][index]
      let norm = pyramid.norm(level, scope["norm"])
      let conv = Conv2d(
        inputChannels: pyramid.channels[level], outputChannels: level > 0 ? pyramid.channels[level - 1] : data.channels,
        kernelSize: 3, padding: 1, scope["conv"])
      stages.append((norm, conv))
    }
  }

  func callAsFunction(_ codes: Variable) -> Variable {
    var hidden = input(codes).reshaped([codes.shape[0]] + pyramid.top)
    for (index, stage) in stages.enumerated() {
      let normalized = stage.norm(hidden)
      hidden = stage.conv(index < 2 ? upsampleNearest(normalized) : normalized)
    }
    return pad(hidden, -pyramid.border)
  }
}

// MARK: - Linear

struct LinearEncoder: ImageEncoder {
  fileprivate let layer: Linear

  init(_ data: DataDescription, latent: Int, _ scope: Scope) {
    layer = Linear(data.shape(1).count, latent, scope)
  }

  func callAsFunction(_ images: Variable) -> Variable { layer(images.reshaped([images.shape[0], -1])) }
}

struct LinearDecoder: ImageDecoder {
  private enum Weights {
    case own(Parameter)
    case tied(Parameter)
  }

  private let data: DataDescription
  private let weights: Weights
  private let bias: Parameter

  init(_ data: DataDescription, latent: Int, tiedTo encoder: LinearEncoder?, _ scope: Scope) {
    self.data = data
    let size = data.shape(1).count
    weights =
      encoder.map { .tied($0.layer.weight) } ?? .own(scope.parameter("weight", [size, latent], .fanInUniform))
    bias = scope.parameter("bias", [size], .zeros)
  }

  func callAsFunction(_ codes: Variable) -> Variable {
    let pixels: Variable
    switch weights {
    case .own(let weight):
      pixels = linear(codes, weight: weight.variable(on: codes.tape), bias: bias.variable(on: codes.tape))
    case .tied(let weight):
      pixels = addRow(linearTransposed(codes, weight: weight.variable(on: codes.tape)), bias.variable(on: codes.tape))
    }
    return pixels.reshaped(data.shape(codes.shape[0]).sizes)
  }
}
