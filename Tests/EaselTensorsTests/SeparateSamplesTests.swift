import EaselTensors
import EaselTestSupport
import Testing

/// Samples that are computed as if each were alone.
struct SeparateSamplesTests {
  /// An operation on samples, and the shape of a few of them.
  struct Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let shape: Shape
    let operation: @Sendable (_ x: Tensor) -> Tensor

    /// A convolution with bias.
    static func convolution(_ shape: Shape, _ outputs: Int, _ kernel: Int, _ window: ConvolutionWindow) -> Case {
      Case(testDescription: "\(shape) by \(kernel)×\(kernel)/\(window.strideHeight) to \(outputs)", shape: shape) { x in
        let weight = randomTensor([outputs, shape[3], kernel, kernel], seed: 2, on: x.backend)
        let bias = randomTensor([outputs], seed: 3, on: x.backend)
        return x.backend.convolution(x, weight: weight, bias: bias, residual: nil, window)
      }
    }

    /// A transposed convolution.
    static func transposed(_ shape: Shape, _ outputs: Int, _ kernel: Int, _ window: ConvolutionWindow) -> Case {
      let size = (0..<2).map { (shape[$0 + 1] - 1) * window.strideHeight + kernel - 2 * window.top }
      return Case(
        testDescription: "\(shape) by \(kernel)×\(kernel)/\(window.strideHeight), transposed, to \(outputs)",
        shape: shape
      ) { x in
        let weight = randomTensor([shape[3], outputs, kernel, kernel], seed: 2, on: x.backend)
        return x.backend.convolutionInputGradient(
          x, weight: weight, inputShape: [x.shape[0], size[0], size[1], outputs], window, adding: nil)
      }
    }

    static func linear(_ shape: Shape, _ outputs: Int) -> Case {
      Case(testDescription: "\(shape) to \(outputs)", shape: shape) { x in
        let weight = randomTensor([outputs, shape.last], seed: 2, on: x.backend)
        let residual = x.backend.linear(x, weight: weight, bias: nil, residual: nil)
        return x.backend.linear(
          x, weight: weight, bias: randomTensor([outputs], seed: 3, on: x.backend), residual: residual)
      }
    }

    static let all: [Case] = [
      convolution([20, 7, 7, 64], 64, 3, ConvolutionWindow(padding: 1)),
      convolution([20, 14, 14, 32], 64, 4, ConvolutionWindow(stride: 2, padding: 1)),
      convolution([20, 9, 9, 5], 24, 3, ConvolutionWindow(stride: 2, padding: 1)),
      convolution([20, 32, 32, 24], 40, 5, ConvolutionWindow(padding: 2)),
      convolution([20, 12, 12, 32], 1, 3, ConvolutionWindow(padding: 1)),
      convolution([20, 6, 6, 48], 20, 1, ConvolutionWindow()),
      // Weights that at all of Winograd's points are too large for a cache.
      convolution([20, 4, 4, 512], 480, 3, ConvolutionWindow(padding: 1)),
      transposed([20, 7, 7, 64], 32, 4, ConvolutionWindow(stride: 2, padding: 1)),
      transposed([20, 5, 6, 40], 24, 4, ConvolutionWindow(stride: 2, padding: 1)),
      transposed([20, 9, 9, 32], 32, 3, ConvolutionWindow(padding: 1)),
      linear([20, 100], 300), linear([20, 49, 64], 192), linear([20, 700, 64], 128),
      Case(testDescription: "attention of few tokens", shape: [20, 49, 96]) { $0.backend.selfAttention($0, heads: 2) },
      Case(testDescription: "attention of many tokens", shape: [20, 100, 96]) {
        $0.backend.selfAttention($0, heads: 2)
      },
      Case(testDescription: "causal attention", shape: [20, 100, 96]) {
        $0.backend.selfAttention($0, heads: 2, mask: .causal).y
      },
    ]
  }

  @Test("A sample has the same bytes alone and beside others", arguments: Backends.available, Case.all)
  func alone(_ kind: BackendKind, _ subject: Case) throws {
    for type in kind == .onednn && Backends.bfloat16 != .none ? [ScalarType.float32, .bfloat16] : [.float32] {
      try onTensors(kind) { backend in
        let x = randomTensor(subject.shape, seed: 1, type: type, on: backend)
        func bytes(_ range: Range<Int>) -> [UInt8] { backend.separately { subject.operation(x[range]).bytes } }
        let all = bytes(0..<20)
        let size = all.count / 20
        for range in [0..<1, 3..<4, 1..<4, 4..<20, 5..<13] {
          #expect(bytes(range) == Array(all[range.lowerBound * size..<range.upperBound * size]), "\(type) \(range)")
        }
        // It is also the same as in training, except for rounding.
        let together = subject.operation(x).values()
        let difference = difference("", backend.separately { subject.operation(x).values() }, together)
        #expect(difference.relative < (type == .float32 ? 1e-5 : 1e-2), "\(type): \(difference)")
      }
    }
  }

  /// Weights at all of Winograd's points are 16 times as large as in bfloat16. A network of hundreds of millions of them
  /// would not fit into memory.
  @Test(
    "Large weights are not transformed for small images, and never kept",
    .enabled(if: Backends.available.contains(.onednn) && Backends.bfloat16 != .none))
  func largeWeights() throws {
    let transformed = 36 * 512 * 512 * 4
    for (side, isTransformed) in [(16, false), (48, true)] {
      let (peak, kept) = try onTensors(.onednn) { backend -> (Int, Int) in
        let weight = randomTensor([512, 512, 3, 3], scale: 0.01, on: backend)
        weight.storage.markModified()
        let x = randomTensor([1, side, side, 512], seed: 2, type: .bfloat16, on: backend)
        let before = backend.memory.bytesInUse
        return backend.separately {
          for _ in 0..<5 {
            _ = backend.convolution(x, weight: weight, bias: nil, residual: nil, ConvolutionWindow(padding: 1))
          }
          return (backend.memory.peakBytes - before, backend.memory.bytesInUse - before)
        }
      }
      #expect((peak > transformed) == isTransformed && kept < transformed, "\(side): \(peak), \(kept)")
    }
  }
}
