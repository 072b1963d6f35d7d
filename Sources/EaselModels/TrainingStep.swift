import EaselOptimizers

/// A training step: its index in the run and its settings.
public struct TrainingStep {
  /// The step's number, from 0.
  public let index: Int
  public let settings: TrainingSettings
  /// The learning rate at this step, after the schedule.
  public let learningRate: Float
  /// How much of the training is over, 0 to 1. Other values than the learning rate may depend on it.
  public let progress: Double

  /// - Parameters:
  ///   - index: the step's number, from 0.
  ///   - settings: the training's settings.
  ///   - learningRate: the learning rate; nil for that of a training of ``TrainingSettings/steps``.
  ///   - progress: the share of the training that is over; nil likewise.
  public init(index: Int, settings: TrainingSettings, learningRate: Float? = nil, progress: Double? = nil) {
    self.index = index
    self.settings = settings
    self.progress = progress ?? min(1, Double(index) / Double(max(1, settings.steps)))
    self.learningRate =
      learningRate ?? settings.learningRate * settings.schedule(steps: settings.steps).factor(at: index)
  }

  /// The random numbers for some of this step's images, by their index in the run.
  ///
  /// - Parameters:
  ///   - purpose: distinguishes draws for the same images; numbered by the model.
  ///   - images: the whole batch, or a part of it.
  public func draw(_ purpose: UInt32, for images: Batch) -> RandomDraw {
    RandomDraw(
      seed: settings.seed, stream: .noise, index: UInt64(index * settings.batchSize + images.first), draw: purpose)
  }

  /// Takes an optimizer step with the gradients that a component has gathered, and updates its average. If the loss or
  /// a gradient is not finite, both stay unchanged.
  ///
  /// - Parameters:
  ///   - component: the network to train.
  ///   - loss: the loss that the gradients belong to.
  ///   - factor: multiplies the step's learning rate.
  /// - Returns: the gradient's norm; NaN if the step was abandoned, which then changes nothing.
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

/// The result of a training step.
package struct StepResult {
  package let metrics: Metrics
  /// What was not finite, such as a parameter's gradient, with its component; nil if everything was.
  package let nonFinite: String?
}

extension Model {
  /// Does a training step. If something in it is not finite, restores running statistics and
  /// ``Component/trainingState``: a batch without an optimizer step must not affect later steps and pictures. If there
  /// are several networks, those with finite gradients keep their step.
  ///
  /// - Parameter isUnwanted: checked until the first network is changed. If it is true, the step is abandoned at once,
  ///   and nothing remains of it.
  /// - Returns: nil if the step was abandoned.
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

  /// The result of work that changes nothing, such as drawing or judging. The work is abandoned when it is no longer
  /// wanted.
  ///
  /// - Returns: nil if it was abandoned.
  package func unlessUnwanted<Result>(
    _ isUnwanted: @escaping @Sendable () -> Bool, _ work: () throws -> Result
  ) rethrows -> Result? {
    let result = try context.backend.threads.abandonable(when: isUnwanted, work)
    if result == nil { for network in networks { network.arena.forgetDerived() } }
    return result
  }

  /// The name in checkpoints of the first of the model's parameters with a value, or an average, that is infinite or
  /// NaN.
  package var parameterWithoutFiniteValue: String? {
    components.lazy.compactMap { component in
      component.arena.parameterWithoutFiniteValue.map { component.prefix + $0 }
    }.first
  }

  /// Gives every component that is trained an optimizer and, if the settings say so, a moving average.
  public func prepareForTraining(_ settings: TrainingSettings) {
    for component in components where component.role != .frozen {
      component.optimizer = Optimizer(
        component.arena, method: settings.optimizerMethod, weightDecay: settings.weightDecay,
        decaysVectors: settings.decayVectors, maximumGradientNorm: settings.clipNorm > 0 ? settings.clipNorm : nil)
      if settings.emaDecay > 0, component.role == .trained { component.arena.startAverage() }
    }
  }
}
