import EaselTensors

/// A coloured shape of a picture.
public struct ColoredShape: Sendable, Hashable {
  public enum Form: String, Sendable, CaseIterable {
    case circle, square, triangle, cross
  }

  public enum Color: String, Sendable, CaseIterable {
    case red, yellow, green, cyan, blue, purple

    /// Red, green and blue, 0 to 1.
    var levels: SIMD3<Double> {
      switch self {
      case .red: [0.9, 0.1, 0.1]
      case .yellow: [0.95, 0.85, 0.1]
      case .green: [0.1, 0.7, 0.15]
      case .cyan: [0.1, 0.8, 0.85]
      case .blue: [0.15, 0.25, 0.9]
      case .purple: [0.7, 0.15, 0.8]
      }
    }
  }

  public enum Size: String, Sendable, CaseIterable {
    case small, large

    /// Half the width that it is drawn with, as a fraction of the picture's side.
    var radius: Double { self == .small ? 0.11 : 0.19 }
  }

  public var form: Form
  public var color: Color
  public var size: Size

  public init(_ size: Size, _ color: Color, _ form: Form) { (self.size, self.color, self.form) = (size, color, form) }

  /// Without its size, of which no combination is held out.
  fileprivate var number: Int {
    let colors = Color.allCases
    return (Form.allCases.firstIndex(of: form) ?? 0) * colors.count + (colors.firstIndex(of: color) ?? 0)
  }

  fileprivate static var kinds: Int { Form.allCases.count * Color.allCases.count }

  /// `small red circle`
  var name: String { "\(size.rawValue) \(kind)" }
  /// `red circle`
  var kind: String { "\(color.rawValue) \(form.rawValue)" }
}

/// What a picture of coloured shapes shows: one at a place, or two, one beside or above the other.
public enum ShapeScene: Sendable, Hashable {
  /// A ninth of the picture.
  public enum Place: Int, Sendable, CaseIterable {
    case topLeft, top, topRight, left, middle, right, bottomLeft, bottom, bottomRight

    var phrase: String {
      switch self {
      case .topLeft: "at the top left"
      case .top: "at the top"
      case .topRight: "at the top right"
      case .left: "on the left"
      case .middle: "in the middle"
      case .right: "on the right"
      case .bottomLeft: "at the bottom left"
      case .bottom: "at the bottom"
      case .bottomRight: "at the bottom right"
      }
    }
  }

  case one(ColoredShape, Place)
  /// The first is at the left of the second.
  case beside(ColoredShape, ColoredShape)
  /// The first is above the second.
  case above(ColoredShape, ColoredShape)

  /// Every wording that describes the scene. Some leave out sizes.
  public var captions: [String] {
    func pair(_ a: ColoredShape, _ b: ColoredShape, _ relation: String, _ inverse: String) -> [String] {
      [
        "a \(a.name) \(relation) a \(b.name)", "a \(b.name) \(inverse) a \(a.name)",
        "a \(a.kind) \(relation) a \(b.kind)",
        "a \(b.kind) \(inverse) a \(a.kind)",
      ]
    }
    switch self {
    case .one(let shape, let place):
      return [
        "a \(shape.name) \(place.phrase)", "\(place.phrase), a \(shape.name)", "a \(shape.kind) \(place.phrase)",
        "\(place.phrase), a \(shape.kind)",
      ]
    case .beside(let a, let b): return pair(a, b, "to the left of", "to the right of")
    case .above(let a, let b): return pair(a, b, "above", "below")
    }
  }

  /// The number of the combination of forms, colours and place or relation, whatever the sizes.
  private var combination: UInt64 {
    let kinds = ColoredShape.kinds
    switch self {
    case .one(let shape, let place): return UInt64(shape.number * Place.allCases.count + place.rawValue)
    case .beside(let a, let b): return UInt64(((a.number + kinds) * kinds + b.number) * 2)
    case .above(let a, let b): return UInt64(((a.number + kinds) * kinds + b.number) * 2 + 1)
    }
  }

  /// Whether the combination is held out: a tenth of them is, the same for every seed. Each of its shapes occurs in
  /// training, at other places and beside other shapes.
  public var isHeldOut: Bool {
    var random = StreamGenerator(seed: 0, stream: .validation, index: combination)
    return UInt64.random(in: 0..<10, using: &random) == 0
  }

  /// The scene of a number in a series: one shape or two, each with the same chance.
  public init(_ number: Int, seed: UInt64) {
    var random = StreamGenerator(seed: seed, stream: .data, index: UInt64(number))
    func shape() -> ColoredShape {
      ColoredShape(
        .allCases.randomElement(using: &random) ?? .small, .allCases.randomElement(using: &random) ?? .red,
        .allCases.randomElement(using: &random) ?? .circle)
    }
    let first = shape()
    switch Int.random(in: 0..<4, using: &random) {
    case 0, 1: self = .one(first, .allCases.randomElement(using: &random) ?? .middle)
    case let relation:
      var second = shape()
      while second.kind == first.kind { second = shape() }
      self = relation == 2 ? .beside(first, second) : .above(first, second)
    }
  }
}
