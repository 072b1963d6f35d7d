import EaselLayers

/// One matrix from pixels to numbers.
struct LinearEncoder: ImageEncoder {
  fileprivate let layer: Linear

  init(_ data: DataDescription, outputs: Int, _ scope: Scope) {
    layer = Linear(data.shape(1).count, outputs, scope)
  }

  func callAsFunction(_ images: Variable) -> Variable { layer(images.reshaped([images.shape[0], -1])) }
}

/// One matrix from a code to pixels: its own, or an encoder's transposed.
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
      pixels = linear(codes, weight: weight.weight(on: codes.tape), bias: bias.variable(on: codes.tape))
    case .tied(let weight):
      pixels = addRow(linearTransposed(codes, weight: weight.weight(on: codes.tape)), bias.variable(on: codes.tape))
    }
    return pixels.reshaped(data.shape(codes.shape[0]).sizes)
  }
}
