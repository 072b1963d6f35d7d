import CKernels

extension HostBackend {
  /// What the kernels are called on: a run of groups of one sample.
  private struct Pieces {
    let samples, groups, channels, positions: Int
    /// Runs of groups in each sample, whose channels are worked on one run after the other while they are in the cache, or
    /// by several threads (BatchNorm is normalisation of a single sample with as many groups as channels).
    let cuts: Int
    let normalization: Normalization

    /// A piece's kernel description, its sample, first group and first channel.
    subscript(item: Int) -> (norm: easel_norm, sample: Int, group: Int, channel: Int) {
      let (sample, cut) = (item / cuts, item % cuts)
      let range = groups * cut / cuts..<groups * (cut + 1) / cuts
      let width = channels / groups
      let norm = easel_norm(
        positions: positions, channels: range.count * width, stride: channels, groups: range.count,
        epsilon: normalization.epsilon, activation: normalization.activation.code,
        activation_parameter: normalization.activation.parameter)
      return (norm, sample, range.lowerBound, range.lowerBound * width)
    }

    /// The most channels that a piece has.
    var width: Int { (groups + cuts - 1) / cuts * (channels / max(1, groups)) }
    var count: Int { samples * cuts }
    var sampleSize: Int { positions * channels }
  }

  private func pieces(_ x: Tensor, _ n: Normalization) -> Pieces {
    let channels = x.shape.last
    require(channels % n.groups == 0, "\(channels) channels do not divide into \(n.groups) groups")
    let rows = matrix(x).rows
    let samples = n.perPosition ? rows : x.shape[0]
    // The groups of as few channels as are whole groups and whole vectors.
    let (width, vectors) = (channels / n.groups, 32)
    let run = (1...vectors).first { $0 * width % vectors == 0 } ?? n.groups
    return Pieces(
      samples: samples, groups: n.groups, channels: channels, positions: samples == 0 ? 0 : rows / samples,
      cuts: max(1, n.groups / run), normalization: n)
  }

  public func normalize(_ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization)
    -> (y: Tensor, statistics: NormalizationStatistics)
  {
    let pieces = pieces(x, normalization)
    let shape: Shape = [pieces.samples, pieces.groups]
    let statistics = NormalizationStatistics(mean: empty(shape, .float32), reciprocalDeviation: empty(shape, .float32))
    return (normalize(x, shift, gamma, beta, normalization, pieces, statistics, known: false), statistics)
  }

  public func normalize(
    _ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization,
    statistics: NormalizationStatistics
  ) -> Tensor {
    normalize(x, shift, gamma, beta, normalization, pieces(x, normalization), statistics, known: true)
  }

  private func normalize(
    _ x: Tensor, _ shift: Tensor?, _ gamma: Tensor?, _ beta: Tensor?, _ normalization: Normalization, _ pieces: Pieces,
    _ statistics: NormalizationStatistics, known: Bool
  ) -> Tensor {
    let channels = pieces.channels
    if let gamma, let beta, normalization.isLayerNorm, shift == nil {
      let y = empty(x.shape, x.type)
      let kernel = typed(x.type).layer_norm
      forEachRow(pieces.samples, channels) { range, _ in
        let (row, first) = (range.lowerBound, range.lowerBound * channels)
        kernel(
          range.count, channels, normalization.epsilon, known, x.at(first), gamma.floats, beta.floats, y.at(first),
          statistics.mean.floats + row, statistics.reciprocalDeviation.floats + row)
      }
      return y
    }
    require(shift.map { $0.count == pieces.samples * channels && $0.type == x.type } ?? true, "shift for \(x.shape)")
    let y = empty(x.shape, x.type)
    let kernel = typed(x.type).norm
    let scratchSize = 2 * pieces.width
    let scratch = empty([threads.count, scratchSize], .float32)
    threads.split(pieces.count, grain: grain(pieces)) { range, turn in
      for item in range {
        let (norm, sample, group, channel) = pieces[item]
        let first = sample * pieces.sampleSize + channel
        withUnsafePointer(to: norm) { norm in
          kernel(
            norm, known, x.at(first), shift?.at(sample * channels + channel), gamma.map { $0.floats + channel },
            beta.map { $0.floats + channel }, y.at(first), statistics.mean.floats + sample * pieces.groups + group,
            statistics.reciprocalDeviation.floats + sample * pieces.groups + group,
            scratch.floats + turn.worker * scratchSize)
        }
      }
    }
    return y
  }

  private func grain(_ pieces: Pieces) -> Int { max(1, elementGrain * pieces.cuts / max(1, pieces.sampleSize)) }

  public func normalizeGradient(
    _ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization,
    statistics: NormalizationStatistics, dy: Tensor, adding: Tensor?, gammaGradient: Tensor?, betaGradient: Tensor?
  ) -> (dx: Tensor, dshift: Tensor?) {
    let pieces = pieces(x, normalization)
    let channels = pieces.channels
    let dx = empty(x.shape, x.type)
    if let gamma, let gammaGradient, let betaGradient, normalization.isLayerNorm, shift == nil {
      let kernel = typed(x.type).layer_norm_backward
      sumByPart(
        of: channels, over: pieces.samples, grain: grain(pieces), into: [gammaGradient, betaGradient]
      ) { range, _, partial in
        let (row, first) = (range.lowerBound, range.lowerBound * channels)
        kernel(
          range.count, channels, x.at(first), gamma.floats, statistics.mean.floats + row,
          statistics.reciprocalDeviation.floats + row, dy.at(first), adding?.at(first), dx.at(first), partial(0),
          partial(1))
      }
      return (dx, nil)
    }
    let dshift = shift.map { empty($0.shape, $0.type) }
    let kernel = typed(x.type).norm_backward
    let scratchSize = (7 + pieces.positions) * pieces.width
    let scratch = empty([threads.count, scratchSize], .float32)
    let targets = [gammaGradient, betaGradient].compactMap { $0 }
    sumByPart(of: channels, over: pieces.count, grain: grain(pieces), into: targets) { range, turn, partial in
      for item in range {
        let (norm, sample, group, channel) = pieces[item]
        let first = sample * pieces.sampleSize + channel
        withUnsafePointer(to: norm) { norm in
          kernel(
            norm, x.at(first), shift?.at(sample * channels + channel), gamma.map { $0.floats + channel },
            beta.map { $0.floats + channel }, statistics.mean.floats + sample * pieces.groups + group,
            statistics.reciprocalDeviation.floats + sample * pieces.groups + group, dy.at(first), adding?.at(first),
            dx.at(first), gammaGradient.map { _ in partial(0) + channel },
            betaGradient.map { _ in partial(gammaGradient == nil ? 0 : 1) + channel },
            dshift?.at(sample * channels + channel), scratch.floats + turn.worker * scratchSize)
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

  func softmax(_ x: Tensor, scale: Float, mask: Tensor?, into y: Tensor) {
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

  func softmaxGradient(_ y: Tensor, dy: Tensor, scale: Float, into dx: Tensor) {
    let (rows, columns) = matrix(y)
    let kernel = typed(y.type).softmax_backward
    forEachRow(rows, columns) { range, _ in
      let first = range.lowerBound * columns
      kernel(range.count, columns, scale, y.at(first), dy.at(first), dx.at(first))
    }
  }
}

extension Normalization {
  /// Rows by themselves, for which there is a kernel that does many at a time.
  fileprivate var isLayerNorm: Bool { perPosition && groups == 1 && activation == .identity }
}
