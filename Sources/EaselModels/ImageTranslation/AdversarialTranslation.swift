import EaselLayers

/// A model of two components that learn in turn: generators, which make images, and discriminators, which judge them.
protocol AdversarialTraining: Model {
  /// The images that the generators made, which the discriminators see next.
  associatedtype Made
  /// The generators' loss. The discriminators' parameters are constants in it.
  ///
  /// - Parameter draw: the random numbers of a purpose for these images, numbered by the model.
  func generatorLoss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (
    loss: Variable, metrics: Metrics, made: Made
  )
  /// The discriminators' loss.
  func discriminatorLoss(_ batch: Batch, _ made: Made, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (
    loss: Variable, metrics: Metrics
  )
}

/// A model of two components that learns to translate images of two kinds.
protocol AdversarialTranslation: AdversarialTraining, Translating {}

extension AdversarialTraining {
  /// One step of the generators, then one of the discriminators on the images that the generators made.
  ///
  /// - Parameter isJudged: whether there are discriminators, and they learn in this step.
  func alternatingStep(_ batch: Batch, _ step: TrainingStep, isJudged: Bool = true) -> Metrics {
    let generators = components[0]
    let discriminators = isJudged ? components[1] : nil
    var metrics: Metrics = [:]
    func learn(_ loss: Variable, _ values: Metrics, _ tape: Tape, fraction: Float) {
      for (name, value) in values { metrics[name, default: 0] += fraction * value }
      tape.backward(from: loss, seed: fraction)
    }
    discriminators?.arena.isFrozen = true
    let parts = batch.parts(step.settings.accumulate).map { images in
      let tape = Tape()
      let result = generatorLoss(images, on: tape) { step.draw($0, for: images) }
      metrics["loss", default: 0] += images.fraction * result.loss.value.item()
      learn(result.loss, result.metrics, tape, fraction: images.fraction)
      return (images: images, made: result.made)
    }
    discriminators?.arena.isFrozen = false
    let norm = step.update(generators, loss: metrics["loss"] ?? .nan)
    metrics["gradient-norm"] = norm
    guard let discriminators else { return metrics }
    var judgement: Float = 0
    for (images, made) in parts {
      let tape = Tape()
      let result = discriminatorLoss(images, made, on: tape) { step.draw($0, for: images) }
      judgement += images.fraction * result.loss.value.item()
      learn(result.loss, result.metrics, tape, fraction: images.fraction)
    }
    let otherNorm = step.update(discriminators, loss: judgement)
    // The norm of all networks together; not a number if that of any network is not.
    metrics["gradient-norm"] = (norm * norm + otherNorm * otherNorm).squareRoot()
    return metrics
  }
}

extension AdversarialTranslation {
  /// The images of both domains, float32, −1 to 1.
  func domains(of batch: Batch) -> (a: Tensor, b: Tensor) {
    guard let counterpart = batch.counterparts.first else { fatalError("a model of two kinds of images got one") }
    return (batch.tensor(signed: true, on: context.backend), counterpart.tensor(signed: true, on: context.backend))
  }
}

extension AdversarialTraining {
  /// From −1…1 to 0…1 and back.
  func unit(_ images: Tensor) -> Tensor { context.backend.affine(images, scale: 0.5, shift: 0.5) }
  func signed(_ images: Tensor) -> Tensor { context.backend.affine(images, scale: 2, shift: -1) }
}
