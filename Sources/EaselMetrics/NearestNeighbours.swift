import EaselTensors

/// The nearest of some points to another point.
public struct NearestNeighbour: Sendable, Equatable {
  /// Its index in the set that was searched.
  public var index: Int
  /// The Euclidean distance.
  public var distance: Double
}

/// For each point, the nearest point of a set; the first if several are equally near.
///
/// - Parameters:
///   - points: the points whose neighbours are searched for.
///   - set: the points to search, not empty and of the same dimensions.
///   - backend: the backend that computes.
public func nearestNeighbours(
  of points: FeatureSet, in set: FeatureSet, on backend: any Backend
) -> [NearestNeighbour] {
  require(set.count > 0, "no points to look for neighbours in")
  var distances = [Float](repeating: .infinity, count: points.count)
  var places = [Int](repeating: 0, count: points.count)
  distances.withUnsafeMutableBufferPointer { distances in
    places.withUnsafeMutableBufferPointer { places in
      nonisolated(unsafe) let (distances, places) = (distances, places)
      forEachDistanceBlock(of: points, set, on: backend) { block in
        backend.threads.split(block.rows.count) { part, _ in
          for row in part.lowerBound + block.rows.lowerBound..<part.upperBound + block.rows.lowerBound {
            let values = block.row(row)
            for column in values.indices where values[column] < distances[row] {
              (distances[row], places[row]) = (values[column], block.columns.lowerBound + column)
            }
          }
        }
      }
    }
  }
  return places.enumerated().map { point, place in
    NearestNeighbour(index: place, distance: points.distance(point, to: set, place))
  }
}

/// Whether samples are nearer to the images that a model has seen than to others of the same kind.
public struct Memorization: Codable, Sendable {
  /// The share of samples whose nearest training image is nearer than their nearest held-out one; equal distances count
  /// half.
  ///
  /// For the interval, samples with the same nearest image are drawn together, since that image's side decides for all
  /// of them.
  public var share: Estimate
  /// The share expected of a model that has learned the distribution and memorised no image: any image may then be the
  /// nearest, so it is the number of training images divided by that of all images.
  public var expected: Double
  /// Mean distance to the nearest training image and to the nearest held-out one.
  public var trainingDistance, heldOutDistance: Double

  public init(
    of samples: FeatureSet, training: FeatureSet, heldOut: FeatureSet, bootstrap: Bootstrap, on backend: any Backend
  ) {
    let near = nearestNeighbours(of: samples, in: training, on: backend)
    let far = nearestNeighbours(of: samples, in: heldOut, on: backend)
    let isNearer = zip(near, far).map { $0.distance < $1.distance ? 1 : $0.distance == $1.distance ? 0.5 : 0 }
    // The image that is nearest of all, from either set.
    let nearest = zip(near, far).map { $0.distance <= $1.distance ? $0.index : training.count + $1.index }
    share = bootstrap.mean(of: isNearer, groups: nearest)
    expected = Double(training.count) / Double(training.count + heldOut.count)
    trainingDistance = near.reduce(0) { $0 + $1.distance } / Double(max(1, near.count))
    heldOutDistance = far.reduce(0) { $0 + $1.distance } / Double(max(1, far.count))
  }
}
