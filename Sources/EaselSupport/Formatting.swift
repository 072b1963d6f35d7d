import Foundation

extension Double {
  /// With a number of digits after the point.
  package func formatted(_ digits: Int) -> String { String(format: "%.\(digits)f", self) }
}
