import EaselTensors
import EaselTestSupport
import Foundation
import Testing

/// Loops over rows against naive references.
struct RowTests {
  static let shapes: [Shape] = [[1, 1], [5, 3], [7, 40], [2, 3, 5, 17], [1500, 33]]

  @Test("A row is added to every row; rows and samples are summed", arguments: Kernels.all, shapes)
  func rows(kernels: Kernels, shape: Shape) throws {
    let differences = try TensorThread.run {
      let backend = kernels.backend()
      let x = randomTensor(shape, seed: 1, type: kernels.type, on: backend)
      let (columns, rows, samples) = (shape.last, shape.count / shape.last, shape[0])
      let row = randomTensor([columns], seed: 2, on: backend)
      let sums = randomTensor([columns], seed: 3, on: backend)
      let before = sums.doubles
      backend.sumRows(x, into: sums)
      let (values, added) = (x.doubles, row.doubles)
      let columnSums = (0..<columns).map { c in (0..<rows).reduce(before[c]) { $0 + values[$1 * columns + c] } }
      let size = shape.count / samples
      let sampleSums = (0..<samples).map { values[$0 * size..<($0 + 1) * size].reduce(0, +) }
      return [
        difference("addRow", backend.addRow(x, row), values.indices.map { values[$0] + added[$0 % columns] }),
        difference("sumRows", sums, columnSums, absolute: 2e-4),
        difference("sumSamples", backend.sumSamples(x), sampleSums, absolute: 2e-4),
      ]
    }
    expectClose(differences)
  }

  @Test("Samples are mixed by their own weights", arguments: Kernels.all, shapes)
  func mix(kernels: Kernels, shape: Shape) throws {
    let differences = try TensorThread.run {
      let backend = kernels.backend()
      let a = randomTensor(shape, seed: 1, type: kernels.type, on: backend)
      let b = randomTensor(shape, seed: 2, type: kernels.type, on: backend)
      let (alpha, beta) = (
        randomTensor([shape[0]], seed: 3, on: backend), randomTensor([shape[0]], seed: 4, on: backend)
      )
      let (x, y, u, v) = (a.doubles, b.doubles, alpha.doubles, beta.doubles)
      let size = shape.count / shape[0]
      return [
        difference(
          "two", backend.scaledSum(a, by: alpha, b, by: beta),
          x.indices.map { u[$0 / size] * x[$0] + v[$0 / size] * y[$0] }),
        difference("one", backend.scaledSum(a, by: alpha, nil, by: nil), x.indices.map { u[$0 / size] * x[$0] }),
      ]
    }
    expectClose(differences)
  }

  @Test("Channels are joined and cut, with parts of any width", arguments: Kernels.all)
  func channels(kernels: Kernels) throws {
    let widths = [3, 1, 0, 20]
    let (joined, expected, parts, cut) = try TensorThread.run {
      let backend = kernels.backend()
      let parts = widths.enumerated().map { index, width in
        randomTensor([2, 700, width], seed: UInt64(index + 1), type: kernels.type, on: backend)
      }
      let joined = backend.concatenate(parts)
      var expected: [Float] = []
      for row in 0..<1400 {
        for (part, width) in zip(parts, widths) { expected += part.values()[row * width..<(row + 1) * width] }
      }
      let starts = [0, 3, 4, 4]
      let cut = zip(starts, widths).map { backend.slice(joined, $0..<$0 + $1).values() }
      return (joined.values(), expected, parts.map { $0.values() }, cut)
    }
    #expect(joined == expected)
    #expect(cut == parts)
  }

  @Test("Rows are looked up and added back; an index below 0 is none", arguments: Kernels.all)
  func gather(kernels: Kernels) throws {
    let chosen: [Int32] = [4, 0, -1, 4, 2]
    let (rows, table, gradient, dy) = try TensorThread.run {
      let backend = kernels.backend()
      let table = randomTensor([5, 19], seed: 1, on: backend)
      let indices = Tensor(chosen, on: backend)
      let dy = randomTensor([5, 19], seed: 2, type: kernels.type, on: backend)
      let gradient = Tensor(repeating: 1, shape: [5, 19], on: backend)
      backend.scatterAdd(dy, indices, into: gradient)
      return (
        backend.gather(table, indices, type: kernels.type).values(),
        table.cast(to: kernels.type).values(), gradient.values(), dy.values()
      )
    }
    let expected = chosen.flatMap { index in (0..<19).map { index < 0 ? 0 : table[Int(index) * 19 + $0] } }
    #expect(rows == expected)
    var sums = [Double](repeating: 1, count: 5 * 19)
    for (place, index) in chosen.enumerated() where index >= 0 {
      for c in 0..<19 { sums[Int(index) * 19 + c] += Double(dy[place * 19 + c]) }
    }
    expectClose([difference("scatterAdd", gradient, sums)])
  }

  @Test(
    "Softmax with a mask, and its gradient", arguments: Kernels.all,
    [[1, 1], [3, 5], [2, 3, 37], [700, 49]] as [Shape])
  func softmax(kernels: Kernels, shape: Shape) throws {
    let (differences, sums) = try TensorThread.run {
      let backend = kernels.backend()
      let columns = shape.last
      // Large enough that exp overflows unless the largest is subtracted.
      let x = randomTensor(shape, seed: 1, scale: 100, type: kernels.type, on: backend)
      let maskValues = (0..<columns).map { $0 > 0 && $0 % 4 == 0 ? -Float.infinity : Float($0 % 3) * 0.5 }
      let mask = Tensor(maskValues, shape: [columns], on: backend)
      func reference(_ x: [Double], scale: Double, mask: [Double]?) -> [Double] {
        stride(from: 0, to: x.count, by: columns).flatMap { start -> [Double] in
          let scores = (0..<columns).map { x[start + $0] * scale + (mask?[$0] ?? 0) }
          let high = scores.max() ?? 0
          let powers = scores.map { exp($0 - high) }
          let total = powers.reduce(0, +)
          return powers.map { $0 / total }
        }
      }
      let plain = backend.softmax(x, scale: 1, mask: nil)
      let masked = backend.softmax(x, scale: 0.01, mask: mask)
      let dy = randomTensor(shape, seed: 2, type: kernels.type, on: backend)
      let (y, slope) = (masked.doubles, dy.doubles)
      let gradient = y.indices.map { place -> Double in
        let start = place / columns * columns
        let dot = (start..<start + columns).reduce(0) { $0 + y[$1] * slope[$1] }
        return 0.5 * y[place] * (slope[place] - dot)
      }
      return (
        [
          difference("plain", plain, reference(x.doubles, scale: 1, mask: nil), absolute: 1e-5),
          difference(
            "masked", masked, reference(x.doubles, scale: Double(Float(0.01)), mask: maskValues.map(Double.init))),
          difference("gradient", backend.softmaxGradient(masked, dy: dy, scale: 0.5), gradient),
        ], backend.sumSamples(plain.reshaped([-1, columns])).values()
      )
    }
    expectClose(differences)
    #expect(sums.allSatisfy { abs($0 - 1) < (kernels.type == .bfloat16 ? 0.02 : 1e-5) })
  }
}
