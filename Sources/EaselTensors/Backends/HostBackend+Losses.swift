import CEaselKernels
import Foundation

extension HostBackend {
  public func loss(_ kind: Loss, _ prediction: Tensor, _ target: Tensor) -> Tensor {
    require(prediction.shape == target.shape, "prediction \(prediction.shape), target \(target.shape)")
    require(prediction.type == target.type, "prediction \(prediction.type), target \(target.type)")
    let (count, size) = samples(prediction)
    let losses = empty([count], .float32)
    let kernel = typed(prediction.type).loss
    forEachRow(count, size) { range, _ in
      let first = range.lowerBound * size
      kernel(
        kind.code, range.count, size, prediction.at(first), target.at(first), losses.floats + range.lowerBound)
    }
    return losses
  }

  public func lossGradient(_ kind: Loss, _ prediction: Tensor, _ target: Tensor, weights: Tensor) -> Tensor {
    let (count, size) = samples(prediction)
    let gradient = empty(prediction.shape, prediction.type)
    let kernel = typed(prediction.type).loss_backward
    forEachRow(count, size) { range, _ in
      let first = range.lowerBound * size
      kernel(
        kind.code, range.count, size, prediction.at(first), target.at(first), weights.floats + range.lowerBound,
        gradient.at(first))
    }
    return gradient
  }

  public func crossEntropy(_ logits: Tensor, _ target: Tensor) -> Tensor {
    require(logits.shape == target.shape && target.type == .float32, "logits \(logits.shape), target \(target.shape)")
    let (rows, columns) = matrix(logits)
    let losses = empty([rows], .float32)
    let kernel = typed(logits.type).cross_entropy
    forEachRow(rows, columns) { range, _ in
      let first = range.lowerBound * columns
      kernel(range.count, columns, logits.at(first), target.floats + first, losses.floats + range.lowerBound)
    }
    return losses
  }
}

// MARK: - The discretised Gaussian

extension HostBackend {
  public func discretizedGaussian(_ levels: Tensor, mean: Tensor, logVariance: Tensor) -> Tensor {
    let (count, size) = samples(levels)
    let losses = empty([count], .float32)
    let sums = losses.floats
    forEachBin(levels, mean, logVariance) { sample, element, bin in
      if element == sample * size { sums[sample] = 0 }
      sums[sample] -= Float(log(bin.probability))
    }
    return losses
  }

  public func discretizedGaussianGradient(_ levels: Tensor, mean: Tensor, logVariance: Tensor, weights: Tensor)
    -> (mean: Tensor, logVariance: Tensor)
  {
    let (meanGradient, varianceGradient) = (empty(levels.shape, .float32), empty(levels.shape, .float32))
    let (dmean, dvariance, factors) = (meanGradient.floats, varianceGradient.floats, weights.floats)
    forEachBin(levels, mean, logVariance) { sample, element, bin in
      let scale = -Double(factors[sample]) / bin.probability
      dmean[element] = Float(scale * bin.byMean)
      dvariance[element] = Float(scale * bin.byLogVariance)
    }
    return (meanGradient, varianceGradient)
  }

  private func forEachBin(
    _ levels: Tensor, _ mean: Tensor, _ logVariance: Tensor, _ body: (Int, Int, GaussianBin) -> Void
  ) {
    require(
      levels.shape == mean.shape && levels.shape == logVariance.shape,
      "levels \(levels.shape), mean \(mean.shape), logarithm of variance \(logVariance.shape)")
    let (count, size) = samples(levels)
    let (x, means, logVariances) = (levels.floats, mean.floats, logVariance.floats)
    forEachRow(count, size) { range, _ in
      for sample in range {
        for element in sample * size..<(sample + 1) * size {
          body(
            sample, element,
            GaussianBin(Double(x[element]), mean: Double(means[element]), logVariance: Double(logVariances[element])))
        }
      }
    }
  }
}

/// The probability of one 8-bit level under a normal distribution, and its derivatives.
private struct GaussianBin {
  private(set) var probability: Double
  private(set) var byMean = 0.0
  private(set) var byLogVariance = 0.0

  init(_ level: Double, mean: Double, logVariance: Double) {
    let reciprocal = exp(-logVariance / 2)
    // The outermost levels reach to infinity.
    let upper = level > 0.999 ? nil : (level + 1 / 255 - mean) * reciprocal
    let lower = level < -0.999 ? nil : (level - 1 / 255 - mean) * reciprocal
    let (above, below) = (upper.map(GaussianBin.distribution), lower.map(GaussianBin.distribution))
    probability = (above?.value ?? 1) - (below?.value ?? 0)
    guard probability > 1e-12 else {
      probability = 1e-12
      return
    }
    let (upperDensity, lowerDensity) = (above?.derivative ?? 0, below?.derivative ?? 0)
    byMean = (lowerDensity - upperDensity) * reciprocal
    byLogVariance = ((lower ?? 0) * lowerDensity - (upper ?? 0) * upperDensity) / 2
  }

  /// The normal distribution function, ½ (1 + tanh(√(2/π) (z + 0.044715 z³))).
  private static func distribution(_ z: Double) -> (value: Double, derivative: Double) {
    let slope = (2 / Double.pi).squareRoot()
    let tangent = tanh(slope * (z + 0.044715 * z * z * z))
    return (0.5 * (1 + tangent), 0.5 * (1 - tangent * tangent) * slope * (1 + 3 * 0.044715 * z * z))
  }
}
