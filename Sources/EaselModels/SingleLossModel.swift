import EaselLayers

/// A model with one network and one loss, which is all that its training step needs.
public protocol SingleLossModel: Model {
  /// Told of each step before its loss is asked for; most losses are the same all along.
  func begin(_ step: TrainingStep)
  /// The mean loss of a batch and what else shall be reported.
  ///
  /// - Parameters:
  ///   - batch: images of the model's size and channels.
  ///   - tape: what the computation is recorded on; nil where no gradient is wanted.
  ///   - draw: the random numbers of a purpose for these images, numbered by the model.
  func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics)
}

extension SingleLossModel {
  public func begin(_ step: TrainingStep) {}

  /// Forward and backward over each part of the batch, whose gradients add up, then one optimizer step.
  public func trainingStep(_ batch: Batch, _ step: TrainingStep) -> Metrics {
    begin(step)
    var metrics: Metrics = [:]
    for images in batch.parts(step.settings.accumulate) {
      let (tape, fraction) = (Tape(), images.fraction)
      let result = loss(images, on: tape) { step.draw($0, for: images) }
      metrics["loss", default: 0] += fraction * result.loss.value.item()
      for (name, value) in result.metrics { metrics[name, default: 0] += fraction * value }
      tape.backward(from: result.loss, seed: fraction)
    }
    metrics["gradient-norm"] = step.update(components[0], loss: metrics["loss"] ?? .nan)
    return metrics
  }

  public func validationLoss(_ batch: Batch) -> Float {
    let first = UInt64(batch.number) * 1_000_000
    return components[0].arena.withAverage {
      loss(batch, on: nil) { draw in
        RandomDraw(seed: 0, stream: .validation, index: first, draw: draw)
      }.loss.value.item()
    }
  }
}
