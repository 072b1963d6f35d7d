import CEaselImageCodecs
import EaselSupport

extension Image {
  /// The most pixels that a file may announce; with more, its header counts as damaged or hostile.
  public static let maximumPixelCount = 1 << 26

  /// The largest file that is read as a picture, in bytes.
  public static let maximumFileSize = 1 << 29

  /// Bytes that a file may need for decoding, however small it is; larger files may need as many times their size.
  private static let decodingMemory = 128 << 20
  private static let decodingMemoryPerByte = 128

  /// Decodes a PNG of any colour type, bit depth and interlacing.
  ///
  /// Grey stays 1 channel, everything else becomes 3. Alpha is composed over `background`, the level of every channel;
  /// 16 bits become `round(v / 257)`; gamma is ignored. The orientation in EXIF data is applied. Of an APNG, this is
  /// the default picture.
  ///
  /// - Throws: `UserError` (`badData`) if the bytes are no PNG, are cut short, fail a checksum or announce too much.
  public init(png bytes: [UInt8], background: UInt8 = 255) throws {
    guard ImageFormat(signatureOf: bytes) == .png else { throw ImageFormat.unreadable(bytes, name: "the picture") }
    self = try Image(decoding: bytes, as: .png, background: background, name: "the picture")
  }

  /// Reads a PNG, JPEG, WebP or GIF file, if this build can. The file's first bytes decide its format, not its name.
  ///
  /// Pixels are as in ``init(png:background:)``; WebP and GIF always have 3 channels. CMYK becomes RGB without a colour
  /// profile. Of a GIF, this is the first frame.
  ///
  /// - Throws: `UserError`: `missingInput` if there is no such file, `inputOutput` if it cannot be read, `badData` with
  ///   the path if it is no picture, a damaged one, or one that takes far more memory to decode than its size suggests.
  public static func read(_ path: String, background: UInt8 = 255) throws -> Image {
    let bytes = try FileIO.read(path, maximumSize: maximumFileSize)
    guard let format = ImageFormat(signatureOf: bytes), format.isRead else {
      throw ImageFormat.unreadable(bytes, name: path)
    }
    return try Image(decoding: bytes, as: format, background: background, name: path)
  }

  private init(decoding bytes: [UInt8], as format: ImageFormat, background: UInt8, name: String) throws {
    var info = easel_image_info()
    let limit = UInt64(Image.maximumPixelCount)
    try withCodecErrors(.badData, name: "\(name): \(format)") { error in
      switch format {
      case .jpeg: easel_jpeg_info(bytes, bytes.count, limit, &info, error)
      case .webp: easel_webp_info(bytes, bytes.count, limit, &info, error)
      case .gif: easel_gif_info(bytes, bytes.count, limit, &info, error)
      default: easel_png_info(bytes, bytes.count, limit, &info, error)
      }
    }
    guard info.memory <= max(Self.decodingMemory, Self.decodingMemoryPerByte * bytes.count) else {
      throw UserError(
        .badData,
        "\(name): \(format): \(info.width)×\(info.height) pixels in \(bytes.count) bytes would take \(info.memory >> 20) "
          + "MiB to decode", hint: "Convert it to PNG without interlacing, at the size that is needed.")
    }
    let count = Int(info.width) * Int(info.height) * Int(info.channels)
    let pixels = try [UInt8](unsafeUninitializedCapacity: count) { target, initializedCount in
      try withCodecErrors(.badData, name: "\(name): \(format)") { error in
        switch format {
        case .jpeg: easel_jpeg_decode(bytes, bytes.count, &info, target.baseAddress, error)
        case .webp: easel_webp_decode(bytes, bytes.count, background, &info, target.baseAddress, error)
        case .gif: easel_gif_decode(bytes, bytes.count, background, &info, target.baseAddress, error)
        default: easel_png_decode(bytes, bytes.count, background, &info, target.baseAddress, error)
        }
      }
      initializedCount = count
    }
    self = Image(width: Int(info.width), height: Int(info.height), channels: Int(info.channels), pixels: pixels)
      .turned(ImageOrientation(of: bytes, format))
  }
}

/// Runs a C codec with a buffer for its message, and throws the message if the codec fails.
func withCodecErrors(_ kind: UserError.Kind, name: String, _ run: (easel_error_buffer) -> Bool) throws {
  try withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text in
    text.initialize(repeating: 0)
    guard let start = text.baseAddress, run(easel_error_buffer(text: start, capacity: text.count)) else {
      throw UserError(kind, "\(name): \(text.baseAddress.map { String(cString: $0) } ?? "")")
    }
  }
}
