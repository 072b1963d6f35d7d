import EaselImages
import Testing

@Suite struct PlotTests {
  /// Red and blue of the first curve.
  private static let blue = [0.0, 178.0]

  private func texts(_ scale: PlotAxis.Scale, _ values: [Double], marks: Int = 6) -> [String] {
    PlotRange(PlotAxis("x", scale), values, marks: marks).marks.map(\.text).filter { !$0.isEmpty }
  }

  @Test("Marks stand at round numbers, with as many digits as they need")
  func marks() {
    #expect(texts(.linear, [0, 5000]) == ["0", "1000", "2000", "3000", "4000", "5000"])
    #expect(texts(.linear, [0, 30_000], marks: 3) == ["0", "10,000", "20,000", "30,000"])
    #expect(texts(.linear, [0.11, 0.47], marks: 4) == ["0.2", "0.3", "0.4"])
    #expect(texts(.linear, [-1, 1], marks: 4) == ["-1.0", "-0.5", "0", "0.5", "1.0"])
    #expect(texts(.linear, [0, 3_000_000], marks: 3) == ["0", "1e6", "2e6", "3e6"])
    #expect(texts(.logarithmic, [1, 1000]) == ["1", "10", "100", "1000"])
    #expect(texts(.logarithmic, [0.02, 1]) == ["0.02", "0.05", "0.1", "0.2", "0.5", "1"])
    #expect(texts(.logarithmic, [1e-8, 1e3], marks: 4) == ["1e-5", "1"])
    #expect(texts(.linear, [0.123456, 0.123460], marks: 2).last == "0.12346")
  }

  @Test("Numbers that have no place are left out; one number alone is in the middle")
  func places() {
    let values = [.nan, .infinity, 5, 5] + [Double](repeating: -.infinity, count: 2)
    let range = PlotRange(PlotAxis("x"), values, marks: 4)
    #expect(range.low == 2.5 && range.high == 7.5)
    let positive = PlotRange(PlotAxis("x", .logarithmic), [-1, 0, 10, 1000], marks: 4)
    #expect(positive.low == 1 && positive.high == 3)
    let none = PlotRange(PlotAxis("x"), [.nan], marks: 4)
    #expect(none.low == 0 && none.high == 1)
  }

  /// The rows in which a column has at least this much of the first curve's blue.
  private func rows(of share: Double, in image: Image, column: Int) -> [Int] {
    (0..<image.height).filter { y in
      let start = 3 * (y * image.width + column)
      let (red, blue) = (Double(image.pixels[start]), Double(image.pixels[start + 2]))
      return (blue - red) / (Self.blue[1] - Self.blue[0]) >= share
    }
  }

  /// Their middle; nil for none.
  private func row(of share: Double, in image: Image, column: Int) -> Double? {
    let rows = rows(of: share, in: image, column: column)
    return rows.isEmpty ? nil : Double(rows.reduce(0, +)) / Double(rows.count)
  }

  private func height(_ scale: PlotAxis.Scale, _ values: [Double], at share: Double) throws -> Double {
    var plot = Plot("a title", PlotAxis("x"), PlotAxis("y", scale))
    plot.curves = [Plot.Curve("c", points: values.enumerated().map { Plot.Point(Double($0.offset), $0.element) })]
    let image = plot.image(width: 600, height: 400)
    return try #require(row(of: 0.5, in: image, column: Int(50 + share * 530)))
  }

  @Test("A line goes up with its numbers, on both scales")
  func heights() throws {
    let (low, middle, high) = (
      try height(.linear, [0, 1, 2], at: 0.1), try height(.linear, [0, 1, 2], at: 0.5),
      try height(.linear, [0, 1, 2], at: 0.9)
    )
    #expect(low > middle + 50 && middle > high + 50 && abs(low + high - 2 * middle) < 8)
    let decades = try [0.1, 0.5, 0.9].map { try height(.logarithmic, [1, 10, 100], at: $0) }
    #expect(abs(decades[0] - low) < 3 && abs(decades[1] - middle) < 3 && abs(decades[2] - high) < 3)
    #expect(try height(.linear, [1, 10, 100], at: 0.5) > decades[1] + 50)
  }

  @Test("Intervals are bands around their line, whatever the order of the points")
  func bands() throws {
    for order in [[0.0, 1, 2], [2.0, 1, 0]] {
      var plot = Plot("", PlotAxis("x"), PlotAxis("y"))
      plot.curves = [Plot.Curve("c", points: order.map { Plot.Point($0, 1, 0...2) }, isMarked: true)]
      let image = plot.image(width: 600, height: 400)
      let line = try #require(row(of: 0.5, in: image, column: 200))
      let band = try #require(row(of: 0.15, in: image, column: 200))
      #expect(rows(of: 0.15, in: image, column: 200).count > 200)
      #expect(abs(line - band) < 3 && row(of: 0.15, in: image, column: 20) == nil)
    }
  }

  @Test("Only with several curves is there a legend, and any text can be drawn")
  func legend() {
    func image(_ names: [String]) -> Image {
      var plot = Plot("π ≈ 3 \u{1F600}", PlotAxis("~!@#$%^&*()"), PlotAxis(""))
      plot.curves = names.map { Plot.Curve($0, points: [Plot.Point(0, 0), Plot.Point(1, 1)]) }
      return plot.image(width: 600, height: 400)
    }
    #expect(image(["one"]) == image(["another"]))
    #expect(image(["one", "two"]) != image(["one", "another"]))
    // What has no room is cut: the ends do not differ any more.
    let long = String(repeating: "long ", count: 40)
    #expect(image(["one", long + "a"]) == image(["one", long + "b"]))
  }

  @Test(
    "Nothing, one point, and numbers without end are drawn without a trap",
    arguments: [PlotAxis.Scale.linear, .logarithmic])
  func extremes(_ scale: PlotAxis.Scale) {
    for values in [[], [1], [0], [.nan], [-1, -2], [1e-300, 1e300], [1e300, -1e300], [1, 1 + 1e-15]] as [[Double]] {
      var plot = Plot("t", PlotAxis("x", scale), PlotAxis("y", scale))
      plot.curves = [
        Plot.Curve("c", points: values.enumerated().map { Plot.Point(Double($0.offset), $0.element) })
      ]
      let image = plot.image(width: 200, height: 150)
      #expect(image.width == 200 && image.height == 150 && image.channels == 3)
    }
  }
}
