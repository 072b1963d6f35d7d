/// A permutation of `0..<count` (Fisher–Yates, from the last index down).
///
/// Written out, because the standard library does not promise that its `shuffle` stays the same, and a run that resumes
/// after a compiler update must see the same order.
package func shuffledIndices(count: Int, using generator: inout StreamGenerator) -> [Int] {
  var indices = Array(0..<count)
  for last in stride(from: count - 1, to: 0, by: -1) {
    indices.swapAt(last, generator.uniform(below: last + 1))
  }
  return indices
}

extension StreamGenerator {
  /// A whole number from `0..<bound`, each equally likely (Lemire, “Fast random integer generation in an interval”,
  /// 2019).
  package mutating func uniform(below bound: Int) -> Int {
    let bound = UInt64(bound)
    let threshold = (0 &- bound) % bound
    while true {
      let product = next().multipliedFullWidth(by: bound)
      if product.low >= threshold { return Int(product.high) }
    }
  }
}
