import EaselImages

/// Finds out what a picture of coloured shapes shows.
///
/// A pixel's colour is the one of the palette whose line through grey it is nearest to, and how far along that line it is
/// says how much of it is covered. Connected pixels of one colour are a shape; its form is the one whose coverage fits best.
public enum ShapeReader {
  /// What the picture shows; nil if that is not one shape or two.
  ///
  /// - Parameter picture: red, green and blue, on a plain grey ground.
  public static func scene(of picture: Image) -> ShapeScene? {
    guard picture.channels == 3, picture.width == picture.height else { return nil }
    let shapes = shapes(in: picture)
    switch shapes.count {
    case 1:
      let (x, y) = (min(2, Int(3 * shapes[0].x)), min(2, Int(3 * shapes[0].y)))
      return ShapeScene.Place(rawValue: 3 * y + x).map { .one(shapes[0].shape, $0) }
    case 2:
      let (dx, dy) = (shapes[1].x - shapes[0].x, shapes[1].y - shapes[0].y)
      if abs(dx) > abs(dy) {
        return dx > 0 ? .beside(shapes[0].shape, shapes[1].shape) : .beside(shapes[1].shape, shapes[0].shape)
      }
      return dy > 0 ? .above(shapes[0].shape, shapes[1].shape) : .above(shapes[1].shape, shapes[0].shape)
    default: return nil
    }
  }

  /// How much of a pixel has a colour of the palette, 0 to 1.
  private struct Cover {
    var color = 0
    var amount = 0.0
  }

  static func shapes(in picture: Image) -> [PlacedShape] {
    let side = picture.width
    let covers = covers(of: picture)
    var isSeen = [Bool](repeating: false, count: covers.count)
    var found: [PlacedShape] = []
    for start in covers.indices where !isSeen[start] && covers[start].amount >= 0.5 {
      // Pixels that are half covered, and those beside each other with the same colour.
      var (members, next) = ([start], 0)
      isSeen[start] = true
      while next < members.count {
        let (row, column) = (members[next] / side, members[next] % side)
        next += 1
        for (r, c) in [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
        where 0..<side ~= r && 0..<side ~= c {
          let neighbour = r * side + c
          if !isSeen[neighbour], covers[neighbour].amount >= 0.5, covers[neighbour].color == covers[start].color {
            isSeen[neighbour] = true
            members.append(neighbour)
          }
        }
      }
      // Less than a third of the smallest shape is a stain.
      if Double(members.count) >= 0.01 * Double(side * side), let shape = fit(members, covers, side) {
        found.append(shape)
      }
    }
    return found
  }

  private static func covers(of picture: Image) -> [Cover] {
    let palette = ColoredShape.Color.allCases.map(\.levels)
    // A mixture g + a (c − g) of a colour with a grey: without its mean, a times the colour without its own.
    func withoutMean(_ color: SIMD3<Double>) -> SIMD3<Double> { color - SIMD3(repeating: color.sum() / 3) }
    let axes = palette.map(withoutMean)
    return (0..<picture.width * picture.height).map { pixel in
      let levels = SIMD3(
        Double(picture.pixels[3 * pixel]), Double(picture.pixels[3 * pixel + 1]), Double(picture.pixels[3 * pixel + 2]))
      let tint = withoutMean(levels / 255)
      var (best, least) = (Cover(), Double.infinity)
      for (color, axis) in axes.enumerated() {
        let amount = max(0, min(1.2, (tint * axis).sum() / (axis * axis).sum()))
        let rest = tint - amount * axis
        let distance = (rest * rest).sum()
        if distance < least { (best, least) = (Cover(color: color, amount: amount), distance) }
      }
      return best
    }
  }

  /// The shape that some pixels are.
  private static func fit(_ members: [Int], _ covers: [Cover], _ side: Int) -> PlacedShape? {
    let color = covers[members[0]].color
    // Edges whose pixels are less than half covered belong to it too.
    var around = Set(members)
    for member in members {
      let (row, column) = (member / side, member % side)
      for r in max(0, row - 1)...min(side - 1, row + 1) {
        for c in max(0, column - 1)...min(side - 1, column + 1) where covers[r * side + c].color == color {
          around.insert(r * side + c)
        }
      }
    }
    let pixels = around.sorted()
    let area = pixels.reduce(0) { $0 + min(1, covers[$1].amount) }
    var (x, y) = (0.0, 0.0)
    for pixel in pixels {
      let amount = min(1, covers[pixel].amount) / area
      x += amount * (Double(pixel % side) + 0.5)
      y += amount * (Double(pixel / side) + 0.5)
    }
    var (best, least) = (PlacedShape?.none, Double.infinity)
    for form in ColoredShape.Form.allCases {
      // As large as its area says, about its center of mass, which is below a triangle's own.
      let radius = (area / form.area).squareRoot()
      let center = (x: x, y: y - radius * form.centerOfMass)
      let error = misfit(form, center, radius, pixels, covers, side)
      if error < least {
        let size: ColoredShape.Size =
          radius / Double(side) < (ColoredShape.Size.small.radius + ColoredShape.Size.large.radius) / 2
          ? .small : .large
        let shape = ColoredShape(size, ColoredShape.Color.allCases[color], form)
        best = PlacedShape(
          shape: shape, x: center.x / Double(side), y: center.y / Double(side), radius: radius / Double(side))
        least = error
      }
    }
    return best
  }

  /// The squared differences between a form's coverage and the picture's, over the pixels and where the form would be.
  private static func misfit(
    _ form: ColoredShape.Form, _ center: (x: Double, y: Double), _ radius: Double, _ pixels: [Int], _ covers: [Cover],
    _ side: Int
  ) -> Double {
    let color = covers[pixels[0]].color
    let (reach, points) = (radius + 1.5, 4)
    func range(_ middle: Double) -> Range<Int> {
      let first = max(0, Int(middle - reach))
      return first..<max(first, min(side, Int(middle + reach) + 1))
    }
    var error = 0.0
    for row in range(center.y) {
      for column in range(center.x) {
        var inside = 0
        for i in 0..<points {
          for j in 0..<points {
            let u = (Double(column) + (Double(j) + 0.5) / Double(points) - center.x) / radius
            let v = (Double(row) + (Double(i) + 0.5) / Double(points) - center.y) / radius
            if PlacedShape.contains(form, u, v) { inside += 1 }
          }
        }
        let cover = covers[row * side + column]
        let found = cover.color == color ? min(1, cover.amount) : 0
        let difference = found - Double(inside) / Double(points * points)
        error += difference * difference
      }
    }
    return error
  }
}

extension ColoredShape.Form {
  /// Of the form whose half width is 1.
  fileprivate var area: Double {
    switch self {
    case .circle: Double.pi
    case .square: 1.8 * 1.8
    // A side of 2, whose height is √3.
    case .triangle: 3.0.squareRoot()
    case .cross: 2 * 2 * 0.68 - 0.68 * 0.68
    }
  }

  /// How far below its middle the center of its mass is.
  fileprivate var centerOfMass: Double { self == .triangle ? 0.8 - 3.0.squareRoot() / 3 : 0 }
}
