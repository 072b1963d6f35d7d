import CEaselKernels

extension HostBackend {
  public func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: AttentionMask?)
    -> (y: Tensor, statistics: AttentionStatistics?)
  {
    attention(HeadTokens([q, k, v], heads: heads), mask)
  }

  public func attentionGradient(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: AttentionMask?, statistics: AttentionStatistics?,
    dy: Tensor
  ) -> (dq: Tensor, dk: Tensor, dv: Tensor) {
    let gradients = attentionGradient(HeadTokens([q, k, v], heads: heads), mask, statistics, dy: dy)
    return (gradients[0], gradients[1], gradients[2])
  }

  public func selfAttention(_ qkv: Tensor, heads: Int, mask: AttentionMask?)
    -> (y: Tensor, statistics: AttentionStatistics?)
  {
    attention(HeadTokens([qkv], heads: heads), mask)
  }

  public func selfAttentionGradient(
    _ qkv: Tensor, heads: Int, mask: AttentionMask?, statistics: AttentionStatistics?, dy: Tensor
  ) -> Tensor {
    attentionGradient(HeadTokens([qkv], heads: heads), mask, statistics, dy: dy)[0]
  }

  private func attention(_ tokens: HeadTokens, _ mask: AttentionMask?) -> (y: Tensor, statistics: AttentionStatistics?)
  {
    switch tokens.way(mask) {
    case .loops: return (loops(tokens), nil)
    case .products: return (products(tokens), nil)
    case .blocks:
      let statistics = blocks(tokens, mask)
      return (statistics.y, statistics)
    }
  }

  /// The gradients with respect to the tokens' tensors.
  private func attentionGradient(
    _ tokens: HeadTokens, _ mask: AttentionMask?, _ statistics: AttentionStatistics?, dy: Tensor
  ) -> [Tensor] {
    let way = tokens.way(mask)
    if way == .products {
      let gradients = productsGradient(tokens, dy: dy)
      return tokens.tensors.count == 1 ? [concatenate(gradients)] : gradients
    }
    let gradients = tokens.tensors.map { empty($0.shape, $0.type) }
    let places = HeadTokens(gradients, heads: tokens.heads)
    if way == .loops {
      loopsGradient(tokens, dy: dy, into: places)
    } else {
      blocksGradient(tokens, mask, statistics ?? blocks(tokens, mask), dy: dy, into: places)
    }
    return gradients
  }

  // MARK: Loops over a head's tokens, all at once

  private func loops(_ tokens: HeadTokens) -> Tensor {
    let y = empty(tokens.resultShape, tokens.type)
    let scratch = empty([threads.count, tokens.scratchSize], .float32)
    let kernel = typed(y.type).attention
    threads.split(tokens.count) { range, turn in
      for item in range {
        withUnsafePointer(to: tokens.head) { head in
          kernel(
            head, tokens.query(item), tokens.key(item), tokens.value(item), y.at(tokens.result(item)),
            scratch.floats + turn.worker * tokens.scratchSize)
        }
      }
    }
    return y
  }

  private func loopsGradient(_ tokens: HeadTokens, dy: Tensor, into gradients: HeadTokens) {
    let scratch = empty([threads.count, tokens.scratchSize], .float32)
    let kernel = typed(dy.type).attention_backward
    threads.split(tokens.count) { range, turn in
      for item in range {
        withUnsafePointer(to: tokens.head) { head in
          kernel(
            head, tokens.query(item), tokens.key(item), tokens.value(item), dy.at(tokens.result(item)),
            gradients.query(item), gradients.key(item), gradients.value(item),
            scratch.floats + turn.worker * tokens.scratchSize)
        }
      }
    }
  }

  // MARK: Batched matrix products

  private func products(_ tokens: HeadTokens) -> Tensor {
    let parts = separated(tokens)
    let y = empty(tokens.resultShape, tokens.type)
    let scores = probabilities(parts[0], parts[1], heads: tokens.heads)
    asBackend.matmul(
      MatrixBatch(perHead: scores), MatrixBatch(parts[2], heads: tokens.heads), scale: 1,
      into: MatrixBatch(y, heads: tokens.heads), accumulating: false)
    return y
  }

  private func productsGradient(_ tokens: HeadTokens, dy: Tensor) -> [Tensor] {
    let (backend, heads) = (asBackend, tokens.heads)
    let parts = separated(tokens)
    let gradients = parts.map { empty($0.shape, $0.type) }
    let (q, k, v) = (
      MatrixBatch(parts[0], heads: heads), MatrixBatch(parts[1], heads: heads), MatrixBatch(parts[2], heads: heads)
    )
    let weights = self.probabilities(parts[0], parts[1], heads: heads)
    let probabilities = MatrixBatch(perHead: weights)
    let output = MatrixBatch(dy, heads: heads)
    backend.matmul(
      probabilities.transposed, output, scale: 1, into: MatrixBatch(gradients[2], heads: heads), accumulating: false)
    let dscores = empty(weights.shape, weights.type)
    let scores = MatrixBatch(perHead: dscores)
    backend.matmul(output, v.transposed, scale: 1, into: scores, accumulating: false)
    softmaxGradient(weights, dy: dscores, scale: tokens.head.scale, into: dscores)
    backend.matmul(scores, k, scale: 1, into: MatrixBatch(gradients[0], heads: heads), accumulating: false)
    backend.matmul(scores.transposed, q, scale: 1, into: MatrixBatch(gradients[1], heads: heads), accumulating: false)
    return gradients
  }

  /// `softmax(q kᵀ / √d)`, `[N, heads, Tq, Tk]`. It is as large as all activations of a block, so the backward pass
  /// computes it again.
  private func probabilities(_ q: Tensor, _ k: Tensor, heads: Int) -> Tensor {
    let scores = empty([q.shape[0], heads, q.shape[1], k.shape[1]], q.type)
    let scale = 1 / Float(q.shape[2] / heads).squareRoot()
    asBackend.matmul(
      MatrixBatch(q, heads: heads), MatrixBatch(k, heads: heads).transposed, scale: 1,
      into: MatrixBatch(perHead: scores), accumulating: false)
    softmax(scores, scale: scale, mask: nil, into: scores)
    return scores
  }

  /// Queries, keys and values as separate tensors.
  private func separated(_ tokens: HeadTokens) -> [Tensor] {
    if tokens.tensors.count == 3 { return tokens.tensors }
    let width = tokens.resultShape.last
    return (0..<3).map { slice(tokens.tensors[0], $0 * width..<($0 + 1) * width) }
  }

  // MARK: Blocks of scores

  private func blocks(_ tokens: HeadTokens, _ mask: AttentionMask?) -> AttentionStatistics {
    let y = empty(tokens.resultShape, tokens.type)
    let logSums = empty(tokens.statisticsShape, .float32)
    let scratch = empty([threads.count, tokens.blockScratchSize], .float32)
    let kernel = typed(y.type).attention_blocks
    let (queries, block) = (tokens.head.queries, Int(EASEL_ATTENTION_BLOCK))
    let rows = (queries + block - 1) / block
    tokens.withMasks(mask) { mask in
      threads.split(tokens.count * rows) { range, turn in
        for place in range {
          let (item, first) = (place / rows, place % rows * block)
          withUnsafePointer(to: tokens.head) { head in
            withUnsafePointer(to: mask(item)) { mask in
              kernel(
                head, mask, first, min(block, queries - first), tokens.query(item), tokens.key(item),
                tokens.value(item), y.at(tokens.result(item)), logSums.floats + item * queries,
                scratch.floats + turn.worker * tokens.blockScratchSize)
            }
          }
        }
      }
    }
    return AttentionStatistics(y: y, logSums: logSums)
  }

  /// The gradients, from scores that are computed again. A part of the work covers some keys of a head. Its
  /// contributions to the queries' gradients are kept apart and added up in the order of parts.
  private func blocksGradient(
    _ tokens: HeadTokens, _ mask: AttentionMask?, _ statistics: AttentionStatistics, dy: Tensor,
    into gradients: HeadTokens
  ) {
    let kernels = typed(dy.type)
    let (queries, keys, block) = (tokens.head.queries, tokens.head.keys, Int(EASEL_ATTENTION_BLOCK))
    let columns = (keys + block - 1) / block
    // Enough parts for several threads if there are few heads, and few enough for the memory they take.
    let parts = max(1, min(4, columns / 4))
    let size = tokens.querySize
    let dots = empty(tokens.statisticsShape, .float32)
    let sums = empty([parts, tokens.count, size], .float32)
    let scratch = empty([threads.count, tokens.blockScratchSize], .float32)
    withUnsafePointer(to: tokens.head) { head in
      threads.split(tokens.count) { range, _ in
        for item in range {
          kernels.attention_dots(
            head, statistics.y.at(tokens.result(item)), dy.at(tokens.result(item)), dots.floats + item * queries)
        }
      }
      tokens.withMasks(mask) { mask in
        threads.run(tokens.count * parts) { turn in
          let (item, part) = (turn.part / parts, turn.part % parts)
          let (first, end) = (columns * part / parts * block, min(columns * (part + 1) / parts * block, keys))
          withUnsafePointer(to: mask(item)) { mask in
            kernels.attention_blocks_backward(
              head, mask, first, end, tokens.query(item), tokens.key(item), tokens.value(item),
              dy.at(tokens.result(item)), statistics.logSums.floats + item * queries, dots.floats + item * queries,
              sums.floats + (part * tokens.count + item) * size, gradients.key(item), gradients.value(item),
              scratch.floats + turn.worker * tokens.blockScratchSize)
          }
        }
      }
      threads.split(tokens.count) { range, _ in
        for item in range {
          kernels.attention_join(head, parts, tokens.count * size, sums.floats + item * size, gradients.query(item))
        }
      }
    }
  }
}

/// Queries, keys and values of every sample and head, in three tensors or side by side in one.
private struct HeadTokens {
  /// One tensor or three.
  let tensors: [Tensor]
  let heads: Int
  let head: easel_head
  /// Samples times heads.
  let count: Int
  private var q: Tensor { tensors[0] }
  private var k: Tensor { tensors[tensors.count / 2] }
  private var v: Tensor { tensors[tensors.count - 1] }
  /// The positions of the first key and the first value in their tensors.
  private let keyOffset, valueOffset: Int

  /// - Parameter tensors: q, k and v, or one tensor of tokens `[N, T, 3·heads·d]`.
  init(_ tensors: [Tensor], heads: Int) {
    (self.tensors, self.heads) = (tensors, heads)
    let (q, k, v) = (tensors[0].shape, tensors[tensors.count / 2].shape, tensors[tensors.count - 1].shape)
    let isOne = tensors.count == 1
    require(
      q.rank == 3 && k == v && q[0] == k[0] && q[2] == k[2], "attention of \(tensors.map(\.shape))")
    require(
      q[2] % (isOne ? 3 * heads : heads) == 0, "\(q) does not divide into \(isOne ? "3 times " : "")\(heads) heads")
    let width = isOne ? q[2] / 3 : q[2]
    (keyOffset, valueOffset) = isOne ? (width, 2 * width) : (0, 0)
    count = q[0] * heads
    head = easel_head(
      queries: q[1], keys: k[1], width: width / heads, q_stride: q[2], k_stride: k[2], y_stride: width,
      scale: 1 / Float(width / heads).squareRoot())
  }

  var type: ScalarType { q.type }
  var resultShape: Shape { [q.shape[0], head.queries, head.y_stride] }
  var statisticsShape: Shape { [q.shape[0], heads, head.queries] }

  /// How attention is computed.
  enum Way {
    /// Our own loops over all of a head's tokens.
    case loops
    /// By batched matrix products, all scores at once.
    case products
    /// Our own loops over one block of scores at a time.
    case blocks
  }

  /// Chosen by shape and mask alone. If a head's scores and tokens stay in a core's own cache, loops over all of them.
  /// If the scores are few enough to be kept, batched matrix products, which use the matrix units of processors that
  /// have them.
  func way(_ mask: AttentionMask?) -> Way {
    if mask != nil || head.queries * head.keys > 256 * 256 { return .blocks }
    return head.queries <= 64 && head.keys <= 64 && head.width <= 64 ? .loops : .products
  }

  private func padded(_ count: Int) -> Int { (count + 15) / 16 * 16 }

  /// Floats of scratch memory for the loops.
  var scratchSize: Int {
    (head.width + 2 * head.keys) * padded(head.queries)
      + (2 * head.keys + head.queries + max(head.queries, head.keys)) * padded(head.width)
  }

  /// Floats of scratch memory for the loops over blocks.
  var blockScratchSize: Int {
    let block = Int(EASEL_ATTENTION_BLOCK)
    return block * (6 * padded(head.width) + 2 * block + 3)
  }

  /// The floats of a head's queries.
  var querySize: Int { head.queries * padded(head.width) }

  /// Calls the closure with a function that gives each item's mask, valid during the call.
  func withMasks(_ mask: AttentionMask?, _ body: ((_ item: Int) -> easel_mask) -> Void) {
    let shown = mask?.shownKeys(samples: q.shape[0], keys: head.keys)
    (shown ?? []).withUnsafeBufferPointer { bytes in
      let first = shown == nil ? nil : bytes.baseAddress
      body { item in easel_mask(is_causal: mask == .causal, shown: first.map { $0 + item / heads * head.keys }) }
    }
  }

  private func place(_ item: Int, _ tokens: Int, _ stride: Int) -> Int {
    item / heads * tokens * stride + item % heads * head.width
  }

  func query(_ item: Int) -> UnsafeMutableRawPointer { q.at(place(item, head.queries, head.q_stride)) }
  func key(_ item: Int) -> UnsafeMutableRawPointer { k.at(keyOffset + place(item, head.keys, head.k_stride)) }
  func value(_ item: Int) -> UnsafeMutableRawPointer { v.at(valueOffset + place(item, head.keys, head.k_stride)) }
  /// The head's first element in the result, in which a token is as wide as all heads.
  func result(_ item: Int) -> Int { place(item, head.queries, head.y_stride) }
}
