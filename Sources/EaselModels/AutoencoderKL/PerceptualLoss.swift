import EaselLayers

/// How differently a trained network sees two images (Zhang et al. 2018), without their learned weights of channels.
struct PerceptualLoss {
  let model: any DifferentiableFeatures

  /// At each position of a map, the channels are brought to mean 0 and deviation 1. The loss is the squared difference,
  /// averaged over positions and channels and then over layers: 2 (1 − r), r the correlation of the channels.
  ///
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`, −1 to 1.
  ///   - target: the same, constants.
  /// - Returns: float32 `[]`.
  func callAsFunction(_ images: Variable, _ target: Tensor) -> Variable {
    let losses = zip(maps(images), maps(Variable(target))).map { elementwiseLoss(.squaredError, $0, $1.value) }
    return 1 / Float(losses.count) * losses.dropFirst().reduce(losses[0], +)
  }

  private func maps(_ images: Variable) -> [Variable] {
    model.featureMaps(affine(images, scale: 0.5, shift: 0.5)).map { map in
      normalize(
        map.cast(to: .float32), gamma: nil, beta: nil, Normalization(groups: 1, epsilon: 1e-5, perPosition: true))
    }
  }
}
