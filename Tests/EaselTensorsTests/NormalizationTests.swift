import EaselTensors
import EaselTestSupport
import Foundation
import Testing

/// GroupNorm, LayerNorm and InstanceNorm with a shift and an activation, against a reference in Double.
struct NormalizationTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var shape: Shape
    var groups: Int
    var activation = Activation.identity
    var shifted = false
    var affine = true
    var perPosition = false
    var mean: Float = 0.3
    var deviation: Float = 1.5

    var testDescription: String {
      "\(shape) in \(groups) groups, \(activation)\(shifted ? ", shifted" : "")\(affine ? "" : ", without γ and β")"
        + "\(perPosition ? ", per position" : "")\(mean == 0.3 ? "" : ", \(mean) ± \(deviation)")"
    }

    static let all = [
      Case(shape: [2, 3, 5, 1], groups: 1),
      Case(shape: [1, 5, 5, 3], groups: 3, activation: .relu, affine: false),
      Case(shape: [3, 4, 3, 20], groups: 5, activation: .silu, shifted: true),
      Case(shape: [2, 19, 17, 32], groups: 8, activation: .silu),
      Case(shape: [2, 5, 7, 48], groups: 3, activation: .gelu, shifted: true),
      Case(shape: [4, 6, 6, 64], groups: 32, activation: .leakyReLU(slope: 0.2)),
      Case(shape: [2, 3, 3, 64], groups: 64, affine: false),
      Case(shape: [2, 11, 20], groups: 1, perPosition: true),
      Case(shape: [7, 1], groups: 1, perPosition: true),
      Case(shape: [300, 128], groups: 1, perPosition: true),
      Case(shape: [5, 24], groups: 1, affine: false, perPosition: true),
      Case(shape: [3, 7, 64], groups: 1, activation: .tanh, perPosition: true),
      Case(shape: [5, 48], groups: 4, activation: .silu, shifted: true),
    ]
    /// Values whose variance is lost unless it is computed about a value near the mean.
    static let faraway = [
      Case(shape: [2, 8, 8, 20], groups: 5, mean: 1000, deviation: 0.1),
      Case(shape: [2, 20, 20, 32], groups: 8, mean: 1000, deviation: 0.1),
      Case(shape: [2, 9, 48], groups: 1, perPosition: true, mean: -1000, deviation: 0.1),
    ]
  }

  /// The formula, in Double: values, and gradients for a given dy.
  private struct Reference {
    var y: [Double] = []
    var dx: [Double]
    var dshift: [Double]
    var dgamma: [Double]
    var dbeta: [Double]
    var mean: [Double] = []

    init(
      _ c: Case, epsilon: Double, x: [Double], shift: [Double]?, gamma: [Double]?, beta: [Double]?, dy: [Double]
    ) {
      guard let function = ElementwiseTests.Function.all.first(where: { $0.activation == c.activation }) else {
        fatalError("no formula for \(c.activation)")
      }
      let channels = c.shape.last
      let samples = c.perPosition ? c.shape.count / channels : c.shape[0]
      let (size, width) = (c.shape.count / samples, channels / c.groups)
      y = x
      dx = x
      dshift = [Double](repeating: 0, count: samples * channels)
      dgamma = [Double](repeating: 0, count: channels)
      dbeta = dgamma
      for n in 0..<samples {
        for g in 0..<c.groups {
          let places = (n * size..<(n + 1) * size).filter { $0 % channels / width == g }
          let count = Double(places.count)
          func input(_ place: Int) -> Double { x[place] + (shift?[n * channels + place % channels] ?? 0) }
          let mean = places.reduce(0) { $0 + input($1) } / count
          let variance = places.reduce(0) { $0 + pow(input($1) - mean, 2) } / count
          let reciprocal = 1 / (variance + epsilon).squareRoot()
          self.mean.append(mean)
          var (first, second) = (0.0, 0.0)
          var slopes: [(normal: Double, slope: Double)] = []
          for place in places {
            let channel = place % channels
            let normal = (input(place) - mean) * reciprocal
            let z = normal * (gamma?[channel] ?? 1) + (beta?[channel] ?? 0)
            y[place] = function.value(z)
            let dz = dy[place] * function.derivative(z)
            dgamma[channel] += dz * normal
            dbeta[channel] += dz
            let slope = dz * (gamma?[channel] ?? 1)
            first += slope / count
            second += slope * normal / count
            slopes.append((normal, slope))
          }
          for (place, (normal, slope)) in zip(places, slopes) {
            dx[place] = reciprocal * (slope - first - normal * second)
            dshift[n * channels + place % channels] += dx[place]
          }
        }
      }
    }
  }

  @Test("Values, statistics and gradients", arguments: Kernels.all, Case.all)
  func formula(kernels: Kernels, c: Case) throws {
    let differences = try TensorThread.run {
      let backend = kernels.backend()
      let channels = c.shape.last
      let samples = c.perPosition ? c.shape.count / channels : c.shape[0]
      let x = randomTensor(c.shape, seed: 1, scale: c.deviation, shift: c.mean, type: kernels.type, on: backend)
      let shift =
        c.shifted ? randomTensor([samples, channels], seed: 2, type: kernels.type, on: backend) : nil
      let gamma = c.affine ? randomTensor([channels], seed: 3, shift: 1, on: backend) : nil
      let beta = c.affine ? randomTensor([channels], seed: 4, on: backend) : nil
      let dy = randomTensor(c.shape, seed: 5, type: kernels.type, on: backend)
      let normalization = Normalization(
        groups: c.groups, epsilon: 1e-3, activation: c.activation, perPosition: c.perPosition)
      let reference = Reference(
        c, epsilon: Double(Float(1e-3)), x: x.doubles, shift: shift?.doubles, gamma: gamma?.doubles,
        beta: beta?.doubles, dy: dy.doubles)

      let (y, statistics) = backend.normalize(x, shift: shift, gamma: gamma, beta: beta, normalization)
      // Gradients of parameters are added to existing values.
      let gammaGradient = c.affine ? Tensor(repeating: 2, shape: [channels], on: backend) : nil
      let betaGradient = c.affine ? Tensor(repeating: -3, shape: [channels], on: backend) : nil
      let (dx, dshift) = backend.normalizeGradient(
        x, shift: shift, gamma: gamma, beta: beta, normalization, statistics: statistics, dy: dy,
        adding: nil, gammaGradient: gammaGradient, betaGradient: betaGradient)
      let again = backend.normalize(x, shift: shift, gamma: gamma, beta: beta, normalization, statistics: statistics)
      #expect(again.bytes == y.bytes)
      var differences = [
        difference("y", y, reference.y, absolute: 2e-5),
        difference("mean", statistics.mean, reference.mean, absolute: 1e-5),
        difference("dx", dx, reference.dx, absolute: 5e-5, relative: 5e-5),
      ]
      if let dshift { differences.append(difference("dshift", dshift, reference.dshift, absolute: 1e-3)) }
      if let gammaGradient, let betaGradient {
        differences += [
          difference("dγ", gammaGradient, reference.dgamma.map { $0 + 2 }, absolute: 5e-4),
          difference("dβ", betaGradient, reference.dbeta.map { $0 - 3 }, absolute: 5e-4),
        ]
        let alone = Tensor(repeating: 0, shape: [channels], on: backend)
        let sum = backend.normalizeGradient(
          x, shift: shift, gamma: gamma, beta: beta, normalization, statistics: statistics, dy: dy, adding: dy,
          gammaGradient: nil, betaGradient: alone)
        let both = backend.normalizeGradient(
          x, shift: shift, gamma: gamma, beta: beta, normalization, statistics: statistics, dy: dy, adding: dy,
          gammaGradient: gammaGradient, betaGradient: alone)
        differences += [
          difference(
            "dx + dy, with dγ", both.dx, zip(reference.dx, dy.doubles).map { $0 + $1 }, absolute: 5e-5, relative: 5e-5),
          difference("dγ twice", gammaGradient, reference.dgamma.map { 2 * $0 + 2 }, absolute: 1e-3),
          difference("dβ twice", alone, reference.dbeta.map { 2 * $0 }, absolute: 1e-3),
          difference("dx + dy", sum.dx, zip(reference.dx, dy.doubles).map { $0 + $1 }, absolute: 5e-5, relative: 5e-5),
        ]
        if let (a, b) = sum.dshift.flatMap({ a in dshift.map { (a, $0) } }) { #expect(a.bytes == b.bytes) }
      }
      return differences
    }
    expectClose(differences)
  }

  @Test("A mean far from zero does not swallow the deviation", arguments: InstructionSet.available, Case.faraway)
  func largeMean(instructionSet: InstructionSet, c: Case) throws {
    let differences = try TensorThread.run {
      let backend = OpenBLASBackend(threads: ThreadPool(count: 2), instructionSet: instructionSet)
      let x = randomTensor(c.shape, seed: 1, scale: c.deviation, shift: c.mean, on: backend)
      let dy = randomTensor(c.shape, seed: 2, on: backend)
      let normalization = Normalization(groups: c.groups, epsilon: 1e-5, perPosition: c.perPosition)
      let reference = Reference(
        c, epsilon: Double(Float(1e-5)), x: x.doubles, shift: nil, gamma: nil, beta: nil, dy: dy.doubles)
      let (y, statistics) = backend.normalize(x, shift: nil, gamma: nil, beta: nil, normalization)
      let (dx, _) = backend.normalizeGradient(
        x, shift: nil, gamma: nil, beta: nil, normalization, statistics: statistics, dy: dy, adding: nil,
        gammaGradient: nil, betaGradient: nil)
      // The mean in float32 is off by up to 3e-5, a tenth of a thousandth of the deviation times ten.
      return [
        difference("y", y, reference.y, absolute: 1.5e-3),
        difference("dx", dx, reference.dx, absolute: 2e-2, relative: 1e-3),
      ]
    }
    expectClose(differences)
  }
}
