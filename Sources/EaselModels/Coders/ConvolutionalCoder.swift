import EaselLayers

/// The sizes of the convolutional networks: two halvings, each of which doubles the channels.
private struct Pyramid {
  let data: DataDescription
  /// Channels at full, half and quarter size.
  let channels: [Int]
  /// The border that an image needs so that it can be halved twice.
  let border: Insets

  init(_ data: DataDescription, baseChannels: Int) {
    self.data = data
    channels = [baseChannels, 2 * baseChannels, 4 * baseChannels]
    border = Insets(bringing: (data.height, data.width), toMultiplesOf: 4)
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
