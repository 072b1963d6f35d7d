import EaselImages
import EaselTensors

/// A shape where it is drawn, in fractions of the picture's side, from the top left corner.
struct PlacedShape {
  var shape: ColoredShape
  var x, y: Double
  /// Half its width.
  var radius: Double

  /// Whether a point is inside. Widths are chosen so that forms of one size have similar areas.
  func contains(_ px: Double, _ py: Double) -> Bool {
    Self.contains(shape.form, (px - x) / radius, (py - y) / radius)
  }

  /// Whether a point is inside of a form whose half width is 1.
  static func contains(_ form: ColoredShape.Form, _ u: Double, _ v: Double) -> Bool {
    switch form {
    case .circle: u * u + v * v <= 1
    case .square: max(abs(u), abs(v)) <= 0.9
    // Equal sides, the tip above.
    case .triangle: v <= 0.8 && v >= 1.732_050_807_568_877_2 * abs(u) - 0.932_050_807_568_877_2
    case .cross: min(abs(u), abs(v)) <= 0.34 && max(abs(u), abs(v)) <= 1
    }
  }
}

extension ShapeScene {
  /// The picture of a number in a series, as ``init(_:seed:)`` names its scene: colours on a plain grey ground, with
  /// smooth edges.
  ///
  /// - Parameter side: its width and height in pixels.
  static func picture(_ number: Int, seed: UInt64, side: Int) -> Image {
    let scene = ShapeScene(number, seed: seed)
    var random = StreamGenerator(seed: seed, stream: .data, index: UInt64(number), draw: 1)
    let ground = Double.random(in: 0...1, using: &random)
    return scene.drawn(side: side, ground: ground, using: &random)
  }

  /// Draws the scene, with sizes and places that vary a little.
  func drawn(side: Int, ground: Double, using random: inout StreamGenerator) -> Image {
    func vary(_ value: Double, by most: Double) -> Double { value + Double.random(in: -most...most, using: &random) }
    func place(_ shape: ColoredShape, _ x: Double, _ y: Double) -> PlacedShape {
      let radius = vary(1, by: 0.06) * shape.size.radius
      let inside = radius + 0.02...1 - radius - 0.02
      func within(_ value: Double) -> Double { min(max(value, inside.lowerBound), inside.upperBound) }
      return PlacedShape(shape: shape, x: within(x), y: within(y), radius: radius)
    }
    var shapes: [PlacedShape]
    switch self {
    case .one(let shape, let place_):
      let (row, column) = (Double(place_.rawValue / 3), Double(place_.rawValue % 3))
      shapes = [place(shape, vary((column + 0.5) / 3, by: 0.04), vary((row + 0.5) / 3, by: 0.04))]
    case .beside(let a, let b):
      shapes = [
        place(a, vary(0.25, by: 0.02), vary(0.5, by: 0.12)), place(b, vary(0.75, by: 0.02), vary(0.5, by: 0.12)),
      ]
    case .above(let a, let b):
      shapes = [
        place(a, vary(0.5, by: 0.12), vary(0.25, by: 0.02)), place(b, vary(0.5, by: 0.12), vary(0.75, by: 0.02)),
      ]
    }
    return Self.draw(shapes, side: side, ground: ground)
  }

  /// Each pixel is the mean of 8 × 8 points in it.
  private static func draw(_ shapes: [PlacedShape], side: Int, ground: Double) -> Image {
    let points = 8
    var pixels: [UInt8] = []
    pixels.reserveCapacity(side * side * 3)
    for row in 0..<side {
      for column in 0..<side {
        var color = SIMD3(repeating: ground)
        for shape in shapes {
          let reach = shape.radius * Double(side) + 1
          guard abs(Double(column) + 0.5 - shape.x * Double(side)) <= reach,
            abs(Double(row) + 0.5 - shape.y * Double(side)) <= reach
          else { continue }
          var inside = 0
          for i in 0..<points {
            for j in 0..<points {
              let x = (Double(column) + (Double(j) + 0.5) / Double(points)) / Double(side)
              let y = (Double(row) + (Double(i) + 0.5) / Double(points)) / Double(side)
              if shape.contains(x, y) { inside += 1 }
            }
          }
          let cover = Double(inside) / Double(points * points)
          color += cover * (shape.shape.color.levels - color)
        }
        for channel in 0..<3 { pixels.append(UInt8((255 * color[channel]).rounded())) }
      }
    }
    return Image(width: side, height: side, channels: 3, pixels: pixels)
  }
}
