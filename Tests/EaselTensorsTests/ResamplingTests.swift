import EaselTensors
import EaselTestSupport
import Testing

/// Padding, upsampling and pooling of images against naive references.
struct ResamplingTests {
  /// Images `[2, 5, 7, C]` and larger ones that two threads share.
  static let shapes: [Shape] = [[2, 5, 7, 1], [1, 4, 6, 3], [3, 14, 15, 20]]

  /// A pixel's channel, 0 outside the image.
  private static func pixel(_ x: [Double], _ shape: Shape, _ at: [Int]) -> Double {
    guard (0..<shape[1]).contains(at[1]), (0..<shape[2]).contains(at[2]) else { return 0 }
    return x[((at[0] * shape[1] + at[1]) * shape[2] + at[2]) * shape[3] + at[3]]
  }

  @Test("A border is added or cut off", arguments: Kernels.all, shapes)
  func pad(kernels: Kernels, shape: Shape) throws {
    let insets = [
      Insets(top: 1, left: 2, bottom: 3, right: 4), Insets(bottom: 1, right: 1),
      Insets(top: -1, left: -2, bottom: -1, right: -1), Insets(top: 2, left: -1, bottom: -2, right: 3),
    ]
    let (differences, shapes) = try TensorThread.run {
      let backend = kernels.backend()
      let x = randomTensor(shape, type: kernels.type, on: backend)
      let results = insets.map { backend.pad(x, $0) }
      let values = x.doubles
      let differences = zip(insets, results).map { inset, y in
        difference(
          "\(inset)", y,
          indices(y.shape).map { Self.pixel(values, shape, [$0[0], $0[1] - inset.top, $0[2] - inset.left, $0[3]]) })
      }
      return (differences, results.map(\.shape))
    }
    expectClose(differences)
    #expect(
      shapes
        == insets.map { [shape[0], shape[1] + $0.top + $0.bottom, shape[2] + $0.left + $0.right, shape[3]] as Shape })
  }

  /// The position after that many steps of a walk that turns back at either end.
  private static func mirrored(_ steps: Int, _ size: Int) -> Int {
    var (at, direction) = (0, 1)
    for _ in 0..<steps + 2 * (size - 1) * 8 {
      if at == size - 1 { direction = -1 } else if at == 0 { direction = 1 }
      at += direction
    }
    return at
  }

  @Test("A border of mirrored pixels, and the gradient's sums back", arguments: Kernels.all, shapes)
  func reflectionPad(kernels: Kernels, shape: Shape) throws {
    let insets = [
      Insets(top: 1, left: 1, bottom: 1, right: 1), Insets(top: 3, left: 2, bottom: 0, right: 1),
      // The widest border: pixels appear three times along each axis.
      Insets(top: shape[1] - 1, left: shape[2] - 1, bottom: shape[1] - 1, right: shape[2] - 1),
    ]
    let differences = try TensorThread.run {
      let backend = kernels.backend()
      let x = randomTensor(shape, type: kernels.type, on: backend)
      let values = x.doubles
      return insets.flatMap { inset -> [Difference] in
        let y = backend.reflectionPad(x, inset)
        let dy = randomTensor(y.shape, seed: 2, type: kernels.type, on: backend)
        let slopes = dy.doubles
        let sources = indices(y.shape).map { at in
          let row = Self.mirrored(at[1] - inset.top, shape[1])
          let column = Self.mirrored(at[2] - inset.left, shape[2])
          return ((at[0] * shape[1] + row) * shape[2] + column) * shape[3] + at[3]
        }
        var sums = [Double](repeating: 0, count: shape.count)
        for (place, source) in sources.enumerated() { sums[source] += slopes[place] }
        return [
          difference("\(inset)", y, sources.map { values[$0] }),
          difference("\(inset) gradient", backend.reflectionPadGradient(dy, inset), sums),
        ]
      }
    }
    expectClose(differences)
  }

  @Test("Nearest neighbours up, and the gradient's sums back", arguments: Kernels.all, shapes)
  func upsample(kernels: Kernels, shape: Shape) throws {
    let differences = try TensorThread.run {
      let backend = kernels.backend()
      return [1, 2, 3].flatMap { factor -> [Difference] in
        let x = randomTensor(shape, type: kernels.type, on: backend)
        let y = backend.upsampleNearest(x, factor: factor)
        let dy = randomTensor(y.shape, seed: 2, type: kernels.type, on: backend)
        let (values, slopes) = (x.doubles, dy.doubles)
        var sums = [Double](repeating: 0, count: shape.count)
        for (place, at) in indices(y.shape).enumerated() {
          sums[((at[0] * shape[1] + at[1] / factor) * shape[2] + at[2] / factor) * shape[3] + at[3]] += slopes[place]
        }
        let repeated = indices(y.shape).map {
          Self.pixel(values, shape, [$0[0], $0[1] / factor, $0[2] / factor, $0[3]])
        }
        return [
          difference("×\(factor)", y, repeated),
          difference("×\(factor) gradient", backend.upsampleNearestGradient(dy, factor: factor), sums),
        ]
      }
    }
    expectClose(differences)
  }

  @Test("Means over squares omit the remainder, and so does their gradient", arguments: Kernels.all, shapes)
  func averagePool(kernels: Kernels, shape: Shape) throws {
    let (differences, shapes) = try TensorThread.run {
      let backend = kernels.backend()
      let x = randomTensor(shape, type: kernels.type, on: backend)
      let values = x.doubles
      var shapes: [Shape] = []
      let differences = [1, 2, 3].flatMap { factor -> [Difference] in
        let y = backend.averagePool(x, factor: factor)
        shapes.append(y.shape)
        let dy = randomTensor(y.shape, seed: 2, type: kernels.type, on: backend)
        let slopes = dy.doubles
        let area = Double(factor * factor)
        let means = indices(y.shape).map { at in
          indices([factor, factor]).reduce(0) {
            $0 + Self.pixel(values, shape, [at[0], at[1] * factor + $1[0], at[2] * factor + $1[1], at[3]])
          } / area
        }
        let spread = indices(shape).map {
          Self.pixel(slopes, y.shape, [$0[0], $0[1] / factor, $0[2] / factor, $0[3]]) / area
        }
        return [
          difference("÷\(factor)", y, means),
          difference(
            "÷\(factor) gradient", backend.averagePoolGradient(dy, inputShape: shape, factor: factor), spread),
        ]
      }
      return (differences, shapes)
    }
    expectClose(differences)
    #expect(shapes == [1, 2, 3].map { [shape[0], shape[1] / $0, shape[2] / $0, shape[3]] as Shape })
  }
}
