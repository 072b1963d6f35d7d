import EaselTraining

/// Changes valid files a little, always in the same ways for the same seed.
struct Mutator {
  private var generator: StreamGenerator
  private let seeds: [[UInt8]]

  /// Numbers at which lengths and counts go wrong.
  private static let edges: [UInt64] = [
    0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x7FFF_FFFF_FFFF_FFFF, .max,
  ]

  init(_ seeds: [[UInt8]], seed: UInt64) {
    self.seeds = seeds
    generator = StreamGenerator(seed: seed, stream: .sampling)
  }

  private mutating func below(_ bound: Int) -> Int { generator.uniform(below: max(1, bound)) }

  /// One of the seeds after one to eight changes.
  mutating func next() -> [UInt8] {
    var bytes = seeds[below(seeds.count)]
    for _ in 0...below(8) { change(&bytes) }
    return bytes
  }

  private mutating func change(_ bytes: inout [UInt8]) {
    let place = below(bytes.count + 1)
    let rest = bytes.count - place
    switch below(8) {
    case 0 where rest > 0: bytes[place] ^= 1 << UInt8(below(8))
    case 1 where rest > 0: bytes[place] = UInt8(below(256))
    case 2: bytes.insert(contentsOf: (0..<1 + below(8)).map { _ in UInt8(below(256)) }, at: place)
    case 3: bytes.removeSubrange(place..<place + below(min(rest, 64) + 1))
    case 4: bytes.removeSubrange(place...)
    case 5:
      // A number of one to eight bytes, in either byte order.
      let size = min(rest, 1 << below(4))
      let value = Mutator.edges[below(Mutator.edges.count)]
      let isBigEndian = below(2) == 0
      for byte in 0..<size {
        bytes[place + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * (isBigEndian ? size - 1 - byte : byte)))
      }
    case 6:
      let part = bytes[place..<place + below(min(rest, 256) + 1)]
      bytes.insert(contentsOf: Array(part), at: below(bytes.count + 1))
    default:
      let other = seeds[below(seeds.count)]
      bytes.replaceSubrange(place..., with: other.suffix(from: min(place, other.count)))
    }
  }
}
