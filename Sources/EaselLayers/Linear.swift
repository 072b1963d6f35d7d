/// A fully connected layer over the innermost axis: `[…, in]` to `[…, out]`.
///
/// Parameters: `weight` `[out, in]`, `bias` `[out]`.
public struct Linear {
  /// `[out, in]`.
  public let weight: Parameter
  /// `[out]`; nil for none.
  public let bias: Parameter?

  /// A fully connected layer.
  ///
  /// - Parameters:
  ///   - inputs: the number of inputs.
  ///   - outputs: the number of outputs.
  ///   - bias: whether it has a bias.
  ///   - initializer: the initializer of the weight; see ``Initializer``.
  ///   - scope: its position in the tree of names.
  public init(
    _ inputs: Int, _ outputs: Int, bias: Bool = true, initializer: Initializer = .fanInUniform, _ scope: Scope
  ) {
    weight = scope.parameter("weight", [outputs, inputs], initializer)
    self.bias = bias ? scope.parameter("bias", [outputs], initializer.forBias(fanIn: inputs)) : nil
  }

  /// `x · weightᵀ + bias + residual`.
  ///
  /// - Parameters:
  ///   - x: `[…, in]`; another innermost size traps.
  ///   - residual: `[…, out]`, added to the result; nil for none.
  /// - Returns: `[…, out]`.
  public func callAsFunction(_ x: Variable, residual: Variable? = nil) -> Variable {
    linear(x, weight: weight.weight(on: x.tape), bias: bias?.variable(on: x.tape), residual: residual)
  }
}

extension Initializer {
  /// Biases begin at zero, except beside PyTorch's default weights: there they have the weights' bound.
  func forBias(fanIn: Int) -> Initializer {
    if case .fanInUniform = self { .uniform(bound: 1 / Float(fanIn).squareRoot()) } else { .zeros }
  }
}
