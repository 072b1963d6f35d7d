import CEaselKernels

extension HostBackend {
  /// What a kernel is called on: a run of groups of one sample, with all its positions or a band of them.
  private struct Pieces {
    let samples, groups, channels, positions: Int
    /// Runs of groups in each sample. Their channels are processed run by run while they are in the cache, or by
    /// several threads. (BatchNorm is the normalisation of a single sample with as many groups as channels.)
    let cuts: Int
    /// Bands of positions in each piece; more than one if there are too few pieces for many threads.
    let bands: Int
    let normalization: Normalization

    /// A piece's kernel description, its first element's position in x, its first group among those of all samples, its
    /// sample and its first channel.
    subscript(piece: Int, band band: Int? = nil)
      -> (norm: easel_norm, first: Int, statistics: Int, sample: Int, channel: Int)
    {
      let (sample, cut) = (piece / cuts, piece % cuts)
      let range = groups * cut / cuts..<groups * (cut + 1) / cuts
      let width = channels / groups
      let rows = band.map { positions * $0 / bands..<positions * ($0 + 1) / bands } ?? 0..<positions
      let norm = easel_norm(
        positions: rows.count, channels: range.count * width, stride: channels, groups: range.count,
        epsilon: normalization.epsilon, activation: normalization.activation.code,
        activation_parameter: normalization.activation.parameter)
      let channel = range.lowerBound * width
      return (
        norm, (sample * positions + rows.lowerBound) * channels + channel, sample * groups + range.lowerBound, sample,
        channel
      )
    }

    /// The largest number of channels in a piece.
    var width: Int { (groups + cuts - 1) / cuts * (channels / max(1, groups)) }
    var count: Int { samples * cuts }
  }

  /// - Parameter canBeBanded: whether positions may be divided too.
  private func pieces(_ x: Tensor, _ n: Normalization, canBeBanded: Bool = true) -> Pieces {
    let channels = x.shape.last
    require(channels % n.groups == 0, "\(channels) channels do not divide into \(n.groups) groups")
    let rows = matrix(x).rows
    let samples = n.perPosition ? rows : x.shape[0]
    // Takes as few channels per piece as make whole groups and whole vectors.
    let (width, vectors) = (channels / n.groups, 32)
    let run = (1...vectors).first { $0 * width % vectors == 0 } ?? n.groups
    let cuts = max(1, n.groups / run)
    let positions = samples == 0 ? 0 : rows / samples
    let pieces = max(1, samples * cuts)
    let bands =
      canBeBanded
      ? ThreadPool.parts(
        positions * channels / cuts, grain: elementGrain, most: (HostBackend.mostSums + pieces - 1) / pieces) : 1
    return Pieces(
      samples: samples, groups: n.groups, channels: channels, positions: positions, cuts: cuts, bands: bands,
      normalization: n)
  }

  public func normalize(_ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization)
    -> (y: Tensor, statistics: NormalizationStatistics)
  {
    // If samples are separate, a sample's sums must not depend on how many others there are.
    let pieces = pieces(x, normalization, canBeBanded: shift == nil && !isSeparating)
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
    let (mean, deviation) = (statistics.mean.floats, statistics.reciprocalDeviation.floats)
    let isBanded = pieces.bands > 1
    if isBanded, !known {
      let kernels = typed(x.type)
      let sums = sumsOfBands(of: pieces) { norm, piece, band, sums, _ in
        kernels.norm_sums(&norm, x.at(band.first), x.at(piece.first), sums)
      }
      for number in 0..<pieces.count {
        var piece = pieces[number]
        kernels.norm_statistics(
          &piece.norm, x.at(piece.first), nil, sums.floats + number * 2 * pieces.width, mean + piece.statistics,
          deviation + piece.statistics)
      }
    }
    let scratchSize = 2 * pieces.width
    let scratch = empty([threads.count, scratchSize], .float32)
    threads.split(pieces.count * pieces.bands, grain: grain(pieces)) { range, turn in
      for item in range {
        var piece = pieces[item / pieces.bands, band: item % pieces.bands]
        kernel(
          &piece.norm, known || isBanded, x.at(piece.first), shift?.at(piece.sample * channels + piece.channel),
          gamma.map { $0.floats + piece.channel }, beta.map { $0.floats + piece.channel }, y.at(piece.first),
          mean + piece.statistics, deviation + piece.statistics, scratch.floats + turn.worker * scratchSize)
      }
    }
    return y
  }

  private typealias Piece = (norm: easel_norm, first: Int, statistics: Int, sample: Int, channel: Int)

  /// Sums over the bands of each piece, added up in order: `[pieces, 2 · width]`. A piece with fewer channels uses less
  /// of its row.
  ///
  /// - Parameter kernel: computes a band's sums; receives 4 · width floats of scratch memory.
  private func sumsOfBands(
    of pieces: Pieces,
    _ kernel: (
      _ norm: inout easel_norm, _ piece: Piece, _ band: Piece, _ sums: UnsafeMutablePointer<Float>,
      _ scratch: UnsafeMutablePointer<Float>
    ) -> Void
  ) -> Tensor {
    let (bands, size) = (pieces.bands, 2 * pieces.width)
    let scratch = empty([threads.count, 2 * size], .float32)
    let parts = empty([pieces.count, bands, size], .float32)
    fill(parts, with: 0)
    threads.run(pieces.count * bands) { turn in
      let number = turn.part / bands
      let band = pieces[number, band: turn.part % bands]
      var norm = band.norm
      kernel(
        &norm, pieces[number], band, parts.floats + turn.part * size, scratch.floats + turn.worker * 2 * size)
    }
    let sums = empty([pieces.count, size], .float32)
    fill(sums, with: 0)
    for number in 0..<pieces.count { sumRows(parts[number], into: sums[number]) }
    return sums
  }

  private func grain(_ pieces: Pieces) -> Int {
    max(1, elementGrain * pieces.cuts * pieces.bands / max(1, pieces.positions * pieces.channels))
  }

  public func normalizeGradient(
    _ x: Tensor, shift: Tensor?, gamma: Tensor?, beta: Tensor?, _ normalization: Normalization,
    statistics: NormalizationStatistics, dy: Tensor, adding: Tensor?, gammaGradient: Tensor?, betaGradient: Tensor?
  ) -> (dx: Tensor, dshift: Tensor?) {
    let pieces = pieces(x, normalization, canBeBanded: shift == nil)
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
    let (mean, deviation) = (statistics.mean.floats, statistics.reciprocalDeviation.floats)
    let targets = [gammaGradient, betaGradient].compactMap { $0 }
    if pieces.bands > 1 {
      let kernels = typed(x.type)
      let sums = sumsOfBands(of: pieces) { norm, _, band, sums, scratch in
        kernels.norm_backward_sums(
          &norm, x.at(band.first), nil, gamma.map { $0.floats + band.channel }, beta.map { $0.floats + band.channel },
          mean + band.statistics, deviation + band.statistics, dy.at(band.first), sums, scratch)
      }
      let scratch = empty([threads.count, 5 * pieces.width], .float32)
      for number in 0..<pieces.count {
        var piece = pieces[number]
        kernels.norm_backward_means(
          &piece.norm, gamma.map { $0.floats + piece.channel }, sums.floats + number * 2 * pieces.width,
          gammaGradient.map { $0.floats + piece.channel }, betaGradient.map { $0.floats + piece.channel },
          scratch.floats)
      }
      threads.run(pieces.count * pieces.bands) { turn in
        let number = turn.part / pieces.bands
        var band = pieces[number, band: turn.part % pieces.bands]
        kernels.norm_backward_apply(
          &band.norm, x.at(band.first), nil, gamma.map { $0.floats + band.channel },
          beta.map { $0.floats + band.channel }, mean + band.statistics, deviation + band.statistics, dy.at(band.first),
          sums.floats + number * 2 * pieces.width, adding?.at(band.first), dx.at(band.first),
          scratch.floats + turn.worker * 5 * pieces.width)
      }
      return (dx, nil)
    }
    let dshift = shift.map { empty($0.shape, $0.type) }
    let kernel = typed(x.type).norm_backward
    let scratchSize = (7 + pieces.positions) * pieces.width
    let scratch = empty([threads.count, scratchSize], .float32)
    sumByPart(of: channels, over: pieces.count, grain: grain(pieces), into: targets) { range, turn, partial in
      for item in range {
        var piece = pieces[item]
        let shifts = piece.sample * channels + piece.channel
        kernel(
          &piece.norm, x.at(piece.first), shift?.at(shifts), gamma.map { $0.floats + piece.channel },
          beta.map { $0.floats + piece.channel }, mean + piece.statistics, deviation + piece.statistics,
          dy.at(piece.first), adding?.at(piece.first), dx.at(piece.first),
          gammaGradient.map { _ in partial(0) + piece.channel },
          betaGradient.map { _ in partial(gammaGradient == nil ? 0 : 1) + piece.channel }, dshift?.at(shifts),
          scratch.floats + turn.worker * scratchSize)
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
  /// Separate rows, for which there is a kernel that handles many at a time.
  fileprivate var isLayerNorm: Bool { perPosition && groups == 1 && activation == .identity }
}
