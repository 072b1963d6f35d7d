import EaselSupport

/// A sheet of pictures as it changes; it becomes an animated PNG.
public struct Film {
  private static let mostFrames = 60
  private static let delay = 80
  /// How often the last frame is repeated, so that there is time to look at it.
  private static let rest = 20
  private var frames: [[Image]] = []
  /// How many pictures of a frame are shown.
  let count: Int
  let columns: Int
  /// Whether the film runs back to its beginning instead of resting at its end.
  let isRoundTrip: Bool
  /// What the film shows, for its recipe.
  let subject: String

  init(_ subject: String, count: Int, columns: Int, isRoundTrip: Bool = false) {
    (self.subject, self.count, self.columns, self.isRoundTrip) = (subject, count, columns, isRoundTrip)
  }

  /// Adds further pictures to a frame.
  mutating func add(_ images: [Image], to frame: Int) {
    while frames.count <= frame { frames.append([]) }
    frames[frame] += images
  }

  /// Writes an animated PNG; makes the folder if it is missing.
  ///
  /// - Parameters:
  ///   - path: the path of the file.
  ///   - recipe: the recipe of the pictures that the film ends with.
  /// - Throws: `UserError` (cannot create).
  public func write(to path: String, _ recipe: Recipe) throws {
    let last = frames.count - 1
    let steps = min(frames.count, Film.mostFrames)
    let chosen = (0..<steps).map { $0 * last / max(1, steps - 1) }
    let grids = chosen.map { ImageGrid.compose(Array(frames[$0].prefix(count)), columns: columns) }
    let end =
      isRoundTrip
      ? Array(grids.dropFirst().dropLast().reversed()) : Array(repeating: grids[steps - 1], count: Film.rest)
    try FileOutput.makeFolder(for: path)
    try APNG.write(
      frames: grids + end, delayMilliseconds: Film.delay, text: recipe.film(subject).text, to: path)
  }
}
