import EaselSupport
import EaselTensors

/// How samples compare with reference images in a space of features.
public struct SampleFigures: Codable, Sendable {
  /// The number of points that were judged.
  public var count: Int
  public var frechet: Estimate
  public var kernel: KernelDistance
  public var neighbourhoods: NeighbourhoodFigures
}

/// Features of real images, as a reference for samples.
///
/// Figures are comparable only if the feature extractor, the images' size, both counts and the choice of the reference
/// images are the same: report all of these with a figure.
public struct ReferenceFeatures {
  public let points: FeatureSet
  private let bootstrap: Bootstrap
  private let backend: any Backend
  private let frechet: FrechetReference
  private let kernel: KernelReference
  private let neighbourhoods: NeighbourhoodReference

  /// - Throws: `UserError` (usage) if there are too few points; see ``check(_:dimensions:what:)``.
  public init(_ points: FeatureSet, bootstrap: Bootstrap, on backend: any Backend) throws {
    try ReferenceFeatures.check(points.count, dimensions: points.dimensions, what: "reference images")
    (self.points, self.bootstrap, self.backend) = (points, bootstrap, backend)
    frechet = FrechetReference(GaussianStatistics(points))
    kernel = KernelReference(points, bootstrap: bootstrap, on: backend)
    neighbourhoods = NeighbourhoodReference(points, bootstrap: bootstrap, on: backend)
  }

  /// How many samples a covariance of this many dimensions needs. With as many samples as dimensions it is barely
  /// invertible, and the distance mostly depends on the number of samples.
  public static func leastCount(dimensions: Int) -> Int { max(2 * dimensions, 20) }

  /// - Throws: `UserError` (usage) if there are fewer points than figures of this many dimensions need.
  public static func check(_ count: Int, dimensions: Int, what: String) throws {
    let least = leastCount(dimensions: dimensions)
    if count < least {
      throw UserError(
        .usage, "a Fréchet distance of \(dimensions) features needs at least \(least) \(what), found \(count)")
    }
  }

  /// Judges samples.
  ///
  /// - Throws: `UserError` (usage) if there are too few; see ``check(_:dimensions:what:)``.
  public func judge(_ samples: FeatureSet) throws -> SampleFigures {
    try ReferenceFeatures.check(samples.count, dimensions: samples.dimensions, what: "samples")
    return SampleFigures(
      count: samples.count, frechet: frechet.estimate(samples, bootstrap: bootstrap, on: backend.threads),
      kernel: kernel.distance(to: samples), neighbourhoods: neighbourhoods.figures(of: samples))
  }
}
