import Tensors

/// Random changes to training images that leave their meaning alone.
public struct Augmentation: Sendable, Equatable {
  /// Mirrors half of the images left to right.
  public let horizontalFlip: Bool
  /// Moves each image by up to this many pixels in either direction along both axes; edges are repeated.
  public let shift: Int

  public static let none = Augmentation(horizontalFlip: false, shift: 0)

  public init(horizontalFlip: Bool = false, shift: Int = 0) {
    guard shift >= 0 else { fatalError("Augmentation: a shift of \(shift) pixels") }
    self.horizontalFlip = horizontalFlip
    self.shift = shift
  }

  /// What happens to one image.
  struct Draw: Equatable {
    var isFlipped = false
    /// Pixels to the right and down.
    var right = 0
    var down = 0
  }

  /// Draws for the sample at a global position of the run.
  ///
  /// All three numbers are drawn whatever is switched on, so that switching one on does not change the others.
  func draw(seed: UInt64, sample: Int) -> Draw {
    var generator = StreamGenerator(seed: seed, stream: .data, index: UInt64(sample), draw: 1)
    let isFlipped = generator.uniform(below: 2) == 1
    let right = generator.uniform(below: 2 * shift + 1) - shift
    let down = generator.uniform(below: 2 * shift + 1) - shift
    return Draw(isFlipped: horizontalFlip && isFlipped, right: right, down: down)
  }
}

extension Augmentation.Draw {
  /// Appends an image of `height × width × channels` bytes: mirrored, then moved.
  func append(_ image: ArraySlice<UInt8>, width: Int, height: Int, channels: Int, to pixels: inout [UInt8]) {
    if self == Self() {
      pixels += image
      return
    }
    for y in 0..<height {
      let row = image.startIndex + min(max(y - down, 0), height - 1) * width * channels
      for x in 0..<width {
        let unmoved = min(max(x - right, 0), width - 1)
        let column = row + (isFlipped ? width - 1 - unmoved : unmoved) * channels
        pixels += image[column..<column + channels]
      }
    }
  }
}
