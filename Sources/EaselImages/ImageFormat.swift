import CEaselImageCodecs
import EaselSupport
import Foundation

/// The picture formats that a file's first bytes distinguish. Only some of them are read.
enum ImageFormat: String, CaseIterable, CustomStringConvertible {
  case png = "PNG"
  case jpeg = "JPEG"
  case webp = "WebP"
  case gif = "GIF"
  case bmp = "BMP"
  case tiff = "TIFF"
  case netpbm = "PPM"
  case heif = "HEIC or AVIF"
  case jpegXL = "JPEG XL"
  case jpeg2000 = "JPEG 2000"
  case photoshop = "PSD"

  static let pngSignature: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]

  /// How many bytes of a file suffice to tell its format.
  static let signatureSize = 16

  init?(signatureOf bytes: [UInt8]) {
    func begins(_ text: String, at offset: Int = 0) -> Bool { bytes.dropFirst(offset).starts(with: text.utf8) }
    func begins(_ signature: UInt8...) -> Bool { bytes.starts(with: signature) }
    if bytes.starts(with: Self.pngSignature) {
      self = .png
    } else if begins(0xFF, 0xD8, 0xFF) {
      self = .jpeg
    } else if begins("RIFF"), begins("WEBP", at: 8) {
      self = .webp
    } else if begins("GIF87a") || begins("GIF89a") {
      self = .gif
    } else if begins("BM") {
      self = .bmp
    } else if begins(0x49, 0x49, 42, 0) || begins(0x4D, 0x4D, 0, 42) {
      self = .tiff
    } else if begins("P"), bytes.count > 2, (0x31...0x36).contains(bytes[1]), [0x20, 0x0A, 0x0D].contains(bytes[2]) {
      self = .netpbm
    } else if begins("ftyp", at: 4) {
      self = .heif
    } else if begins(0xFF, 0x0A) || begins("JXL ", at: 4) {
      self = .jpegXL
    } else if begins("jP  ", at: 4) {
      self = .jpeg2000
    } else if begins("8BPS") {
      self = .photoshop
    } else {
      return nil
    }
  }

  var description: String { rawValue }

  /// Whether this build reads the format.
  var isRead: Bool {
    switch self {
    case .png: true
    case .jpeg: easel_jpeg_is_available()
    case .webp: easel_webp_is_available()
    case .gif: easel_gif_is_available()
    default: false
    }
  }

  /// Advice for files of a format that is not read.
  var cure: String {
    switch self {
    case .jpeg: "Install libjpeg-dev and build again, or convert them."
    case .webp: "Install libwebp-dev and build again, or convert them."
    case .gif: "Install libgif-dev and build again, or convert them."
    default: "Convert them to PNG first, for example with ImageMagick: mogrify -format png FILE…"
    }
  }

  /// The error for bytes that are no picture, or a picture that this build does not read.
  static func unreadable(_ bytes: [UInt8], name: String) -> UserError {
    if let format = ImageFormat(signatureOf: bytes) {
      return UserError(
        .badData, "\(name): is a \(format) picture; this build reads \(Image.readableFormats)", hint: format.cure)
    }
    let found =
      bytes.isEmpty
      ? "an empty file"
      : "the first bytes " + bytes.prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
    return UserError(
      .badData, "\(name): expected a picture (\(Image.readableFormats)), found \(found)",
      hint: "Convert it to PNG first.")
  }
}

extension Image {
  /// The formats that this build reads, for people: `PNG, JPEG`.
  public static var readableFormats: String {
    ImageFormat.allCases.filter(\.isRead).map(\.rawValue).joined(separator: ", ")
  }

  /// Whether this build reads JPEG files (libjpeg was present when it was built).
  public static var readsJPEG: Bool { ImageFormat.jpeg.isRead }

  /// Whether this build reads WebP files (libwebp was present when it was built).
  public static var readsWebP: Bool { ImageFormat.webp.isRead }

  /// Whether this build reads GIF files (giflib was present when it was built).
  public static var readsGIF: Bool { ImageFormat.gif.isRead }

  /// The extensions, in lower case, of files with a picture's name, whether this build reads them or not.
  public static let fileExtensions: Set<String> = [
    "png", "apng", "jpg", "jpeg", "jpe", "jfif", "gif", "webp", "bmp", "dib", "tif", "tiff", "ppm", "pgm", "pbm", "pnm",
    "avif", "heic", "heif", "jxl", "jp2", "psd",
  ]

  /// Reads pictures. If one cannot be read, the error lists all files in formats that are not read.
  ///
  /// - Throws: what `read` throws, or `UserError` (`badData`).
  package static func reading<Result>(_ files: [String], _ read: () throws -> Result) throws -> Result {
    do {
      return try read()
    } catch let error as UserError where error.kind == .badData {
      throw unreadable(among: files) ?? error
    }
  }

  /// All files in formats that are not read, in one error; nil if there are none.
  private static func unreadable(among files: [String]) -> UserError? {
    let found = files.compactMap { file -> (file: String, format: ImageFormat)? in
      let head = try? FileIO.head(file, count: ImageFormat.signatureSize)
      guard let format = head.flatMap(ImageFormat.init(signatureOf:)), !format.isRead
      else { return nil }
      return (file, format)
    }
    let kinds = ImageFormat.allCases.map { kind in (kind, found.count { $0.format == kind }) }.filter { $0.1 > 0 }
    guard let (first, _) = kinds.first else { return nil }
    let counts = kinds.map { "\($0.1) \($0.0)" }.joined(separator: ", ")
    let shown = found.prefix(3).map(\.file).joined(separator: ", ") + (found.count > 3 ? ", …" : "")
    return UserError(
      .badData,
      "\(counts) among \(files.count) pictures cannot be read (\(shown)); this build reads \(readableFormats)",
      hint: kinds.count == 1 ? first.cure : ImageFormat.bmp.cure
    ).advisingToSkip
  }
}

extension UserError {
  /// The same error, for one file or folder of many, with the advice to skip it.
  package var advisingToSkip: UserError {
    let advice = "To leave out what cannot be read: \(field: "skip-broken")."
    return UserError(kind, message, hint: hint.map { "\($0) \(advice)" } ?? advice)
  }
}
