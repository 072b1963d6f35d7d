import EaselMetrics
import EaselSupport

/// A linear classifier on features: multinomial logistic regression with an L2 penalty.
///
/// Features are standardised by the training images' means and deviations. The penalty is the one of ``penalties`` that
/// is best on the last tenth of the training images; the regression is then fitted to all of them. Both run to
/// convergence.
public struct LinearProbe: Encodable, Sendable {
  /// The source of the features.
  public var name: String
  public var dimensions: Int
  public var trainingImages, testImages: Int
  /// The share of test images that are recognised.
  public var accuracy: Estimate
  public var trainingAccuracy: Double
  /// λ of the λ/2 ‖W‖² that is added to the mean cross-entropy.
  public var penalty: Double

  public static let penalties = [1e-1, 1e-2, 1e-3, 1e-4]

  /// - Parameters:
  ///   - name: what is probed, for people.
  ///   - training: features, one point per image.
  ///   - labels: the training images' classes, from 0.
  ///   - test: features, one point per image.
  ///   - testLabels: the test images' classes, from 0.
  ///   - classes: the number of classes.
  ///   - bootstrap: computes the interval.
  ///   - backend: the backend that computes.
  ///   - progress: receives the share that is done, 0 to 1.
  /// - Throws: `UserError` (usage) if there are fewer than 20 training images or no test image.
  public init(
    _ name: String, training: FeatureSet, labels: [Int32], test: FeatureSet, testLabels: [Int32], classes: Int,
    bootstrap: Bootstrap, on backend: any Backend, progress: (Double) throws -> Void
  ) throws {
    guard training.count >= 20, test.count >= 1 else {
      throw UserError(
        .usage, "a probe needs at least 20 training images and 1 to test it, found \(training.count) and \(test.count)")
    }
    let standard = Standardization(training, on: backend)
    let points = standard.apply(training)
    let tests = standard.apply(test)
    let boundary = training.count - training.count / 10

    var chosen = (penalty: Self.penalties[0], right: -1)
    var start: LogisticRegression?
    for (index, penalty) in Self.penalties.enumerated() {
      let fit = LogisticRegression(
        points[0..<boundary], Array(labels[..<boundary]), classes: classes, penalty: penalty, from: start)
      let right = fit.countOfRight(points[boundary..<training.count], Array(labels[boundary...]))
      if right > chosen.right { chosen = (penalty, right) }
      start = fit
      try progress(Double(index + 1) / Double(Self.penalties.count + 1))
    }
    let fit = LogisticRegression(points, labels, classes: classes, penalty: chosen.penalty, from: start)
    try progress(1)
    self.name = name
    dimensions = training.dimensions
    (trainingImages, testImages) = (training.count, test.count)
    accuracy = bootstrap.mean(of: zip(fit.predictions(tests), testLabels).map { $0 == Int($1) ? 1 : 0 })
    trainingAccuracy = Double(fit.countOfRight(points, labels)) / Double(training.count)
    penalty = chosen.penalty
  }
}

/// Means and deviations of features; those that do not vary become 0.
private struct Standardization {
  private let offsets, scales: [Float]
  private let backend: any Backend

  init(_ points: FeatureSet, on backend: any Backend) {
    var (offsets, scales): ([Float], [Float]) = ([], [])
    for dimension in 0..<points.dimensions {
      var (sum, squares) = (0.0, 0.0)
      for point in 0..<points.count { sum += points[point, dimension] }
      let mean = sum / Double(points.count)
      for point in 0..<points.count {
        let difference = points[point, dimension] - mean
        squares += difference * difference
      }
      let deviation = (squares / Double(points.count)).squareRoot()
      offsets.append(Float(mean))
      scales.append(deviation > 1e-6 * max(1, abs(mean)) ? Float(1 / deviation) : 0)
    }
    (self.offsets, self.scales, self.backend) = (offsets, scales, backend)
  }

  /// `[points, dimensions]`.
  func apply(_ points: FeatureSet) -> Tensor {
    let tensor = points.tensor(0..<points.count, on: backend)
    let width = points.dimensions
    tensor.withMutableFloats { values in
      for place in values.indices { values[place] = (values[place] - offsets[place % width]) * scales[place % width] }
    }
    return tensor
  }
}

/// Multinomial logistic regression: logits are `x · Wᵀ + b`; b is not penalised.
package struct LogisticRegression {
  /// `[classes, dimensions]` and then `[classes]`.
  private let parameters: [Double]
  private let classes, dimensions: Int

  /// Fits to points `[N, d]` of classes.
  ///
  /// - Parameter start: a fit of the same number of classes and dimensions to begin from; nil for zeros.
  package init(
    _ points: Tensor, _ labels: [Int32], classes: Int, penalty: Double, from start: LogisticRegression? = nil
  ) {
    let (count, dimensions, backend) = (points.shape[0], points.shape[1], points.backend)
    require(labels.count == count, "\(labels.count) labels for \(count) points")
    let weights = classes * dimensions
    var oneHot = [Float](repeating: 0, count: count * classes)
    for (index, label) in labels.enumerated() { oneHot[index * classes + Int(label)] = 1 }
    let targets = Tensor(oneHot, shape: [count, classes], on: backend)
    func objective(_ parameters: [Double]) -> (value: Double, gradient: [Double]) {
      let tape = Tape()
      let values = parameters.map(Float.init)
      let weight = tape.variable(Tensor(Array(values[..<weights]), shape: [classes, dimensions], on: backend))
      let bias = tape.variable(Tensor(Array(values[weights...]), shape: [classes], on: backend))
      let loss = crossEntropy(linear(Variable(points, on: tape), weight: weight, bias: bias), targets)
      tape.backward(from: loss)
      let gradients = [weight, bias].flatMap { tape.gradient(of: $0)?.values() ?? [] }.map(Double.init)
      let squares = parameters[..<weights].reduce(0) { $0 + $1 * $1 }
      return (
        Double(loss.value.item()) + penalty / 2 * squares,
        gradients.indices.map { gradients[$0] + ($0 < weights ? penalty * parameters[$0] : 0) }
      )
    }
    let zeros = [Double](repeating: 0, count: weights + classes)
    parameters =
      minimize(from: start?.parameters ?? zeros, tolerance: 1e-5, maximumSteps: 1000, objective).point
    (self.classes, self.dimensions) = (classes, dimensions)
  }

  /// W, `[classes, dimensions]`, and b, `[classes]`.
  func tensors(on backend: any Backend) -> (weight: Tensor, bias: Tensor) {
    let values = parameters.map(Float.init)
    let weights = classes * dimensions
    return (
      Tensor(Array(values[..<weights]), shape: [classes, dimensions], on: backend),
      Tensor(Array(values[weights...]), shape: [classes], on: backend)
    )
  }

  /// `[N, classes]`.
  package func logits(_ points: Tensor) -> Tensor {
    let (weight, bias) = tensors(on: points.backend)
    return points.backend.linear(points, weight: weight, bias: bias, residual: nil)
  }

  package func predictions(_ points: Tensor) -> [Int] { logits(points).argmax() }

  package func countOfRight(_ points: Tensor, _ labels: [Int32]) -> Int {
    zip(predictions(points), labels).filter { $0 == Int($1) }.count
  }
}

/// Linear probes of a frozen model's features, and of what they are compared with.
public struct ProbeEvaluation: Encodable, Sendable {
  public var data: String
  /// The trained model, the same one untrained, raw pixels.
  public var probes: [LinearProbe]

  /// - Parameters:
  ///   - loaded: the model to probe.
  ///   - data: with labels, of the model's size and channels.
  ///   - trainingImages: the most training images to use, the first of a fixed shuffle; nil for all.
  ///   - bootstrap: computes the intervals.
  ///   - progress: receives what is being done.
  /// - Throws: `UserError` if the model has no features or the data no labels.
  public init(
    _ loaded: LoadedModel, data: DatasetSplits, trainingImages: Int?, bootstrap: Bootstrap,
    progress: (String, Double) throws -> Void
  ) throws {
    guard let trained = loaded.model as? any FeatureExtracting else {
      throw UserError(.unavailable, "\(loaded.state.preset) has no features to probe")
    }
    let all = data.train.shuffled()
    let training = all.subset(0..<min(trainingImages ?? all.count, all.count))
    guard let labels = training.labels, let testLabels = data.validation.labels else {
      throw UserError(.usage, "\(field: "probe"): the data \(data.train.name) have no labels to predict")
    }
    let backend = trained.context.backend
    let size = data.train.imageSize
    let seed = trained.context.seed &+ 1
    guard let untrained = try loaded.untrained(seed: seed) as? any FeatureExtracting else {
      fatalError("a model without the features that it has when it is trained")
    }
    func probe(_ name: String, _ training: FeatureSet, _ test: FeatureSet) throws -> LinearProbe {
      try LinearProbe(
        name, training: training, labels: labels, test: test, testLabels: testLabels,
        classes: data.train.classNames.count, bootstrap: bootstrap, on: backend
      ) { try progress("probe of \(name)", $0) }
    }
    self.data = data.train.name
    probes = []
    for (name, model) in [("trained", trained), ("untrained (seed \(seed))", untrained)] {
      let extractor = ModelFeatureExtractor(model, name: name, for: size)
      func points(_ images: ImageDataset) throws -> FeatureSet {
        try extractor.extract(images) { try progress("features, \(name)", $0) }.points
      }
      probes.append(try probe(name, points(training), points(data.validation)))
    }
    probes.append(try probe("pixels", training.pixelPoints, data.validation.pixelPoints))
  }
}
