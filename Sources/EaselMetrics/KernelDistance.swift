import EaselTensors

/// The kernel distance (Bińkowski et al. 2018, “Demystifying MMD GANs”: KID): the squared maximum mean discrepancy of
/// two sets of points under the kernel `(x·y / d + 1)³`, estimated without bias.
public struct KernelDistance: Codable, Sendable {
  /// The estimate over all pairs of different points. For the interval, samples are drawn again while the reference
  /// stays as it is; pairs of a point with itself stay out.
  public var all: Estimate
  /// Mean and deviation (ddof = 0) over random subsets, as others report it. Its expectation is ``all``.
  public var subsetMean, subsetSpread: Double
  public var subsets, subsetSize: Int
}

/// The reference's part of kernel distances, computed once for several sets of samples.
struct KernelReference {
  static let subsets = 100
  /// The largest subset, as others use it.
  static let subsetSize = 1000

  private let points: FeatureSet
  private let bootstrap: Bootstrap
  private let backend: any Backend

  init(_ points: FeatureSet, bootstrap: Bootstrap, on backend: any Backend) {
    (self.points, self.bootstrap, self.backend) = (points, bootstrap, backend)
  }

  func distance(to samples: FeatureSet) -> KernelDistance {
    let size = min(KernelReference.subsetSize, samples.count / 2, points.count / 2)
    let subsets = (0..<KernelReference.subsets).map { number in
      (
        bootstrap.subset(size, of: samples.count, number: 2 * number),
        bootstrap.subset(size, of: points.count, number: 2 * number + 1)
      )
    }
    let ones = PointWeights.once(points.count)
    let resampled = (0..<bootstrap.resamples).map { bootstrap.draws(samples.count, resample: $0).map(Float.init) }
    let values = discrepancies(
      samples,
      subsets.map { .chosen($0.0, of: samples.count) } + [.once(samples.count)] + resampled.map(PointWeights.init),
      subsets.map { .chosen($0.1, of: points.count) } + [ones] + resampled.map { _ in ones })
    let inSubsets = values[..<subsets.count]
    let mean = inSubsets.reduce(0, +) / Double(subsets.count)
    let variance = inSubsets.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(subsets.count)
    return KernelDistance(
      all: bootstrap.interval(around: values[subsets.count], Array(values[(subsets.count + 1)...])),
      subsetMean: mean, subsetSpread: variance.squareRoot(), subsets: subsets.count, subsetSize: size)
  }

  /// The discrepancies between weighted samples and the weighted reference, one for each pair of weights.
  private func discrepancies(
    _ samples: FeatureSet, _ weights: [PointWeights], _ referenceWeights: [PointWeights]
  ) -> [Double] {
    let within = kernelSums(samples, weights, samples, weights, excludingSelf: true)
    let between = kernelSums(samples, weights, points, referenceWeights, excludingSelf: false)
    // Most weights of the reference are the same, so compute each only once.
    let distinct = KernelReference.subsets + 1
    let reference = kernelSums(
      points, Array(referenceWeights[..<distinct]), points, Array(referenceWeights[..<distinct]), excludingSelf: true)
    return weights.indices.map { index in
      let (x, y) = (weights[index], referenceWeights[index])
      return within[index] / x.pairs + reference[min(index, distinct - 1)] / y.pairs
        - 2 * between[index] / (x.sum * y.sum)
    }
  }

  /// `Σᵢⱼ wᵢ vⱼ k(aᵢ, bⱼ)` for each pair of weights.
  private func kernelSums(
    _ a: FeatureSet, _ weights: [PointWeights], _ b: FeatureSet, _ otherWeights: [PointWeights], excludingSelf: Bool
  ) -> [Double] {
    let width = weights.count
    // [points, weights]
    func matrix(_ weights: [PointWeights], _ range: Range<Int>) -> Tensor {
      let values = range.flatMap { point in weights.map { $0.values[point] } }
      return Tensor(values, shape: [range.count, width], on: backend)
    }
    var sums = [Double](repeating: 0, count: width)
    forEachBlock(of: a, b, scale: 1 / Float(a.dimensions), on: backend) { block, products in
      backend.threads.split(block.rows.count) { part, _ in
        for row in part.lowerBound + block.rows.lowerBound..<part.upperBound + block.rows.lowerBound {
          let values = block.row(row)
          for column in values.indices {
            let base = values[column] + 1
            values[column] = base * base * base
          }
          if excludingSelf, block.columns.contains(row) { values[row - block.columns.lowerBound] = 0 }
        }
      }
      let weighted = Tensor(uninitialized: [block.rows.count, width], on: backend)
      backend.matmul(
        MatrixBatch(products), MatrixBatch(matrix(otherWeights, block.columns)), scale: 1, into: MatrixBatch(weighted),
        accumulating: false)
      weighted.withMutableFloats { values in
        for row in 0..<block.rows.count {
          for index in 0..<width {
            sums[index] +=
              Double(weights[index].values[block.rows.lowerBound + row]) * Double(values[row * width + index])
          }
        }
      }
    }
    return sums
  }
}

/// How much each point counts.
private struct PointWeights {
  let values: [Float]
  let sum: Double
  /// The weight of all pairs of different points.
  let pairs: Double

  init(_ values: [Float]) {
    self.values = values
    sum = values.reduce(0) { $0 + Double($1) }
    pairs = sum * sum - values.reduce(0) { $0 + Double($1) * Double($1) }
  }

  static func once(_ count: Int) -> PointWeights { PointWeights([Float](repeating: 1, count: count)) }

  static func chosen(_ places: [Int], of count: Int) -> PointWeights {
    var values = [Float](repeating: 0, count: count)
    for place in places { values[place] = 1 }
    return PointWeights(values)
  }
}
