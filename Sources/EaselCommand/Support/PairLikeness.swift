import EaselKit

/// How like images are to others that each belongs to.
struct PairLikeness {
  /// By name: the mean absolute error of levels from 0 to 1, the structural similarity, and the share of images that no other
  /// counterpart is nearer to, by absolute error, than their own.
  let figures: [(name: String, value: Double)]

  init(_ images: [Image], _ counterparts: [Image]) {
    let count = Double(max(1, images.count))
    let levels = Double(max(1, images.first?.pixels.count ?? 1))
    let distances = images.map { image in counterparts.map { PairLikeness.distance(image, $0) } }
    let own = distances.indices.map { distances[$0][$0] }
    let found = distances.indices.filter { row in distances[row].allSatisfy { $0 >= own[row] } }.count
    figures = [
      ("l1", own.reduce(0.0) { $0 + Double($1) } / (255 * levels * count)),
      ("ssim", meanStructuralSimilarity(images, counterparts)),
      ("rank-1", Double(found) / count),
    ]
  }

  /// The sum of absolute differences of 8-bit levels.
  private static func distance(_ a: Image, _ b: Image) -> Int {
    a.pixels.withUnsafeBufferPointer { a in
      b.pixels.withUnsafeBufferPointer { b in
        var sum = 0
        for i in a.indices { sum &+= Int(max(a[i], b[i]) &- min(a[i], b[i])) }
        return sum
      }
    }
  }
}
