import EaselTensors

/// A figure, with the interval in which it would be for other draws of the same number of points.
public struct Estimate: Codable, Sendable, Equatable {
  public var value: Double
  /// The bounds of the 95 % interval.
  public var low, high: Double

  public init(value: Double, low: Double, high: Double) { (self.value, self.low, self.high) = (value, low, high) }

  /// How often something held, with Wilson's interval (1927), which also means something if it always or never did.
  ///
  /// - Parameters:
  ///   - successes: how many times it held.
  ///   - count: of how many, at least 1.
  public init(successes: Int, of count: Int) {
    let (n, z) = (Double(max(1, count)), normalQuantile(0.975))
    let share = Double(successes) / n
    let middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    let width = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)).squareRoot()
    self.init(value: share, low: max(0, middle - width), high: min(1, middle + width))
  }
}

/// Percentile bootstrap (Efron 1979): draws the points again, with replacement, and computes the figure again.
///
/// Resample r draws the same points for every figure with the same number of points.
public struct Bootstrap: Sendable {
  public var seed: UInt64
  public var resamples: Int

  /// Traps if there are no resamples.
  public init(seed: UInt64 = 0, resamples: Int = 200) {
    require(resamples > 0, "\(resamples) resamples")
    (self.seed, self.resamples) = (seed, resamples)
  }

  /// How often each of `count` points is drawn in a resample.
  public func draws(_ count: Int, resample: Int) -> [Int] {
    var generator = StreamGenerator(seed: seed, stream: .evaluation, index: UInt64(resample))
    var draws = [Int](repeating: 0, count: count)
    for _ in 0..<count { draws[generator.uniform(below: count)] += 1 }
    return draws
  }

  /// `size` of `count` points without repetition, in ascending order.
  func subset(_ size: Int, of count: Int, number: Int) -> [Int] {
    var generator = StreamGenerator(seed: seed, stream: .evaluation, index: UInt64(number), draw: 1)
    return shuffledIndices(count: count, using: &generator)[..<size].sorted()
  }

  /// The mean of a value over all points.
  public func mean(of values: [Double]) -> Estimate {
    let count = Double(max(1, values.count))
    let resampled = (0..<resamples).map { resample in
      zip(draws(values.count, resample: resample), values).reduce(0) { $0 + Double($1.0) * $1.1 } / count
    }
    return interval(around: values.reduce(0, +) / count, resampled)
  }

  /// The mean of a value over points in groups. Whole groups are drawn, because their points are not independent.
  ///
  /// - Parameters:
  ///   - values: the points' values.
  ///   - groups: each point's group, as any number.
  public func mean(of values: [Double], groups: [Int]) -> Estimate {
    require(values.count == groups.count, "\(values.count) values in \(groups.count) groups")
    var places: [Int: Int] = [:]
    var (sums, counts): ([Double], [Double]) = ([], [])
    for (value, group) in zip(values, groups) {
      let place = places[group] ?? sums.count
      if place == sums.count {
        places[group] = place
        sums.append(0)
        counts.append(0)
      }
      sums[place] += value
      counts[place] += 1
    }
    let resampled = (0..<resamples).map { resample -> Double in
      var (sum, count) = (0.0, 0.0)
      for (place, times) in draws(sums.count, resample: resample).enumerated() {
        sum += Double(times) * sums[place]
        count += Double(times) * counts[place]
      }
      return sum / max(1, count)
    }
    return interval(around: values.reduce(0, +) / Double(max(1, values.count)), resampled)
  }

  /// The middle 95 % of a figure's resampled values.
  public func interval(around value: Double, _ resampled: [Double]) -> Estimate {
    let sorted = resampled.sorted()
    return Estimate(value: value, low: percentile(0.025, of: sorted), high: percentile(0.975, of: sorted))
  }

  /// Interpolates linearly between two values.
  private func percentile(_ fraction: Double, of sorted: [Double]) -> Double {
    let place = fraction * Double(sorted.count - 1)
    let lower = Int(place)
    let upper = min(lower + 1, sorted.count - 1)
    return sorted[lower] + (place - Double(lower)) * (sorted[upper] - sorted[lower])
  }
}
