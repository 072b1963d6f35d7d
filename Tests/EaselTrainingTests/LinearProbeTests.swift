import EaselMetrics
import EaselTestSupport
import EaselTraining
import Foundation
import Testing

struct LinearProbeTests {
  @Test("Rosenbrock's valley and a quadratic function lead to their minima")
  func minima() {
    let valley = minimize(from: [-1.2, 1], tolerance: 1e-9, maximumSteps: 200) { x in
      let (a, b) = (1 - x[0], x[1] - x[0] * x[0])
      return (a * a + 100 * b * b, [-2 * a - 400 * x[0] * b, 200 * b])
    }
    #expect(abs(valley.point[0] - 1) < 1e-6 && abs(valley.point[1] - 1) < 1e-6, "\(valley)")
    #expect(valley.steps < 100)
    let bowl = minimize(from: [3, -4, 5], tolerance: 1e-9, maximumSteps: 200) { x in
      let scales = [1.0, 100, 1e4]
      return ((0..<3).reduce(0) { $0 + scales[$1] * x[$1] * x[$1] }, (0..<3).map { 2 * scales[$0] * x[$0] })
    }
    #expect(bowl.point.allSatisfy { abs($0) < 1e-8 }, "\(bowl)")
    #expect(minimize(from: [2], tolerance: 1, maximumSteps: 5) { ($0[0], [0.5]) }.steps == 0)
  }

  @Test("Logistic regression finds scipy's minimum", arguments: Backends.available)
  func golden(kind: BackendKind) throws {
    let path = fixture("metrics.safetensors")
    let logits = try onTensors(kind) { backend in
      let file = try SafetensorsReader(path: path)
      let points = Tensor(try file.floats("probe.x"), shape: [60, 3], on: backend)
      let labels = try file.floats("probe.labels").map { Int32($0) }
      return LogisticRegression(points, labels, classes: 4, penalty: 0.01).logits(points).values()
    }
    let expected = try SafetensorsReader(path: path).floats("probe.logits")
    // Shifting all logits of a point changes nothing.
    let furthest = (0..<60).map { row in
      let mean = logits[4 * row..<4 * row + 4].reduce(0, +) / 4
      return (4 * row..<4 * row + 4).map { abs(logits[$0] - mean - expected[$0]) }.max() ?? .infinity
    }.max()
    #expect((furthest ?? .infinity) < 1e-3)
  }

  /// Points of classes around corners of a cube, the features scaled and one of them constant.
  private static func corners(_ count: Int, seed: UInt64, spread: Float, scale: Float = 1) -> (FeatureSet, [Int32]) {
    var generator = StreamGenerator(seed: seed, stream: .data)
    func uniform() -> Float { Float(generator.uniform(below: 1 << 20)) / Float(1 << 20) - 0.5 }
    let labels = (0..<count).map { _ in Int32(generator.uniform(below: 3)) }
    let values = labels.flatMap { label in
      [scale * (label == 0 ? 1 : 0), label == 1 ? 1 : 0, label == 2 ? 1 : 0, 7].enumerated().map { place, corner in
        place == 3 ? corner : corner + (place == 0 ? scale : 1) * spread * uniform()
      }
    }
    return (FeatureSet(values, dimensions: 4), labels)
  }

  private static func probe(spread: Float, scale: Float = 1, shuffled: Bool = false) throws -> LinearProbe {
    let (training, labels) = corners(400, seed: 1, spread: spread, scale: scale)
    let (test, testLabels) = corners(300, seed: 2, spread: spread, scale: scale)
    return try onTensors { backend in
      try LinearProbe(
        "corners", training: training, labels: shuffled ? labels.reversed() : labels, test: test,
        testLabels: testLabels, classes: 3, bootstrap: Bootstrap(), on: backend
      ) { _ in }
    }
  }

  @Test func classesThatCanBeToldApartAre() throws {
    let (easy, hard) = (try Self.probe(spread: 0.9), try Self.probe(spread: 4))
    #expect(easy.accuracy.value == 1 && easy.trainingAccuracy == 1)
    #expect((0.45...0.95).contains(hard.accuracy.value) && hard.accuracy.low < hard.accuracy.value, "\(hard)")
    #expect(easy.trainingImages == 400 && easy.testImages == 300 && easy.dimensions == 4)
    // Features are standardised, so their scale has no effect.
    let scaled = try Self.probe(spread: 4, scale: 1000)
    #expect(abs(scaled.accuracy.value - hard.accuracy.value) < 0.02)
  }

  @Test func labelsOfOtherImagesTeachNothing() throws {
    let probe = try Self.probe(spread: 0.9, shuffled: true)
    #expect(probe.accuracy.value < 0.55, "\(probe)")
  }

  @Test func tooFewImagesAreRefused() {
    expectUserError(.usage, "at least 20 training images", "found 5 and 5") {
      try onTensors { backend in
        let (points, labels) = Self.corners(5, seed: 1, spread: 1)
        _ = try LinearProbe(
          "few", training: points, labels: labels, test: points, testLabels: labels, classes: 3,
          bootstrap: Bootstrap(), on: backend
        ) { _ in }
      }
    }
  }
}
