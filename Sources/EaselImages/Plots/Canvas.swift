/// A position in pixels: x from the left, y from the top.
typealias Place = SIMD2<Double>

/// A colour; each part is from 0 to 1.
typealias Colour = SIMD3<Float>

/// A picture that is drawn on, with smooth edges.
struct Canvas {
  let width: Int
  let height: Int
  private var pixels: [Colour]

  init(width: Int, height: Int, _ background: Colour) {
    (self.width, self.height) = (width, height)
    pixels = [Colour](repeating: background, count: width * height)
  }

  var image: Image {
    let levels = pixels.flatMap { pixel in
      (0..<3).map { UInt8((255 * min(1, max(0, pixel[$0]))).rounded()) }
    }
    return Image(width: width, height: height, channels: 3, pixels: levels)
  }

  private mutating func blend(_ x: Int, _ y: Int, _ colour: Colour, _ coverage: Double) {
    let share = Float(coverage)
    pixels[y * width + x] += share * (colour - pixels[y * width + x])
  }

  /// The pixels that an interval touches.
  private func pixels(from low: Double, to high: Double, of count: Int) -> Range<Int> {
    let limit = Double(count)
    let first = Int(min(limit, max(0, low)))
    return first..<max(first, Int(min(limit, max(0, high)).rounded(.up)))
  }

  /// Draws a picture in colour at the top left, each of its pixels as a square.
  mutating func place(_ image: Image, scale: Int) {
    for y in 0..<min(height, scale * image.height) {
      for x in 0..<min(width, scale * image.width) {
        let start = 3 * (y / scale * image.width + x / scale)
        pixels[y * width + x] =
          Colour(Float(image.pixels[start]), Float(image.pixels[start + 1]), Float(image.pixels[start + 2])) / 255
      }
    }
  }

  /// Fills what is between two edges that have a height at each column's middle; nil where there is nothing.
  mutating func fill(_ colour: Colour, opacity: Double = 1, edges: (_ x: Double) -> (top: Double, bottom: Double)?) {
    for x in 0..<width {
      guard let (top, bottom) = edges(Double(x) + 0.5), bottom > top else { continue }
      for y in pixels(from: top, to: bottom, of: height) {
        let covered = min(Double(y + 1), bottom) - max(Double(y), top)
        if covered > 0 { blend(x, y, colour, opacity * covered) }
      }
    }
  }

  /// Draws lines with round ends and joints. Where strokes cross, they are not drawn twice.
  mutating func stroke(_ strokes: [[Place]], _ colour: Colour, width lineWidth: Double) {
    var covered: [Int: Double] = [:]
    let reach = lineWidth / 2 + 0.5
    for stroke in strokes {
      for (start, end) in zip(stroke, stroke.count == 1 ? stroke[...] : stroke.dropFirst()) {
        let (low, high) = (pointwiseMin(start, end) - reach, pointwiseMax(start, end) + reach)
        for y in pixels(from: low.y, to: high.y, of: height) {
          for x in pixels(from: low.x, to: high.x, of: width) {
            let coverage = min(1, reach - distance(Place(Double(x) + 0.5, Double(y) + 0.5), start, end))
            if coverage > 0 { covered[y * width + x] = max(coverage, covered[y * width + x] ?? 0) }
          }
        }
      }
    }
    for (place, coverage) in covered { blend(place % width, place / width, colour, coverage) }
  }

  /// How far a position is from a line.
  private func distance(_ place: Place, _ start: Place, _ end: Place) -> Double {
    let (line, offset) = (end - start, place - start)
    let square = (line * line).sum()
    let share = square > 0 ? min(1, max(0, (offset * line).sum() / square)) : 0
    let rest = offset - share * line
    return (rest * rest).sum().squareRoot()
  }

  /// Where a text stands beside its place.
  enum Anchor { case start, middle, end }

  /// Draws a text.
  ///
  /// - Parameters:
  ///   - text: printable ASCII; other characters become question marks.
  ///   - place: its start, middle or end on the base line.
  ///   - height: the height of a capital letter.
  ///   - isUpright: whether it reads from bottom to top.
  mutating func write(
    _ text: String, at place: Place, _ anchor: Anchor, height: Double, _ colour: Colour, isUpright: Bool = false
  ) {
    let font = StrokeFont.roman
    let length = font.width(of: text, height: height)
    let start = anchor == .start ? 0 : anchor == .middle ? length / 2 : length
    let strokes = font.strokes(of: text, height: height).map { stroke in
      stroke.map { point in
        let (x, y) = (point.x - start, point.y)
        return isUpright ? place + Place(y, -x) : place + Place(x, y)
      }
    }
    stroke(strokes, colour, width: height / 8)
  }
}
