import Layers

/// Pictures are computed this many at a time, always: kernels may add in another order for another batch, and image k shall be
/// the same whatever the count.
enum Chunks {
  static let size = 16

  /// Images `range` of an endless series, `[range.count, …]`.
  ///
  /// Chunks begin at multiples of their size, so that an image has the same neighbours whatever the range.
  ///
  /// - Parameters:
  ///   - shape: of so many images.
  ///   - make: the images of a whole chunk, the first of which has this number.
  static func series(
    _ range: Range<Int>, shape: (Int) -> Shape, on backend: any Backend, progress: (Double) -> Void,
    make: (_ first: Int) throws -> Tensor
  ) rethrows -> Tensor {
    let images = Tensor(uninitialized: shape(range.count), on: backend)
    let chunks = range.lowerBound / size..<(range.upperBound + size - 1) / size
    for chunk in chunks {
      let first = chunk * size
      let result = try make(first)
      let wanted = max(first, range.lowerBound)..<min(first + size, range.upperBound)
      backend.copy(
        result[wanted.lowerBound - first..<wanted.upperBound - first],
        into: images[wanted.lowerBound - range.lowerBound..<wanted.upperBound - range.lowerBound])
      progress(Double(chunk - chunks.lowerBound + 1) / Double(chunks.count))
    }
    return images
  }

  /// The share of images `range` that is done when the chunk that begins with `first` is done to a share, both 0 to 1: for
  /// work that takes so long that a chunk's end is not news enough.
  static func share(of range: Range<Int>, first: Int, _ done: Double) -> Double {
    let chunks = range.lowerBound / size..<(range.upperBound + size - 1) / size
    return (Double(first / size - chunks.lowerBound) + done) / Double(chunks.count)
  }

  /// Work on samples `[N, …]`, a chunk at a time; the last is filled up with zeros whose results are dropped.
  static func map(_ samples: Tensor, _ work: (_ chunk: Tensor, _ first: Int) throws -> Tensor) rethrows -> Tensor {
    let (count, backend) = (samples.shape[0], samples.backend)
    let rest = samples.shape.sizes.dropFirst()
    var joined: Tensor?
    for first in stride(from: 0, to: count, by: size) {
      let range = first..<min(first + size, count)
      let chunk = Tensor(repeating: 0, shape: Shape([size] + rest), type: samples.type, on: backend)
      backend.copy(samples[range], into: chunk[0..<range.count])
      let result = try work(chunk, first)
      let whole =
        joined
        ?? Tensor(uninitialized: Shape([count] + result.shape.sizes.dropFirst()), type: result.type, on: backend)
      backend.copy(result[0..<range.count], into: whole[range])
      joined = whole
    }
    return joined ?? samples
  }
}
