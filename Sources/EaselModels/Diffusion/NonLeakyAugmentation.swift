import EaselLayers
import Foundation

/// Geometric changes to training images. The network receives their parameters, so that it learns from changed images
/// and still draws unchanged ones (Karras et al. 2022, appendix F.2).
///
/// Half of the images are mirrored. Each other change happens to an image with a probability: turning upside down,
/// scaling by 2^(0.2 n), rotation by any angle, stretching by 2^(0.2 n) along any direction, moving by n / 8 of the
/// size, with n normal. Outside an image is its mirror image; between pixels, values are interpolated linearly.
package struct NonLeakyAugmentation {
  package let probability: Float

  package init(probability: Float) { self.probability = probability }

  /// Mirrored, upside down, scaling, cos − 1 and sin of the rotation, stretching by cos and sin of twice its angle,
  /// moving right and down. Zeros stand for an unchanged image.
  package static let parameterCount = 9

  /// Changed images `[N, H, W, C]` in [−1, 1] and their parameters `[N, parameterCount]`.
  ///
  /// Each image has its own random numbers, by its position in the run.
  package func apply(to batch: Batch, _ draw: RandomDraw, on backend: any Backend) -> (
    images: Tensor, parameters: Tensor?
  ) {
    let uniform = Tensor(uninitialized: [batch.count, 9], on: backend)
    let normal = Tensor(uninitialized: [batch.count, 4], on: backend)
    backend.fillUniform(uniform, draw)
    backend.fillNormal(normal, RandomDraw(seed: draw.seed, stream: draw.stream, index: draw.index, draw: draw.draw + 1))
    let (uniforms, normals) = (uniform.values(), normal.values())
    let size = batch.width * batch.height * batch.channels
    var pixels: [Float] = []
    pixels.reserveCapacity(batch.count * size)
    var parameters: [Float] = []
    for index in 0..<batch.count {
      let change = Change(
        uniform: uniforms[9 * index..<9 * (index + 1)], normal: normals[4 * index..<4 * (index + 1)],
        probability: probability)
      parameters += change.parameters
      change.append(batch.pixels[index * size..<(index + 1) * size], batch, to: &pixels)
    }
    let images = Tensor(pixels, shape: [batch.count, batch.height, batch.width, batch.channels], on: backend)
    return (
      backend.affine(images, scale: 2 / 255, shift: -1),
      Tensor(parameters, shape: [batch.count, NonLeakyAugmentation.parameterCount], on: backend)
    )
  }

  /// The changes to one image.
  private struct Change {
    var isMirrored = false
    var isUpsideDown = false
    /// The scaling's logarithm to base 2, divided by 0.2.
    var scaling: Float = 0
    /// Clockwise, in radians.
    var rotation: Float = 0
    /// The same for stretching, and the direction that it is along; across it, the image shrinks by as much.
    var stretching: (amount: Float, angle: Float) = (0, 0)
    /// In eighths of the size.
    var moving: (right: Float, down: Float) = (0, 0)

    /// All random numbers are used whichever changes happen, so that one change does not depend on another.
    init(uniform: ArraySlice<Float>, normal: ArraySlice<Float>, probability: Float) {
      let (u, n) = (Array(uniform), Array(normal))
      isMirrored = u[0] < 0.5
      isUpsideDown = u[1] < probability && u[2] < 0.5
      if u[3] < probability { scaling = n[0] }
      if u[4] < probability { rotation = (2 * u[5] - 1) * .pi }
      if u[6] < probability { stretching = (n[1], (2 * u[7] - 1) * .pi) }
      if u[8] < probability { moving = (n[2], n[3]) }
    }

    /// The stretching's angle is doubled: a quarter turn makes it the opposite stretching.
    var parameters: [Float] {
      [
        isMirrored ? 1 : 0, isUpsideDown ? 1 : 0, scaling, cos(rotation) - 1, sin(rotation),
        stretching.amount * cos(2 * stretching.angle), stretching.amount * sin(2 * stretching.angle), moving.right,
        moving.down,
      ]
    }

    /// Where a pixel of the changed image comes from: a matrix, row by row, for positions relative to the centre after
    /// the moving is undone.
    private var inverse: (xx: Float, xy: Float, yx: Float, yy: Float) {
      func rotation(_ angle: Float) -> [Float] { [cos(angle), sin(angle), -sin(angle), cos(angle)] }
      func product(_ a: [Float], _ b: [Float]) -> [Float] {
        [
          a[0] * b[0] + a[1] * b[2], a[0] * b[1] + a[1] * b[3], a[2] * b[0] + a[3] * b[2], a[2] * b[1] + a[3] * b[3],
        ]
      }
      let shrinking = exp2(-0.2 * scaling)
      let squeezing = exp2(-0.2 * stretching.amount)
      let matrix = [
        [(isMirrored ? -1 : 1) * shrinking, 0, 0, (isUpsideDown ? -1 : 1) * shrinking], rotation(self.rotation),
        rotation(-stretching.angle), [squeezing, 0, 0, 1 / squeezing], rotation(stretching.angle),
      ].reduce([1, 0, 0, 1], product)
      return (matrix[0], matrix[1], matrix[2], matrix[3])
    }

    /// Appends the changed image.
    func append(_ image: ArraySlice<UInt8>, _ batch: Batch, to pixels: inout [Float]) {
      if parameters.allSatisfy({ $0 == 0 }) {
        pixels += image.map(Float.init)
        return
      }
      let (width, height, channels) = (batch.width, batch.height, batch.channels)
      let (middleX, middleY) = (Float(width - 1) / 2, Float(height - 1) / 2)
      let matrix = inverse
      let (right, down) = (moving.right * Float(width) / 8, moving.down * Float(height) / 8)
      for row in 0..<height {
        for column in 0..<width {
          let (x, y) = (Float(column) - middleX - right, Float(row) - middleY - down)
          let (left, rightShare) = Change.cell(matrix.xx * x + matrix.xy * y + middleX)
          let (top, bottomShare) = Change.cell(matrix.yx * x + matrix.yy * y + middleY)
          let columns = (Change.mirrored(left, width), Change.mirrored(left + 1, width))
          let rows = (Change.mirrored(top, height) * width, Change.mirrored(top + 1, height) * width)
          for channel in 0..<channels {
            func pixel(_ row: Int, _ column: Int) -> Float {
              Float(image[image.startIndex + (row + column) * channels + channel])
            }
            let upper = pixel(rows.0, columns.0) * (1 - rightShare) + pixel(rows.0, columns.1) * rightShare
            let lower = pixel(rows.1, columns.0) * (1 - rightShare) + pixel(rows.1, columns.1) * rightShare
            pixels.append(upper * (1 - bottomShare) + lower * bottomShare)
          }
        }
      }
    }

    /// The pixel at or before a position, and the fraction of the next one.
    private static func cell(_ place: Float) -> (Int, Float) {
      let whole = place.rounded(.down)
      return (Int(whole), place - whole)
    }

    /// A position on a line of `count` pixels that is mirrored at both ends, without repeating the last pixel.
    private static func mirrored(_ place: Int, _ count: Int) -> Int {
      if count == 1 { return 0 }
      let period = 2 * (count - 1)
      let inside = ((place % period) + period) % period
      return min(inside, period - inside)
    }
  }
}
