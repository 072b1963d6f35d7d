/// The time-conditioned residual block of diffusers' `ResnetBlock2D`: `[N, H, W, in]` to `[N, H, W, out]`.
///
/// `conv2(dropout(silu(norm2(conv1(silu(norm1(x))) + project(silu(time)))))) + shortcut(x)`. The time's projection
/// enters as the shift of the second norm, so the sum is never stored.
///
/// Parameters: `norm1`, `conv1`, `time_emb_proj`, `norm2`, `conv2` and, if the channels differ, `conv_shortcut`.
public struct ResidualBlock {
  let norm1: GroupNorm
  let conv1: Conv2d
  let timeProjection: Linear?
  let norm2: GroupNorm
  let conv2: Conv2d
  let shortcut: Conv2d?

  /// A residual block.
  ///
  /// - Parameters:
  ///   - inputChannels: the channels of its input.
  ///   - outputChannels: the channels of its output.
  ///   - timeChannels: the width of the time embedding; nil for a block without one.
  ///   - groups: the groups of the norms. It traps unless they divide the channels.
  ///   - epsilon: the epsilon of the norms.
  ///   - initializer: the initializer of the first convolution, the projection and the shortcut; the second convolution
  ///     begins at zero.
  ///   - scope: its position in the tree of names.
  public init(
    inputChannels: Int, outputChannels: Int, timeChannels: Int?, groups: Int, epsilon: Float,
    initializer: Initializer = .fanAverageUniform(scale: 1), _ scope: Scope
  ) {
    norm1 = GroupNorm(
      groups: groups, channels: inputChannels, epsilon: epsilon, activation: .silu, scope["norm1"])
    conv1 = Conv2d(
      inputChannels: inputChannels, outputChannels: outputChannels, kernelSize: 3, padding: 1, initializer: initializer,
      scope["conv1"])
    timeProjection = timeChannels.map {
      Linear($0, outputChannels, initializer: initializer, scope["time_emb_proj"])
    }
    norm2 = GroupNorm(
      groups: groups, channels: outputChannels, epsilon: epsilon, activation: .silu, scope["norm2"])
    conv2 = Conv2d(
      inputChannels: outputChannels, outputChannels: outputChannels, kernelSize: 3, padding: 1, initializer: .zeros,
      scope["conv2"])
    shortcut =
      inputChannels == outputChannels
      ? nil
      : Conv2d(
        inputChannels: inputChannels, outputChannels: outputChannels, kernelSize: 1, initializer: initializer,
        scope["conv_shortcut"])
  }

  /// Applies the block to images.
  ///
  /// - Parameters:
  ///   - x: `[N, H, W, in]`.
  ///   - time: `[N, timeChannels]`, already through its SiLU; nil for none.
  ///   - dropping: applied before the second convolution, `[N, H, W, out]` to the same shape.
  /// - Returns: `[N, H, W, out]`.
  public func callAsFunction(_ x: Variable, time: Variable?, dropping: (Variable) -> Variable = { $0 }) -> Variable {
    let shift = time.flatMap { time in timeProjection.map { $0(time) } }
    // Without a name for what is between the layers, its memory is free as soon as the next layer has read it.
    return conv2(dropping(norm2(conv1(norm1(x)), shift: shift)), residual: shortcut.map { $0(x) } ?? x)
  }
}
