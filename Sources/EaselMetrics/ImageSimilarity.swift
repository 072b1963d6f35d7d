@_exported import EaselImages
@_exported import EaselTensors
import Foundation

// How similar two pictures are. Levels count from 0 to 1. Pictures of different sizes or channels are a mistake in code
// and trap.

extension Image {
  /// The peak signal-to-noise ratio to another picture, `10 log₁₀` of 1 ÷ the mean squared difference, in dB; at most
  /// 99, for equal pictures.
  public func signalToNoise(to other: Image) -> Double {
    let mean = meanDifference(to: other) { Double($0 * $0) }
    return mean == 0 ? 99 : min(99, 10 * log10(255 * 255 / mean))
  }

  /// The mean absolute difference from another picture, 0 to 1.
  public func absoluteError(to other: Image) -> Double { meanDifference(to: other) { Double(abs($0)) } / 255 }

  private func meanDifference(to other: Image, _ measure: (Int) -> Double) -> Double {
    requireLike(other)
    return zip(pixels, other.pixels).reduce(0) { $0 + measure(Int($1.0) - Int($1.1)) } / Double(pixels.count)
  }

  /// The structural similarity to another picture (Wang et al. 2004, “Image quality assessment”): 1 for equal pictures.
  ///
  /// Gaussian windows of 11 × 11 with deviation 1.5, population variances, K₁ = 0.01, K₂ = 0.03. The mean is over the
  /// windows inside the picture, without a made-up border, and over the channels: scikit-image's
  /// `structural_similarity(…, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`. If a side is shorter
  /// than the window, the window is cut to the largest odd length that fits.
  public func structuralSimilarity(to other: Image) -> Double {
    requireLike(other)
    let (rows, columns) = (GaussianWindow(within: height), GaussianWindow(within: width))
    let (stabilizer1, stabilizer2) = (0.01 * 0.01, 0.03 * 0.03)
    var sum = 0.0
    for channel in 0..<channels {
      let x = plane(channel)
      let y = other.plane(channel)
      func mean(_ values: [Double]) -> [Double] {
        rows.slide(over: columns.slide(over: values, lines: height, length: width), along: height)
      }
      let (meanX, meanY) = (mean(x), mean(y))
      let squaresX = mean(zip(x, x).map { $0 * $1 })
      let squaresY = mean(zip(y, y).map { $0 * $1 })
      let products = mean(zip(x, y).map { $0 * $1 })
      var total = 0.0
      for i in meanX.indices {
        let (a, b) = (meanX[i], meanY[i])
        let covariance = products[i] - a * b
        let variances = squaresX[i] - a * a + squaresY[i] - b * b
        total +=
          (2 * a * b + stabilizer1) * (2 * covariance + stabilizer2)
          / ((a * a + b * b + stabilizer1) * (variances + stabilizer2))
      }
      sum += total / Double(meanX.count)
    }
    return sum / Double(channels)
  }

  private func plane(_ channel: Int) -> [Double] {
    (0..<width * height).map { Double(pixels[$0 * channels + channel]) / 255 }
  }

  private func requireLike(_ other: Image) {
    require(size == other.size && channels == other.channels, "\(size)×\(channels) and \(other.size)×\(other.channels)")
  }
}

/// The weights of a Gaussian at integer distances from its centre, and the weighted means under it.
private struct GaussianWindow {
  let weights: [Double]

  init(within length: Int) {
    let radius = min(5, (length - 1) / 2)
    let values = (-radius...radius).map { exp(-0.5 * Double($0 * $0) / (1.5 * 1.5)) }
    let sum = values.reduce(0, +)
    weights = values.map { $0 / sum }
  }

  /// Means along consecutive lines of `length` numbers. Each line becomes shorter by the window's length less one.
  func slide(over values: [Double], lines: Int, length: Int) -> [Double] {
    let places = length - weights.count + 1
    return (0..<lines * places).map { index in
      let start = index / places * length + index % places
      return weights.indices.reduce(0) { $0 + weights[$1] * values[start + $1] }
    }
  }

  /// Means down the columns of a matrix of `height` rows.
  func slide(over values: [Double], along height: Int) -> [Double] {
    let width = values.count / height
    return (0..<(height - weights.count + 1) * width).map { index in
      weights.indices.reduce(0) { $0 + weights[$1] * values[index + $1 * width] }
    }
  }
}

/// The mean over pairs of pictures of ``EaselImages/Image/signalToNoise(to:)``, in dB.
public func meanSignalToNoise(_ images: [Image], _ originals: [Image]) -> Double {
  meanOverPairs(images, originals) { $0.signalToNoise(to: $1) }
}

/// The mean over pairs of pictures of ``EaselImages/Image/structuralSimilarity(to:)``.
public func meanStructuralSimilarity(_ images: [Image], _ originals: [Image]) -> Double {
  meanOverPairs(images, originals) { $0.structuralSimilarity(to: $1) }
}

/// The mean over pairs of pictures of ``EaselImages/Image/absoluteError(to:)``, 0 to 1.
public func meanAbsoluteError(_ images: [Image], _ originals: [Image]) -> Double {
  meanOverPairs(images, originals) { $0.absoluteError(to: $1) }
}

/// The share of pictures that are at least as near to their own original as to any other original, by absolute error.
public func retrievalRate(_ images: [Image], _ originals: [Image]) -> Double {
  require(images.count == originals.count, "\(images.count) pictures and \(originals.count) originals")
  let found = images.indices.filter { place in
    let own = images[place].absoluteDistance(to: originals[place])
    return originals.allSatisfy { images[place].absoluteDistance(to: $0) >= own }
  }
  return Double(found.count) / Double(max(1, images.count))
}

extension Image {
  /// The sum of absolute differences of levels: a faster ``absoluteError(to:)`` for many pictures.
  fileprivate func absoluteDistance(to other: Image) -> Int {
    pixels.withUnsafeBufferPointer { a in
      other.pixels.withUnsafeBufferPointer { b in
        precondition(a.count == b.count)
        var sum = 0
        for i in a.indices { sum &+= Int(max(a[i], b[i]) &- min(a[i], b[i])) }
        return sum
      }
    }
  }
}

private func meanOverPairs(_ images: [Image], _ originals: [Image], _ measure: (Image, Image) -> Double) -> Double {
  require(images.count == originals.count, "\(images.count) pictures and \(originals.count) originals")
  return zip(images, originals).reduce(0) { $0 + measure($1.0, $1.1) } / Double(max(1, images.count))
}
