import EaselOptimizers

/// The place of a training step in its run, and what it is done with.
public struct TrainingStep {
  /// Counted from 0.
  public let index: Int
  public let settings: TrainingSettings
  /// What the schedule has made of the settings' learning rate by this step.
  public let learningRate: Float
  /// How much of the training is over, 0 to 1: what else than the learning rate may follow.
  public let progress: Double

  /// - Parameters:
  ///   - index: counted from 0.
  ///   - settings: those of the training.
  ///   - learningRate: nil for that of a training of ``TrainingSettings/steps``.
  ///   - progress: likewise.
  public init(index: Int, settings: TrainingSettings, learningRate: Float? = nil, progress: Double? = nil) {
    self.index = index
    self.settings = settings
    self.progress = progress ?? min(1, Double(index) / Double(max(1, settings.steps)))
    self.learningRate =
      learningRate ?? settings.learningRate * settings.schedule(steps: settings.steps).factor(at: index)
  }

  /// The random numbers of some of this step's images, by their place in the run.
  ///
  /// - Parameters:
  ///   - purpose: tells draws of the same images apart; numbered by the model.
  ///   - images: the whole batch, or a part of it.
  public func draw(_ purpose: UInt32, for images: Batch) -> RandomDraw {
    RandomDraw(
      seed: settings.seed, stream: .noise, index: UInt64(index * settings.batchSize + images.first), draw: purpose)
  }

  /// Takes an optimizer step with the gradients that a component has gathered, and updates its average; leaves both as they are
  /// where the loss or a gradient is not finite.
  ///
  /// - Parameters:
  ///   - component: the network that is trained.
  ///   - loss: what the gradients are of.
  ///   - factor: multiplies the step's learning rate.
  /// - Returns: the gradient's norm; not a number where the step was given up, which then changes nothing.
  @discardableResult
  public func update(_ component: Component, loss: Float, rate factor: Float = 1) -> Float {
    guard let optimizer = component.optimizer else { fatalError("component \(component.name) is not being trained") }
    guard component.arena.backend.threads.carryThrough() else { return .nan }
    let steps = optimizer.stepCount
    let norm = optimizer.step(learningRate: factor * learningRate, loss: loss)
    if component.arena.average != nil, optimizer.stepCount > steps {
      MovingAverage(decay: settings.emaDecay).update(component.arena, number: component.averageUpdates)
      component.averageUpdates += 1
    }
    return norm
  }
}

/// What became of a training step.
package struct StepResult {
  package let metrics: Metrics
  /// What was not finite, as a parameter's gradient, with its component; nil where all was.
  package let nonFinite: String?
}

extension Model {
  /// A training step that leaves running statistics and ``Component/trainingState`` as they were where something of it is not
  /// finite: a batch that no optimizer followed must not show in later steps and pictures. Of several networks those whose own
  /// gradients were finite keep their step.
  ///
  /// - Parameter isUnwanted: looked at until the first network is changed: where it holds, the step is given up at once, and
  ///   nothing remains of it.
  /// - Returns: nil for a step that was given up.
  package func guardedStep(
    _ batch: Batch, _ step: TrainingStep, unless isUnwanted: @escaping @Sendable () -> Bool = { false }
  ) -> StepResult? {
    for component in components { component.optimizer?.nonFinite = nil }
    let kept = components.flatMap { $0.arena.buffers.map(\.value) + $0.trainingState.map(\.tensor) }
    let before = kept.map { $0.values() }
    let metrics = context.backend.threads.abandonable(when: isUnwanted) { trainingStep(batch, step) }
    let nonFinite = components.lazy.compactMap { component in
      component.optimizer?.nonFinite.map { component.name.isEmpty ? $0 : "\($0) (\(component.name))" }
    }.first
    if metrics == nil || nonFinite != nil {
      for (tensor, values) in zip(kept, before) { tensor.withMutableFloats { _ = $0.update(fromContentsOf: values) } }
    }
    guard let metrics else {
      for component in components { component.arena.zeroGradients() }
      for network in networks { network.arena.forgetDerived() }
      return nil
    }
    return StepResult(metrics: metrics, nonFinite: nonFinite)
  }

  /// What work finds that changes nothing, as drawing or judging does; it is given up once nobody wants it any more.
  ///
  /// - Returns: nil where it was given up.
  package func unlessUnwanted<Result>(
    _ isUnwanted: @escaping @Sendable () -> Bool, _ work: () throws -> Result
  ) rethrows -> Result? {
    let result = try context.backend.threads.abandonable(when: isUnwanted, work)
    if result == nil { for network in networks { network.arena.forgetDerived() } }
    return result
  }

  /// The name in checkpoints of the first number of the model that is an infinity or none at all, or whose average is.
  package var parameterWithoutFiniteValue: String? {
    components.lazy.compactMap { component in
      component.arena.parameterWithoutFiniteValue.map { component.prefix + $0 }
    }.first
  }

  /// Gives every component that is trained an optimizer and, if the settings ask for it, a moving average.
  public func prepareForTraining(_ settings: TrainingSettings) {
    for component in components where component.role != .frozen {
      component.optimizer = Optimizer(
        component.arena, method: settings.optimizerMethod, weightDecay: settings.weightDecay,
        decaysVectors: settings.decayVectors, maximumGradientNorm: settings.clipNorm > 0 ? settings.clipNorm : nil)
      if settings.emaDecay > 0, component.role == .trained { component.arena.startAverage() }
    }
  }
}
