import EaselSupport

/// How a picture of other proportions is brought to a size.
public enum ImageFit: String, FieldChoice {
  /// Scaled until it covers the size; its middle is kept.
  case crop
  /// Scaled until it fits into the size, with black bars beside it.
  case pad
  /// Each side is scaled separately.
  case stretch
}

extension Image {
  /// The picture at another size, as ``fitted(width:height:)``, ``padded(width:height:)`` or
  /// ``resized(width:height:)``.
  public func brought(to size: ImageSize, by fit: ImageFit) -> Image {
    if size == self.size { return self }
    return switch fit {
    case .crop: fitted(width: size.width, height: size.height)
    case .pad: padded(width: size.width, height: size.height)
    case .stretch: resized(width: size.width, height: size.height)
    }
  }

  /// Scales the picture until it fits into the size, in the middle of black (Pillow's `ImageOps.pad` with `BILINEAR`).
  public func padded(width: Int, height: Int) -> Image {
    let (own, wanted) = (Double(self.width) / Double(self.height), Double(width) / Double(height))
    func side(_ length: Double) -> Int { max(1, Int(length.rounded(.toNearestOrEven))) }
    let (inner, outer) = (
      ImageSize(
        width: own < wanted ? side(own * Double(height)) : width,
        height: own > wanted ? side(Double(self.height) / Double(self.width) * Double(width)) : height),
      ImageSize(width: width, height: height)
    )
    let scaled = resized(width: inner.width, height: inner.height)
    if inner == outer { return scaled }
    func margin(_ space: Int) -> Int { Int((Double(space) / 2).rounded(.toNearestOrEven)) }
    let (left, top) = (margin(width - inner.width), margin(height - inner.height))
    var pixels = [UInt8](repeating: 0, count: width * height * channels)
    let rowSize = inner.width * channels
    for y in 0..<inner.height {
      let start = ((top + y) * width + left) * channels
      pixels.replaceSubrange(start..<start + rowSize, with: scaled.pixels[y * rowSize..<(y + 1) * rowSize])
    }
    return Image(width: width, height: height, channels: channels, pixels: pixels)
  }

  /// Whether covering a size cuts off a part of a picture, at least a pixel's width at that size.
  public static func isCut(_ picture: ImageSize, to size: ImageSize) -> Bool {
    let scale = max(Double(size.width) / Double(picture.width), Double(size.height) / Double(picture.height))
    return Double(picture.width) * scale >= Double(size.width) + 1
      || Double(picture.height) * scale >= Double(size.height) + 1
  }
}
