import EaselSupport

/// Gives classes logits, as a function of images that can be differentiated.
public protocol DifferentiableClassifying {
  /// Float32 `[N, classes]`.
  ///
  /// - Parameter images: float32 `[N, H, W, C]`, 0 to 1.
  func logits(_ images: Variable) -> Variable
}

/// Changes images by so little that people hardly see it, so that a classifier takes them for something else.
///
/// With ε as the most that a level changes, L the cross-entropy of the class and images x from 0 to 1:
///
///     fgsm:  x + ε · sign ∇L(x)                                        (Goodfellow et al. 2015)
///     pgd:   steps of 2.5 ε / K · sign ∇L from a random place within ε of x, brought back into that range after each
///            (Madry et al. 2018)
///
/// Towards a target, the steps go down the cross-entropy of the target instead. Levels stay within 0 to 1.
public struct AdversarialAttack: Sendable {
  public enum Method: String, FieldChoice {
    /// One step.
    case fgsm
    /// Many small steps.
    case pgd
  }

  public var method = Method.pgd
  /// The most that a level may change; levels are from 0 to 1.
  public var epsilon: Float
  /// The steps of `pgd`.
  public var steps = 20
  /// Whether images are led towards the classes that are given, not away from them.
  public var isTargeted = false

  public init(_ method: Method = .pgd, epsilon: Float, steps: Int = 20, isTargeted: Bool = false) {
    (self.method, self.epsilon, self.steps, self.isTargeted) = (method, epsilon, steps, isTargeted)
  }

  /// The changed images, float32 `[N, H, W, C]`.
  ///
  /// - Parameters:
  ///   - images: float32 `[N, H, W, C]`, 0 to 1.
  ///   - classes: the class of each image, or its target.
  ///   - classCount: how many classes there are.
  ///   - model: the classifier. Its parameters should be frozen, or their gradients grow.
  ///   - draw: the random numbers of where `pgd` begins.
  public func changed(
    _ images: Tensor, _ classes: [Int], of classCount: Int, by model: some DifferentiableClassifying, _ draw: RandomDraw
  ) -> Tensor {
    let backend = images.backend
    var oneHot = [Float](repeating: 0, count: classes.count * classCount)
    for (index, label) in classes.enumerated() { oneHot[index * classCount + label] = 1 }
    let target = Tensor(oneHot, shape: [classes.count, classCount], on: backend)
    let original = images.values()
    func limited(_ value: Float, _ place: Int) -> Float {
      min(1, max(0, min(original[place] + epsilon, max(original[place] - epsilon, value))))
    }

    var levels = original
    if method == .pgd {
      let noise = Tensor(uninitialized: images.shape, on: backend)
      backend.fillUniform(noise, draw)
      for (place, number) in noise.values().enumerated() {
        levels[place] = limited(original[place] + epsilon * (2 * number - 1), place)
      }
    }
    let count = method == .fgsm ? 1 : steps
    // A single step reaches the edge of what is allowed.
    let length = (isTargeted ? -1 : 1) * (count == 1 ? (method == .fgsm ? 1 : 1.25) : 2.5 / Float(count)) * epsilon
    for _ in 0..<count {
      let tape = Tape()
      let changed = tape.variable(Tensor(levels, shape: images.shape, on: backend))
      tape.backward(from: crossEntropy(model.logits(changed), target))
      guard let gradient = tape.gradient(of: changed)?.values() else { break }
      for (place, slope) in gradient.enumerated() where slope != 0 {
        levels[place] = limited(levels[place] + (slope > 0 ? length : -length), place)
      }
    }
    return Tensor(levels, shape: images.shape, on: backend)
  }
}
