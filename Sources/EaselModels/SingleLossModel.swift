import EaselLayers

/// A model with one network and one loss; its training step follows from the loss.
public protocol SingleLossModel: Model {
  /// Called before the loss of each step, for losses that change during training.
  func begin(_ step: TrainingStep)
  /// The mean loss of a batch and further metrics to report.
  ///
  /// - Parameters:
  ///   - batch: images of the model's size and channels.
  ///   - tape: the tape that records the computation; nil if no gradient is needed.
  ///   - draw: the random numbers of a purpose for these images, numbered by the model.
  func loss(_ batch: Batch, on tape: Tape?, draw: (UInt32) -> RandomDraw) -> (loss: Variable, metrics: Metrics)
}

extension SingleLossModel {
  public func begin(_ step: TrainingStep) {}

  /// Runs forward and backward over each part of the batch, adds up the gradients, and takes one optimizer step.
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
