/// Curves over two axes, drawn as a picture.
///
///     var plot = Plot("losses", PlotAxis("step"), PlotAxis("loss", .logarithmic))
///     plot.curves = [Plot.Curve("vae", points: losses.map { Plot.Point($0.step, $0.loss) })]
///     try plot.image().write(to: "losses.png")
public struct Plot: Sendable {
  /// A number over another, with the interval that it may be in.
  public struct Point: Sendable {
    public var x, y: Double
    public var interval: ClosedRange<Double>?

    public init(_ x: Double, _ y: Double, _ interval: ClosedRange<Double>? = nil) {
      (self.x, self.y, self.interval) = (x, y, interval)
    }
  }

  /// Points in the order in which a line joins them.
  public struct Curve: Sendable {
    /// What the legend calls it.
    public var name: String
    public var points: [Point]
    /// Whether each point has a mark: for few points that were measured one by one.
    public var isMarked: Bool
    /// Whether it is drawn as the pale background of the curve after it, without an entry in the legend.
    public var isBackground = false

    public init(_ name: String, points: [Point], isMarked: Bool = false) {
      (self.name, self.points, self.isMarked) = (name, points, isMarked)
    }
  }

  /// Above the plot; empty for nothing.
  public var title: String
  public var horizontal, vertical: PlotAxis
  public var curves: [Curve] = []

  public init(_ title: String, _ horizontal: PlotAxis, _ vertical: PlotAxis) {
    (self.title, self.horizontal, self.vertical) = (title, horizontal, vertical)
  }

  /// How many of the points have a place on both axes.
  public var shownCount: Int { curves.reduce(0) { $0 + shown($1).count } }

  private func shown(_ curve: Curve) -> [Point] {
    curve.points.filter { horizontal.shows($0.x) && vertical.shows($0.y) }
  }

  /// The plot, in colours that can also be told apart by people who confuse red and green (Okabe and Ito 2008). From the
  /// ninth curve on they repeat.
  ///
  /// - Parameters:
  ///   - width: in pixels, at least 200.
  ///   - height: in pixels, at least 150.
  public func image(width: Int = 960, height: Int = 600) -> Image {
    guard width >= 200, height >= 150 else { fatalError("Plot.image: \(width)×\(height) pixels; 200×150 are possible") }
    let layout = PlotLayout(self, width: width, height: height)
    var canvas = Canvas(width: width, height: height, Colour(repeating: 1))
    layout.drawFrame(on: &canvas)
    var number = 0
    for curve in curves {
      layout.draw(shown(curve), of: curve, number: number, on: &canvas)
      if !curve.isBackground { number += 1 }
    }
    layout.drawLegend(on: &canvas)
    return canvas.image
  }
}

/// Where the parts of a plot are.
private struct PlotLayout {
  private static let palette: [Colour] = [
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (0, 0, 0),
    (240, 228, 66),
  ].map { Colour($0.0, $0.1, $0.2) / 255 }
  private static let ink = Colour(repeating: 0.15)
  private static let line = Colour(repeating: 0.88)

  private let plot: Plot
  /// The height of a capital letter.
  private let text: Double
  private let left, right, top, bottom: Double
  private let width: Double
  private let horizontal, vertical: PlotRange
  /// What the legend names, with the curves' colours.
  private let entries: [(name: String, colour: Colour)]

  init(_ plot: Plot, width: Int, height: Int) {
    self.plot = plot
    self.width = Double(width)
    let text = max(7, Double(min(width, height)) / 55)
    self.text = text
    func length(_ words: String) -> Double { StrokeFont.roman.width(of: words, height: text) }
    let points = plot.curves.flatMap(\.points).filter { plot.horizontal.shows($0.x) && plot.vertical.shows($0.y) }
    horizontal = PlotRange(plot.horizontal, points.map(\.x), marks: max(2, width / 140))
    vertical = PlotRange(
      plot.vertical, points.flatMap { [$0.y, $0.interval?.lowerBound ?? $0.y, $0.interval?.upperBound ?? $0.y] },
      marks: max(2, height / 80))
    let foreground = plot.curves.filter { !$0.isBackground }
    entries =
      foreground.count > 1
      ? foreground.enumerated().map { ($0.element.name, Self.palette[$0.offset % Self.palette.count]) } : []
    let names = entries.map { length($0.name) }.max().map { min($0, Double(width) / 3) + 5 * text } ?? 0
    left = 4.5 * text + (vertical.marks.map { length($0.text) }.max() ?? 0)
    right = Double(width) - max(text + (horizontal.marks.map { length($0.text) }.max() ?? 0) / 2, names)
    top = plot.title.isEmpty ? 1.5 * text : 4 * text
    bottom = Double(height) - 5.5 * text
  }

  private func x(_ position: Double) -> Double { left + horizontal.share(position) * (right - left) }
  /// The least and the greatest number are not on the frame.
  private func y(_ position: Double) -> Double {
    bottom - (0.03 + 0.94 * vertical.share(position)) * (bottom - top)
  }

  private func place(_ point: Plot.Point) -> Place {
    Place(x(plot.horizontal.position(point.x)), y(plot.vertical.position(point.y)))
  }

  func drawFrame(on canvas: inout Canvas) {
    for mark in horizontal.marks {
      let x = x(mark.position)
      canvas.stroke([[Place(x, top), Place(x, bottom)]], Self.line, width: mark.text.isEmpty ? 0.5 : 1)
      canvas.write(mark.text, at: Place(x, bottom + 2 * text), .middle, height: text, Self.ink)
    }
    for mark in vertical.marks {
      let y = y(mark.position)
      canvas.stroke([[Place(left, y), Place(right, y)]], Self.line, width: mark.text.isEmpty ? 0.5 : 1)
      canvas.write(mark.text, at: Place(left - 0.8 * text, y + text / 2), .end, height: text, Self.ink)
    }
    canvas.stroke(
      [[Place(left, top), Place(left, bottom), Place(right, bottom)]], Self.ink, width: max(1, text / 9))
    canvas.write(
      plot.title, at: Place((left + right) / 2, 2.4 * text), .middle, height: 1.25 * text, Self.ink)
    canvas.write(
      plot.horizontal.label, at: Place((left + right) / 2, bottom + 4.4 * text), .middle, height: text, Self.ink)
    canvas.write(
      plot.vertical.label, at: Place(1.8 * text, (top + bottom) / 2), .middle, height: text, Self.ink,
      isUpright: true)
  }

  func draw(_ points: [Plot.Point], of curve: Plot.Curve, number: Int, on canvas: inout Canvas) {
    let full = Self.palette[number % Self.palette.count]
    let colour = curve.isBackground ? full + 0.65 * (1 - full) : full
    drawBand(points, colour, on: &canvas)
    let places = points.map(place)
    canvas.stroke([places], colour, width: curve.isBackground ? text / 9 : text / 5)
    if curve.isMarked || points.count == 1 { canvas.stroke(places.map { [$0] }, colour, width: 0.7 * text) }
  }

  /// The intervals of neighbouring points, joined.
  private func drawBand(_ points: [Plot.Point], _ colour: Colour, on canvas: inout Canvas) {
    let ordered = points.sorted { $0.x < $1.x }
    for (one, next) in zip(ordered, ordered.dropFirst()) {
      guard let first = edges(one), let second = edges(next) else { continue }
      let (start, end) = (place(one).x, place(next).x)
      guard end > start else { continue }
      canvas.fill(colour, opacity: 0.18) { x in
        guard start..<end ~= x else { return nil }
        let share = (x - start) / (end - start)
        return (first.top + share * (second.top - first.top), first.bottom + share * (second.bottom - first.bottom))
      }
    }
  }

  /// Where a point's interval begins and ends.
  private func edges(_ point: Plot.Point) -> (top: Double, bottom: Double)? {
    guard let interval = point.interval, plot.vertical.shows(interval.lowerBound) else { return nil }
    return (y(plot.vertical.position(interval.upperBound)), y(plot.vertical.position(interval.lowerBound)))
  }

  func drawLegend(on canvas: inout Canvas) {
    for (number, entry) in entries.enumerated() {
      let y = top + (1 + 2 * Double(number)) * text
      let x = right + 1.2 * text
      canvas.stroke([[Place(x, y - text / 2), Place(x + 1.8 * text, y - text / 2)]], entry.colour, width: text / 3)
      canvas.write(shortened(entry.name), at: Place(x + 2.6 * text, y), .start, height: text, Self.ink)
    }
  }

  /// A name that has room beside the plot.
  private func shortened(_ name: String) -> String {
    let room = width - right - 4.5 * text
    func fits(_ words: String) -> Bool { StrokeFont.roman.width(of: words, height: text) <= room }
    if fits(name) { return name }
    var kept = name
    while !kept.isEmpty, !fits(kept + "..") { kept.removeLast() }
    return kept + ".."
  }
}
