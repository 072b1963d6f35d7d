import CEaselKernels

/// The common part of backends in the host's memory: storage, and every operation except convolutions and matrix
/// products.
///
/// Each operation divides its outermost independent axis over the pool and calls a kernel of `CEaselKernels` on every
/// part.
public class HostBackend {
  public let threads: ThreadPool
  let kernels: UnsafePointer<easel_kernels>
  private let pool: MemoryPool
  let winogradWeights: WinogradWeights
  private let winogradTypes: [Int: Set<ScalarType>]

  /// Whether samples are computed one by one: see ``Backend/separately(_:)``.
  private(set) var isSeparating = false

  /// An elementwise pass over fewer elements stays on one thread.
  let elementGrain = 16_384
  /// The number of parts with their own sums: enough for many threads, and few enough that adding them up takes no
  /// time.
  static let mostSums = 16
  /// The same for sums so large that their memory matters: at most 16 MB beside the result's.
  static func mostSums(of count: Int) -> Int { max(1, min(mostSums, (4 << 20) / max(1, count))) }

  /// - Parameter winogradTypes: the activation types whose convolutions use Winograd's method, by stride.
  init(on threads: ThreadPool, instructionSet: InstructionSet, winogradTypes: [Int: Set<ScalarType>]) {
    self.threads = threads
    kernels = easel_kernels_for(instructionSet.rawISA)
    pool = MemoryPool()
    winogradWeights = WinogradWeights(pool)
    self.winogradTypes = winogradTypes
  }

  func usesWinograd(_ type: ScalarType, stride: Int) -> Bool { winogradTypes[stride]?.contains(type) ?? false }
  /// Whether convolutions are done here if that is faster, instead of always by the backend's library.
  var usesOwnConvolutions: Bool { !winogradTypes.isEmpty }

  /// The backend that wraps this one: tensors made here belong to it.
  weak var wrapper: ProfilingBackend?

  public var takesBFloat16Weights: Bool { false }

  /// This object, or its wrapper, as a backend.
  var asBackend: any Backend {
    if let wrapper { return wrapper }
    guard let backend = self as? any Backend else { fatalError("\(type(of: self)) is no Backend") }
    return backend
  }

  public var memory: MemoryStatistics { pool.statistics }

  public func allocate(byteCount: Int) -> Storage {
    Storage(pointer: pool.allocate(byteCount: byteCount), byteCount: byteCount, backend: asBackend)
  }

  public func release(_ pointer: UnsafeMutableRawPointer, byteCount: Int) {
    pool.release(pointer, byteCount: byteCount)
  }

  public func forget(_ pointer: UnsafeMutableRawPointer, byteCount: Int) {
    winogradWeights.forget(pointer, byteCount: byteCount)
  }

  public func separately<Result>(_ work: () throws -> Result) rethrows -> Result {
    let outer = isSeparating
    isSeparating = true
    defer { isSeparating = outer }
    return try work()
  }

  func empty(_ shape: Shape, _ type: ScalarType) -> Tensor { Tensor(uninitialized: shape, type: type, on: asBackend) }

  /// The kernels for a type of activations.
  func typed(_ type: ScalarType) -> easel_typed_kernels {
    switch type {
    case .float32: kernels.pointee.float32
    case .bfloat16: kernels.pointee.bfloat16
    case .int32: fatalShape("activations are float32 or bfloat16, not int32")
    }
  }

  /// Runs an elementwise kernel over a whole tensor: `body` receives the first element's index and the count.
  func forEachElement(of x: Tensor, _ body: (Int, Int) -> Void) {
    // Parts begin at multiples of 16 elements, so that no vector and no block of random numbers is divided.
    let blocks = (x.count + 15) / 16
    threads.split(blocks, grain: elementGrain / 16) { range, _ in
      body(range.lowerBound * 16, min(range.upperBound * 16, x.count) - range.lowerBound * 16)
    }
  }

  /// The rows and columns of a tensor as a matrix whose columns are the innermost axis.
  func matrix(_ x: Tensor) -> (rows: Int, columns: Int) {
    (x.shape.last == 0 ? 0 : x.count / x.shape.last, x.shape.last)
  }

  /// The number of samples on the leading axis, and the size of each.
  func samples(_ x: Tensor) -> (count: Int, size: Int) {
    let count = x.rank == 0 ? 1 : x.shape[0]
    return (count, count == 0 ? 0 : x.count / count)
  }

  func forEachRow(_ rows: Int, _ columns: Int, _ body: (Range<Int>, ThreadPool.Turn) -> Void) {
    threads.split(rows, grain: max(1, elementGrain / max(1, columns)), body)
  }

  /// Divides `0 ..< count` into ranges that each add to their own sums, then adds up the sums in the order of ranges.
  ///
  /// - Parameter body: called with a range, its turn, and the position of its sums for `targets[k]`, zero at
  ///   first.
  func sumByPart(
    of columns: Int, over count: Int, grain: Int = 1, into targets: [Tensor],
    _ body: (Range<Int>, ThreadPool.Turn, _ partial: (_ k: Int) -> UnsafeMutablePointer<Float>) -> Void
  ) {
    let parts = ThreadPool.parts(count, grain: grain, most: HostBackend.mostSums)
    let partials = empty([parts, targets.count, columns], .float32)
    fill(partials, with: 0)
    let base = partials.floats
    threads.split(count, grain: grain, most: HostBackend.mostSums) { range, turn in
      body(range, turn) { k in base + (turn.part * targets.count + k) * columns }
    }
    for part in 0..<parts {
      for (k, target) in targets.enumerated() {
        let sums = base + (part * targets.count + k) * columns
        kernels.pointee.float32.add(columns, 1, target.floats, 1, sums, target.floats)
      }
    }
  }
}

extension Tensor {
  /// The address of an element.
  func at(_ element: Int) -> UnsafeMutableRawPointer { pointer + element * type.byteCount }
}
