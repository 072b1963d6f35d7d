import Foundation

extension Double {
  /// The number with this many digits after the point.
  package func formatted(_ digits: Int) -> String { String(format: "%.\(digits)f", self) }
}
