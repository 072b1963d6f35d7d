import EaselLayers
import EaselSupport

/// Random changes to every image that a discriminator sees, real or generated, through which the generator's gradient
/// flows. With few images, they keep the discriminator from memorising the images (Zhao et al. 2020, who chose
/// these strengths).
public struct DifferentiableAugmentation: Sendable {
  public enum Change: String, FieldChoice {
    /// Brightness ± ½ of [−1, 1], saturation 0 to 2, contrast ½ to 1½.
    case color
    /// Moves by up to an eighth of the size; the uncovered border is 0.
    case translation
    /// A square of half the size becomes 0.
    case cutout
  }

  let changes: Set<Change>

  package init(changes: Set<Change>) { self.changes = changes }

  /// The changes to one image. All of them are linear except for the brightness, a constant.
  private struct Draw {
    var brightness: Float = 0
    var saturation: Float = 1
    var contrast: Float = 1
    var down = 0
    var right = 0
    var hole: (rows: Range<Int>, columns: Range<Int>) = (0..<0, 0..<0)
  }

  private func draws(_ count: Int, height: Int, width: Int, _ draw: RandomDraw) -> [Draw] {
    (0..<count).map { sample in
      var generator = StreamGenerator(
        seed: draw.seed, stream: draw.stream, index: draw.index + UInt64(sample), draw: draw.draw)
      var result = Draw()
      // All numbers are drawn whichever changes are on, so that one change does not alter the others.
      let colors = (0..<3).map { _ in Float.random(in: 0...1, using: &generator) }
      let (rows, columns) = ((height + 4) / 8, (width + 4) / 8)
      let (down, right) = (
        Int.random(in: -rows...rows, using: &generator), Int.random(in: -columns...columns, using: &generator)
      )
      let (top, left) = (
        Int.random(in: 0...height, using: &generator) - height / 4,
        Int.random(in: 0...width, using: &generator) - width / 4
      )
      if changes.contains(.color) {
        (result.brightness, result.saturation, result.contrast) = (colors[0] - 0.5, 2 * colors[1], 0.5 + colors[2])
      }
      if changes.contains(.translation) { (result.down, result.right) = (down, right) }
      if changes.contains(.cutout) {
        result.hole = (
          max(0, top)..<max(0, min(height, top + height / 2)), max(0, left)..<max(0, min(width, left + width / 2))
        )
      }
      return result
    }
  }

  /// Changed copies of images `[N, H, W, C]` in [−1, 1]. The random numbers of index `draw.index + n` change sample n.
  package func callAsFunction(_ images: Variable, _ draw: RandomDraw) -> Variable {
    if changes.isEmpty { return images }
    let shape = images.shape
    let draws = draws(shape[0], height: shape[1], width: shape[2], draw)
    func run(_ x: Tensor, _ change: (Draw, inout [Float]) -> Void) -> Tensor {
      let size = shape[1] * shape[2] * shape[3]
      let values = x.values()
      var result: [Float] = []
      result.reserveCapacity(values.count)
      for (sample, draw) in draws.enumerated() {
        var image = Array(values[sample * size..<(sample + 1) * size])
        change(draw, &image)
        result += image
      }
      return Tensor(result, shape: shape, type: x.type, on: x.backend)
    }
    let grid = Grid(height: shape[1], width: shape[2], channels: shape[3])
    let changed = run(images.value) { draw, image in
      for place in image.indices { image[place] += draw.brightness }
      grid.saturate(&image, draw.saturation)
      grid.mix(&image, draw.contrast)
      grid.translate(&image, down: draw.down, right: draw.right)
      grid.erase(&image, draw.hole.rows, draw.hole.columns)
    }
    // Each step is its own transpose; a translation's transpose moves back.
    return images.linearly(changed) { gradient in
      run(gradient) { draw, image in
        grid.erase(&image, draw.hole.rows, draw.hole.columns)
        grid.translate(&image, down: -draw.down, right: -draw.right)
        grid.mix(&image, draw.contrast)
        grid.saturate(&image, draw.saturation)
      }
    }
  }

  private struct Grid {
    let height, width, channels: Int

    /// Moves every pixel between its mean over channels (0), itself (1) and beyond.
    func saturate(_ image: inout [Float], _ amount: Float) {
      if channels == 1 || amount == 1 { return }
      for pixel in 0..<height * width {
        let range = pixel * channels..<(pixel + 1) * channels
        let mean = image[range].reduce(0, +) / Float(channels)
        for place in range { image[place] = mean + amount * (image[place] - mean) }
      }
    }

    /// Moves the image between its mean (0), itself (1) and beyond.
    func mix(_ image: inout [Float], _ amount: Float) {
      if amount == 1 { return }
      let mean = image.reduce(0, +) / Float(image.count)
      for place in image.indices { image[place] = mean + amount * (image[place] - mean) }
    }

    func translate(_ image: inout [Float], down: Int, right: Int) {
      if down == 0 && right == 0 { return }
      let source = image
      for row in 0..<height {
        for column in 0..<width {
          let (fromRow, fromColumn) = (row - down, column - right)
          let inside = (0..<height).contains(fromRow) && (0..<width).contains(fromColumn)
          for channel in 0..<channels {
            image[(row * width + column) * channels + channel] =
              inside ? source[(fromRow * width + fromColumn) * channels + channel] : 0
          }
        }
      }
    }

    func erase(_ image: inout [Float], _ rows: Range<Int>, _ columns: Range<Int>) {
      for row in rows {
        for place in (row * width + columns.lowerBound) * channels..<(row * width + columns.upperBound) * channels {
          image[place] = 0
        }
      }
    }
  }
}
