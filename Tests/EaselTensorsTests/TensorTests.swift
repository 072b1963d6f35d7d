import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
import Synchronization
import Testing

struct TensorTests {
  @Test("Views share memory and see the right elements", arguments: [ScalarType.float32, .bfloat16])
  func views(type: ScalarType) throws {
    let (shapes, values, after) = try TensorThread.run {
      let backend = OpenBLASBackend()
      let x = Tensor((0..<24).map(Float.init), shape: [4, 3, 2], type: type, on: backend)
      let views = [
        x.reshaped([2, -1]), x[1..<3], x[2], x[1..<3][1][2], x.view(at: 5, shape: [2, 2]), x.reshaped([-1, 6])[3],
        x[1..<4].view(at: 2, shape: [4]), x[2..<2],
      ]
      let values = views.map { $0.values() }
      backend.fill(x[1..<2], with: -1)
      return (views.map(\.shape), values, (x.values(), views[4].values()))
    }
    #expect(shapes == [[2, 12], [2, 3, 2], [3, 2], [2], [2, 2], [6], [4], [0, 3, 2]])
    let ranges = [0..<24, 6..<18, 12..<18, 16..<18, 5..<9, 18..<24, 8..<12, 0..<0]
    #expect(values == ranges.map { $0.map(Float.init) })
    #expect(after.0 == (0..<24).map { (6..<12).contains($0) ? -1 : Float($0) })
    #expect(after.1 == [5, -1, -1, -1])
  }

  @Test("Memory is aligned, and only its last use may overwrite it")
  func ownership() throws {
    let (aligned, alone, shared) = try TensorThread.run {
      let backend = OpenBLASBackend()
      let sizes = [1, 63, 1000, 3 << 20]
      let aligned = sizes.allSatisfy { size in
        let x = Tensor(uninitialized: [size], on: backend)
        return UInt(bitPattern: x.storage.pointer) % 64 == 0
      }
      // Checked on an array's element, since the compiler may hold a separate variable twice.
      var tensors = [Tensor(repeating: 0, shape: [4], on: backend)]
      let alone = tensors[0].isUniquelyReferenced()
      let view = tensors[0].reshaped([2, 2])
      let shared = tensors[0].isUniquelyReferenced()
      return (aligned, alone, shared || view.count != 4)
    }
    #expect(aligned)
    #expect(alone)
    #expect(!shared)
  }

  @Test("The second identical step asks the system for no memory", arguments: Backends.available)
  func pool(kind: BackendKind) throws {
    let (start, first, second) = try TensorThread.run {
      let backend = try Backends.make(kind)
      func step() {
        let x = randomTensor([4, 12, 12, 16], on: backend)
        let weight = randomTensor([16, 16, 3, 3], seed: 2, on: backend)
        let y = backend.convolution(x, weight: weight, bias: nil, residual: x, .init(padding: 1))
        let (z, _) = backend.normalize(y, shift: nil, gamma: nil, beta: nil, Normalization(groups: 4, epsilon: 1e-5))
        let tokens = z.reshaped([4, 144, 16])
        _ = backend.attention(tokens, tokens, tokens, heads: 2, mask: nil)
        _ = backend.convolutionInputGradient(z, weight: weight, inputShape: x.shape, .init(padding: 1), adding: nil)
      }
      let start = backend.memory
      step()
      let first = backend.memory
      step()
      return (start, first, backend.memory)
    }
    #expect(start.bytesInUse == 0)
    #expect(first.systemAllocations > 0 && first.peakBytes > 4 * 12 * 12 * 16 * 4 * 3)
    #expect(first.bytesInUse == 0)
    #expect(second == first)
  }

  @Test("A backend's memory is not kept by the pool of another, and returns when used up on any thread")
  func releaseElsewhere() throws {
    let (tensor, before) = try TensorThread.run {
      let backend = OpenBLASBackend()
      let tensor = Carrier(Optional(Tensor(repeating: 1, shape: [1000], on: backend)))
      return (tensor, Carrier(backend))
    }
    #expect(before.value.memory.bytesInUse >= 4000)
    tensor.value = nil
    #expect(before.value.memory.bytesInUse == 0)
  }

  /// Passes a value between threads, one after the other.
  private final class Carrier<Value>: @unchecked Sendable {
    var value: Value
    init(_ value: Value) { self.value = value }
  }

  @Test("Tensor work runs on one thread, nests, and passes results and errors on")
  func tensorThread() async throws {
    struct Failure: Error, Equatable { let number: Int }
    let names = try await withThrowingTaskGroup(of: UInt.self) { group in
      for _ in 0..<8 { group.addTask { try TensorThread.run { UInt(bitPattern: Int(pthread_self())) } } }
      return try await group.reduce(into: Set<UInt>()) { $0.insert($1) }
    }
    #expect(names.count == 1)
    #expect(try TensorThread.run { try TensorThread.run { 5 } + 1 } == 6)
    #expect(throws: Failure(number: 7)) { try TensorThread.run { throw Failure(number: 7) } }
  }

  @Test("Precision auto is never the slower one: it follows from the processor and the model's products")
  func automaticPrecision() {
    func products(_ instructions: Bool, _ matrices: Bool, isAMD: Bool, isSupported: Bool = true) -> BFloat16Products {
      BFloat16Products(
        isSupported: isSupported, hasInstructions: instructions, hasMatrices: matrices, isAMD: isAMD)
    }
    #expect(products(true, true, isAMD: false) == .matrices)
    #expect(products(true, false, isAMD: true) == .fast)
    #expect(products(true, false, isAMD: false) == .slow)
    #expect(products(false, false, isAMD: false) == .emulated)
    #expect(products(false, false, isAMD: true, isSupported: false) == .none)
    for convolves3x3 in [false, true] {
      let types = BFloat16Products.allCases.map { Precision.choice($0, convolves3x3: convolves3x3).type }
      #expect(types == [.float32, .float32, convolves3x3 ? .bfloat16 : .float32, .bfloat16, .bfloat16])
    }
  }

  @Test("bfloat16 on OpenBLAS is the user's error")
  func precision() throws {
    let (float32, auto, error) = try TensorThread.run {
      let backend = OpenBLASBackend()
      let error = Result { try Precision.bfloat16.scalarType(on: backend) }
      return (try Precision.float32.scalarType(on: backend), try Precision.auto.scalarType(on: backend), error)
    }
    #expect(float32 == .float32)
    #expect(auto == .float32)
    let thrown = #expect(throws: UserError.self) { try error.get() }
    #expect(thrown?.kind == .unavailable)
    #expect(thrown?.hint != nil)
  }

  @Test("Backends are found by name")
  func backends() throws {
    for kind in BackendKind.allCases {
      let made = try TensorThread.run { Result { try Backends.make(kind).kind } }
      if Backends.available.contains(kind) {
        #expect(try made.get() == kind)
      } else {
        let error = #expect(throws: UserError.self) { try made.get() }
        #expect(error?.kind == .unavailable)
      }
    }
    #expect(Backends.available.contains(.onednn) == Backends.hasOneDNN)
    #expect(InstructionSet.available.contains(.preferred))
    #expect(InstructionSet.available.first == .baseline)
  }

  @Test("Singular values restore a matrix", arguments: [(1, 1), (5, 3), (3, 5), (40, 40), (1, 6)])
  func singularValues(rows: Int, columns: Int) {
    let a = randomValues(rows * columns)
    let (u, s, vt) = LinearAlgebra.singularValues(of: a, rows: rows, columns: columns)
    let k = min(rows, columns)
    #expect(u.count == rows * k && s.count == k && vt.count == k * columns)
    let product = (0..<rows * columns).map { place in
      (0..<k).reduce(0.0) {
        $0 + Double(u[place / columns * k + $1]) * Double(s[$1]) * Double(vt[$1 * columns + place % columns])
      }
    }
    expectClose([difference("u s vt", a, product, relative: 1e-4, absolute: 1e-4)])
    #expect(zip(s, s.dropFirst()).allSatisfy { $0 >= $1 } && s.allSatisfy { $0 >= 0 })
    // Orthogonal factors.
    let gram = (0..<k * k).map { place in
      (0..<rows).reduce(0.0) { $0 + Double(u[$1 * k + place / k]) * Double(u[$1 * k + place % k]) }
    }
    expectClose([
      difference("uᵀu", gram.map(Float.init), gram.indices.map { $0 / k == $0 % k ? 1.0 : 0 }, absolute: 1e-5)
    ])
  }

  @Test("Shapes")
  func shapes() {
    let shape: Shape = [2, 3, 4]
    #expect(shape.count == 24 && shape.rank == 3 && shape.last == 4 && shape[-2] == 3)
    #expect(Shape([]).count == 1 && Shape([]).last == 1)
    #expect(shape.replacingLast(with: 5) == [2, 3, 5])
    #expect(shape.description == "[2, 3, 4]")
  }
}

/// LAPACK and products in double precision against their definitions.
struct LinearAlgebraTests {
  @Test("Eigenvectors of symmetric matrices", arguments: [1, 2, 5, 40])
  func eigenvectors(n: Int) throws {
    var generator = StreamGenerator(seed: 4, stream: .data)
    var a = [Double](repeating: 0, count: n * n)
    for row in 0..<n {
      for column in 0...row {
        let value = Double(generator.next() >> 40) / Double(1 << 24) - 0.5
        (a[row * n + column], a[column * n + row]) = (value, value)
      }
    }
    let (values, vectors) = LinearAlgebra.eigenvectors(ofSymmetric: a, size: n)
    #expect(values == values.sorted())
    #expect(zip(LinearAlgebra.eigenvalues(ofSymmetric: a, size: n), values).allSatisfy { abs($0 - $1) < 1e-12 })
    for index in 0..<n {
      let vector = Array(vectors[index * n..<(index + 1) * n])
      #expect(abs(vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-12)
      let image = LinearAlgebra.product(a, vector, rows: n, inner: n, columns: 1)
      for (x, y) in zip(image, vector) { #expect(abs(x - values[index] * y) < 1e-12) }
    }
  }

  @Test func productsAndGramMatrices() {
    let a: [Double] = [1, 2, 3, 4, 5, 6]
    #expect(LinearAlgebra.product(a, [1, 0, 2, -1, 0, 1], rows: 2, inner: 3, columns: 2) == [5, 1, 14, 1])
    #expect(LinearAlgebra.gram(of: a, rows: 2, columns: 3) == [17, 22, 27, 22, 29, 36, 27, 36, 45])
  }
}
