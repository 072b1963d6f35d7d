import EaselMetrics
import Foundation

/// How close pictures are to clean ones: means over pictures.
public struct RestorationFigures: Codable, Sendable, Equatable {
  /// Peak signal-to-noise ratio of 8-bit levels, in dB.
  public var psnr: Double
  /// Structural similarity, at most 1.
  public var ssim: Double

  public init(_ images: [Image], clean: [Image]) {
    psnr = meanSignalToNoise(images, clean)
    ssim = meanStructuralSimilarity(images, clean)
  }
}

/// The Gaussian blur that comes closest to clean images, which a restoration has to beat.
public struct BestBlur: Sendable {
  /// In pixels; 0 if the damaged images are better left as they are.
  public let deviation: Double
  public let images: [Image]
  public let figures: RestorationFigures

  /// Tries deviations from 0 to 3 pixels in steps of a quarter, and takes the one with the largest signal-to-noise
  /// ratio.
  ///
  /// - Parameters:
  ///   - damaged: `[N, H, W, C]`, float32, 0 to 1 and beyond.
  ///   - clean: the images before the damage.
  public init(of damaged: Tensor, clean: [Image]) {
    let candidates = (0...12).map { Double($0) / 4 }.map { deviation in
      let images = BestBlur.blurred(damaged, deviation).images()
      return (deviation: deviation, images: images, psnr: meanSignalToNoise(images, clean))
    }
    let best = candidates.max { $0.psnr < $1.psnr } ?? candidates[0]
    deviation = best.deviation
    images = best.images
    figures = RestorationFigures(best.images, clean: clean)
  }

  /// Blurs with weights up to three deviations; edges are repeated.
  private static func blurred(_ images: Tensor, _ deviation: Double) -> Tensor {
    if deviation == 0 { return images }
    let radius = Int((3 * deviation).rounded(.up))
    let raw = (-radius...radius).map { exp(-0.5 * Double($0 * $0) / (deviation * deviation)) }
    let weights = raw.map { Float($0 / raw.reduce(0, +)) }
    let (height, width, channels) = (images.shape[1], images.shape[2], images.shape[3])
    /// Along lines of `length` values that are `step` numbers apart.
    func pass(_ values: [Float], length: Int, step: Int) -> [Float] {
      var result = [Float](repeating: 0, count: values.count)
      for place in values.indices {
        let position = place / step % length
        var sum: Float = 0
        for (index, weight) in weights.enumerated() {
          let moved = min(max(position + index - radius, 0), length - 1)
          sum += weight * values[place + (moved - position) * step]
        }
        result[place] = sum
      }
      return result
    }
    let rows = pass(images.values(), length: width, step: channels)
    return Tensor(pass(rows, length: height, step: width * channels), shape: images.shape, on: images.backend)
  }
}
