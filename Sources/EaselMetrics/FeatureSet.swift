import EaselTensors

/// Points of one space: the features of some images, one row per image.
public struct FeatureSet: Sendable {
  private enum Values {
    case floats([Float])
    case levels([UInt8])
  }

  public let count: Int
  public let dimensions: Int
  private let values: Values

  /// Points as rows of numbers, `[count, dimensions]`.
  public init(_ values: [Float], dimensions: Int) {
    require(dimensions > 0 && values.count % dimensions == 0, "\(values.count) numbers in rows of \(dimensions)")
    (count, self.dimensions, self.values) = (values.count / dimensions, dimensions, .floats(values))
  }

  /// Pictures as points, `[count, dimensions]`: each pixel's level, 0 to 1.
  public init(levels: [UInt8], dimensions: Int) {
    require(dimensions > 0 && levels.count % dimensions == 0, "\(levels.count) levels in rows of \(dimensions)")
    (count, self.dimensions, values) = (levels.count / dimensions, dimensions, .levels(levels))
  }

  /// Chosen points, in the order of `indices`.
  public func subset(_ indices: some Sequence<Int>) -> FeatureSet {
    func chosen<Value>(_ values: [Value]) -> [Value] {
      indices.flatMap { values[$0 * dimensions..<($0 + 1) * dimensions] }
    }
    switch values {
    case .floats(let values): return FeatureSet(chosen(values), dimensions: dimensions)
    case .levels(let levels): return FeatureSet(levels: chosen(levels), dimensions: dimensions)
    }
  }

  /// The numbers of some points, `[range, dimensions]`.
  public func tensor(_ range: Range<Int>, on backend: any Backend) -> Tensor {
    let places = range.lowerBound * dimensions..<range.upperBound * dimensions
    let shape: Shape = [range.count, dimensions]
    switch values {
    case .floats(let values): return Tensor(Array(values[places]), shape: shape, on: backend)
    case .levels(let levels):
      return backend.fromBytes(Array(levels[places]), shape: shape, scale: 1 / 255, shift: 0, type: .float32)
    }
  }

  /// One of a point's numbers.
  public subscript(point: Int, dimension: Int) -> Double {
    let place = point * dimensions + dimension
    switch values {
    case .floats(let values): return Double(values[place])
    case .levels(let levels): return Double(levels[place]) / 255
    }
  }

  /// The Euclidean distance between two points, in double precision.
  public func distance(_ point: Int, to other: FeatureSet, _ otherPoint: Int) -> Double {
    var sum = 0.0
    for dimension in 0..<dimensions {
      let difference = self[point, dimension] - other[otherPoint, dimension]
      sum += difference * difference
    }
    return sum.squareRoot()
  }

  /// The sum of squares of each point.
  fileprivate var squaredNorms: [Float] {
    (0..<count).map { point in
      Float((0..<dimensions).reduce(0) { $0 + self[point, $1] * self[point, $1] })
    }
  }
}

/// A block of the matrix between two sets of points: rows stand for points of the first, columns for those of the
/// second.
struct PairBlock {
  let rows, columns: Range<Int>
  /// `[rows, columns]`.
  let values: UnsafeMutablePointer<Float>

  /// The values of one row.
  func row(_ row: Int) -> UnsafeMutableBufferPointer<Float> {
    UnsafeMutableBufferPointer(start: values + (row - rows.lowerBound) * columns.count, count: columns.count)
  }
}

/// Iterates over the inner products of all pairs of points, block by block, so that the whole matrix is never in
/// memory.
func forEachBlock(
  of a: FeatureSet, _ b: FeatureSet, scale: Float = 1, on backend: any Backend, _ body: (PairBlock, Tensor) -> Void
) {
  require(a.dimensions == b.dimensions, "points of \(a.dimensions) and of \(b.dimensions) dimensions")
  let (rowBlock, columnBlock) = (512, 4096)
  for start in stride(from: 0, to: b.count, by: columnBlock) {
    let columns = start..<min(start + columnBlock, b.count)
    let right = MatrixBatch(b.tensor(columns, on: backend)).transposed
    for start in stride(from: 0, to: a.count, by: rowBlock) {
      let rows = start..<min(start + rowBlock, a.count)
      let products = Tensor(uninitialized: [rows.count, columns.count], on: backend)
      backend.matmul(
        MatrixBatch(a.tensor(rows, on: backend)), right, scale: scale, into: MatrixBatch(products), accumulating: false)
      products.withMutableFloats { values in
        if let base = values.baseAddress {
          body(PairBlock(rows: rows, columns: columns, values: base), products)
        }
      }
    }
  }
}

/// Iterates over the squared distances of all pairs of points, block by block.
///
/// They are computed from inner products: for nearly equal points they are only rounding, about 10⁻⁷ of the points'
/// squared lengths.
func forEachDistanceBlock(
  of a: FeatureSet, _ b: FeatureSet, on backend: any Backend, _ body: (PairBlock) -> Void
) {
  let (normsA, normsB) = (a.squaredNorms, b.squaredNorms)
  forEachBlock(of: a, b, scale: -2, on: backend) { block, _ in
    normsA.withUnsafeBufferPointer { normsA in
      normsB.withUnsafeBufferPointer { normsB in
        backend.threads.split(block.rows.count) { part, _ in
          for row in part {
            let norm = normsA[block.rows.lowerBound + row]
            let values = block.row(block.rows.lowerBound + row)
            let first = block.columns.lowerBound
            for column in values.indices { values[column] = max(0, values[column] + norm + normsB[first + column]) }
          }
        }
      }
    }
    body(block)
  }
}
