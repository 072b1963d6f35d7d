/// How to turn a picture before it is shown, as cameras record it in EXIF data.
enum ImageOrientation: Int {
  case upright = 1
  case mirrored, upsideDown, flipped, transposed, turnedRight, transversed, turnedLeft

  /// The orientation in a picture file's EXIF data; upright if there are none, or none that can be read.
  init(of bytes: [UInt8], _ format: ImageFormat) {
    let exif =
      switch format {
      case .png: Self.pngChunk(in: bytes[...])
      case .jpeg: Self.jpegSegment(in: bytes[...])
      case .webp: Self.webpChunk(in: bytes[...])
      default: nil as ArraySlice<UInt8>?
      }
    self = exif.flatMap(Self.value).flatMap(Self.init) ?? .upright
  }

  private static let exifName: [UInt8] = Array("Exif".utf8) + [0, 0]

  private static func pngChunk(in bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    var rest = bytes.dropFirst(ImageFormat.pngSignature.count)
    while let length = number(rest, 0, 4) {
      let data = rest.dropFirst(8).prefix(length)
      if rest.dropFirst(4).starts(with: "eXIf".utf8) { return data }
      rest = rest.dropFirst(12 + length)
    }
    return nil
  }

  /// The first APP1 segment with EXIF data before the picture's own data.
  private static func jpegSegment(in bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    var rest = bytes.dropFirst(2)
    while rest.first == 0xFF {
      // Any number of FF bytes may precede a marker.
      rest = rest.dropFirst()
      guard let marker = rest.first else { return nil }
      if marker == 0xFF { continue }
      let (startOfScan, endOfImage): (UInt8, UInt8) = (0xDA, 0xD9)
      guard marker != startOfScan, marker != endOfImage, let length = number(rest, 1, 2), length >= 2 else {
        return nil
      }
      let data = rest.dropFirst(3).prefix(length - 2)
      if marker == 0xE1, data.starts(with: exifName) { return data.dropFirst(exifName.count) }
      rest = rest.dropFirst(1 + length)
    }
    return nil
  }

  private static func webpChunk(in bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    var rest = bytes.dropFirst(12)
    while let length = number(rest, 4, 4, isBigEndian: false) {
      let data = rest.dropFirst(8).prefix(length)
      if rest.starts(with: "EXIF".utf8) {
        return data.starts(with: exifName) ? data.dropFirst(exifName.count) : data
      }
      rest = rest.dropFirst(8 + length + length % 2)
    }
    return nil
  }

  /// The number with the tag 0x0112 in the first directory of a TIFF structure.
  private static func value(in tiff: ArraySlice<UInt8>) -> Int? {
    let isBigEndian = tiff.starts(with: "MM".utf8)
    guard isBigEndian || tiff.starts(with: "II".utf8) else { return nil }
    func field(_ offset: Int, _ count: Int) -> Int? { number(tiff, offset, count, isBigEndian: isBigEndian) }
    guard field(2, 2) == 42, let directory = field(4, 4), let count = field(directory, 2) else { return nil }
    for entry in 0..<count {
      let place = directory + 2 + 12 * entry
      guard let tag = field(place, 2) else { return nil }
      if tag == 0x0112 { return field(place + 8, 2) }
    }
    return nil
  }

  /// The number in `count` bytes at an offset; nil if there are too few bytes.
  private static func number(
    _ bytes: ArraySlice<UInt8>, _ offset: Int, _ count: Int, isBigEndian: Bool = true
  ) -> Int? {
    let field = bytes.dropFirst(offset).prefix(count)
    guard field.count == count else { return nil }
    return (isBigEndian ? Array(field) : field.reversed()).reduce(0) { $0 << 8 | Int($1) }
  }
}

extension Image {
  /// The picture as it should be shown.
  func turned(_ orientation: ImageOrientation) -> Image {
    let isOnItsSide = orientation.rawValue >= ImageOrientation.transposed.rawValue
    let (right, bottom) = (width - 1, height - 1)
    let size = isOnItsSide ? ImageSize(width: height, height: width) : self.size
    func source(_ x: Int, _ y: Int) -> (x: Int, y: Int) {
      switch orientation {
      case .upright: (x, y)
      case .mirrored: (right - x, y)
      case .upsideDown: (right - x, bottom - y)
      case .flipped: (x, bottom - y)
      case .transposed: (y, x)
      case .turnedRight: (y, bottom - x)
      case .transversed: (right - y, bottom - x)
      case .turnedLeft: (right - y, x)
      }
    }
    if orientation == .upright { return self }
    let turned = [UInt8](unsafeUninitializedCapacity: pixels.count) { target, count in
      for y in 0..<size.height {
        for x in 0..<size.width {
          let place = source(x, y)
          for channel in 0..<channels {
            target.initializeElement(at: count, to: pixels[(place.y * width + place.x) * channels + channel])
            count += 1
          }
        }
      }
    }
    return Image(width: size.width, height: size.height, channels: channels, pixels: turned)
  }
}
