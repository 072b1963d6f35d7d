/// GroupNorm (Wu and He 2018) followed by an activation: `[N, …, C]`, with statistics over positions and groups of
/// channels.
///
/// Parameters: `weight` and `bias` `[C]`.
public struct GroupNorm {
  let weight: Parameter
  let bias: Parameter
  let normalization: Normalization

  /// A GroupNorm.
  ///
  /// - Parameters:
  ///   - groups: the number of groups of channels that share statistics. It traps unless this divides the channels.
  ///   - channels: the channels of the input.
  ///   - epsilon: added to the variance.
  ///   - activation: the function applied to the normalised values.
  ///   - scope: its position in the tree of names.
  public init(
    groups: Int, channels: Int, epsilon: Float = 1e-5, activation: Activation = .identity, _ scope: Scope
  ) {
    require(channels % groups == 0, "\(channels) channels do not divide into \(groups) groups")
    weight = scope.parameter("weight", [channels], .ones)
    bias = scope.parameter("bias", [channels], .zeros)
    normalization = Normalization(groups: groups, epsilon: epsilon, activation: activation)
  }

  /// Normalises values and applies the activation.
  ///
  /// - Parameters:
  ///   - x: `[N, …, C]`.
  ///   - shift: `[N, C]` of x's type, added to every position before the statistics are taken; nil for none.
  /// - Returns: `[N, …, C]`.
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

  /// A LayerNorm.
  ///
  /// - Parameters:
  ///   - channels: the channels of the input.
  ///   - epsilon: added to the variance.
  ///   - scope: its position in the tree of names.
  public init(_ channels: Int, epsilon: Float = 1e-5, _ scope: Scope) {
    weight = scope.parameter("weight", [channels], .ones)
    bias = scope.parameter("bias", [channels], .zeros)
    normalization = Normalization(groups: 1, epsilon: epsilon, perPosition: true)
  }

  /// Normalises values: `[…, C]` to `[…, C]`.
  public func callAsFunction(_ x: Variable) -> Variable {
    normalize(x, gamma: weight.variable(on: x.tape), beta: bias.variable(on: x.tape), normalization)
  }
}

/// BatchNorm (Ioffe and Szegedy 2015) followed by an activation: `[N, …, C]`, with statistics over all axes except the
/// channels.
///
/// Parameters: `weight` and `bias` `[C]`; buffers `running_mean` and `running_var` `[C]`, as in PyTorch.
public struct BatchNorm {
  /// The source of the statistics.
  public enum Mode: Sendable {
    /// The batch. The running statistics take a share of the batch's.
    case batch(momentum: Float)
    /// The statistics gathered in training.
    case running
  }

  /// The share that a new batch has in PyTorch's running statistics.
  public static let training = Mode.batch(momentum: 0.1)

  let weight: Parameter
  let bias: Parameter
  private let runningMean: Buffer
  private let runningVariance: Buffer
  private let normalization: Normalization

  /// A BatchNorm.
  ///
  /// - Parameters:
  ///   - channels: the channels of the input.
  ///   - epsilon: added to the variance.
  ///   - activation: the function applied to the normalised values.
  ///   - initializer: the initializer of the scale, `weight`.
  ///   - scope: its position in the tree of names.
  public init(
    _ channels: Int, epsilon: Float = 1e-5, activation: Activation = .identity, initializer: Initializer = .ones,
    _ scope: Scope
  ) {
    weight = scope.parameter("weight", [channels], initializer)
    bias = scope.parameter("bias", [channels], .zeros)
    runningMean = scope.buffer("running_mean", [channels], initialValue: 0)
    runningVariance = scope.buffer("running_var", [channels], initialValue: 1)
    normalization = Normalization(groups: channels, epsilon: epsilon, activation: activation)
  }

  /// Normalises values and applies the activation.
  ///
  /// - Parameters:
  ///   - x: `[N, …, C]`; using running statistics on a tape traps.
  ///   - mode: the source of the statistics; those of the batch change the running ones.
  /// - Returns: `[N, …, C]`.
  public func callAsFunction(_ x: Variable, _ mode: Mode) -> Variable {
    let channels = x.shape.last
    // As one sample with the channels as groups.
    let rows = x.reshaped([1, -1, channels])
    let (gamma, beta) = (weight.variable(on: x.tape), bias.variable(on: x.tape))
    switch mode {
    case .batch(let momentum):
      let (y, statistics) = normalizeWithStatistics(rows, gamma: gamma, beta: beta, normalization)
      update(statistics, rows: rows.shape[1], momentum: momentum)
      return y.reshaped(x.shape.sizes)
    case .running:
      require(x.tape == nil, "running statistics are for pictures, not for training")
      let deviations = runningVariance.value.values().map { 1 / ($0 + normalization.epsilon).squareRoot() }
      let statistics = NormalizationStatistics(
        mean: runningMean.value.reshaped([1, channels]),
        reciprocalDeviation: Tensor(deviations, shape: [1, channels], on: x.backend))
      let y = x.backend.normalize(
        rows.value, shift: nil, gamma: gamma.value, beta: beta.value, normalization, statistics: statistics)
      return Variable(y.reshaped(x.shape))
    }
  }

  /// The running variance is unbiased, although the batch is normalised by the biased one (as in PyTorch).
  private func update(_ statistics: NormalizationStatistics, rows: Int, momentum: Float) {
    let unbiased = Float(rows) / Float(max(1, rows - 1))
    let means = statistics.mean.values()
    let deviations = statistics.reciprocalDeviation.values()
    runningMean.value.withMutableFloats { running in
      for channel in running.indices {
        running[channel] = (1 - momentum) * running[channel] + momentum * means[channel]
      }
    }
    runningVariance.value.withMutableFloats { running in
      for channel in running.indices {
        let variance = 1 / (deviations[channel] * deviations[channel]) - normalization.epsilon
        running[channel] = (1 - momentum) * running[channel] + momentum * unbiased * variance
      }
    }
  }
}
