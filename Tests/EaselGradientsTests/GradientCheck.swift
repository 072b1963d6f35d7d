import EaselOptimizers
import EaselTestSupport
import Foundation
import Testing

/// A computation to compare with finite differences: inputs, possibly parameters, and the function of them.
struct GradientProblem {
  var inputs: [Tensor]
  var arena: Arena?
  /// Receives the inputs as variables or constants, and the tape or nil.
  var function: ([Variable], Tape?) -> Variable

  init(_ inputs: [Tensor], _ function: @escaping ([Variable]) -> Variable) {
    self.init(inputs, arena: nil) { inputs, _ in function(inputs) }
  }

  init(_ inputs: [Tensor], arena: Arena?, _ function: @escaping ([Variable], Tape?) -> Variable) {
    self.inputs = inputs
    self.arena = arena
    self.function = function
  }
}

/// A named problem.
struct GradientCase: Sendable, CustomTestStringConvertible {
  let name: String
  let problem: @Sendable (any Backend) -> GradientProblem
  var testDescription: String { name }

  init(_ name: String, _ problem: @escaping @Sendable (any Backend) -> GradientProblem) {
    self.name = name
    self.problem = problem
  }

  /// A problem of normal inputs of the given shapes.
  init(_ name: String, _ shapes: Shape..., function: @escaping @Sendable ([Variable]) -> Variable) {
    self.init(name) { backend in
      GradientProblem(
        shapes.enumerated().map { randomTensor($1, seed: UInt64($0 + 1), on: backend) }, function)
    }
  }

  /// The problem of a layer, whose parameters are checked too.
  static func layer<Layer>(
    _ name: String, _ shapes: Shape..., make: @escaping @Sendable (Scope) -> Layer,
    call: @escaping @Sendable (Layer, [Variable], Tape?) -> Variable
  ) -> GradientCase {
    GradientCase(name) { backend in
      let scope = Scope()
      let layer = make(scope)
      let arena = scope.makeArena(on: backend, seed: 1)
      arena.randomize()
      return GradientProblem(
        shapes.enumerated().map { randomTensor($1, seed: UInt64($0 + 1), on: backend) }, arena: arena
      ) { call(layer, $0, $1) }
    }
  }
}

/// How a gradient compares with finite differences.
struct GradientError: Sendable, CustomStringConvertible {
  let name: String
  /// ‖a − b‖ / ‖b‖ of this input.
  let relative: Double
  /// ‖a − b‖ divided by the largest ‖b‖ of all inputs, for gradients that are zero by construction.
  let fraction: Double
  var description: String { "\(name): relative \(relative), of the largest \(fraction)" }
}

extension GradientProblem {
  /// Compares the tape's gradients of Σ w·y (w random) with respect to every element of every input and parameter with
  /// central differences of order four, `(8 (f(h) − f(−h)) − (f(2h) − f(−2h))) / 12h`.
  ///
  /// With h = 0.02 their truncation error is about h⁴ = 10⁻⁷ of the fifth derivative. The sum is taken in Double, so that
  /// rounding is that of y: 10⁻⁷·√n / h, some 10⁻⁵ to 10⁻⁴. A tolerance of 10⁻³ leaves room for both; a wrong factor, a
  /// missing term or a transposed index is off by 10⁻¹ or more.
  func errors(step h: Float = 0.02) -> [GradientError] {
    let before = inputs.map { $0.values() }
    let tape = Tape()
    let variables = inputs.map { tape.variable($0) }
    arena?.zeroGradients()
    let y = function(variables, tape)
    let weights = randomValues(y.value.count, seed: 99)
    let weightTensor = Tensor(weights, shape: [y.value.count], on: y.backend)
    let output = y.value.values()
    tape.backward(from: weightedSum(y.reshaped([-1]), weights: weightTensor))

    func value() -> Double {
      let y = function(inputs.map { Variable($0) }, nil).value.values()
      return zip(y, weights).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    func differences(of tensor: Tensor) -> [Double] {
      (0..<tensor.count).map { i in
        func shifted(_ steps: Float) -> Double {
          let kept = tensor.withMutableFloats { values -> Float in
            defer { values[i] += steps * h }
            return values[i]
          }
          arena?.values.storage.markModified()
          defer { tensor.withMutableFloats { $0[i] = kept } }
          return value()
        }
        return (8 * (shifted(1) - shifted(-1)) - (shifted(2) - shifted(-2))) / (12 * Double(h))
      }
    }

    var found: [(String, [Float], [Double])] = []
    for (index, variable) in variables.enumerated() {
      let gradient = tape.gradient(of: variable)?.values() ?? []
      found.append(("input \(index)", gradient, differences(of: inputs[index])))
    }
    for parameter in arena?.parameters ?? [] {
      found.append((parameter.name, parameter.gradient.values(), differences(of: parameter.value)))
    }
    arena?.values.storage.markModified()
    func norm(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }
    let largest = found.map { norm($0.2) }.max() ?? 0
    let unchanged = zip(inputs, before).allSatisfy { $0.values() == $1 } && y.value.values() == output
    return found.map { name, gradient, expected in
      guard gradient.count == expected.count, unchanged else {
        return GradientError(name: unchanged ? "\(name) missing" : "values changed", relative: .nan, fraction: .nan)
      }
      let distance = norm(zip(gradient, expected).map { Double($0) - $1 })
      return GradientError(
        name: name, relative: distance / max(norm(expected), 1e-12), fraction: distance / max(largest, 1e-12))
    }
  }
}

func expectGradients(_ c: GradientCase, on kind: BackendKind) throws {
  let errors = try onTensors(kind) { c.problem($0).errors() }
  #expect(!errors.isEmpty)
  for error in errors { #expect(error.relative < 1e-3 || error.fraction < 1e-5, "\(error)") }
}
