/// The named random streams of a run. Streams never overlap: the name is part of every counter.
public enum RandomStream: UInt32, Sendable, CaseIterable {
  /// Initial values of parameters.
  case parameters = 1
  /// Order and augmentation of the data.
  case data = 2
  /// Noise, timesteps and dropout masks in training.
  case noise = 3
  /// Noise of pictures.
  case sampling = 4
  /// Noise and timesteps of the validation loss.
  case validation = 5
  /// Resamples, subsets and initial weights of evaluations.
  case evaluation = 6
  /// Order and augmentation of a second domain's images.
  case counterparts = 7
}

/// Philox4x32-10 (Salmon et al., “Parallel random numbers: as easy as 1, 2, 3”, SC 2011): a counter-based generator.
///
/// Its output is a pure function of key (the run's seed) and counter (stream, sample, draw, position), so any number
/// can be computed on its own: image k of a grid is the same whatever the count, and only integers need to be saved.
public struct Philox: Sendable {
  /// The key: the seed of a run.
  public let seed: UInt64

  /// A generator with a key.
  public init(seed: UInt64) { self.seed = seed }

  /// The 128 random bits at a counter, as four 32-bit words; the same for the same seed and counter on any machine.
  public func block(_ counter: SIMD4<UInt32>) -> SIMD4<UInt32> {
    var counter = counter
    var key0 = UInt32(truncatingIfNeeded: seed)
    var key1 = UInt32(truncatingIfNeeded: seed >> 32)
    for round in 0..<10 {
      if round > 0 {
        key0 &+= 0x9E37_79B9
        key1 &+= 0xBB67_AE85
      }
      let product0 = UInt64(counter.x) * 0xD251_1F53
      let product1 = UInt64(counter.z) * 0xCD9E_8D57
      counter = SIMD4(
        UInt32(truncatingIfNeeded: product1 >> 32) ^ counter.y ^ key0,
        UInt32(truncatingIfNeeded: product1),
        UInt32(truncatingIfNeeded: product0 >> 32) ^ counter.w ^ key1,
        UInt32(truncatingIfNeeded: product0))
    }
    return counter
  }
}

/// A sequence of random bits from one stream: for shuffling, augmentation and other work on the host.
public struct StreamGenerator: RandomNumberGenerator, Sendable {
  private let philox: Philox
  private let stream: UInt32
  private let index: UInt64
  private let draw: UInt32
  private var position: UInt32 = 0
  private var buffered = SIMD4<UInt32>()
  private var available = 0

  /// A sequence from its beginning.
  ///
  /// - Parameters:
  ///   - seed: the run's seed.
  ///   - stream: the purpose of the numbers.
  ///   - index: selects an independent sequence, for example by sample; below 2⁴⁰.
  ///   - draw: also selects an independent sequence, for example by epoch.
  public init(seed: UInt64, stream: RandomStream, index: UInt64 = 0, draw: UInt32 = 0) {
    philox = Philox(seed: seed)
    self.stream = stream.rawValue
    self.index = index
    self.draw = draw
  }

  /// The next 64 bits. A sequence has 2³³ of them.
  public mutating func next() -> UInt64 {
    if available == 0 {
      buffered = philox.block(.sample(position: position, index: index, draw: draw, stream: stream))
      position += 1
      available = 2
    }
    available -= 1
    return available == 1
      ? UInt64(buffered.x) | UInt64(buffered.y) << 32
      : UInt64(buffered.z) | UInt64(buffered.w) << 32
  }
}

extension SIMD4<UInt32> {
  /// The counter of a block: position within the sample, the sample's global index (40 bits), the draw (a step of the
  /// sampler, an epoch), and the stream.
  static func sample(position: UInt32, index: UInt64, draw: UInt32, stream: UInt32) -> Self {
    SIMD4(
      position, UInt32(truncatingIfNeeded: index), draw, stream << 8 | UInt32(truncatingIfNeeded: index >> 32) & 0xff)
  }
}
