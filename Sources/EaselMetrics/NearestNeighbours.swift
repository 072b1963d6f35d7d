import EaselTensors

/// The nearest of some points to another one.
public struct NearestNeighbour: Sendable, Equatable {
  /// Its place in the set that was searched.
  public var index: Int
  /// Euclidean.
  public var distance: Double
}

/// The nearest point of a set to each of others; the first of equally near ones.
///
/// - Parameters:
///   - points: what neighbours are looked for of.
///   - set: where they are looked for; not empty, and of as many dimensions.
///   - backend: what computes.
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

/// Whether samples stand nearer to the images that a model has seen than to others of the same kind.
public struct Memorization: Codable, Sendable {
  /// The share of samples whose nearest neighbour among training images is nearer than that among held-out ones, equal
  /// distances counting half.
  ///
  /// For the interval, samples with the same nearest image are drawn together: which side that image is on decides for all of
  /// them.
  public var share: Estimate
  /// What a model has that has learned the distribution and no image by heart: the nearest image of all is any of them, so
  /// that it is the training images' share of all.
  public var expected: Double
  /// Mean distance to the nearest of the training images and of the held-out ones.
  public var trainingDistance, heldOutDistance: Double

  public init(
    of samples: FeatureSet, training: FeatureSet, heldOut: FeatureSet, bootstrap: Bootstrap, on backend: any Backend
  ) {
    let near = nearestNeighbours(of: samples, in: training, on: backend)
    let far = nearestNeighbours(of: samples, in: heldOut, on: backend)
    let isNearer = zip(near, far).map { $0.distance < $1.distance ? 1 : $0.distance == $1.distance ? 0.5 : 0 }
    // The image that is nearest of all, from either side.
    let nearest = zip(near, far).map { $0.distance <= $1.distance ? $0.index : training.count + $1.index }
    share = bootstrap.mean(of: isNearer, groups: nearest)
    expected = Double(training.count) / Double(training.count + heldOut.count)
    trainingDistance = near.reduce(0) { $0 + $1.distance } / Double(max(1, near.count))
    heldOutDistance = far.reduce(0) { $0 + $1.distance } / Double(max(1, far.count))
  }
}
