import EaselTensors

/// Precision and recall (Kynkäänniemi et al. 2019, “Improved precision and recall”), density and coverage (Naeem et al.
/// 2020, “Reliable fidelity and diversity metrics”).
///
/// Each is a mean over points, of an indicator or (for the density) of a count. For the intervals, these values are
/// drawn again while the neighbourhoods stay as they are: points that are drawn twice would be each other's nearest
/// neighbours, at distance 0.
public struct NeighbourhoodFigures: Codable, Sendable {
  /// The share of samples inside a reference point's neighbourhood (k = 3).
  public var precision: Estimate
  /// The share of reference points inside a sample's neighbourhood (k = 3).
  public var recall: Estimate
  /// How many reference points' neighbourhoods (k = 5) contain a sample, ÷ 5: about 1 for the reference's own
  /// distribution.
  public var density: Estimate
  /// The share of reference points with a sample in their neighbourhood (k = 5).
  public var coverage: Estimate

  /// Neighbours that bound a neighbourhood of precision and recall.
  public static let manifoldNeighbours = 3
  /// Neighbours that bound a neighbourhood of density and coverage.
  public static let coverageNeighbours = 5
}

/// Reference points and the sizes of their neighbourhoods, computed once for several sets of samples.
struct NeighbourhoodReference {
  private let points: FeatureSet
  /// Squared distances to the third and fifth nearest other point.
  private let manifoldRadii, coverageRadii: [Float]
  private let bootstrap: Bootstrap
  private let backend: any Backend

  init(_ points: FeatureSet, bootstrap: Bootstrap, on backend: any Backend) {
    (self.points, self.bootstrap, self.backend) = (points, bootstrap, backend)
    let nearest = nearestDistances(
      points, count: max(NeighbourhoodFigures.manifoldNeighbours, NeighbourhoodFigures.coverageNeighbours), on: backend)
    manifoldRadii = nearest.map { $0[NeighbourhoodFigures.manifoldNeighbours - 1] }
    coverageRadii = nearest.map { $0[NeighbourhoodFigures.coverageNeighbours - 1] }
  }

  func figures(of samples: FeatureSet) -> NeighbourhoodFigures {
    let sampleRadii = nearestDistances(samples, count: NeighbourhoodFigures.manifoldNeighbours, on: backend)
      .map { $0[NeighbourhoodFigures.manifoldNeighbours - 1] }
    var isPrecise = [UInt8](repeating: 0, count: samples.count)
    var densities = [Int32](repeating: 0, count: samples.count)
    // All workers write to all columns, so each marks its own copy.
    let workers = backend.threads.count
    var isRecalled = [UInt8](repeating: 0, count: workers * points.count)
    var isCovered = [UInt8](repeating: 0, count: workers * points.count)
    isPrecise.withUnsafeMutableBufferPointer { isPrecise in
      densities.withUnsafeMutableBufferPointer { densities in
        isRecalled.withUnsafeMutableBufferPointer { isRecalled in
          isCovered.withUnsafeMutableBufferPointer { isCovered in
            nonisolated(unsafe) let (isPrecise, densities) = (isPrecise, densities)
            nonisolated(unsafe) let (isRecalled, isCovered) = (isRecalled, isCovered)
            forEachDistanceBlock(of: samples, points, on: backend) { block in
              backend.threads.split(block.rows.count) { range, turn in
                for row in range.lowerBound + block.rows.lowerBound..<range.upperBound + block.rows.lowerBound {
                  let values = block.row(row)
                  let radius = sampleRadii[row]
                  var (precise, density) = (UInt8(0), Int32(0))
                  for column in values.indices {
                    let (value, point) = (values[column], block.columns.lowerBound + column)
                    if value < manifoldRadii[point] { precise = 1 }
                    if value < coverageRadii[point] {
                      density += 1
                      isCovered[turn.worker * points.count + point] = 1
                    }
                    if value < radius { isRecalled[turn.worker * points.count + point] = 1 }
                  }
                  isPrecise[row] |= precise
                  densities[row] += density
                }
              }
            }
          }
        }
      }
    }
    func mean(ofColumns marks: [UInt8]) -> Estimate {
      bootstrap.mean(
        of: (0..<points.count).map { point in
          (0..<workers).contains { marks[$0 * points.count + point] == 1 } ? 1 : 0
        })
    }
    let neighbours = Double(NeighbourhoodFigures.coverageNeighbours)
    return NeighbourhoodFigures(
      precision: bootstrap.mean(of: isPrecise.map(Double.init)), recall: mean(ofColumns: isRecalled),
      density: bootstrap.mean(of: densities.map { Double($0) / neighbours }), coverage: mean(ofColumns: isCovered))
  }
}

/// The squared distances of each point to its nearest other points, in ascending order; infinite if there are too few.
func nearestDistances(_ points: FeatureSet, count: Int, on backend: any Backend) -> [[Float]] {
  var nearest = [Float](repeating: .infinity, count: points.count * count)
  nearest.withUnsafeMutableBufferPointer { nearest in
    nonisolated(unsafe) let nearest = nearest
    forEachDistanceBlock(of: points, points, on: backend) { block in
      backend.threads.split(block.rows.count) { part, _ in
        for row in part.lowerBound + block.rows.lowerBound..<part.upperBound + block.rows.lowerBound {
          let values = block.row(row)
          let own = nearest[row * count..<(row + 1) * count]
          let nearest = UnsafeMutableBufferPointer(rebasing: own)
          for column in values.indices where values[column] < nearest[count - 1] {
            if block.columns.lowerBound + column == row { continue }
            // Larger distances move up by one index.
            var place = count - 1
            while place > 0, nearest[place - 1] > values[column] {
              nearest[place] = nearest[place - 1]
              place -= 1
            }
            nearest[place] = values[column]
          }
        }
      }
    }
  }
  return (0..<points.count).map { Array(nearest[$0 * count..<($0 + 1) * count]) }
}
