import EaselLayers
import EaselSupport

/// Damage to images that a model learns to undo.
public struct Corruption: Sendable, Hashable {
  public enum Kind: String, FieldChoice {
    /// Normal noise with a standard deviation in units of the image's range 0 to 1. Values outside the range are not
    /// clipped.
    case gaussian
    /// A share of the pixels becomes black or white, with equal probability.
    case saltAndPepper = "salt-and-pepper"
    /// Grey squares at random positions, a quarter of the shorter side wide, as many as have a share of the image's
    /// area.
    case squares
  }

  public var kind: Kind
  /// The noise's standard deviation, or the share of pixels.
  public var strength: Float

  public init(_ kind: Kind, strength: Float) { (self.kind, self.strength) = (kind, strength) }

  /// Checks for a meaningless strength.
  ///
  /// - Parameters:
  ///   - check: gathers problems.
  ///   - name: the strength's name in messages, as the person who set it knows it.
  public func check(_ check: inout FieldCheck, _ name: String) {
    switch kind {
    case .gaussian:
      check.require(strength > 0 && strength <= 50, "\(name): expected a number above 0, at most 50, found \(strength)")
    case .saltAndPepper, .squares:
      check.require(
        strength > 0 && strength < 1, "\(name): expected a share of the pixels between 0 and 1, found \(strength)")
    }
  }

  /// Damaged copies of images `[N, H, W, C]`, float32, 0 to 1. The random numbers of index `draw.index + n` damage
  /// sample n.
  public func apply(to images: Tensor, _ draw: RandomDraw) -> Tensor {
    let backend = images.backend
    let (count, height, width) = (images.shape[0], images.shape[1], images.shape[2])
    switch kind {
    case .gaussian:
      let noise = Tensor(uninitialized: images.shape, on: backend)
      backend.fillNormal(noise, draw)
      return backend.add(images, noise, alpha: 1, beta: strength)
    case .saltAndPepper:
      let numbers = Tensor(uninitialized: [count, height * width], on: backend)
      backend.fillUniform(numbers, draw)
      return replacing(images) { pixels in
        for (pixel, number) in numbers.values().enumerated() where number < strength {
          pixels(pixel, number < strength / 2 ? 0 : 1)
        }
      }
    case .squares:
      let side = max(1, min(height, width) / 4)
      let squares = max(1, Int((strength * Float(height * width) / Float(side * side)).rounded()))
      return replacing(images) { pixels in
        for sample in 0..<count {
          var generator = StreamGenerator(
            seed: draw.seed, stream: draw.stream, index: draw.index + UInt64(sample), draw: draw.draw)
          for _ in 0..<squares {
            let top = Int.random(in: 0...height - side, using: &generator)
            let left = Int.random(in: 0...width - side, using: &generator)
            for row in top..<top + side {
              for column in left..<left + side { pixels((sample * height + row) * width + column, 0.5) }
            }
          }
        }
      }
    }
  }

  /// A copy of images in which some pixels, counted through the batch, get another level in all channels.
  private func replacing(_ images: Tensor, _ change: ((_ pixel: Int, _ level: Float) -> Void) -> Void) -> Tensor {
    let copy = Tensor(uninitialized: images.shape, on: images.backend)
    images.backend.copy(images, into: copy)
    let channels = images.shape[3]
    copy.withMutableFloats { levels in
      change { pixel, level in
        for channel in 0..<channels { levels[pixel * channels + channel] = level }
      }
    }
    return copy
  }
}
