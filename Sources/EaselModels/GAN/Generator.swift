import EaselLayers

/// How often images are halved or doubled between their own size and one of at most 8 pixels, and the size that they
/// are padded to for it.
struct Halvings {
  let count: Int
  let data: DataDescription
  /// The border that an image needs so that it can be halved this often.
  let border: Insets

  init(_ data: DataDescription) {
    self.data = data
    var halvings = 1
    while max(data.width, data.height) > 8 << halvings { halvings += 1 }
    count = halvings
    let unit = 1 << halvings
    let (rows, columns) = ((unit - data.height % unit) % unit, (unit - data.width % unit) % unit)
    border = Insets(top: rows / 2, left: columns / 2, bottom: rows - rows / 2, right: columns - columns / 2)
  }

  /// Height and width after the last halving.
  var bottom: (height: Int, width: Int) {
    ((data.height + border.top + border.bottom) >> count, (data.width + border.left + border.right) >> count)
  }

  /// Channels after a number of halvings: doubled with each, but at most eight times as many.
  func channels(_ base: Int, at halvings: Int) -> Int { base << min(halvings, 3) }
}

/// The generator of a DCGAN (Radford et al. 2016): codes `[N, latent]` to images `[N, H, W, C]` in [−1, 1].
struct Generator {
  private let halvings: Halvings
  private let bottomChannels: Int
  private let input: Linear
  private let classes: Embedding?
  private let norms: [BatchNorm]
  private let layers: [ConvTranspose2d]
  private let output: Conv2d

  /// - Parameter classCount: the number of classes that it is conditioned on; 0 for none.
  init(_ data: DataDescription, latent: Int, baseChannels: Int, classCount: Int, _ scope: Scope) {
    let weights = Initializer.normal(deviation: 0.02)
    halvings = Halvings(data)
    let halvings = halvings
    bottomChannels = halvings.channels(baseChannels, at: halvings.count)
    let features = halvings.bottom.height * halvings.bottom.width * bottomChannels
    input = Linear(latent, features, initializer: weights, scope["input"])
    // Added to the code's layer, which is the same as joining the code with a one-hot vector.
    classes =
      classCount == 0 ? nil : Embedding(count: classCount, width: features, initializer: weights, scope["classes"])
    let levels = Array((0...halvings.count).reversed())
    norms = levels.enumerated().map { index, level in
      BatchNorm(
        halvings.channels(baseChannels, at: level), activation: .relu,
        initializer: .normal(mean: 1, deviation: 0.02), scope["norms"][index])
    }
    layers = levels.dropLast().enumerated().map { index, level in
      ConvTranspose2d(
        inputChannels: halvings.channels(baseChannels, at: level),
        outputChannels: halvings.channels(baseChannels, at: level - 1), kernelSize: 4, stride: 2, padding: 1,
        initializer: weights, scope["layers"][index])
    }
    output = Conv2d(
      inputChannels: baseChannels, outputChannels: data.channels, kernelSize: 3, padding: 1, initializer: weights,
      scope["output"])
  }

  /// - Parameter labels: int32 `[N]`; below 0 for no class.
  func callAsFunction(_ codes: Variable, labels: Tensor?, _ mode: BatchNorm.Mode) -> Variable {
    var code = input(codes)
    if let classes, let labels { code = code + classes(labels, type: code.value.type, on: code.tape) }
    var hidden = code.reshaped([-1, halvings.bottom.height, halvings.bottom.width, bottomChannels])
    for (norm, layer) in zip(norms, layers) { hidden = layer(norm(hidden, mode)) }
    return pad(activate(.tanh, output(norms[layers.count](hidden, mode))), -halvings.border)
  }
}
