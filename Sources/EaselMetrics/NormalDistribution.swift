import Foundation

/// The quantile of the standard normal distribution for a probability between 0 and 1, to 1e-9, by bisection of the
/// error function.
public func normalQuantile(_ probability: Double) -> Double {
  var (low, high) = (-10.0, 10.0)
  while high - low > 1e-9 {
    let middle = (low + high) / 2
    if erfc(-middle / 2.0.squareRoot()) / 2 < probability { low = middle } else { high = middle }
  }
  return (low + high) / 2
}
