import Foundation

/// How a parameter's first values are drawn. “Fan” is the number of inputs or outputs of one unit, counting the
/// kernel's positions.
public enum Initializer: Sendable {
  case zeros
  case ones
  case constant(Float)
  /// Equal shares of the numbers, one after the other, each with one value.
  case shares([Float])
  /// N(mean, deviation²).
  case normal(mean: Float = 0, deviation: Float)
  /// U(−bound, bound).
  case uniform(bound: Float)
  /// He et al. 2015: N(0, 2 / fan-in), for ReLU and its kin.
  case heNormal
  /// Glorot and Bengio 2010: U(±√(6 / (fan-in + fan-out))).
  case xavierUniform
  /// U(±√(3 scale / mean fan)): Ho et al. 2020 (`nn.py`), with a scale near 0 for a layer that should begin as zero.
  case fanAverageUniform(scale: Float)
  /// U(±1/√fan-in): PyTorch's default for weights of linear and convolutional layers.
  case fanInUniform

  /// Fills a parameter with values from its own random sequence.
  func fill(_ parameter: Tensor, _ draw: RandomDraw) {
    let backend = parameter.backend
    let shape = parameter.shape
    let kernel = shape.rank > 2 ? shape.sizes.dropFirst(2).reduce(1, *) : 1
    let fanOut = Float((shape.sizes.first ?? 1) * kernel)
    let fanIn = Float((shape.rank > 1 ? shape[1] : 1) * kernel)
    // As one sample, so that the whole parameter takes the numbers of one index.
    let flat = parameter.reshaped([1, shape.count])

    func uniform(_ bound: Float) {
      backend.fillUniform(flat, draw)
      flat.withMutableFloats { values in for i in values.indices { values[i] = (2 * values[i] - 1) * bound } }
    }
    func normal(_ deviation: Float, mean: Float = 0) {
      backend.fillNormal(flat, draw)
      flat.withMutableFloats { values in for i in values.indices { values[i] = mean + deviation * values[i] } }
    }

    switch self {
    case .zeros: backend.fill(parameter, with: 0)
    case .ones: backend.fill(parameter, with: 1)
    case .constant(let value): backend.fill(parameter, with: value)
    case .shares(let shares):
      flat.withMutableFloats { values in
        for index in values.indices { values[index] = shares[index * shares.count / values.count] }
      }
    case .normal(let mean, let deviation): normal(deviation, mean: mean)
    case .uniform(let bound): uniform(bound)
    case .heNormal: normal((2 / fanIn).squareRoot())
    case .xavierUniform: uniform((6 / (fanIn + fanOut)).squareRoot())
    case .fanAverageUniform(let scale): uniform((3 * max(scale, 1e-10) / ((fanIn + fanOut) / 2)).squareRoot())
    case .fanInUniform: uniform(1 / fanIn.squareRoot())
    }
  }
}
