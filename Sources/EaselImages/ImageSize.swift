import EaselSupport

/// Width and height in pixels.
public struct ImageSize: Sendable, Hashable, CustomStringConvertible {
  /// The largest side that is accepted from people.
  public static let maximumSide = 16384

  public let width: Int
  public let height: Int

  public init(width: Int, height: Int) {
    self.width = width
    self.height = height
  }

  /// Reads `N` (a square) or `WxH`, as `--image-size` takes it.
  ///
  /// - Throws: `UserError` (`usage`) for anything else and for sides outside `1...maximumSide`.
  public init(parsing text: String) throws {
    let sides = text.lowercased().split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    guard sides.count <= 2, let width = sides[0], let height = sides[sides.count - 1],
      1...Self.maximumSide ~= width, 1...Self.maximumSide ~= height
    else {
      throw UserError(
        .usage, "image size “\(text)”: expected N or WxH with sides from 1 to \(Self.maximumSide)",
        hint: "For example 32, or 64x48 (width, then height).")
    }
    self.init(width: width, height: height)
  }

  public var description: String { "\(width)×\(height)" }
}

extension Image {
  public var size: ImageSize { ImageSize(width: width, height: height) }
}
