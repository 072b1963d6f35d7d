/// A weight divided by its largest singular value (Miyato et al. 2018), as a matrix `[out, all the rest]`. Power
/// iteration tracks the value.
///
/// Buffers: `weight_u` `[out]` and `weight_v` `[rest]`, the singular vectors. They are constants to the gradient (as in
/// PyTorch's `spectral_norm`).
public struct SpectralNorm {
  private let weight: Parameter
  private let left: Buffer
  private let right: Buffer

  /// The spectral norm of a weight.
  ///
  /// - Parameters:
  ///   - weight: `[out, …]`.
  ///   - scope: the weight's position in the tree of names.
  public init(_ weight: Parameter, _ scope: Scope) {
    self.weight = weight
    let rows = weight.shape[0]
    let columns = weight.shape.count / rows
    left = scope.buffer("weight_u", [rows], initialValue: 1 / Float(rows).squareRoot())
    right = scope.buffer("weight_v", [columns], initialValue: 1 / Float(columns).squareRoot())
  }

  /// The divided weight, in the weight's shape.
  ///
  /// - Parameter tape: the tape that records the computation; nil for none.
  /// - Returns: float32 of the weight's shape.
  public func callAsFunction(on tape: Tape?) -> Variable {
    let weight = weight.variable(on: tape)
    let image = linear(
      Variable(right.value.reshaped([1, -1]), on: tape), weight: weight.reshaped([left.shape.count, right.shape.count]))
    let sigma = weightedSum(image.reshaped([-1]), weights: left.value)
    return scaled(weight, by: elementwise(sigma) { (1 / $0, -1 / ($0 * $0)) })
  }

  /// Moves the singular vectors towards those of the present weight. Call it once before each pass of a training step.
  public func iterate() {
    let matrix = weight.value.reshaped([left.shape.count, right.shape.count])
    let backend = matrix.backend
    func normalize(_ x: Tensor, into buffer: Buffer) {
      let length = max(Float(backend.sumOfSquares(x).squareRoot()), 1e-12)
      backend.copy((1 / length * x).reshaped(buffer.shape), into: buffer.value)
    }
    normalize(backend.linearInputGradient(left.value.reshaped([1, -1]), weight: matrix, adding: nil), into: right)
    normalize(backend.linear(right.value.reshaped([1, -1]), weight: matrix, bias: nil, residual: nil), into: left)
  }
}
