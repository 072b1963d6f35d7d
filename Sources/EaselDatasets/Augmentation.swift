import EaselTensors

/// Random changes to training images that do not change their meaning.
public struct Augmentation: Sendable, Equatable {
  /// Mirrors half of the images left to right.
  public let horizontalFlip: Bool
  /// Moves each image by up to this many pixels in either direction along both axes. Edges are repeated, so that a
  /// plain background stays plain.
  public let shift: Int
  public let jitter: ColorJitter

  public static let none = Augmentation()

  public init(horizontalFlip: Bool = false, shift: Int = 0, jitter: ColorJitter = ColorJitter()) {
    guard shift >= 0 else { fatalError("Augmentation: a shift of \(shift) pixels") }
    self.horizontalFlip = horizontalFlip
    self.shift = shift
    self.jitter = jitter
  }

  /// The changes to one image.
  struct Draw: Equatable {
    var isFlipped = false
    /// Pixels to the right and down.
    var right = 0
    var down = 0
    var recoloring = Recoloring()
  }

  /// The changes to the sample at a global position of the run.
  ///
  /// All random numbers are drawn whichever changes are on, so that switching one on does not change the others.
  func draw(seed: UInt64, stream: RandomStream = .data, sample: Int) -> Draw {
    var generator = StreamGenerator(seed: seed, stream: stream, index: UInt64(sample), draw: 1)
    let isFlipped = generator.uniform(below: 2) == 1
    let right = generator.uniform(below: 2 * shift + 1) - shift
    let down = generator.uniform(below: 2 * shift + 1) - shift
    var colors = StreamGenerator(seed: seed, stream: stream, index: UInt64(sample), draw: 2)
    return Draw(
      isFlipped: horizontalFlip && isFlipped, right: right, down: down, recoloring: jitter.draw(using: &colors))
  }
}

/// How much an image's colours are changed at random; 0 leaves a property alone. The properties and their order are
/// those of torchvision's `adjust_brightness`, `adjust_contrast`, `adjust_saturation` and `adjust_hue`.
///
/// Brightness and contrast turn white backgrounds grey, and a model then learns to draw them so; saturation and hue
/// leave white alone. Grey images are changed only by the first two.
public struct ColorJitter: Sendable, Equatable {
  /// Levels are multiplied by 1 ± this, at most 1.
  public let brightness: Float
  /// Differences from the image's mean grey are multiplied by 1 ± this, at most 1.
  public let contrast: Float
  /// Differences from each pixel's own grey are multiplied by 1 ± this, at most 1.
  public let saturation: Float
  /// Hues are rotated by up to ± this, in turns of the circle, at most a half.
  public let hue: Float

  public init(brightness: Float = 0, contrast: Float = 0, saturation: Float = 0, hue: Float = 0) {
    guard [brightness, contrast, saturation].allSatisfy({ 0...1 ~= $0 }), 0...0.5 ~= hue else {
      fatalError("ColorJitter: \(brightness), \(contrast), \(saturation), \(hue)")
    }
    self.brightness = brightness
    self.contrast = contrast
    self.saturation = saturation
    self.hue = hue
  }

  func draw(using generator: inout StreamGenerator) -> Recoloring {
    /// A random number from −1 to 1 with 24 bits.
    func symmetric() -> Float { Float(generator.next() >> 40) / Float(1 << 23) - 1 }
    let draws = (symmetric(), symmetric(), symmetric(), symmetric())
    return Recoloring(
      brightness: 1 + brightness * draws.0, contrast: 1 + contrast * draws.1, saturation: 1 + saturation * draws.2,
      hue: hue * draws.3)
  }
}

extension Augmentation.Draw {
  /// Appends an image of `height × width × channels` bytes: mirrored, then moved, then recoloured.
  func append(_ image: ArraySlice<UInt8>, width: Int, height: Int, channels: Int, to pixels: inout [UInt8]) {
    let start = pixels.count
    if !isFlipped, right == 0, down == 0 {
      pixels += image
    } else {
      for y in 0..<height {
        let row = image.startIndex + min(max(y - down, 0), height - 1) * width * channels
        for x in 0..<width {
          let unmoved = min(max(x - right, 0), width - 1)
          let column = row + (isFlipped ? width - 1 - unmoved : unmoved) * channels
          pixels += image[column..<column + channels]
        }
      }
    }
    recoloring.apply(to: &pixels[start...], channels: channels)
  }
}

/// One change to an image's colours.
package struct Recoloring: Equatable, Sendable {
  private let brightness: Float
  private let contrast: Float
  private let saturation: Float
  /// The rotation of hues, in turns.
  private let hue: Float

  package init(brightness: Float = 1, contrast: Float = 1, saturation: Float = 1, hue: Float = 0) {
    self.brightness = brightness
    self.contrast = contrast
    self.saturation = saturation
    self.hue = hue
  }

  /// Changes 8-bit levels, with interleaved channels. Each step clips to the range of levels; only the last one rounds.
  package func apply(to levels: inout ArraySlice<UInt8>, channels: Int) {
    if self == Recoloring() { return }
    // Grey is colour with equal channels; saturation and hue do not change it.
    let (green, blue) = channels == 1 ? (0, 0) : (1, 2)
    var pixels = stride(from: levels.startIndex, to: levels.endIndex, by: channels).map { place in
      clipped(brightness * SIMD3(Float(levels[place]), Float(levels[place + green]), Float(levels[place + blue])))
    }
    let mean = pixels.reduce(0) { $0 + luma($1) } / Float(max(1, pixels.count))
    for index in pixels.indices {
      let contrasted = clipped(mean + contrast * (pixels[index] - mean))
      let grey = luma(contrasted)
      pixels[index] = turned(clipped(grey + saturation * (contrasted - grey)))
    }
    for (index, pixel) in pixels.enumerated() {
      for channel in 0..<channels {
        levels[levels.startIndex + channels * index + channel] = UInt8(pixel[channel].rounded())
      }
    }
  }

  /// The pixel with its hue rotated; value and saturation, in the sense of HSV, stay the same.
  private func turned(_ pixel: SIMD3<Float>) -> SIMD3<Float> {
    let (low, high) = (pixel.min(), pixel.max())
    let range = high - low
    if hue == 0 || range == 0 { return pixel }
    // The hue in sixths of a turn, from red.
    let sixths: Float =
      if pixel.x == high {
        (pixel.y - pixel.z) / range
      } else if pixel.y == high {
        2 + (pixel.z - pixel.x) / range
      } else {
        4 + (pixel.x - pixel.y) / range
      }
    let turned = sixths + 6 * hue
    /// How far a channel is below the highest, for its position on the circle in sixths.
    func level(_ offset: Float) -> Float {
      let place = offset + turned
      let onCircle = place - 6 * (place / 6).rounded(.down)
      return high - range * max(0, min(1, min(onCircle, 4 - onCircle)))
    }
    return SIMD3(level(5), level(3), level(1))
  }

  /// ITU-R BT.601's grey.
  private func luma(_ pixel: SIMD3<Float>) -> Float { 0.299 * pixel.x + 0.587 * pixel.y + 0.114 * pixel.z }

  private func clipped(_ pixel: SIMD3<Float>) -> SIMD3<Float> {
    pixel.clamped(lowerBound: .zero, upperBound: .init(repeating: 255))
  }
}
