import EaselMetrics
import EaselSupport
import EaselTestSupport
import Foundation
import Testing

/// Figures of points against numpy, scipy and closed forms.
struct FeatureFigureTests {
  @Test("Figures are those of numpy and scipy", arguments: Backends.available)
  func golden(kind: BackendKind) throws {
    let (samples, reference) = (try Golden.points("samples"), try Golden.points("reference"))
    let figures = try onTensors(kind) { backend in
      try ReferenceFeatures(reference, bootstrap: Bootstrap(resamples: 20), on: backend).judge(samples)
    }
    func close(_ estimate: Estimate, _ name: String, _ tolerance: Double) throws {
      let expected = try #require(try Golden.numbers(name).first)
      #expect(abs(estimate.value - expected) <= tolerance * abs(expected), "\(name): \(estimate), expected \(expected)")
      #expect(estimate.low <= estimate.value && estimate.value <= estimate.high, "\(name): \(estimate)")
      #expect(estimate.low < estimate.high, "\(name)")
    }
    try close(figures.frechet, "frechet", 1e-6)
    try close(figures.kernel.all, "kernel", 1e-5)
    try close(figures.neighbourhoods.precision, "precision", 1e-7)
    try close(figures.neighbourhoods.recall, "recall", 1e-7)
    try close(figures.neighbourhoods.density, "density", 1e-7)
    try close(figures.neighbourhoods.coverage, "coverage", 1e-7)
    #expect(figures.count == 70 && figures.kernel.subsetSize == 35 && figures.kernel.subsets == 100)
  }

  @Test("The Fréchet distance of two known Gaussians")
  func closedForm() {
    // Covariances that commute have √(Σ₁Σ₂) by eigenvalues: rotate diag(4, 1) and diag(9, 16) alike.
    let (c, s) = (cos(0.3), sin(0.3))
    func rotated(_ a: Double, _ b: Double) -> [Double] {
      [c * c * a + s * s * b, c * s * (a - b), c * s * (a - b), s * s * a + c * c * b]
    }
    let a = GaussianStatistics(mean: [1, 2], covariance: rotated(4, 1))
    let b = GaussianStatistics(mean: [4, -2], covariance: rotated(9, 16))
    // 3² + 4² + (2 − 3)² + (1 − 4)²
    #expect(abs(a.frechetDistance(to: b) - 35) < 1e-9)
    #expect(abs(b.frechetDistance(to: a) - 35) < 1e-9)
    #expect(abs(a.frechetDistance(to: a)) < 1e-9)
    // Covariances that do not commute: for 2 × 2 matrices tr √M = √(tr M + 2 √det M).
    let m = GaussianStatistics(mean: [0, 0], covariance: [2, 1, 1, 3])
    let n = GaussianStatistics(mean: [0, 0], covariance: [1, -0.5, -0.5, 2])
    // tr Σ₁Σ₂ = 1.5 + 5.5, determinants 5 and 1.75.
    let trace: Double = 7
    let root = (trace + 2 * (5.0 * 1.75).squareRoot()).squareRoot()
    #expect(abs(m.frechetDistance(to: n) - (5 + 3 - 2 * root)) < 1e-9)
    // No variance in one direction.
    let flat = GaussianStatistics(mean: [0, 0], covariance: [4, 0, 0, 0])
    #expect(abs(flat.frechetDistance(to: GaussianStatistics(mean: [0, 0], covariance: [1, 0, 0, 9])) - 10) < 1e-9)
  }

  @Test func covariancesAreUnbiased() {
    let points = FeatureSet([1, 0, 3, 0, 5, 6], dimensions: 2)
    let statistics = GaussianStatistics(points)
    #expect(statistics.mean == [3, 2])
    #expect(zip(statistics.covariance, [4, 6, 6, 12]).allSatisfy { abs($0 - $1) < 1e-12 })
  }

  @Test("Intervals contain the figure's true value and shrink with the number of points")
  func intervals() throws {
    // N(0, 1) against N(0.5, 1) in four dimensions: Fréchet distance 1.
    let reference = try normalPoints(4000, 4, seed: 1)
    let (few, many) = (try normalPoints(500, 4, seed: 2, shift: 0.5), try normalPoints(4000, 4, seed: 3, shift: 0.5))
    let (small, large, floor) = try onTensors { backend in
      let judge = try ReferenceFeatures(reference, bootstrap: Bootstrap(resamples: 200), on: backend)
      return (try judge.judge(few), try judge.judge(many), try judge.judge(reference.subset(0..<2000)))
    }
    for figures in [small, large] {
      #expect(figures.frechet.low < 1 && 1 < figures.frechet.high, "\(figures.frechet)")
      #expect(abs(figures.kernel.all.value - figures.kernel.subsetMean) < figures.kernel.subsetSpread)
      #expect(figures.kernel.subsetSpread > 0)
    }
    func width(_ estimate: Estimate) -> Double { estimate.high - estimate.low }
    // √8 times as narrow.
    for key: KeyPath<SampleFigures, Estimate> in [\.frechet, \.kernel.all, \.neighbourhoods.density] {
      let ratio = width(small[keyPath: key]) / width(large[keyPath: key])
      #expect((1.8...4.5).contains(ratio), "\(key): \(ratio)")
    }
    // Real points compared with themselves.
    #expect(floor.frechet.value < 0.02 && floor.frechet.low < floor.frechet.value)
    #expect(floor.neighbourhoods.precision.value == 1)
  }

  @Test func aCollapsedModelHasPrecisionAndNoRecall() throws {
    let reference = try normalPoints(600, 4, seed: 1)
    let collapsed = try normalPoints(600, 4, seed: 2, scale: 0.05)
    let wild = try normalPoints(600, 4, seed: 2, scale: 30)
    let (narrow, wide) = try onTensors { backend in
      let judge = try ReferenceFeatures(reference, bootstrap: Bootstrap(resamples: 10), on: backend)
      return (try judge.judge(collapsed).neighbourhoods, try judge.judge(wild).neighbourhoods)
    }
    #expect(narrow.precision.value > 0.95 && narrow.recall.value < 0.05 && narrow.coverage.value < 0.1)
    #expect(narrow.density.value > 1.3)
    #expect(wide.precision.value < 0.1 && wide.recall.value > 0.9 && wide.density.value < 0.1)
  }

  @Test("Thread counts and blocks change nothing")
  func blocks() throws {
    // More points than a block has rows and columns.
    let (samples, reference) = (try normalPoints(700, 3, seed: 1), try normalPoints(4200, 3, seed: 2))
    func judge(_ threads: Int) throws -> NeighbourhoodFigures {
      try onTensors(threads: threads) { backend in
        try ReferenceFeatures(reference, bootstrap: Bootstrap(resamples: 4), on: backend).judge(samples).neighbourhoods
      }
    }
    let (one, two) = (try judge(1), try judge(2))
    #expect(one.precision == two.precision && one.recall == two.recall)
    #expect(one.density == two.density && one.coverage == two.coverage)
    // Coverage by definition.
    func row(_ set: FeatureSet, _ point: Int) -> [Double] { (0..<3).map { set[point, $0] } }
    let (a, b) = ((0..<700).map { row(samples, $0) }, (0..<4200).map { row(reference, $0) })
    func squaredDistance(_ a: [Double], _ b: [Double]) -> Double {
      var sum = 0.0
      for i in 0..<3 { sum += (a[i] - b[i]) * (a[i] - b[i]) }
      return sum
    }
    let covered = b.indices.filter { point in
      let nearest = a.map { squaredDistance($0, b[point]) }.min() ?? .infinity
      // The point itself counts among the nearer ones.
      return b.filter { squaredDistance($0, b[point]) <= nearest }.count <= 5
    }
    #expect(one.coverage.value == Double(covered.count) / 4200)
  }

  @Test func tooFewPointsAreRefused() throws {
    let points = try normalPoints(99, 50, seed: 1)
    let error = #expect(throws: UserError.self) {
      try onTensors { backend in
        _ = try ReferenceFeatures(points, bootstrap: Bootstrap(), on: backend)
      }
    }
    #expect(error?.kind == .usage)
    #expect(error?.message.contains("at least 100 reference images, found 99") == true, "\(String(describing: error))")
  }

  // MARK: Neighbours

  @Test("Nearest neighbours are numpy's", arguments: Backends.available)
  func nearest(kind: BackendKind) throws {
    let (samples, reference) = (try Golden.points("samples"), try Golden.points("reference"))
    let found = try onTensors(kind) { nearestNeighbours(of: samples, in: reference, on: $0) }
    #expect(found.map { Double($0.index) } == (try Golden.numbers("nearest")))
    for (point, neighbour) in found.enumerated() {
      #expect(neighbour.distance == samples.distance(point, to: reference, neighbour.index))
    }
  }

  @Test("Copies of an image have distance 0 by pixels")
  func pixels() throws {
    let levels = (0..<5000 * 12).map { UInt8(truncatingIfNeeded: $0 * $0 * 31 + $0 / 7) }
    let set = FeatureSet(levels: levels, dimensions: 12)
    let some = set.subset([4999, 3, 1234])
    let found = try onTensors { nearestNeighbours(of: some, in: set, on: $0) }
    #expect(found.map(\.distance) == [0, 0, 0])
    #expect(found.enumerated().allSatisfy { set.distance($1.index, to: some, $0) == 0 })
    #expect(set[0, 1] == Double(levels[1]) / 255)
  }

  @Test("Memorised images are nearer to the training images")
  func memorization() throws {
    let (training, heldOut) = (try normalPoints(400, 5, seed: 1), try normalPoints(400, 5, seed: 2))
    let (new, copies) = (try normalPoints(1000, 5, seed: 3), training.subset(0..<300))
    let (half, some) = (FeatureSet([0, 0, 1, 1], dimensions: 1), heldOut.subset(0..<100))
    let results = try onTensors { backend in
      [(new, training, heldOut), (copies, training, heldOut), (half, half, half), (new, training, some)].map {
        Memorization(of: $0.0, training: $0.1, heldOut: $0.2, bootstrap: Bootstrap(resamples: 200), on: backend)
      }
    }
    #expect(results[0].share.low < 0.5 && 0.5 < results[0].share.high, "\(results[0])")
    #expect(results[1].share.value == 1 && results[1].trainingDistance == 0 && results[1].heldOutDistance > 0.3)
    #expect(results[2].share.value == 0.5)
    // Fewer held-out images are less often the nearest ones.
    #expect(results.map(\.expected) == [0.5, 0.5, 0.5, 0.8])
    #expect(results[3].share.low < 0.8 && 0.8 < results[3].share.high, "\(results[3])")
  }

  // MARK: Bootstrap

  @Test func aMeansIntervalIsThatOfItsStandardError() throws {
    let values = (0..<400).map { $0 % 4 == 0 ? 1.0 : 0.0 }
    let estimate = Bootstrap(seed: 1, resamples: 2000).mean(of: values)
    let error = (0.25 * 0.75 / 400).squareRoot()
    #expect(estimate.value == 0.25)
    #expect(abs(estimate.low - (0.25 - 1.96 * error)) < 0.15 * error)
    #expect(abs(estimate.high - (0.25 + 1.96 * error)) < 0.15 * error)
    #expect(Bootstrap(seed: 1, resamples: 2000).mean(of: values) == estimate)
    #expect(Bootstrap(seed: 2, resamples: 2000).mean(of: values) != estimate)
  }

  @Test("Points of one group are drawn together")
  func groups() {
    let bootstrap = Bootstrap(seed: 1, resamples: 1000)
    // 100 groups of 4 equal points count as 100 points.
    let alike = bootstrap.mean(of: (0..<400).map { $0 / 4 % 2 == 0 ? 1 : 0 }, groups: (0..<400).map { 7 * ($0 / 4) })
    let alone = bootstrap.mean(of: (0..<100).map { $0 % 2 == 0 ? 1 : 0 })
    #expect(alike == alone)
    #expect(abs(alike.high - alike.low - 2 * 1.96 * 0.05) < 0.02)
    #expect(bootstrap.mean(of: [1, 0, 0], groups: [5, 5, 5]) == Estimate(value: 1.0 / 3, low: 1.0 / 3, high: 1.0 / 3))
  }

  @Test func resamplesDrawAsManyPoints() {
    let bootstrap = Bootstrap(seed: 3)
    let draws = bootstrap.draws(500, resample: 7)
    #expect(draws.reduce(0, +) == 500)
    // 1/e of the points are left out.
    #expect(abs(Double(draws.filter { $0 == 0 }.count) / 500 - 0.368) < 0.08)
    #expect(draws != bootstrap.draws(500, resample: 8))
  }
}
