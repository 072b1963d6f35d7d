import CKernels

extension HostBackend {
  public func loss(_ kind: Loss, _ prediction: Tensor, _ target: Tensor) -> Tensor {
    require(prediction.shape == target.shape, "prediction \(prediction.shape), target \(target.shape)")
    require(prediction.type == target.type, "prediction \(prediction.type), target \(target.type)")
    let (count, size) = samples(prediction)
    let losses = empty([count], .float32)
    let kernel = typed(prediction.type).loss
    forEachRow(count, size) { range, _ in
      let first = range.lowerBound * size
      kernel(
        kind.code, range.count, size, prediction.at(first), target.at(first), losses.floats + range.lowerBound)
    }
    return losses
  }

  public func lossGradient(_ kind: Loss, _ prediction: Tensor, _ target: Tensor, weights: Tensor) -> Tensor {
    let (count, size) = samples(prediction)
    let gradient = empty(prediction.shape, prediction.type)
    let kernel = typed(prediction.type).loss_backward
    forEachRow(count, size) { range, _ in
      let first = range.lowerBound * size
      kernel(
        kind.code, range.count, size, prediction.at(first), target.at(first), weights.floats + range.lowerBound,
        gradient.at(first))
    }
    return gradient
  }

  public func crossEntropy(_ logits: Tensor, _ target: Tensor) -> Tensor {
    require(logits.shape == target.shape && target.type == .float32, "logits \(logits.shape), target \(target.shape)")
    let (rows, columns) = matrix(logits)
    let losses = empty([rows], .float32)
    let kernel = typed(logits.type).cross_entropy
    forEachRow(rows, columns) { range, _ in
      let first = range.lowerBound * columns
      kernel(range.count, columns, logits.at(first), target.floats + first, losses.floats + range.lowerBound)
    }
    return losses
  }
}
