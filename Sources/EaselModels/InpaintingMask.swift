import EaselLayers
import EaselSupport
import Foundation

/// The missing part of images of one size.
public struct InpaintingMask {
  public enum Pattern: String, CaseIterable {
    case randomPatches = "random-patches"
    case center, left, right, top, bottom

    public static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
  }

  /// For a picture's recipe.
  public let description: String
  /// The size of a mask that lost a part when it was cropped to the images' proportions.
  public let cutFrom: ImageSize?
  /// Gives, for an image's number, whether each of its pixels is missing.
  public let missing: (Int) -> [Bool]
  private let data: DataDescription

  /// - Parameters:
  ///   - mask: a pattern's name, or a picture's path: bright pixels are missing; dark, transparent and added ones are
  ///     known.
  ///   - fraction: the missing share; nil for the pattern's usual one.
  ///   - patch: the side, in pixels, of the squares in a pattern of squares.
  ///   - seed: the seed of a pattern's random numbers.
  ///   - fit: how a picture is brought to the images' size.
  ///   - data: the images' size.
  /// - Throws: `UserError`, for example if nothing would be missing or nothing known.
  public init(
    _ mask: String, fraction: Double? = nil, patch: Int, seed: UInt64, fit: ImageFit = .crop, in data: DataDescription
  ) throws {
    self.data = data
    var cutFrom: ImageSize?
    let pattern = Pattern(rawValue: mask)
    let fraction = fraction ?? (pattern == .randomPatches ? 0.75 : pattern == .center ? 0.25 : 0.5)
    switch pattern {
    case nil:
      let image = try InpaintingMask.picture(mask)
      let size = ImageSize(width: data.width, height: data.height)
      if fit == .crop, Image.isCut(image.size, to: size) { cutFrom = image.size }
      let pixels = image.brought(to: size, by: fit).converted(channels: 1).pixels.map { $0 > 127 }
      description = "\(pixels.count { $0 }) pixels"
      missing = { _ in pixels }
    case .randomPatches:
      let (rows, columns) = ((data.height + patch - 1) / patch, (data.width + patch - 1) / patch)
      let seen = Int(Double(rows * columns) * (1 - fraction))
      description = "\(rows * columns - seen) of \(rows * columns) patches of \(patch)×\(patch)"
      missing = { image in
        var generator = StreamGenerator(seed: seed, stream: .sampling, index: UInt64(image), draw: 1_000_001)
        let hidden = Set((0..<rows * columns).shuffled(using: &generator).dropFirst(seen))
        return InpaintingMask.pixels(data) { hidden.contains($1 / patch * columns + $0 / patch) }
      }
    case .some(let pattern):
      let inside = InpaintingMask.rectangle(pattern, fraction: fraction, in: data)
      description = "\(inside.x.count)×\(inside.y.count) pixels"
      let pixels = InpaintingMask.pixels(data) { inside.x.contains($0) && inside.y.contains($1) }
      missing = { _ in pixels }
    }
    self.cutFrom = cutFrom
    let first = missing(0)
    if !first.contains(true) || !first.contains(false) {
      throw UserError(
        .usage, "\(field: "mask") \(mask): \(first.contains(true) ? "every pixel" : "no pixel") would be missing",
        hint: cutFrom == nil
          ? "Change \(field: "masked") or \(field: "patch"), or use a picture with bright and dark parts."
          : "It was cropped to the images' proportions; \(field: "fit") pad or stretch keeps all of it.")
    }
  }

  /// The mask for ``Inpainting``: float32 `[count, H, W, 1]`, 1 if a pixel is missing.
  public func mask(_ count: Int, on backend: any Backend) -> Tensor {
    let flags = (0..<count).flatMap { missing($0).map { $0 ? Float(1) : 0 } }
    return Tensor(flags, shape: [count, data.height, data.width, 1], on: backend)
  }

  /// The images with grey in place of missing pixels.
  public func shown(in images: [Image]) -> [Image] {
    images.enumerated().map { number, image in
      let missing = missing(number)
      let pixels = image.pixels.enumerated().map { missing[$0 / image.channels] ? 128 : $1 }
      return Image(width: image.width, height: image.height, channels: image.channels, pixels: pixels)
    }
  }

  private static func picture(_ path: String) throws -> Image {
    if !FileManager.default.fileExists(atPath: path), !path.contains("/"), !path.contains(".") {
      throw UserError(
        .usage, "\(field: "mask"): there is no mask \(path)",
        hint: nearestName(to: path, among: Pattern.allCases.map(\.rawValue)).map { "Did you mean \($0)?" }
          ?? "Known: \(Pattern.names), or a picture's path.")
    }
    // Transparent pixels count as dark, since nothing was painted there.
    return try Image.read(path, background: 0)
  }

  /// A pattern that covers roughly a share of the image.
  private static func rectangle(_ pattern: Pattern, fraction: Double, in data: DataDescription) -> (
    x: Range<Int>, y: Range<Int>
  ) {
    func part(_ size: Int, _ fraction: Double) -> Int { max(1, Int((Double(size) * fraction).rounded())) }
    let (width, height) = (part(data.width, fraction), part(data.height, fraction))
    switch pattern {
    case .left: return (0..<width, 0..<data.height)
    case .right: return (data.width - width..<data.width, 0..<data.height)
    case .top: return (0..<data.width, 0..<height)
    case .bottom: return (0..<data.width, data.height - height..<data.height)
    case .center, .randomPatches:
      let (width, height) = (part(data.width, fraction.squareRoot()), part(data.height, fraction.squareRoot()))
      let (left, top) = ((data.width - width) / 2, (data.height - height) / 2)
      return (left..<left + width, top..<top + height)
    }
  }

  private static func pixels(_ data: DataDescription, _ isMissing: (_ x: Int, _ y: Int) -> Bool) -> [Bool] {
    (0..<data.height).flatMap { y in (0..<data.width).map { x in isMissing(x, y) } }
  }
}
