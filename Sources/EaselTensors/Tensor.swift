import CEaselKernels

/// A dense array of numbers in a backend's memory, with the innermost axis contiguous.
///
/// A tensor is a value that shares its storage: copies, reshapes and slices of the leading axis are views. Operations
/// make new tensors; only those named `…InPlace` or with an `into:` parameter write to existing ones. Shapes and types
/// that do not fit trap.
public struct Tensor {
  private var _storage: Storage
  /// The sizes of the axes, outermost first.
  public let shape: Shape
  /// The type of the elements.
  public let type: ScalarType
  /// The position of the first element in the storage, in elements.
  let offset: Int

  package init(storage: Storage, offset: Int = 0, shape: Shape, type: ScalarType) {
    _storage = storage
    self.offset = offset
    self.shape = shape
    self.type = type
  }

  /// Memory for a shape, with undefined contents.
  ///
  /// - Parameters:
  ///   - shape: any shape.
  ///   - type: the type of the elements.
  ///   - backend: the backend that provides the memory.
  public init(uninitialized shape: Shape, type: ScalarType = .float32, on backend: any Backend) {
    let storage = backend.allocate(byteCount: shape.count * type.byteCount)
    self.init(storage: storage, shape: shape, type: type)
  }

  /// A tensor with the same value everywhere.
  ///
  /// - Parameters:
  ///   - value: the value of every element.
  ///   - shape: any shape.
  ///   - type: `float32` or `bfloat16`; `int32` traps.
  ///   - backend: the backend that provides the memory.
  public init(repeating value: Float, shape: Shape, type: ScalarType = .float32, on backend: any Backend) {
    self.init(uninitialized: shape, type: type, on: backend)
    backend.fill(self, with: value)
  }

  /// A tensor of the given numbers.
  ///
  /// - Parameters:
  ///   - values: in row-major order, as many as the shape has elements; another number traps.
  ///   - shape: any shape.
  ///   - type: `float32` or `bfloat16`, to which values are rounded, halves to even; `int32` traps.
  ///   - backend: the backend that provides the memory.
  public init(_ values: [Float], shape: Shape, type: ScalarType = .float32, on backend: any Backend) {
    require(values.count == shape.count, "\(values.count) values for \(shape)")
    let host = Tensor(uninitialized: shape, on: backend)
    host.withMutableFloats { _ = $0.update(fromContentsOf: values) }
    self = type == .float32 ? host : backend.cast(host, to: type)
  }

  /// Indices or labels: int32 `[values.count]`.
  public init(_ values: [Int32], on backend: any Backend) {
    self.init(uninitialized: [values.count], type: .int32, on: backend)
    _ = UnsafeMutableBufferPointer(start: pointer.assumingMemoryBound(to: Int32.self), count: values.count)
      .update(fromContentsOf: values)
  }

  /// The memory, which views share.
  public var storage: Storage { _storage }
  /// The backend that the tensor belongs to and that computes with it.
  public var backend: any Backend { storage.backend }
  /// Whether this is the only user of its memory, so that it may be overwritten.
  public mutating func isUniquelyReferenced() -> Bool { isKnownUniquelyReferenced(&_storage) }

  /// The number of elements.
  public var count: Int { shape.count }
  /// The number of axes.
  public var rank: Int { shape.rank }

  /// The first element's address, for backends in the host's memory.
  var pointer: UnsafeMutableRawPointer { storage.pointer + offset * type.byteCount }
  /// Lets the elements leave the memory until their next use if they are those of a file.
  package func evict() { storage.evict(pointer, byteCount: count * type.byteCount) }
  var floats: UnsafeMutablePointer<Float> {
    require(type == .float32, "float32 expected, found \(type)")
    return pointer.assumingMemoryBound(to: Float.self)
  }
}

// MARK: - Views

extension Tensor {
  /// The same elements in another shape, as a view.
  ///
  /// - Parameter sizes: the sizes of the axes. The number of elements must stay the same; otherwise it traps. One size
  ///   may be −1: it becomes what is left.
  public func reshaped(_ sizes: [Int]) -> Tensor {
    let known = sizes.filter { $0 >= 0 }.reduce(1, *)
    let resolved = Shape(sizes.map { $0 >= 0 ? $0 : (known == 0 ? 0 : count / known) })
    require(resolved.count == count, "\(shape) cannot become \(Shape(sizes))")
    return Tensor(storage: storage, offset: offset, shape: resolved, type: type)
  }

  /// The same elements in another shape, as a view. It traps unless the number of elements is the same.
  public func reshaped(_ shape: Shape) -> Tensor { reshaped(shape.sizes) }

  /// Elements `range` of the leading axis, `[N, …]` to `[range.count, …]`, as a view. It traps if the range is out of
  /// bounds or if the tensor has no axes.
  public subscript(range: Range<Int>) -> Tensor {
    require(rank > 0 && range.lowerBound >= 0 && range.upperBound <= shape[0], "\(range) of \(shape)")
    let stride = shape[0] == 0 ? 0 : count / shape[0]
    return Tensor(
      storage: storage, offset: offset + range.lowerBound * stride,
      shape: Shape([range.count] + shape.sizes.dropFirst()),
      type: type)
  }

  /// Element `index` of the leading axis, without that axis, `[N, …]` to `[…]`, as a view. An index out of bounds
  /// traps.
  public subscript(index: Int) -> Tensor { self[index..<index + 1].reshaped(Array(shape.sizes.dropFirst())) }

  /// `shape.count` elements from index `start` in row-major order, in the given shape, as a view. An arena provides its
  /// parameters this way. It traps if the view would extend beyond the tensor.
  public func view(at start: Int, shape: Shape) -> Tensor {
    require(start >= 0 && start + shape.count <= count, "\(shape) at \(start) of \(count) elements")
    return Tensor(storage: storage, offset: offset + start, shape: shape, type: type)
  }
}

// MARK: - Host access

extension Tensor {
  /// The elements as float32, copied in row-major order. Traps for `int32`.
  public func values() -> [Float] {
    require(type != .int32, "floating-point tensor expected")
    let source = type == .float32 ? self : backend.cast(self, to: .float32)
    return Array(UnsafeBufferPointer(start: source.floats, count: count))
  }

  /// The only element, as float32. Traps if there are more, and for `int32`.
  public func item() -> Float {
    require(count == 1, "one element expected, found \(shape)")
    return values()[0]
  }

  /// Scoped access to float32 elements in row-major order. Every view of the memory sees the changes. Traps for another
  /// type.
  ///
  /// - Parameter body: called with the elements; the buffer must not leave the closure.
  /// - Returns: what the closure returns.
  public func withMutableFloats<Result>(_ body: (UnsafeMutableBufferPointer<Float>) throws -> Result) rethrows -> Result
  {
    try body(UnsafeMutableBufferPointer(start: floats, count: count))
  }

  /// Scoped access to the bytes, in the machine's order.
  ///
  /// - Parameter body: called with the bytes; the buffer must not leave the closure.
  /// - Returns: what the closure returns.
  public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try body(UnsafeRawBufferPointer(start: pointer, count: count * type.byteCount))
  }
}

// MARK: - Arithmetic without gradients

extension Tensor {
  /// The same values as another type; the tensor itself if it already has that type. Float32 is rounded to the nearest
  /// bfloat16, halves to even. Traps for `int32`, which is no type of activations.
  public func cast(to type: ScalarType) -> Tensor { type == self.type ? self : backend.cast(self, to: type) }

  /// The tensor with every element limited to `low…high`.
  public func clamped(_ low: Float, _ high: Float) -> Tensor { backend.clamp(self, low: low, high: high) }

  /// The element-by-element sum of tensors with the same number of elements and the same type; others trap.
  public static func + (a: Tensor, b: Tensor) -> Tensor { a.backend.add(a, b, alpha: 1, beta: 1) }
  /// The element-by-element difference of tensors with the same number of elements and the same type; others trap.
  public static func - (a: Tensor, b: Tensor) -> Tensor { a.backend.add(a, b, alpha: 1, beta: -1) }
  /// The element-by-element product of tensors of the same shape and type; others trap.
  public static func * (a: Tensor, b: Tensor) -> Tensor { a.backend.multiply(a, b) }
  /// Every element times a number, in the same shape and type.
  public static func * (scale: Float, a: Tensor) -> Tensor { a.backend.affine(a, scale: scale, shift: 0) }
}
