import CKernels

extension HostBackend {
  /// A kernel's description of one sample, and how many samples there are.
  private func geometry(_ x: Tensor, _ n: Normalization) -> (samples: Int, sample: easel_norm) {
    let channels = x.shape.last
    require(channels % n.groups == 0, "\(channels) channels do not divide into \(n.groups) groups")
    let rows = matrix(x).rows
    let samples = n.perPosition ? rows : x.shape[0]
    let sample = easel_norm(
      positions: samples == 0 ? 0 : rows / samples, channels: channels, groups: n.groups, epsilon: n.epsilon,
      activation: n.activation.code, activation_parameter: n.activation.parameter)
    return (samples, sample)
  }

  public func normalize(_ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization)
    -> (y: Tensor, statistics: NormalizationStatistics)
  {
    let (samples, sample) = geometry(x, normalization)
    let statistics = NormalizationStatistics(
      mean: empty([samples, sample.groups], .float32), reciprocalDeviation: empty([samples, sample.groups], .float32))
    let y = normalize(x, shift, gamma, beta, samples, sample, statistics, known: false)
    return (y, statistics)
  }

  public func normalize(
    _ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization,
    statistics: NormalizationStatistics
  ) -> Tensor {
    let (samples, sample) = geometry(x, normalization)
    return normalize(x, shift, gamma, beta, samples, sample, statistics, known: true)
  }

  private func normalize(
    _ x: Tensor, _ shift: Tensor?, _ gamma: Tensor?, _ beta: Tensor?, _ samples: Int, _ sample: easel_norm,
    _ statistics: NormalizationStatistics, known: Bool
  ) -> Tensor {
    let (channels, groups) = (sample.channels, sample.groups)
    let size = sample.positions * channels
    require(shift.map { $0.count == samples * channels && $0.type == x.type } ?? true, "shift for \(x.shape)")
    let y = empty(x.shape, x.type)
    let kernel = typed(x.type).norm
    let scratch = empty([threads.count, 2 * channels], .float32)
    threads.split(samples, grain: max(1, elementGrain / max(1, size))) { range, part in
      withUnsafePointer(to: sample) { sample in
        for n in range {
          kernel(
            sample, known, x.at(n * size), shift?.at(n * channels), gamma?.floats, beta?.floats, y.at(n * size),
            statistics.mean.floats + n * groups, statistics.reciprocalDeviation.floats + n * groups,
            scratch.floats + part * 2 * channels)
        }
      }
    }
    return y
  }

  public func normalizeGradient(
    _ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization,
    statistics: NormalizationStatistics, dy: Tensor, adding: Tensor?, gammaGradient: Tensor?, betaGradient: Tensor?
  ) -> (dx: Tensor, dshift: Tensor?) {
    let (samples, sample) = geometry(x, normalization)
    let (channels, groups) = (sample.channels, sample.groups)
    let size = sample.positions * channels
    let dx = empty(x.shape, x.type)
    let dshift = shift.map { empty($0.shape, $0.type) }
    let kernel = typed(x.type).norm_backward
    let grain = max(1, elementGrain / max(1, size))
    let parts = threads.parts(samples, grain: grain)
    let scratch = empty([parts, 7 * channels], .float32)
    let targets = [gammaGradient, betaGradient].compactMap { $0 }
    sumByPart(of: channels, parts: parts, into: targets) { partial in
      threads.split(samples, grain: grain) { range, part in
        withUnsafePointer(to: sample) { sample in
          for n in range {
            kernel(
              sample, x.at(n * size), shift?.at(n * channels), gamma?.floats, beta?.floats,
              statistics.mean.floats + n * groups, statistics.reciprocalDeviation.floats + n * groups,
              dy.at(n * size), adding?.at(n * size), dx.at(n * size), gammaGradient.map { _ in partial(part, 0) },
              betaGradient.map { _ in partial(part, gammaGradient == nil ? 0 : 1) }, dshift?.at(n * channels),
              scratch.floats + part * 7 * channels)
          }
        }
      }
    }
    return (dx, dshift)
  }

  public func softmax(_ x: Tensor, scale: Float, mask: Tensor?) -> Tensor {
    let y = empty(x.shape, x.type)
    softmax(x, scale: scale, mask: mask, into: y)
    return y
  }

  private func softmax(_ x: Tensor, scale: Float, mask: Tensor?, into y: Tensor) {
    let (rows, columns) = matrix(x)
    require(mask.map { $0.count == columns } ?? true, "mask for \(x.shape)")
    let kernel = typed(x.type).softmax
    forEachRow(rows, columns) { range, _ in
      let first = range.lowerBound * columns
      kernel(range.count, columns, scale, x.at(first), mask?.floats, y.at(first))
    }
  }

  public func softmaxGradient(_ y: Tensor, dy: Tensor, scale: Float) -> Tensor {
    let dx = empty(y.shape, y.type)
    softmaxGradient(y, dy: dy, scale: scale, into: dx)
    return dx
  }

  private func softmaxGradient(_ y: Tensor, dy: Tensor, scale: Float, into dx: Tensor) {
    let (rows, columns) = matrix(y)
    let kernel = typed(y.type).softmax_backward
    forEachRow(rows, columns) { range, _ in
      let first = range.lowerBound * columns
      kernel(range.count, columns, scale, y.at(first), dy.at(first), dx.at(first))
    }
  }

  public func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: Tensor?) -> (y: Tensor, saved: Tensor)
  {
    require(q.shape[2] == k.shape[2] && k.shape == v.shape, "attention of \(q.shape), \(k.shape), \(v.shape)")
    let scores = empty([q.shape[0], heads, q.shape[1], k.shape[1]], q.type)
    let scale = 1 / Float(q.shape[2] / heads).squareRoot()
    let backend = asBackend
    backend.matmul(
      MatrixBatch(q, heads: heads), MatrixBatch(k, heads: heads).transposed, scale: 1,
      into: MatrixBatch(perHead: scores), accumulating: false)
    softmax(scores, scale: scale, mask: mask, into: scores)
    let y = empty(q.shape, q.type)
    backend.matmul(
      MatrixBatch(perHead: scores), MatrixBatch(v, heads: heads), scale: 1, into: MatrixBatch(y, heads: heads),
      accumulating: false)
    return (y, scores)
  }

  public func attentionGradient(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, saved: Tensor, dy: Tensor)
    -> (dq: Tensor, dk: Tensor, dv: Tensor)
  {
    let backend = asBackend
    let scale = 1 / Float(q.shape[2] / heads).squareRoot()
    let (dq, dk, dv) = (empty(q.shape, q.type), empty(k.shape, k.type), empty(v.shape, v.type))
    let probabilities = MatrixBatch(perHead: saved)
    let output = MatrixBatch(dy, heads: heads)
    backend.matmul(probabilities.transposed, output, scale: 1, into: MatrixBatch(dv, heads: heads), accumulating: false)
    let dscores = empty(saved.shape, saved.type)
    backend.matmul(
      output, MatrixBatch(v, heads: heads).transposed, scale: 1, into: MatrixBatch(perHead: dscores),
      accumulating: false)
    softmaxGradient(saved, dy: dscores, scale: scale, into: dscores)
    let scores = MatrixBatch(perHead: dscores)
    backend.matmul(
      scores, MatrixBatch(k, heads: heads), scale: 1, into: MatrixBatch(dq, heads: heads), accumulating: false)
    backend.matmul(
      scores.transposed, MatrixBatch(q, heads: heads), scale: 1, into: MatrixBatch(dk, heads: heads),
      accumulating: false)
    return (dq, dk, dv)
  }
}
