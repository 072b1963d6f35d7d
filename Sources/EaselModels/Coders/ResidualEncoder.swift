import EaselLayers
import EaselSupport

/// Describes images by a vector: `[N, H, W, channels]` to `[N, features]`.
///
/// Pre-activation residual blocks at three sizes (the image's, half and quarter) with average pooling between them;
/// then GroupNorm, SiLU, and the mean over positions.
///
/// Parameters: `stem`, `stages.level.block`, `norm`.
public struct ResidualEncoder {
  /// The groups of the norms; the channels are multiples of it.
  public static let groups = 8

  private let stem: Conv2d
  /// The blocks of each size.
  private let stages: [[ResidualBlock]]
  private let norm: GroupNorm

  /// Makes the layers. It traps unless ``groups`` divides the channels and the features.
  ///
  /// - Parameters:
  ///   - inputChannels: the channels of an image.
  ///   - baseChannels: the channels at full size; twice as many at half.
  ///   - features: the channels at a quarter of the size.
  ///   - blocks: the residual blocks at each size.
  ///   - scope: its position in the tree of names.
  public init(inputChannels: Int, baseChannels: Int, features: Int, blocks: Int, _ scope: Scope) {
    let channels = [baseChannels, 2 * baseChannels, features]
    stem = Conv2d(
      inputChannels: inputChannels, outputChannels: baseChannels, kernelSize: 3, padding: 1, initializer: .heNormal,
      scope["stem"])
    stages = channels.enumerated().map { level, width in
      (0..<blocks).map { block in
        ResidualBlock(
          inputChannels: block == 0 ? channels[max(0, level - 1)] : width, outputChannels: width, timeChannels: nil,
          groups: ResidualEncoder.groups, epsilon: 1e-5, scope["stages"][level][block])
      }
    }
    norm = GroupNorm(groups: ResidualEncoder.groups, channels: features, activation: .silu, scope["norm"])
  }

  /// Checks that images can be halved twice.
  ///
  /// - Throws: `UserError` (usage) with the size.
  static func requireSize(of data: DataDescription) throws {
    if min(data.width, data.height) < 4 {
      throw UserError(
        .usage,
        "residual blocks at three sizes halve images twice: expected at least 4×4, found \(data.width)×\(data.height)")
    }
  }

  /// The features of images `[N, H, W, channels]`, −1 to 1: `[N, features]`.
  public func callAsFunction(_ images: Variable) -> Variable {
    meanOverPositions(norm(featureMaps(images)[stages.count - 1]))
  }

  /// What the blocks of each size make of images `[N, H, W, channels]`, −1 to 1: `[N, h, w, c]` at full, half and quarter
  /// size.
  public func featureMaps(_ images: Variable) -> [Variable] {
    var hidden = stem(images)
    return stages.enumerated().map { level, blocks in
      if level > 0 { hidden = averagePool(hidden) }
      for block in blocks { hidden = block(hidden, time: nil) }
      return hidden
    }
  }

  /// `[N, H, W, C]` to `[N, C]`.
  private func meanOverPositions(_ x: Variable) -> Variable {
    let positions = x.shape[1] * x.shape[2]
    let fraction = Tensor(
      repeating: 1 / Float(positions), shape: [x.shape[0], 1, positions], type: x.value.type, on: x.backend)
    return matmul(Variable(fraction, on: x.tape), x.reshaped([x.shape[0], positions, -1])).reshaped([x.shape[0], -1])
  }
}

extension ModelContext {
  /// Images `[N, H, W, C]`, 0 to 1, as a network takes them: −1 to 1, in the type of activations.
  func signed(_ images: Variable) -> Variable { affine(images, scale: 2, shift: -1).cast(to: type) }
}
