import EaselTensors
import EaselTestSupport
import Testing

/// Convolutions: OpenBLAS against loops in Double, oneDNN against OpenBLAS, bfloat16 against float32.
struct ConvolutionTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let input: Shape
    let outputChannels: Int
    let kernel: (height: Int, width: Int)
    let window: ConvolutionWindow

    init(_ input: Shape, _ outputChannels: Int, kernel: Int, _ window: ConvolutionWindow) {
      self.init(input, outputChannels, kernel: (kernel, kernel), window)
    }

    init(_ input: Shape, _ outputChannels: Int, kernel: (Int, Int), _ window: ConvolutionWindow) {
      self.input = input
      self.outputChannels = outputChannels
      self.kernel = kernel
      self.window = window
    }

    var weight: Shape { [outputChannels, input[3], kernel.height, kernel.width] }
    var output: Shape { window.outputShape(input: input, weight: weight) }
    var testDescription: String {
      "\(input) to \(outputChannels), \(kernel.height)×\(kernel.width), stride \(window.strideHeight)×\(window.strideWidth),"
        + " padding \(window.top) \(window.left) \(window.bottom) \(window.right)"
    }

    private static var unevenStride: ConvolutionWindow {
      var window = ConvolutionWindow(stride: 2, padding: 1)
      window.strideWidth = 3
      return window
    }

    /// Convolutions for Winograd's method: whole and cut tiles, every padding, one tile and many blocks; with
    /// enough tiles for the gradient of the weights too.
    static let winograd = [
      Case([17, 8, 8, 32], 32, kernel: 3, .init(padding: 1)),
      Case([25, 7, 7, 64], 96, kernel: 3, .init(padding: 1)),
      Case([6, 14, 15, 96], 32, kernel: 3, .init(padding: 1)),
      Case([8, 14, 14, 32], 32, kernel: 3, .init()),
      Case([10, 12, 10, 32], 64, kernel: 3, .init(stride: 1, top: 2, left: 0, bottom: 0, right: 2)),
      Case([67, 6, 6, 32], 32, kernel: 3, .init()),
      Case([3, 40, 36, 32], 32, kernel: 3, .init(padding: 1)),
      Case([17, 8, 8, 512], 256, kernel: 3, .init(padding: 1)),
      // The input is larger than the output: whole and cut tiles, one image per block and several.
      Case([7, 18, 18, 32], 64, kernel: 3, .init()),
      Case([9, 9, 18, 64], 32, kernel: 3, .init(stride: 1, top: 0, left: 0, bottom: 1, right: 0)),
      Case([2, 34, 34, 32], 32, kernel: 3, .init()),
      // With stride 2: even and odd sizes, one tile per image and the largest number.
      Case([130, 8, 8, 32], 32, kernel: 4, .init(stride: 2, padding: 1)),
      Case([55, 14, 14, 64], 96, kernel: 4, .init(stride: 2, padding: 1)),
      Case([40, 17, 18, 32], 64, kernel: 4, .init(stride: 2, padding: 1)),
      Case([35, 15, 32, 32], 32, kernel: 4, .init(stride: 2, top: 3, left: 0, bottom: 0, right: 2)),
      Case([130, 10, 10, 64], 32, kernel: 4, .init(stride: 2)),
      Case([4, 64, 62, 32], 64, kernel: 4, .init(stride: 2, padding: 1)),
    ]

    /// Convolutions to few channels.
    static let narrow = [
      Case([2, 9, 7, 32], 1, kernel: 3, .init(padding: 1)),
      Case([3, 6, 11, 64], 3, kernel: 7, .init(padding: 3)),
      Case([3, 12, 12, 96], 1, kernel: 4, .init(padding: 1)),
      Case([2, 5, 5, 32], 2, kernel: (3, 1), .init(stride: 1, top: 2, left: 0, bottom: 1, right: 0)),
      Case([5, 4, 3, 128], 4, kernel: 3, .init()),
      Case([2, 12, 18, 32], 3, kernel: 7, .init()),
      Case([3, 9, 16, 64], 2, kernel: (2, 5), .init(stride: 1, top: 1, left: 3, bottom: 0, right: 1)),
    ]

    /// Convolutions from few channels, so that the input's gradient is a convolution to few.
    static let narrowInputs = [
      Case([2, 9, 7, 1], 32, kernel: 3, .init(padding: 1)),
      Case([3, 14, 18, 3], 64, kernel: 7, .init()),
      Case([2, 5, 9, 4], 32, kernel: (4, 3), .init(stride: 1, top: 2, left: 0, bottom: 1, right: 2)),
      Case([1, 12, 11, 2], 96, kernel: 4, .init(padding: 1)),
    ]

    static let all = [
      Case([1, 1, 1, 1], 1, kernel: 1, .init()),
      Case([3, 5, 7, 3], 1, kernel: 1, .init()),
      Case([2, 7, 5, 20], 33, kernel: 1, .init()),
      Case([2, 8, 9, 6], 5, kernel: 1, .init(stride: 2)),
      Case([1, 28, 28, 1], 32, kernel: 3, .init(padding: 1)),
      Case([2, 9, 7, 3], 16, kernel: 3, .init(padding: 1)),
      Case([3, 11, 13, 17], 5, kernel: 3, .init(stride: 2, padding: 1)),
      Case([2, 14, 14, 32], 64, kernel: 3, .init(padding: 1)),
      Case([4, 8, 8, 16], 16, kernel: 3, .init(stride: 2, top: 0, left: 0, bottom: 1, right: 1)),
      Case([1, 10, 12, 8], 3, kernel: 4, .init(stride: 2, padding: 1)),
      Case([5, 6, 6, 3], 1, kernel: 4, .init()),
      // More weights than gradients of the output; its channels do not divide evenly.
      Case([3, 8, 8, 40], 200, kernel: 4, .init(padding: 1)),
      Case([1, 16, 15, 3], 8, kernel: 7, .init(padding: 3)),
      Case([2, 9, 9, 1], 2, kernel: 7, .init(stride: 3, top: 3, left: 1, bottom: 2, right: 0)),
      Case([2, 9, 8, 4], 6, kernel: (1, 3), .init(stride: 1, top: 0, left: 2, bottom: 0, right: 1)),
      Case([2, 12, 11, 4], 6, kernel: (3, 2), unevenStride),
    ]
  }

  /// The results and inputs of a convolution's three operations.
  struct Results: Sendable {
    var y, yPlain, dx, dxSum, dw, db, dwAlone: [Float]
    static let names = ["y", "y plain", "dx", "dx + x", "dw", "db", "dw alone"]
    var all: [[Float]] { [y, yPlain, dx, dxSum, dw, db, dwAlone] }
  }

  /// Runs a case. Gradients are added to ones, and `persistent` parameters may be cached.
  private static func run(_ c: Case, on backend: any Backend, type: ScalarType = .float32, persistent: Bool = false)
    -> Results
  {
    let x = randomTensor(c.input, seed: 1, type: type, on: backend)
    let weight = randomTensor(c.weight, seed: 2, scale: 0.2, on: backend)
    if persistent { weight.storage.markModified() }
    let bias = randomTensor([c.outputChannels], seed: 3, on: backend)
    let residual = randomTensor(c.output, seed: 4, type: type, on: backend)
    let dy = randomTensor(c.output, seed: 5, type: type, on: backend)
    let dw = Tensor(repeating: 1, shape: c.weight, on: backend)
    let db = Tensor(repeating: 1, shape: [c.outputChannels], on: backend)
    let alone = Tensor(repeating: 0, shape: c.weight, on: backend)
    let y = backend.convolution(x, weight: weight, bias: bias, residual: residual, c.window)
    let plain = backend.convolution(x, weight: weight, bias: nil, residual: nil, c.window)
    let dx = backend.convolutionInputGradient(dy, weight: weight, inputShape: c.input, c.window, adding: nil)
    let dxSum = backend.convolutionInputGradient(dy, weight: weight, inputShape: c.input, c.window, adding: x)
    backend.convolutionWeightGradient(x, dy, into: dw, bias: db, c.window)
    backend.convolutionWeightGradient(x, dy, into: alone, bias: nil, c.window)
    return Results(
      y: y.values(), yPlain: plain.values(), dx: dx.values(), dxSum: dxSum.values(), dw: dw.values(), db: db.values(),
      dwAlone: alone.values())
  }

  /// The definition, one product at a time.
  private static func reference(_ c: Case) -> [[Double]] {
    func doubles(_ shape: Shape, seed: UInt64, scale: Float = 1) -> [Double] {
      randomValues(shape.count, seed: seed, scale: scale).map(Double.init)
    }
    let (x, w) = (doubles(c.input, seed: 1), doubles(c.weight, seed: 2, scale: 0.2))
    let (bias, residual, dy) = (
      doubles([c.outputChannels], seed: 3), doubles(c.output, seed: 4), doubles(c.output, seed: 5)
    )
    var plain = residual.map { _ in 0.0 }
    var (dx, dw) = (x.map { _ in 0.0 }, w.map { _ in 0.0 })
    var db = bias.map { _ in 1.0 }
    for (place, at) in indices(c.output).enumerated() {
      let (n, oy, ox, o) = (at[0], at[1], at[2], at[3])
      db[o] += dy[place]
      for ky in 0..<c.kernel.height {
        let iy = oy * c.window.strideHeight + ky - c.window.top
        for kx in 0..<c.kernel.width {
          let ix = ox * c.window.strideWidth + kx - c.window.left
          guard iy >= 0, iy < c.input[1], ix >= 0, ix < c.input[2] else { continue }
          for i in 0..<c.input[3] {
            let source = ((n * c.input[1] + iy) * c.input[2] + ix) * c.input[3] + i
            let tap = ((o * c.input[3] + i) * c.kernel.height + ky) * c.kernel.width + kx
            plain[place] += x[source] * w[tap]
            dx[source] += dy[place] * w[tap]
            dw[tap] += dy[place] * x[source]
          }
        }
      }
    }
    let y = plain.indices.map { plain[$0] + bias[$0 % c.outputChannels] + residual[$0] }
    return [y, plain, dx, zip(dx, x).map { $0 + $1 }, dw.map { $0 + 1 }, db, dw]
  }

  private static func fast(_ threads: Int, _ instructionSet: InstructionSet) -> OpenBLASBackend {
    OpenBLASBackend(threads: ThreadPool(count: threads), instructionSet: instructionSet, winograd: true)
  }

  private static func differences(_ a: Results, _ b: Results) -> [Difference] {
    zip(Results.names, zip(a.all, b.all)).map { difference($0, $1.0, $1.1) }
  }

  @Test("OpenBLAS against the definition", arguments: Case.all, [1, 2])
  func definition(c: Case, threads: Int) throws {
    let results = try TensorThread.run { Self.run(c, on: OpenBLASBackend(threads: ThreadPool(count: threads))) }
    let differences = zip(Results.names, zip(results.all, Self.reference(c))).map { difference($0, $1.0, $1.1) }
    expectClose(differences, relative: 1e-5, largest: 1e-3)
  }

  @Test(
    "oneDNN against OpenBLAS", .enabled(if: Backends.hasOneDNN),
    arguments: Case.all + Case.winograd + Case.narrowInputs, [false, true])
  func oneDNN(c: Case, persistent: Bool) throws {
    let (fast, slow) = try TensorThread.run {
      (Self.run(c, on: try Backends.make(.onednn), persistent: persistent), Self.run(c, on: OpenBLASBackend()))
    }
    expectClose(Self.differences(fast, slow), relative: 1e-4, largest: 1e-2)
  }

  @Test("Winograd's method against direct convolution", arguments: Case.winograd, InstructionSet.available)
  func winograd(c: Case, instructionSet: InstructionSet) throws {
    for threads in 1...2 {
      let (fast, slow) = try TensorThread.run {
        let backend = OpenBLASBackend(
          threads: ThreadPool(count: threads), instructionSet: instructionSet, winograd: true)
        return (Self.run(c, on: backend, persistent: threads == 1), Self.run(c, on: OpenBLASBackend()))
      }
      // The method adds in another order; if it were not used, the two would agree to the last bit.
      expectClose(Self.differences(fast, slow), relative: 3e-6, largest: 1e-2)
      #expect(fast.y != slow.y && fast.dx != slow.dx && fast.dw != slow.dw)
    }
  }

  @Test("Few tiles, and a single image's input gradient with a stride, are direct, unless samples are separate")
  func smallBatches() throws {
    let strided = ConvolutionWindow(stride: 2, padding: 1)
    for (c, isDirect) in [
      (Case([2, 8, 8, 32], 32, kernel: 3, .init(padding: 1)), (y: true, dx: true, dw: true)),
      (Case([8, 8, 8, 32], 32, kernel: 3, .init(padding: 1)), (y: false, dx: false, dw: true)),
      (Case([2, 16, 16, 32], 32, kernel: 4, strided), (y: true, dx: true, dw: true)),
      (Case([1, 56, 56, 32], 32, kernel: 4, strided), (y: false, dx: true, dw: true)),
    ] {
      let (fast, separate, slow) = try TensorThread.run {
        let backend = Self.fast(2, .preferred)
        return (
          Self.run(c, on: backend), backend.separately { Self.run(c, on: backend) },
          Self.run(c, on: OpenBLASBackend(threads: ThreadPool(count: 2)))
        )
      }
      // Equal to the last bit, since the method is the same.
      #expect((fast.y == slow.y) == isDirect.y && (fast.dx == slow.dx) == isDirect.dx, "\(c)")
      #expect((fast.dw == slow.dw) == isDirect.dw, "\(c)")
      #expect(separate.y != slow.y && separate.dx != slow.dx, "\(c)")
    }
  }

  @Test("Convolutions to few channels against direct convolution", arguments: Case.narrow, InstructionSet.available)
  func narrow(c: Case, instructionSet: InstructionSet) throws {
    for threads in 1...2 {
      let (fast, slow) = try TensorThread.run {
        (Self.run(c, on: Self.fast(threads, instructionSet)), Self.run(c, on: OpenBLASBackend()))
      }
      expectClose(Self.differences(fast, slow), relative: 1e-6, largest: 1e-3)
      #expect(fast.y != slow.y && fast.dw != slow.dw)
      // In bfloat16 too, except the gradient of the input, which the library computes.
      let narrow = try TensorThread.run {
        let backend = Self.fast(threads, instructionSet)
        let x = randomTensor(c.input, seed: 1, type: .bfloat16, on: backend)
        let weight = randomTensor(c.weight, seed: 2, scale: 0.2, on: backend)
        let residual = randomTensor(c.output, seed: 4, type: .bfloat16, on: backend)
        let bias = randomTensor([c.outputChannels], seed: 3, on: backend)
        let dw = Tensor(repeating: 1, shape: c.weight, on: backend)
        let dy = randomTensor(c.output, seed: 5, type: .bfloat16, on: backend)
        backend.convolutionWeightGradient(x, dy, into: dw, bias: nil, c.window)
        return [
          backend.convolution(x, weight: weight, bias: bias, residual: residual, c.window).values(), dw.values(),
        ]
      }
      expectClose(
        [difference("y", narrow[0], fast.y), difference("dw", narrow[1], fast.dw)], relative: 5e-3, largest: 1)
    }
  }

  @Test(
    "Gradients of inputs of few channels against direct convolution", arguments: Case.narrowInputs,
    InstructionSet.available)
  func narrowInputs(c: Case, instructionSet: InstructionSet) throws {
    for threads in 1...2 {
      let (fast, rounded, slow) = try TensorThread.run {
        let backend = Self.fast(threads, instructionSet)
        let weight = randomTensor(c.weight, seed: 2, scale: 0.2, on: backend)
        let dy = randomTensor(c.output, seed: 5, type: .bfloat16, on: backend)
        let dx = backend.convolutionInputGradient(dy, weight: weight, inputShape: c.input, c.window, adding: nil)
        return (Self.run(c, on: backend), dx.values(), Self.run(c, on: OpenBLASBackend()))
      }
      expectClose(Self.differences(fast, slow), relative: 1e-6, largest: 1e-3)
      #expect(fast.dx != slow.dx)
      expectClose([difference("dx", rounded, fast.dx)], relative: 5e-3, largest: 1)
    }
  }

  @Test("Winograd's method on bfloat16 images", arguments: Case.winograd, InstructionSet.available)
  func winogradBFloat16(c: Case, instructionSet: InstructionSet) throws {
    let (narrow, wide) = try TensorThread.run {
      let backend = OpenBLASBackend(instructionSet: instructionSet, winograd: true)
      return (Self.run(c, on: backend, type: .bfloat16), Self.run(c, on: backend))
    }
    // The error of storing inputs and results in bfloat16; weights and sums are float32.
    expectClose(Self.differences(narrow, wide), relative: 5e-3, largest: 2)
  }

  @Test("oneDNN against OpenBLAS, if Winograd's method is not used", .enabled(if: Backends.hasOneDNN))
  func oneDNNDirect() throws {
    for c in Case.winograd {
      let (fast, slow) = try TensorThread.run {
        (Self.run(c, on: try Backends.make(.onednn, winograd: false)), Self.run(c, on: OpenBLASBackend()))
      }
      expectClose(Self.differences(fast, slow), relative: 1e-4, largest: 1e-2)
    }
  }

  @Test("bfloat16 against float32", .enabled(if: Backends.bfloat16 != .none), arguments: Case.all)
  func bfloat16(c: Case) throws {
    let (narrow, wide) = try TensorThread.run {
      let backend = try Backends.make(.onednn)
      return (Self.run(c, on: backend, type: .bfloat16), Self.run(c, on: backend))
    }
    expectClose(Self.differences(narrow, wide), relative: 2e-2, largest: 1)
  }

  @Test("The same call gives the same bytes", arguments: Backends.available)
  func repeatable(kind: BackendKind) throws {
    let results = try TensorThread.run {
      let c = Case([4, 14, 14, 32], 48, kernel: 3, .init(padding: 1))
      return try (0..<2).map { _ in Self.run(c, on: try Backends.make(kind, threads: 2)).all }
    }
    #expect(results[0] == results[1])
  }

  /// oneDNN keeps reordered copies of parameters, and Winograd's method transformed ones; all must follow changes.
  @Test(
    "Cached weights follow updates and reused memory", .enabled(if: Backends.hasOneDNN),
    arguments: [
      Case([2, 9, 9, 16], 16, kernel: 3, .init(padding: 1)), Case([2, 8, 8, 32], 32, kernel: 3, .init(padding: 1)),
      Case([2, 8, 8, 32], 64, kernel: 4, .init(stride: 2, padding: 1)),
    ])
  func cachedWeights(c: Case) throws {
    let differences = try TensorThread.run {
      let (fast, slow) = (try Backends.make(.onednn), OpenBLASBackend())
      func results(_ backend: any Backend) -> [[Float]] {
        let x = randomTensor(c.input, seed: 1, on: backend)
        let dy = randomTensor(c.output, seed: 2, on: backend)
        let gradients = randomTensor(c.weight, seed: 3, on: backend)
        var results: [[Float]] = []
        // The second round's weights are at the same address as the first's.
        for round in 0..<2 {
          let weight = randomTensor(c.weight, seed: UInt64(10 + round), on: backend)
          weight.storage.markModified()
          for _ in 0..<2 {
            // Some copies are kept from the fourth use on, and read from the fifth.
            for _ in 0..<5 {
              results.append(backend.convolution(x, weight: weight, bias: nil, residual: nil, c.window).values())
              results.append(
                backend.convolutionInputGradient(dy, weight: weight, inputShape: c.input, c.window, adding: nil)
                  .values())
            }
            backend.update(
              weight, gradients: gradients, state: [],
              OptimizerPass(.sgd(momentum: 0, nesterov: false, isFirst: true), learningRate: 0.5))
          }
        }
        return results
      }
      return zip(results(fast), results(slow)).enumerated().map { difference("result \($0)", $1.0, $1.1) }
    }
    expectClose(differences, relative: 1e-4, largest: 1e-3)
  }
}
