/// GroupNorm (Wu and He 2018) with a following activation: `[N, …, C]`, statistics over positions and groups of channels.
///
/// Parameters: `weight` and `bias` `[C]`.
public struct GroupNorm {
  let weight: Parameter
  let bias: Parameter
  let normalization: Normalization

  public init(
    groups: Int, channels: Int, epsilon: Float = 1e-5, activation: Activation = .identity, _ scope: Scope
  ) {
    require(channels % groups == 0, "\(channels) channels do not divide into \(groups) groups")
    weight = scope.parameter("weight", [channels], .ones)
    bias = scope.parameter("bias", [channels], .zeros)
    normalization = Normalization(groups: groups, epsilon: epsilon, activation: activation)
  }

  /// - Parameter shift: `[N, C]`, added to every position before the statistics are taken.
  public func callAsFunction(_ x: Variable, shift: Variable? = nil) -> Variable {
    normalize(
      x, shift: shift, gamma: weight.variable(on: x.tape), beta: bias.variable(on: x.tape), normalization)
  }
}

/// LayerNorm (Ba et al. 2016) over the innermost axis: `[…, C]`.
///
/// Parameters: `weight` and `bias` `[C]`.
public struct LayerNorm {
  let weight: Parameter
  let bias: Parameter
  let normalization: Normalization

  public init(_ channels: Int, epsilon: Float = 1e-5, _ scope: Scope) {
    weight = scope.parameter("weight", [channels], .ones)
    bias = scope.parameter("bias", [channels], .zeros)
    normalization = Normalization(groups: 1, epsilon: epsilon, perPosition: true)
  }

  public func callAsFunction(_ x: Variable) -> Variable {
    normalize(x, gamma: weight.variable(on: x.tape), beta: bias.variable(on: x.tape), normalization)
  }
}
