import CEaselKernels

extension HostBackend {
  public func attention(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: Tensor?) -> Tensor {
    let y = empty(q.shape, q.type)
    let tokens = HeadTokens(q, k, v, heads: heads)
    guard tokens.areFew else {
      let scores = probabilities(q, k, v, heads: heads, mask: mask)
      asBackend.matmul(
        MatrixBatch(perHead: scores), MatrixBatch(v, heads: heads), scale: 1, into: MatrixBatch(y, heads: heads),
        accumulating: false)
      return y
    }
    attention(tokens, mask, into: y)
    return y
  }

  /// `softmax(q kᵀ / √d + mask)`, `[N, heads, Tq, Tk]`: as large as all activations of a block, so that the backward pass
  /// computes them again.
  private func probabilities(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: Tensor?) -> Tensor {
    let scores = empty([q.shape[0], heads, q.shape[1], k.shape[1]], q.type)
    let scale = 1 / Float(q.shape[2] / heads).squareRoot()
    asBackend.matmul(
      MatrixBatch(q, heads: heads), MatrixBatch(k, heads: heads).transposed, scale: 1,
      into: MatrixBatch(perHead: scores), accumulating: false)
    softmax(scores, scale: scale, mask: mask, into: scores)
    return scores
  }

  public func attentionGradient(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, mask: Tensor?, dy: Tensor)
    -> (dq: Tensor, dk: Tensor, dv: Tensor)
  {
    let (dq, dk, dv) = (empty(q.shape, q.type), empty(k.shape, k.type), empty(v.shape, v.type))
    let tokens = HeadTokens(q, k, v, heads: heads)
    if tokens.areFew {
      attentionGradient(tokens, mask, dy: dy, into: HeadTokens(dq, dk, dv, heads: heads))
      return (dq, dk, dv)
    }
    let backend = asBackend
    let scale = 1 / Float(q.shape[2] / heads).squareRoot()
    let weights = self.probabilities(q, k, v, heads: heads, mask: mask)
    let probabilities = MatrixBatch(perHead: weights)
    let output = MatrixBatch(dy, heads: heads)
    backend.matmul(probabilities.transposed, output, scale: 1, into: MatrixBatch(dv, heads: heads), accumulating: false)
    let dscores = empty(weights.shape, weights.type)
    backend.matmul(
      output, MatrixBatch(v, heads: heads).transposed, scale: 1, into: MatrixBatch(perHead: dscores),
      accumulating: false)
    softmaxGradient(weights, dy: dscores, scale: scale, into: dscores)
    let scores = MatrixBatch(perHead: dscores)
    backend.matmul(
      scores, MatrixBatch(k, heads: heads), scale: 1, into: MatrixBatch(dq, heads: heads), accumulating: false)
    backend.matmul(
      scores.transposed, MatrixBatch(q, heads: heads), scale: 1, into: MatrixBatch(dk, heads: heads),
      accumulating: false)
    return (dq, dk, dv)
  }

  public func selfAttention(_ qkv: Tensor, heads: Int) -> Tensor {
    let tokens = HeadTokens(qkv, heads: heads)
    guard tokens.areFew else {
      let parts = thirds(qkv)
      return attention(parts[0], parts[1], parts[2], heads: heads, mask: nil)
    }
    let y = empty(qkv.shape.replacingLast(with: qkv.shape.last / 3), qkv.type)
    attention(tokens, nil, into: y)
    return y
  }

  public func selfAttentionGradient(_ qkv: Tensor, heads: Int, dy: Tensor) -> Tensor {
    let tokens = HeadTokens(qkv, heads: heads)
    guard tokens.areFew else {
      let parts = thirds(qkv)
      let gradients = attentionGradient(parts[0], parts[1], parts[2], heads: heads, mask: nil, dy: dy)
      return concatenate([gradients.dq, gradients.dk, gradients.dv])
    }
    let dqkv = empty(qkv.shape, qkv.type)
    attentionGradient(tokens, nil, dy: dy, into: HeadTokens(dqkv, heads: heads))
    return dqkv
  }

  private func thirds(_ qkv: Tensor) -> [Tensor] {
    let width = qkv.shape.last / 3
    return (0..<3).map { slice(qkv, $0 * width..<($0 + 1) * width) }
  }

  // MARK: Few tokens

  private func attention(_ tokens: HeadTokens, _ mask: Tensor?, into y: Tensor) {
    require(mask.map { $0.count == tokens.head.keys } ?? true, "mask for \(tokens.head.keys) keys")
    let scratch = empty([threads.count, tokens.scratchSize], .float32)
    let kernel = typed(y.type).attention
    threads.split(tokens.count) { range, turn in
      for item in range {
        withUnsafePointer(to: tokens.head) { head in
          kernel(
            head, tokens.query(item), tokens.key(item), tokens.value(item), mask?.floats, y.at(tokens.result(item)),
            scratch.floats + turn.worker * tokens.scratchSize)
        }
      }
    }
  }

  private func attentionGradient(_ tokens: HeadTokens, _ mask: Tensor?, dy: Tensor, into gradients: HeadTokens) {
    let scratch = empty([threads.count, tokens.scratchSize], .float32)
    let kernel = typed(dy.type).attention_backward
    threads.split(tokens.count) { range, turn in
      for item in range {
        withUnsafePointer(to: tokens.head) { head in
          kernel(
            head, tokens.query(item), tokens.key(item), tokens.value(item), mask?.floats, dy.at(tokens.result(item)),
            gradients.query(item), gradients.key(item), gradients.value(item),
            scratch.floats + turn.worker * tokens.scratchSize)
        }
      }
    }
  }
}

/// Queries, keys and values of every sample and head, in tensors of their own or side by side in one.
private struct HeadTokens {
  let head: easel_head
  /// Samples times heads.
  let count: Int
  private let heads: Int
  private let q, k, v: Tensor
  /// Where the first key and the first value lie in their tensors.
  private let keyOffset, valueOffset: Int

  init(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int) {
    require(q.rank == 3 && k.shape == v.shape, "attention of \(q.shape), \(k.shape), \(v.shape)")
    require(q.shape[0] == k.shape[0] && q.shape[2] == k.shape[2], "attention of \(q.shape), \(k.shape), \(v.shape)")
    require(q.shape[2] % heads == 0, "\(q.shape) does not divide into \(heads) heads")
    self.init(q, k, v, heads: heads, width: q.shape[2], offset: 0)
  }

  /// The tokens of `[N, T, 3·heads·d]`.
  init(_ qkv: Tensor, heads: Int) {
    require(
      qkv.rank == 3 && qkv.shape[2] % (3 * heads) == 0, "\(qkv.shape) does not divide into 3 times \(heads) heads")
    self.init(qkv, qkv, qkv, heads: heads, width: qkv.shape[2] / 3, offset: qkv.shape[2] / 3)
  }

  private init(_ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, width: Int, offset: Int) {
    (self.q, self.k, self.v, self.heads) = (q, k, v, heads)
    (keyOffset, valueOffset) = (offset, 2 * offset)
    count = q.shape[0] * heads
    head = easel_head(
      queries: q.shape[1], keys: k.shape[1], width: width / heads, q_stride: q.shape[2], k_stride: k.shape[2],
      y_stride: width, scale: 1 / Float(width / heads).squareRoot())
  }

  /// Whether a head's scores and tokens stay in a core's own cache, where loops of our own are faster than batched matrix
  /// products.
  var areFew: Bool { head.queries <= 64 && head.keys <= 64 && head.width <= 64 }

  /// Floats that the kernels work in.
  var scratchSize: Int {
    func padded(_ count: Int) -> Int { (count + 15) / 16 * 16 }
    return (head.width + 2 * head.keys) * padded(head.queries)
      + (2 * head.keys + head.queries + max(head.queries, head.keys)) * padded(head.width)
  }

  private func place(_ item: Int, _ tokens: Int, _ stride: Int) -> Int {
    item / heads * tokens * stride + item % heads * head.width
  }

  func query(_ item: Int) -> UnsafeMutableRawPointer { q.at(place(item, head.queries, head.q_stride)) }
  func key(_ item: Int) -> UnsafeMutableRawPointer { k.at(keyOffset + place(item, head.keys, head.k_stride)) }
  func value(_ item: Int) -> UnsafeMutableRawPointer { v.at(valueOffset + place(item, head.keys, head.k_stride)) }
  /// The head's first element in the result, whose tokens are as wide as all heads.
  func result(_ item: Int) -> Int { place(item, head.queries, head.y_stride) }
}
