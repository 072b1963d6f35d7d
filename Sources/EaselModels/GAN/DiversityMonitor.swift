import EaselLayers
import Foundation

/// Watches for mode collapse: a generator that draws the same few images whatever the code.
///
/// Compares two figures of generated images with those of the same number of real ones, by Euclidean distance of
/// pixels: how far an image is from its nearest neighbour among its own kind (1 for real images), and how evenly
/// classes are drawn, if each image gets the class of the nearest real image (1 for as evenly as the real ones).
package struct DiversityMonitor {
  /// The mean distance of generated neighbours divided by that of real ones.
  package private(set) var spread: Float
  /// The entropy of the generated images' classes divided by that of the real ones'; nil without labels.
  package private(set) var classEntropy: Float?

  /// Below this there is an alarm. Trained generators rarely fall below it, and collapsed ones always do.
  static let leastSpread: Float = 0.4
  static let leastEntropy: Float = 0.6

  /// - Parameters:
  ///   - generated: `[N, …]`.
  ///   - real: `[M, …]`, at least N.
  ///   - labels: the labels of the real images.
  package init(generated: Tensor, real: Tensor, labels: [Int32]?) {
    let count = min(generated.shape[0], real.shape[0])
    let (fakes, reals) = (Self.rows(generated), Self.rows(real))
    func meanNearest(_ images: ArraySlice<[Float]>) -> Float {
      let images = Array(images)
      let nearest = images.indices.map { i in
        images.indices.lazy.filter { $0 != i }.map { Self.distance(images[i], images[$0]) }.min() ?? 0
      }
      return nearest.reduce(0) { $0 + $1.squareRoot() } / Float(max(1, nearest.count))
    }
    spread = meanNearest(fakes[..<count]) / max(meanNearest(reals[..<count]), 1e-12)
    classEntropy = labels.flatMap { labels in
      let drawn = fakes[..<count].map { fake in
        labels[reals.indices.min { Self.distance(fake, reals[$0]) < Self.distance(fake, reals[$1]) } ?? 0]
      }
      let whole = Self.entropy(labels)
      return whole > 0 ? Self.entropy(drawn) / whole : nil
    }
  }

  package var alarm: String? {
    if spread < Self.leastSpread {
      return "mode collapse: drawn images are as near to one another as \(Int(100 * spread)) % of what real ones are"
    }
    if let classEntropy, classEntropy < Self.leastEntropy {
      return "mode collapse: the classes drawn have \(Int(100 * classEntropy)) % of the real ones' entropy"
    }
    return nil
  }

  private static func rows(_ images: Tensor) -> [[Float]] {
    let values = images.values()
    let size = values.count / images.shape[0]
    return (0..<images.shape[0]).map { Array(values[$0 * size..<($0 + 1) * size]) }
  }

  private static func distance(_ a: [Float], _ b: [Float]) -> Float {
    a.withUnsafeBufferPointer { a in
      b.withUnsafeBufferPointer { b in
        var lanes = SIMD16<Float>()
        var place = 0
        while place + 16 <= a.count {
          let difference = SIMD16(a[place..<place + 16]) - SIMD16(b[place..<place + 16])
          lanes += difference * difference
          place += 16
        }
        var sum = lanes.sum()
        for rest in place..<a.count { sum += (a[rest] - b[rest]) * (a[rest] - b[rest]) }
        return sum
      }
    }
  }

  private static func entropy(_ labels: [Int32]) -> Float {
    let counts = Dictionary(grouping: labels) { $0 }.values.map { Float($0.count) / Float(labels.count) }
    return counts.reduce(0) { $0 - $1 * log($1) }
  }
}
