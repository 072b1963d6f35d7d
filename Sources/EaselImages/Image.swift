/// A picture in memory: 8 bits per channel, row-major, with interleaved channels.
///
/// The byte of channel `c` at column `x` and row `y` is `pixels[(y * width + x) * channels + c]`.
public struct Image: Sendable, Equatable {
  /// Columns.
  public let width: Int
  /// Rows.
  public let height: Int
  /// 1 (grey) or 3 (red, green, blue).
  public let channels: Int
  /// `height × width × channels` bytes.
  public let pixels: [UInt8]

  /// Wraps pixels that are already laid out.
  ///
  /// Traps if a size is not positive, if the channels are not 1 or 3, or if the number of bytes is not their product.
  public init(width: Int, height: Int, channels: Int, pixels: [UInt8]) {
    guard width > 0, height > 0, channels == 1 || channels == 3 else {
      fatalError("Image: \(width)×\(height) with \(channels) channels; sizes are positive, channels are 1 or 3")
    }
    guard pixels.count == width * height * channels else {
      fatalError("Image: \(pixels.count) bytes for \(width)×\(height)×\(channels)")
    }
    self.width = width
    self.height = height
    self.channels = channels
    self.pixels = pixels
  }
}

extension Image {
  /// The picture with 1 or 3 channels.
  ///
  /// Grey becomes three equal channels; RGB becomes the luma of ITU-R BT.601, rounded like Pillow's mode `L`.
  public func converted(channels: Int) -> Image {
    switch (self.channels, channels) {
    case (1, 3): repeatedGrey()
    case (3, 1): luma()
    case (let present, let wanted) where present == wanted: self
    default: fatalError("Image.converted: \(channels) channels; 1 and 3 are possible")
    }
  }

  private func repeatedGrey() -> Image {
    let repeated = [UInt8](unsafeUninitializedCapacity: 3 * pixels.count) { target, count in
      for (index, level) in pixels.enumerated() {
        for channel in 0..<3 { target.initializeElement(at: 3 * index + channel, to: level) }
      }
      count = 3 * pixels.count
    }
    return Image(width: width, height: height, channels: 3, pixels: repeated)
  }

  private func luma() -> Image {
    let luma = (0..<width * height).map { index in
      let red = Int(pixels[3 * index])
      let green = Int(pixels[3 * index + 1])
      let blue = Int(pixels[3 * index + 2])
      // 0.299, 0.587 and 0.114 in 16-bit fixed point.
      return UInt8((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16)
    }
    return Image(width: width, height: height, channels: 1, pixels: luma)
  }

  /// The middle of the picture. If the margins cannot be equal, the left and upper ones are a pixel smaller.
  ///
  /// Traps if the picture is smaller than that.
  public func centerCropped(width: Int, height: Int) -> Image {
    guard 1...self.width ~= width, 1...self.height ~= height else {
      fatalError("Image.centerCropped: \(width)×\(height) does not fit in \(self.width)×\(self.height)")
    }
    let left = (self.width - width) / 2
    let top = (self.height - height) / 2
    var cropped: [UInt8] = []
    cropped.reserveCapacity(width * height * channels)
    for y in top..<top + height {
      let start = (y * self.width + left) * channels
      cropped += pixels[start..<start + width * channels]
    }
    return Image(width: width, height: height, channels: channels, pixels: cropped)
  }
}
