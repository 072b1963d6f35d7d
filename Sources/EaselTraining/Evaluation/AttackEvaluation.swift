import EaselMetrics
import EaselSupport

/// How often classifiers are right about images that were changed to mislead them, by how much these were changed.
public struct AttackEvaluation: Encodable, Sendable {
  /// The accuracy at one strength.
  public struct Point: Encodable, Sendable {
    /// The most that a level changed, in levels of 255.
    public var epsilon: Double
    public var accuracy: Estimate
  }

  /// A classifier's accuracies, weakest attack first.
  public struct Curve: Encodable, Sendable {
    public var classifier: String
    public var points: [Point]
  }

  public var images: Int
  public var curves: [Curve]

  /// Attacks the classifier, and beside it a linear one that is fitted to the pixels of training images.
  ///
  /// - Parameters:
  ///   - model: the classifier.
  ///   - name: what it is called.
  ///   - data: with the classifier's classes, in its size and channels.
  ///   - count: the most held-out images.
  ///   - attack: its method and the number of steps; its ε is not used.
  ///   - epsilons: the strengths, in levels of 255.
  ///   - bootstrap: computes the intervals.
  ///   - progress: receives the share that is done, 0 to 1.
  /// - Throws: `UserError` (usage) if the data do not have the classifier's classes.
  public init(
    _ model: any Classifying, name: String, _ data: DatasetSplits, count: Int, _ attack: AdversarialAttack,
    epsilons: [Double], bootstrap: Bootstrap, progress: (Double) throws -> Void
  ) throws {
    let names = model.context.data.classNames
    guard data.validation.classNames == names, let labels = data.validation.labels else {
      throw UserError(
        .usage,
        "the images of \(data.validation.name) are not labelled with the classifier's classes: "
          + names.joined(separator: ", "))
    }
    let heldOut = data.validation.subset(0..<min(count, data.validation.count))
    let linear = PixelClassifier(fittedTo: data.train.shuffled(), on: model.context.backend)
    var done = 0
    func curve(_ name: String, _ classifier: some DifferentiableClassifying) throws -> Curve {
      let points = try epsilons.map { epsilon -> Point in
        var attack = attack
        attack.epsilon = Float(epsilon / 255)
        var right: [Double] = []
        for batch in heldOut.batches(of: 100) {
          let images = batch.tensor(on: model.context.backend)
          let classes = labels[right.count..<right.count + batch.count].map(Int.init)
          let draw = RandomDraw(seed: 0, stream: .evaluation, index: UInt64(right.count), draw: 2)
          let changed =
            epsilon == 0 ? images : attack.changed(images, classes, of: names.count, by: classifier, draw)
          let found = classifier.logits(Variable(changed)).value.cast(to: .float32).argmax()
          right += zip(found, classes).map { $0 == $1 ? 1 : 0 }
          done += batch.count
          try progress(Double(done) / Double(2 * epsilons.count * heldOut.count))
        }
        return Point(epsilon: epsilon, accuracy: bootstrap.mean(of: right))
      }
      return Curve(classifier: name, points: points)
    }
    images = heldOut.count
    curves = [try curve(name, model), try curve("linear, of pixels", linear)]
  }
}

/// Logistic regression on pixels.
private struct PixelClassifier: DifferentiableClassifying {
  /// The most training images that it is fitted to.
  private static let limit = 10_000
  private let weight, bias: Tensor

  init(fittedTo images: ImageDataset, on backend: any Backend) {
    let chosen = images.subset(0..<min(Self.limit, images.count))
    let points = chosen.pixelPoints.tensor(0..<chosen.count, on: backend)
    (weight, bias) = LogisticRegression(
      points, chosen.labels ?? [], classes: chosen.classNames.count, penalty: 1e-3
    ).tensors(on: backend)
  }

  func logits(_ images: Variable) -> Variable {
    linear(images.reshaped([images.shape[0], -1]), weight: Variable(weight), bias: Variable(bias))
  }
}
