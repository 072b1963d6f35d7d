import EaselLayers

/// Computes pictures a few at a time, so that memory stays small, and each as if it were alone: image k is the same
/// whatever the count.
public enum Chunks {
  /// Images `range` of an endless series, `[range.count, …]`.
  ///
  /// - Parameters:
  ///   - range: the numbers of the images.
  ///   - size: the most images at a time.
  ///   - shape: the shape of this many images.
  ///   - backend: the backend that provides the images' memory.
  ///   - progress: receives the share that is done, 0 to 1.
  ///   - make: makes the images with these numbers.
  public static func series(
    _ range: Range<Int>, of size: Int, shape: (Int) -> Shape, on backend: any Backend,
    progress: (Double) throws -> Void,
    make: (_ numbers: Range<Int>) throws -> Tensor
  ) throws -> Tensor {
    let images = Tensor(uninitialized: shape(range.count), on: backend)
    for chunk in chunks(of: range, size) {
      let made = try backend.separately { try make(chunk) }
      backend.copy(made, into: images[chunk.lowerBound - range.lowerBound..<chunk.upperBound - range.lowerBound])
      try progress(fraction(of: range, chunk, 1))
    }
    return images
  }

  /// Works on samples `[N, …]`, one chunk at a time.
  ///
  /// - Parameters:
  ///   - samples: `[N, …]`.
  ///   - size: the most samples at a time.
  ///   - work: receives samples and their numbers.
  public static func map(
    _ samples: Tensor, of size: Int = SamplingOptions.usualChunk,
    _ work: (_ chunk: Tensor, _ numbers: Range<Int>) throws -> Tensor
  ) rethrows -> Tensor {
    let (count, backend) = (samples.shape[0], samples.backend)
    var joined: Tensor?
    for chunk in chunks(of: 0..<count, size) {
      let result = try backend.separately { try work(samples[chunk], chunk) }
      let whole =
        joined
        ?? Tensor(uninitialized: Shape([count] + result.shape.sizes.dropFirst()), type: result.type, on: backend)
      backend.copy(result, into: whole[chunk])
      joined = whole
    }
    return joined ?? samples
  }

  private static func chunks(of range: Range<Int>, _ size: Int) -> [Range<Int>] {
    stride(from: range.lowerBound, to: range.upperBound, by: size).map { $0..<min($0 + size, range.upperBound) }
  }

  /// The share of images `range` that is done once a share of a chunk is done, both from 0 to 1: for slow work that
  /// should report progress within a chunk.
  static func fraction(of range: Range<Int>, _ chunk: Range<Int>, _ done: Double) -> Double {
    (Double(chunk.lowerBound - range.lowerBound) + done * Double(chunk.count)) / Double(range.count)
  }
}
