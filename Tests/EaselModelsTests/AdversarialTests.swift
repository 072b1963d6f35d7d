import EaselModels
import EaselTestSupport
import Foundation
import Testing

/// Images that mislead a classifier.
@Suite struct AdversarialTests {
  /// Two classes; the second's logit is the weighted sum of the pixels, the first's is 0.
  private struct Weighted: DifferentiableClassifying {
    let weights: [Float]

    func logits(_ images: Variable) -> Variable {
      let zeros = [Float](repeating: 0, count: weights.count)
      let weight = Tensor(zeros + weights, shape: [2, weights.count], on: images.backend)
      return linear(images.reshaped([images.shape[0], -1]), weight: Variable(weight))
    }
  }

  private static let draw = RandomDraw(seed: 3, stream: .sampling)

  @Test("One step goes as far as it may along the gradient's sign, and stays within the levels")
  func oneStep() throws {
    try onTensors { backend in
      let model = Weighted(weights: [1, -2, 0, 0.001])
      let images = Tensor([0.5, 0.5, 0.5, 0.95, 0, 0.01, 1, 1], shape: [2, 2, 2, 1], on: backend)
      // Away from the first class: the sum grows. Away from the second: it shrinks.
      let changed = AdversarialAttack(.fgsm, epsilon: 0.1).changed(images, [0, 1], of: 2, by: model, Self.draw)
      #expect(close(changed.values(), [0.6, 0.4, 0.5, 1, 0, 0.11, 1, 0.9]))
      let towards = AdversarialAttack(.fgsm, epsilon: 0.1, isTargeted: true)
        .changed(images, [0, 1], of: 2, by: model, Self.draw)
      #expect(close(towards.values(), [0.4, 0.6, 0.5, 0.85, 0.1, 0, 1, 1]))
    }
  }

  private func close(_ values: [Float], _ expected: [Float]) -> Bool {
    values.count == expected.count && zip(values, expected).allSatisfy { abs($0 - $1) < 1e-6 }
  }

  @Test("Many steps end at the corner that misleads most, and never leave what is allowed", arguments: [1, 2, 20])
  func manySteps(_ steps: Int) throws {
    try onTensors { backend in
      let model = Weighted(weights: [1, -2, 3, -4])
      let images = uniformImages([5, 2, 2, 1], on: backend)
      let classes = [0, 1, 0, 1, 0]
      let epsilon: Float = 0.125
      let changed = AdversarialAttack(epsilon: epsilon, steps: steps)
        .changed(images, classes, of: 2, by: model, Self.draw).values()
      for (place, (value, original)) in zip(changed, images.values()).enumerated() {
        let grows = (place % 4 % 2 == 0) == (classes[place / 4] == 0)
        let corner = min(1, max(0, original + (grows ? epsilon : -epsilon)))
        #expect((0...1).contains(value) && abs(value - original) <= epsilon + 1e-6)
        // A random start may leave a few short steps behind it.
        if steps == 20 { #expect(abs(value - corner) < 1e-6, "\(place)") }
      }
    }
  }

  @Test("Image k is changed in the same way, whatever the other images are; another seed begins elsewhere")
  func reproducible() throws {
    try onTensors { backend in
      let model = try classifier(on: backend)
      let images = uniformImages([4, 8, 8, 1], on: backend)
      func changed(_ range: Range<Int>, seed: UInt64 = 3) -> [Float] {
        AdversarialAttack(epsilon: 0.1, steps: 3).changed(
          images[range], range.map { $0 % 3 }, of: 3, by: model,
          RandomDraw(seed: seed, stream: .sampling, index: UInt64(range.lowerBound))
        ).values()
      }
      let all = changed(0..<4)
      #expect(all == changed(0..<4) && all != changed(0..<4, seed: 4))
      let last = zip(changed(2..<4), all[128...])
      #expect(last.allSatisfy { abs($0 - $1) < 1e-6 })
    }
  }

  private func classifier(
    on backend: any Backend, _ change: (inout ClassifierSettings) -> Void = { _ in }
  ) throws -> Classifier {
    var settings = ClassifierSettings()
    (settings.baseChannels, settings.features) = (8, 16)
    change(&settings)
    let data = DataDescription(width: 8, height: 8, channels: 1, classNames: ["a", "b", "c"])
    return try Classifier(settings, .float32(on: backend, data))
  }

  @Test("The loss that is attacked grows, on both backends", arguments: Backends.available)
  func misleads(_ kind: BackendKind) throws {
    try onTensors(kind) { backend in
      let model = try classifier(on: backend)
      model.freeze()
      let images = uniformImages([6, 8, 8, 1], on: backend)
      let classes = [0, 1, 2, 0, 1, 2]
      func loss(_ images: Tensor) -> Float {
        var oneHot = [Float](repeating: 0, count: 18)
        for (index, label) in classes.enumerated() { oneHot[3 * index + label] = 1 }
        return crossEntropy(model.logits(Variable(images)), Tensor(oneHot, shape: [6, 3], on: backend)).value.item()
      }
      let single = AdversarialAttack(.fgsm, epsilon: 0.05).changed(images, classes, of: 3, by: model, Self.draw)
      let many = AdversarialAttack(epsilon: 0.05).changed(images, classes, of: 3, by: model, Self.draw)
      #expect(loss(single) > loss(images) && loss(many) > loss(images))
      let towards = AdversarialAttack(epsilon: 0.05, isTargeted: true)
        .changed(images, classes, of: 3, by: model, Self.draw)
      #expect(loss(towards) < loss(images))
    }
  }

  @Test("Adversarial training learns from changed images, leaves held-out ones alone, and adds no other gradient")
  func training() throws {
    try onTensors { backend in
      let batch = Batch(
        number: 0, pixels: uniformImages([6, 8, 8, 1], on: backend).levels(),
        annotations: Annotations(labels: [0, 1, 2, 0, 1, 2]), count: 6, width: 8, height: 8, channels: 1)
      func trained(
        _ change: (inout ClassifierSettings) -> Void
      ) throws -> (loss: Float, heldOut: Float, weights: [Float]) {
        let model = try classifier(on: backend, change)
        let settings = TrainingSettings { ($0.optimizer, $0.learningRate) = (.sgd, 0.1) }
        model.prepareForTraining(settings)
        let heldOut = model.validationLoss(batch)
        let metrics = model.trainingStep(batch, TrainingStep(index: 0, settings: settings))
        return (metrics["loss"] ?? .nan, heldOut, model.components[0].arena.values.values())
      }
      let plain = try trained { _ in }
      let hardened = try trained { $0.adversarialEpsilon = 16 }
      let again = try trained { $0.adversarialEpsilon = 16 }
      #expect(hardened.loss > plain.loss && hardened.heldOut == plain.heldOut)
      #expect(hardened.weights == again.weights && hardened.weights != plain.weights)
      // As good as no change: the attack's own gradients are nowhere in the step.
      let faint = try trained { $0.adversarialEpsilon = 1e-4 }
      #expect(zip(faint.weights, plain.weights).allSatisfy { abs($0 - $1) < 1e-4 })
    }
  }
}
