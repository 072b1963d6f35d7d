/// Minimises a smooth function by L-BFGS (Nocedal 1980; Liu and Nocedal 1989) with ten corrections and backtracking.
///
/// - Parameters:
///   - start: where to begin.
///   - tolerance: it stops once the gradient's largest element is this small.
///   - maximumSteps: it stops after this many steps.
///   - function: returns value and gradient.
/// - Returns: the last point and the number of steps.
package func minimize(
  from start: [Double], tolerance: Double, maximumSteps: Int,
  _ function: ([Double]) -> (value: Double, gradient: [Double])
) -> (point: [Double], steps: Int) {
  func dot(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
  func sum(_ a: [Double], _ scale: Double, _ b: [Double]) -> [Double] { zip(a, b).map { $0 + scale * $1 } }
  var point = start
  var (value, gradient) = function(point)
  var corrections: [(step: [Double], change: [Double], curvature: Double)] = []
  for number in 0..<maximumSteps {
    if (gradient.lazy.map { abs($0) }.max() ?? 0) <= tolerance { return (point, number) }
    // The two loops: the inverse Hessian that the corrections describe, times the gradient.
    var direction = gradient
    var factors: [Double] = []
    for correction in corrections.reversed() {
      let factor = dot(correction.step, direction) / correction.curvature
      direction = sum(direction, -factor, correction.change)
      factors.append(factor)
    }
    if let last = corrections.last {
      let scale = last.curvature / dot(last.change, last.change)
      direction = direction.map { scale * $0 }
    }
    for (correction, factor) in zip(corrections, factors.reversed()) {
      direction = sum(direction, factor - dot(correction.change, direction) / correction.curvature, correction.step)
    }
    let slope = -dot(direction, gradient)
    // The first step knows nothing about the function's scale.
    var length = corrections.isEmpty ? 1 / max(1, dot(gradient, gradient).squareRoot()) : 1
    var next = sum(point, -length, direction)
    var result = function(next)
    // Values in single precision are rounded in their last digit, but gradients still show the direction.
    let rounding = 2e-7 * abs(value)
    while !(result.value <= value + 1e-4 * length * slope + rounding), length > 1e-10 {
      length /= 2
      next = sum(point, -length, direction)
      result = function(next)
    }
    if !(result.value <= value + rounding) { return (point, number) }
    let (step, change) = (sum(next, -1, point), sum(result.gradient, -1, gradient))
    let curvature = dot(step, change)
    if curvature > 1e-12 * dot(change, change) {
      corrections.append((step, change, curvature))
      if corrections.count > 10 { corrections.removeFirst() }
    }
    (point, value, gradient) = (next, result.value, result.gradient)
  }
  return (point, maximumSteps)
}
