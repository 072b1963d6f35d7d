import EaselLayers

/// Translates an image several times from different positions and takes the mean (Timofte et al. 2016): copies are
/// moved and mirrored, translated, and moved back.
///
/// Artefacts from a pixel's position on the generator's coarser grids differ from copy to copy and cancel; what depends
/// on the picture remains. Surfaces become calmer, for as many times the work.
struct SelfEnsemble {
  /// Downwards and to the right, in pixels: positions on the grid of a generator that halves images twice.
  private static let moves = [(0, 0), (2, 2), (1, 3), (3, 1)]
  static let maximumCopies = 2 * moves.count

  /// How many copies; 1 is the image alone, and every second copy is the mirror image of the one before.
  var copies: Int

  /// - Parameters:
  ///   - images: `[N, H, W, C]`, float32.
  ///   - translate: translates such images to others of the same shape.
  func callAsFunction(_ images: Tensor, translate: (Tensor) -> Tensor) -> Tensor {
    if copies == 1 { return translate(images) }
    let (shape, pixels) = (images.shape, images.values())
    var sums = [Float](repeating: 0, count: pixels.count)
    // Counts the copies in which a pixel is visible; pixels moved out of a copy are not.
    var seen = sums
    for copy in 0..<copies {
      let places = Places(shape, Self.moves[copy / 2], isMirrored: copy % 2 == 1)
      var moved = [Float](repeating: 0, count: pixels.count)
      places.visit { place, origin, _ in moved[place] = pixels[origin] }
      let made = translate(Tensor(moved, shape: shape, on: images.backend)).values()
      places.visit { place, origin, isInside in
        guard isInside else { return }
        sums[origin] += made[place]
        seen[origin] += 1
      }
    }
    return Tensor(zip(sums, seen).map { $0 / $1 }, shape: shape, on: images.backend)
  }
}

/// The origins of the values in moved and mirrored images.
private struct Places {
  private let shape: Shape
  private let rows, columns: [Int]

  init(_ shape: Shape, _ move: (down: Int, right: Int), isMirrored: Bool) {
    let (height, width) = (shape[1], shape[2])
    self.shape = shape
    rows = (0..<height).map { $0 + move.down }
    columns = (0..<width).map { isMirrored ? width - 1 - ($0 + move.right) : $0 + move.right }
  }

  /// - Parameter body: receives a value's index, the index of its origin in the image before it was moved, and whether
  ///   the origin was inside the image; outside, values are those of the nearest border.
  func visit(_ body: (_ place: Int, _ origin: Int, _ isInside: Bool) -> Void) {
    let (height, width, channels) = (shape[1], shape[2], shape[3])
    var place = 0
    for image in 0..<shape[0] {
      for row in rows {
        let nearestRow = min(max(row, 0), height - 1)
        for column in columns {
          let nearestColumn = min(max(column, 0), width - 1)
          let origin = ((image * height + nearestRow) * width + nearestColumn) * channels
          for channel in 0..<channels {
            body(place, origin + channel, row == nearestRow && column == nearestColumn)
            place += 1
          }
        }
      }
    }
  }
}
