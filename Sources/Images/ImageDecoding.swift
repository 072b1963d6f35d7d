import CImageCodecs
import Tensors

extension Image {
  /// The most pixels a file may announce; more is taken for a damaged or hostile header.
  public static let maximumPixelCount = 1 << 26

  /// The largest file that is read as a picture, in bytes.
  public static let maximumFileSize = 1 << 29

  /// Decodes a PNG of any colour type, bit depth and interlacing.
  ///
  /// Grey stays 1 channel, everything else becomes 3. Alpha is composed over `background`, the level of every channel;
  /// 16 bits become `round(v / 257)`; gamma is ignored. Of an APNG this is the default picture.
  ///
  /// Throws ``UserError`` (`badData`) when the bytes are no PNG, are cut short, fail a checksum or announce too much.
  public init(png bytes: [UInt8], background: UInt8 = 255) throws {
    guard ImageFormat(signatureOf: bytes) == .png else { throw ImageFormat.unknown(bytes, name: "the picture") }
    self = try Image(decoding: bytes, as: .png, background: background, name: "the picture")
  }

  /// Reads a PNG or JPEG file; which one it is, its first bytes tell and not its name.
  ///
  /// Pixels are as in ``init(png:background:)``. A JPEG's EXIF orientation is not applied.
  ///
  /// Throws ``UserError``: `missingInput` when there is no such file, `inputOutput` when it cannot be read, `badData` with
  /// the path when it is no picture or a damaged one.
  public static func read(_ path: String, background: UInt8 = 255) throws -> Image {
    let bytes = try FileIO.read(path, maximumSize: maximumFileSize)
    guard let format = ImageFormat(signatureOf: bytes) else { throw ImageFormat.unknown(bytes, name: path) }
    return try Image(decoding: bytes, as: format, background: background, name: path)
  }

  /// Whether this build reads JPEG files (libjpeg was there when it was built).
  public static var readsJPEG: Bool { easel_jpeg_is_available() }

  private init(decoding bytes: [UInt8], as format: ImageFormat, background: UInt8, name: String) throws {
    var info = easel_image_info()
    try withCodecErrors(.badData, name: "\(name): \(format)") { error in
      switch format {
      case .png: easel_png_info(bytes, bytes.count, UInt64(Image.maximumPixelCount), &info, error)
      case .jpeg: easel_jpeg_info(bytes, bytes.count, UInt64(Image.maximumPixelCount), &info, error)
      }
    }
    let count = Int(info.width) * Int(info.height) * Int(info.channels)
    let pixels = try [UInt8](unsafeUninitializedCapacity: count) { target, initializedCount in
      try withCodecErrors(.badData, name: "\(name): \(format)") { error in
        switch format {
        case .png: easel_png_decode(bytes, bytes.count, background, &info, target.baseAddress, error)
        case .jpeg: easel_jpeg_decode(bytes, bytes.count, &info, target.baseAddress, error)
        }
      }
      initializedCount = count
    }
    self.init(width: Int(info.width), height: Int(info.height), channels: Int(info.channels), pixels: pixels)
  }
}

/// The formats that are read, told apart by a file's first bytes.
enum ImageFormat: CustomStringConvertible {
  case png
  case jpeg

  static let pngSignature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
  static let jpegSignature: [UInt8] = [0xFF, 0xD8, 0xFF]

  init?(signatureOf bytes: [UInt8]) {
    if bytes.starts(with: Self.pngSignature) {
      self = .png
    } else if bytes.starts(with: Self.jpegSignature) {
      self = .jpeg
    } else {
      return nil
    }
  }

  var description: String {
    switch self {
    case .png: "PNG"
    case .jpeg: "JPEG"
    }
  }

  static func unknown(_ bytes: [UInt8], name: String) -> UserError {
    let found = bytes.isEmpty ? "an empty file" : "the first bytes \(hexadecimal(bytes.prefix(8)))"
    return UserError(
      .badData, "\(name): expected a PNG or JPEG picture, found \(found)", hint: "Convert it to PNG first.")
  }

  private static func hexadecimal(_ bytes: ArraySlice<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
  }
}

/// Runs a C codec with a buffer for its message, and throws the message when the codec fails.
func withCodecErrors(_ kind: UserError.Kind, name: String, _ run: (easel_error_buffer) -> Bool) throws {
  try withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text in
    text.initialize(repeating: 0)
    guard let start = text.baseAddress, run(easel_error_buffer(text: start, capacity: text.count)) else {
      throw UserError(kind, "\(name): \(text.baseAddress.map { String(cString: $0) } ?? "")")
    }
  }
}
