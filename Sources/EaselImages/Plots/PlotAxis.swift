import Foundation

/// An axis of a ``Plot``.
public struct PlotAxis: Sendable {
  /// How numbers become lengths.
  public enum Scale: Sendable {
    case linear
    /// By their logarithms; numbers that are not positive are left out.
    case logarithmic
  }

  /// What the numbers are, with their unit.
  public var label: String
  public var scale: Scale

  public init(_ label: String, _ scale: Scale = .linear) { (self.label, self.scale) = (label, scale) }

  /// Whether a number has a place on the axis. Differences of the greatest numbers would not be finite.
  func shows(_ value: Double) -> Bool { abs(value) < 1e300 && (scale == .linear || value > 0) }

  /// A number's place, in units of the scale.
  func position(_ value: Double) -> Double { scale == .linear ? value : log10(value) }
}

/// The part of an axis that a plot shows, with its marks.
package struct PlotRange {
  package struct Mark: Equatable {
    package let position: Double
    /// Empty for marks between others.
    package let text: String
  }

  /// In units of the scale.
  package let low, high: Double
  package let marks: [Mark]

  /// - Parameters:
  ///   - axis: the axis.
  ///   - values: the numbers to show.
  ///   - count: about how many marks there is room for, at least 2.
  package init(_ axis: PlotAxis, _ values: [Double], marks count: Int) {
    let places = values.filter(axis.shows).map(axis.position)
    let (least, most) = (places.min() ?? 0, places.max() ?? 1)
    // All numbers alike are in the middle.
    let margin = most > least ? 0 : axis.scale == .linear ? max(abs(least) / 2, 1e-9) : 0.5
    (low, high) = (least - margin, most + margin)
    marks =
      axis.scale == .logarithmic
      ? Self.logarithmic(low, high, count) : Self.linear(low, high, count) { Self.text($0, step: $1) }
  }

  /// A place's share of the way along the axis.
  func share(_ position: Double) -> Double { (position - low) / (high - low) }

  /// Multiples of 1, 2 or 5 times a power of ten.
  private static func linear(
    _ low: Double, _ high: Double, _ count: Int, _ text: (_ value: Double, _ step: Double) -> String
  ) -> [Mark] {
    let rough = (high - low) / Double(count)
    let power = pow(10, floor(log10(rough)))
    let step = ([1, 2, 5].first { $0 * power >= rough } ?? 10) * power
    // Sums of steps would drift.
    return stride(from: ceil(low / step - 1e-9), through: floor(high / step + 1e-9), by: 1).map {
      Mark(position: $0 * step, text: text($0 * step, step))
    }
  }

  /// Powers of ten, and their multiples between them if there are few.
  private static func logarithmic(_ low: Double, _ high: Double, _ count: Int) -> [Mark] {
    if high - low > Double(count) {
      return linear(low, high, count) { power, _ in
        power == power.rounded() ? text(pow(10, power), step: pow(10, power)) : ""
      }
    }
    let named: Set<Int> = high - low < 1 ? [1, 2, 3, 5, 7] : high - low < 2.5 ? [1, 2, 5] : [1]
    return (Int(floor(low))...Int(ceil(high))).flatMap { power -> [Mark] in
      (1...9).compactMap { digit -> Mark? in
        let position = Double(power) + log10(Double(digit))
        guard low - 1e-9...high + 1e-9 ~= position else { return nil }
        guard named.contains(digit) else { return Mark(position: position, text: "") }
        let value = Double(digit) * pow(10, Double(power))
        return Mark(position: position, text: text(value, step: value))
      }
    }
  }

  /// A number with as many digits as its neighbours need, a step away.
  private static func text(_ value: Double, step: Double) -> String {
    if value == 0 { return "0" }
    let decimals = max(0, -Int(floor(log10(step) + 1e-9)))
    guard abs(value) < 1e6, decimals <= 4 else {
      let digits = min(15, max(3, Int(ceil(log10(abs(value) / step))) + 1))
      return String(format: "%.*g", digits, value).replacing(/e\+?(-?)0?/) { "e\($0.1)" }
    }
    let text = String(format: "%.*f", decimals, value)
    guard abs(value) >= 10_000, decimals == 0 else { return text }
    return text.dropLast(3) + "," + text.suffix(3)
  }
}
