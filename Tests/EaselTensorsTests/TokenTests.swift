import EaselTensors
import EaselTestSupport
import Foundation
import Testing

/// Tokens chosen for each sample, and images as patches, against naive references.
struct TokenTests {
  /// Tokens, their width, and the chosen ones of each sample.
  struct Case: Sendable, CustomTestStringConvertible {
    let tokens, width: Int
    let chosen: [[Int32]]
    var testDescription: String { "\(chosen.count) × \(chosen[0].count) of \(tokens) tokens, \(width) wide" }

    static let all = [
      Case(tokens: 1, width: 1, chosen: [[0]]),
      Case(tokens: 5, width: 19, chosen: [[4, 0, -1], [1, 1, 3], [-1, -1, -1]]),
      // More than exist, as when all patches are made from a few.
      Case(tokens: 2, width: 64, chosen: [[-1, 1, -1, 0, -1], [0, -1, -1, -1, 1]]),
      // Enough for several threads.
      Case(tokens: 49, width: 128, chosen: (0..<40).map { n in (0..<12).map { Int32((n * 7 + $0 * 5) % 49) } }),
      Case(
        tokens: 12, width: 64, chosen: (0..<40).map { n in (0..<49).map { ($0 + Int32(n)) % 4 == 0 ? $0 / 5 : -1 } }),
    ]
  }

  @Test("Tokens are chosen for each sample, and gradients go back to them", arguments: Kernels.all, Case.all)
  func gather(kernels: Kernels, c: Case) throws {
    let (samples, count) = (c.chosen.count, c.chosen[0].count)
    let (exact, differences) = try TensorThread.run {
      let backend = kernels.backend()
      let x = randomTensor([samples, c.tokens, c.width], seed: 1, type: kernels.type, on: backend)
      let filler = randomTensor([c.width], seed: 2, on: backend)
      let indices = Tensor(c.chosen.flatMap { $0 }, on: backend).reshaped([samples, count])
      let dy = randomTensor([samples, count, c.width], seed: 3, type: kernels.type, on: backend)
      let (values, rest, slopes) = (x.values(), filler.cast(to: kernels.type).values(), dy.doubles)
      var (filled, plain): ([Float], [Float]) = ([], [])
      var dx = [Double](repeating: 0, count: values.count)
      var dfiller = [Double](repeating: 2, count: c.width)
      for (n, chosen) in c.chosen.enumerated() {
        for (k, index) in chosen.enumerated() {
          for channel in 0..<c.width {
            let place = (n * c.tokens + Int(index)) * c.width + channel
            filled.append(index < 0 ? rest[channel] : values[place])
            plain.append(index < 0 ? 0 : values[place])
            let slope = slopes[(n * count + k) * c.width + channel]
            if index < 0 { dfiller[channel] += slope } else { dx[place] += slope }
          }
        }
      }
      let fillerGradient = Tensor(repeating: 2, shape: [c.width], on: backend)
      let gradient = backend.gatherTokensGradient(dy, indices, count: c.tokens, fillerGradient: fillerGradient)
      let alone = backend.gatherTokensGradient(dy, indices, count: c.tokens, fillerGradient: nil)
      return (
        backend.gatherTokens(x, indices, filler: filler).values() == filled
          && backend.gatherTokens(x, indices, filler: nil).values() == plain && alone.bytes == gradient.bytes,
        [
          difference("dx", gradient, dx), difference("filler", fillerGradient, dfiller, absolute: 1e-4),
        ]
      )
    }
    #expect(exact)
    expectClose(differences)
  }

  @Test(
    "Images become patches and images again", arguments: Kernels.all,
    [([1, 1, 1, 1], 1), ([2, 4, 6, 3], 2), ([3, 12, 8, 1], 4), ([1, 6, 6, 2], 3), ([40, 28, 28, 1], 4)]
      as [(Shape, Int)])
  func patches(kernels: Kernels, _ sizes: (shape: Shape, patch: Int)) throws {
    let (shape, p) = sizes
    let (height, width, channels) = (shape[1], shape[2], shape[3])
    let (found, expected, same) = try TensorThread.run {
      let backend = kernels.backend()
      let images = randomTensor(shape, seed: 1, type: kernels.type, on: backend)
      let values = images.values()
      let patches = backend.patches(images, size: p)
      // facebookresearch/mae: einsum 'nhpwqc->nhwpqc'.
      let order = indices([shape[0], height / p, width / p, p, p, channels])
      let expected = order.map { i in
        values[((i[0] * height + i[1] * p + i[3]) * width + i[2] * p + i[4]) * channels + i[5]]
      }
      let back = backend.joinPatches(patches, size: p, height: height, width: width)
      return (patches.values(), expected, back.values() == values && back.shape == shape)
    }
    #expect(found == expected)
    #expect(same)
  }
}
