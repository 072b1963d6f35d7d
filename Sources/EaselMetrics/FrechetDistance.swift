import EaselTensors

/// Mean and covariance (ddof = 1) of points.
public struct GaussianStatistics: Sendable {
  public let mean: [Double]
  /// `[d, d]`, row-major.
  public let covariance: [Double]

  public init(mean: [Double], covariance: [Double]) {
    require(covariance.count == mean.count * mean.count, "\(mean.count) means, \(covariance.count) covariances")
    (self.mean, self.covariance) = (mean, covariance)
  }

  /// Traps if there are fewer than two points.
  public init(_ points: FeatureSet) { self = CentredPoints(points).statistics }

  /// The Fréchet distance to another Gaussian, `‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½)`: the squared 2-Wasserstein
  /// distance (Dowson and Landau 1982; Heusel et al. 2017).
  ///
  /// The trace of the square root is the sum of the square roots of the eigenvalues of `Σ₁^½ Σ₂ Σ₁^½`, which is
  /// symmetric.
  public func frechetDistance(to other: GaussianStatistics) -> Double {
    FrechetReference(self).distance(to: other)
  }

  fileprivate var trace: Double { mean.indices.reduce(0) { $0 + covariance[$1 * (mean.count + 1)] } }
}

/// A Gaussian with a known square root of its covariance, for distances to many others.
struct FrechetReference: Sendable {
  private let statistics: GaussianStatistics
  private let root: [Double]

  init(_ statistics: GaussianStatistics) {
    self.statistics = statistics
    let d = statistics.mean.count
    let (values, vectors) = LinearAlgebra.eigenvectors(ofSymmetric: statistics.covariance, size: d)
    // Vᵀ diag(λ^¼) from rows v; its Gram matrix is the square root. Anything below zero is rounding.
    let scaled = (0..<d * d).map { max(0, values[$0 / d]).squareRoot().squareRoot() * vectors[$0] }
    root = LinearAlgebra.gram(of: scaled, rows: d, columns: d)
  }

  func distance(to other: GaussianStatistics) -> Double {
    let d = statistics.mean.count
    require(other.mean.count == d, "Gaussians of \(d) and \(other.mean.count) dimensions")
    let half = LinearAlgebra.product(root, other.covariance, rows: d, inner: d, columns: d)
    let product = LinearAlgebra.product(half, root, rows: d, inner: d, columns: d)
    let overlap = LinearAlgebra.eigenvalues(ofSymmetric: product, size: d).reduce(0) { $0 + max(0, $1).squareRoot() }
    let shift = zip(statistics.mean, other.mean).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    return shift + statistics.trace + other.trace - 2 * overlap
  }

  /// The distance of points, with an interval: the points are drawn again, while the reference stays as it is.
  ///
  /// A resample repeats points, so its distance is too large by about as much as the figure itself is for being
  /// computed from finitely many points. The resampled values are shifted so that their mean is the figure.
  func estimate(_ points: FeatureSet, bootstrap: Bootstrap, on threads: ThreadPool) -> Estimate {
    let centred = CentredPoints(points)
    let value = distance(to: centred.statistics)
    var resampled = [Double](repeating: 0, count: bootstrap.resamples)
    resampled.withUnsafeMutableBufferPointer { resampled in
      nonisolated(unsafe) let resampled = resampled
      threads.run(bootstrap.resamples) { turn in
        let resample = turn.part
        let statistics = centred.statistics(draws: bootstrap.draws(points.count, resample: resample))
        resampled[resample] = distance(to: statistics)
      }
    }
    let excess = resampled.reduce(0, +) / Double(bootstrap.resamples) - value
    return bootstrap.interval(around: value, resampled.map { $0 - excess })
  }
}

/// Points in double precision with their mean subtracted, so that covariances lose no digits.
private struct CentredPoints: Sendable {
  let count, dimensions: Int
  let mean: [Double]
  let values: [Double]

  init(_ points: FeatureSet) {
    require(points.count >= 2, "the covariance of \(points.count) points")
    (count, dimensions) = (points.count, points.dimensions)
    var mean = [Double](repeating: 0, count: points.dimensions)
    var values = [Double](repeating: 0, count: points.count * points.dimensions)
    for point in 0..<points.count {
      for dimension in 0..<points.dimensions {
        values[point * points.dimensions + dimension] = points[point, dimension]
        mean[dimension] += points[point, dimension]
      }
    }
    for dimension in mean.indices { mean[dimension] /= Double(points.count) }
    for place in values.indices { values[place] -= mean[place % points.dimensions] }
    (self.mean, self.values) = (mean, values)
  }

  var statistics: GaussianStatistics { statistics(draws: [Int](repeating: 1, count: count)) }

  /// The statistics if point i was drawn `draws[i]` times.
  func statistics(draws: [Int]) -> GaussianStatistics {
    let d = dimensions
    var shift = [Double](repeating: 0, count: d)
    var rows: [Double] = []
    rows.reserveCapacity(count * d)
    for (point, times) in draws.enumerated() where times > 0 {
      let (times, root) = (Double(times), Double(times).squareRoot())
      for dimension in 0..<d {
        let value = values[point * d + dimension]
        shift[dimension] += times * value
        rows.append(root * value)
      }
    }
    let n = Double(count)
    for dimension in 0..<d { shift[dimension] /= n }
    var covariance = LinearAlgebra.gram(of: rows, rows: rows.count / d, columns: d)
    for row in 0..<d {
      for column in 0..<d {
        let place = row * d + column
        covariance[place] = (covariance[place] - n * shift[row] * shift[column]) / (n - 1)
      }
    }
    return GaussianStatistics(mean: zip(mean, shift).map { $0 + $1 }, covariance: covariance)
  }
}
