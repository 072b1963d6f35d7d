@_exported import EaselGradients

/// A named array of learned numbers, float32, in PyTorch's order (`OIHW`, `[out, in]`). Its memory is in an ``Arena``.
public final class Parameter {
  /// The full path, such as `down_blocks.0.resnets.1.conv1.weight`.
  public let name: String
  /// In PyTorch's order, `[out, in, …]`.
  public let shape: Shape
  let initializer: Initializer
  // The arena owns its parameters. Code that trains or uses a network must keep the arena.
  fileprivate weak var arena: Arena?
  fileprivate var offset = 0
  // Takes the place of the arena's memory.
  fileprivate var given: Tensor?

  init(name: String, shape: Shape, initializer: Initializer) {
    self.name = name
    self.shape = shape
    self.initializer = initializer
  }

  private var home: Arena {
    guard let arena else { fatalShape("parameter \(name) is used without its arena") }
    return arena
  }

  /// The values in use: the trained ones or their moving average; see ``Arena/usesAverage``. Float32 of ``shape``, a
  /// view of the arena; see ``Arena/use(_:)`` for the exception. Traps if the arena is gone.
  public var value: Tensor { stored.cast(to: .float32) }
  /// The same, but bfloat16 if that is how they are stored.
  public var stored: Tensor {
    let home = home
    return given ?? home.active.view(at: offset, shape: shape)
  }
  /// The gradient that backward passes have added up: float32 of ``shape``, a view of the arena. Traps if the arena is
  /// gone.
  public var gradient: Tensor { home.gradients.view(at: offset, shape: shape) }

  /// The parameter as a variable. On a tape, its gradient is added to ``gradient``, unless the arena is frozen.
  ///
  /// - Parameter tape: the tape that records the computation; nil for none.
  /// - Returns: float32 of ``shape``.
  public func variable(on tape: Tape?) -> Variable { variable(value, on: tape) }

  /// The same for operations that take weights of both types: float32 or bfloat16 of ``shape``, as they are stored.
  public func weight(on tape: Tape?) -> Variable { variable(stored, on: tape) }

  private func variable(_ value: Tensor, on tape: Tape?) -> Variable {
    guard let tape, !home.isFrozen else { return Variable(value, on: tape) }
    return tape.variable(value, accumulatingInto: gradient)
  }

  /// This parameter's part of one of the arena's buffers (its values, a moment, an average): `[arena]` to ``shape``.
  public func view(of buffer: Tensor) -> Tensor { buffer.view(at: offset, shape: shape) }

  fileprivate func settle(in arena: Arena, at offset: Int) {
    self.arena = arena
    self.offset = offset
  }
}

/// Numbers of a network that are not learned, such as a norm's running statistics: float32, kept with the parameters
/// under similar names.
public final class Buffer {
  /// The full path, like a parameter's.
  public let name: String
  /// Any shape.
  public let shape: Shape
  let initialValue: Float
  fileprivate weak var arena: Arena?
  fileprivate var trained: Tensor?
  fileprivate var averaged: Tensor?

  fileprivate init(name: String, shape: Shape, initialValue: Float) {
    (self.name, self.shape, self.initialValue) = (name, shape, initialValue)
  }

  /// The numbers in use: those beside the trained parameters, or those beside their moving average. Float32 of
  /// ``shape``. Traps if they have no memory yet.
  public var value: Tensor {
    guard let tensor = (arena?.usesAverage == true ? averaged : nil) ?? trained else {
      fatalShape("buffer \(name) is used without its arena")
    }
    return tensor
  }

  fileprivate func settle(in arena: Arena) {
    self.arena = arena
    trained = Tensor(repeating: initialValue, shape: shape, on: arena.backend)
  }

  fileprivate func startAverage(on backend: any Backend) {
    guard let trained else { return }
    let copy = Tensor(uninitialized: shape, on: backend)
    backend.copy(trained, into: copy)
    averaged = copy
  }
}

/// A layer's position in a network's tree of names: `scope["down_blocks"][0]["conv1"]`.
///
/// Layers declare their parameters here when they are made; ``makeArena(on:seed:)`` then allocates memory for all of
/// them.
public struct Scope {
  private final class Registry {
    var parameters: [Parameter] = []
    var buffers: [Buffer] = []
    var names: Set<String> = []
  }

  private let registry: Registry
  private let path: String

  /// The root of a network's names.
  public init() { self.init(registry: Registry(), path: "") }

  private init(registry: Registry, path: String) {
    self.registry = registry
    self.path = path
  }

  /// The scope with this name, one level below.
  public subscript(name: String) -> Scope {
    Scope(registry: registry, path: path.isEmpty ? name : "\(path).\(name)")
  }

  /// The scope with this number, one level below: that of layer `index` of several.
  public subscript(index: Int) -> Scope { self[String(index)] }

  /// Declares a parameter.
  ///
  /// - Parameters:
  ///   - name: the last part of its name. It traps if another parameter or buffer already has that name here.
  ///   - shape: in PyTorch's order.
  ///   - initializer: how its first values are drawn.
  /// - Returns: the parameter; it has no values before ``makeArena(on:seed:)``.
  public func parameter(_ name: String, _ shape: Shape, _ initializer: Initializer) -> Parameter {
    let parameter = Parameter(name: self[name].path, shape: shape, initializer: initializer)
    require(registry.names.insert(parameter.name).inserted, "two parameters are named \(parameter.name)")
    registry.parameters.append(parameter)
    return parameter
  }

  /// Declares numbers that are not learned.
  ///
  /// - Parameters:
  ///   - name: the last part of their name. It traps if another parameter or buffer already has that name here.
  ///   - shape: any shape.
  ///   - initialValue: the first value of each number.
  /// - Returns: the buffer; it has no values before ``makeArena(on:seed:)``.
  public func buffer(_ name: String, _ shape: Shape, initialValue: Float) -> Buffer {
    let buffer = Buffer(name: self[name].path, shape: shape, initialValue: initialValue)
    require(registry.names.insert(buffer.name).inserted, "two parameters are named \(buffer.name)")
    registry.buffers.append(buffer)
    return buffer
  }

  /// The number of learned numbers declared so far.
  public var parameterCount: Int { registry.parameters.reduce(0) { $0 + $1.shape.count } }

  /// The shapes of all parameters and buffers declared so far, by name.
  public var shapes: [String: Shape] {
    Dictionary(uniqueKeysWithValues: registry.parameters.map { ($0.name, $0.shape) })
      .merging(registry.buffers.map { ($0.name, $0.shape) }) { first, _ in first }
  }

  /// Provides memory for the declared parameters, with first values from the `parameters` stream of `seed`: 4 bytes per
  /// number, and as many again for gradients once there are any. Code that uses the network must keep the arena.
  public func makeArena(on backend: any Backend, seed: UInt64) -> Arena {
    Arena(registry.parameters, registry.buffers, on: backend, seed: seed)
  }
}

/// The parameters that one optimizer trains, in parallel buffers: values, gradients and, on request, a moving average.
///
/// A pass over an arena (a step, a norm, zeroing) is one loop. Every parameter begins at a multiple of 64 bytes; the
/// gaps are zero and stay zero. Parameters of several axes come first, then those of one axis, each in order of
/// declaration.
///
/// Values are made when they are first used. A network that is only used can have those of a file instead, which need no
/// memory of their own: see ``use(_:)``.
public final class Arena {
  /// The parameters, in order of declaration.
  public let parameters: [Parameter]
  /// The buffers, in order of declaration.
  public let buffers: [Buffer]
  /// The backend that provides the memory.
  public let backend: any Backend
  /// All parameters one after the other: float32 `[total]`, including gaps.
  public var values: Tensor {
    if let made { return made }
    let made = backend.threads.completely(makeValues)
    self.made = made
    return made
  }
  private var made: Tensor?
  /// The index where parameters of one axis begin: biases and norms, which some recipes exclude from weight decay.
  public let vectorsStart: Int
  /// Their gradients, in the shape of ``values``; backward passes add to them.
  public private(set) lazy var gradients = Tensor(repeating: 0, shape: values.shape, on: backend)
  /// The exponential moving average of the values, after ``startAverage()``.
  public private(set) var average: Tensor?
  /// Whether parameters read the average instead of the values, as for pictures and validation.
  public var usesAverage = false
  /// Whether the arena takes no gradients, like the discriminator's while the generator learns.
  public var isFrozen = false

  private let seed: UInt64

  fileprivate init(_ parameters: [Parameter], _ buffers: [Buffer], on backend: any Backend, seed: UInt64) {
    (self.parameters, self.buffers, self.backend, self.seed) = (parameters, buffers, backend, seed)
    vectorsStart = parameters.reduce(0) { $0 + ($1.shape.rank > 1 ? Self.size($1) : 0) }
    var (matrixEnd, vectorEnd) = (0, vectorsStart)
    for parameter in parameters {
      if parameter.shape.rank > 1 {
        parameter.settle(in: self, at: matrixEnd)
        matrixEnd += Self.size(parameter)
      } else {
        parameter.settle(in: self, at: vectorEnd)
        vectorEnd += Self.size(parameter)
      }
    }
    for buffer in buffers { buffer.settle(in: self) }
  }

  /// The numbers that a parameter takes, with the gap behind it.
  private static func size(_ parameter: Parameter) -> Int { (parameter.shape.count + 15) / 16 * 16 }

  private func makeValues() -> Tensor {
    let values = Tensor(repeating: 0, shape: [parameters.reduce(0) { $0 + Self.size($1) }], on: backend)
    for (index, parameter) in parameters.enumerated() {
      let place = parameter.view(of: values)
      if let given = parameter.given {
        backend.copy(given.cast(to: .float32), into: place)
      } else {
        parameter.initializer.fill(place, RandomDraw(seed: seed, stream: .parameters, index: UInt64(index)))
      }
    }
    values.storage.markModified()
    return values
  }

  /// Gives the parameters values in other memory, such as that of a file. The network can only be used from now on: the
  /// arena is frozen, and ``values`` becomes a copy once something asks for it.
  ///
  /// - Parameter values: the parameters' values, in their order and shapes, float32 or bfloat16; others trap.
  public func use(_ values: [Tensor]) {
    require(values.map(\.shape) == parameters.map(\.shape), "values of other shapes than the parameters")
    for (parameter, value) in zip(parameters, values) { parameter.given = value }
    isFrozen = true
  }

  fileprivate var active: Tensor { usesAverage ? average ?? values : values }

  /// The number of learned numbers.
  public var count: Int { parameters.reduce(0) { $0 + $1.shape.count } }

  /// Sets all gradients to 0. Backward passes do not zero ``Arena/gradients``.
  public func zeroGradients() { backend.fill(gradients, with: 0) }

  /// Makes backends discard what they derived from the parameters, such as reordered copies: abandoned work may have
  /// left it half finished.
  public func forgetDerived() {
    for tensor in [made, average] + parameters.map(\.given) { tensor?.storage.markModified() }
  }

  /// The name of the first parameter with an infinity or NaN in its gradient.
  public var parameterWithoutFiniteGradient: String? {
    parameters.first { $0.gradient.values().contains { !$0.isFinite } }?.name
  }

  /// The name of the first parameter or buffer with an infinity or NaN in its values or its average.
  public var parameterWithoutFiniteValue: String? {
    for weights in [values, average].compactMap(\.self) where !backend.sumOfSquares(weights).isFinite {
      // A sum of finite numbers may also be too large, so look at the values.
      let broken = parameters.first { $0.view(of: weights).values().contains { !$0.isFinite } }
      if let broken { return broken.name }
    }
    return buffers.first { buffer in
      [buffer.trained, buffer.averaged].contains { $0?.values().contains { !$0.isFinite } ?? false }
    }?.name
  }

  /// Begins an average with the present values.
  public func startAverage() {
    let copy = Tensor(uninitialized: values.shape, on: backend)
    backend.copy(values, into: copy)
    copy.storage.markModified()
    average = copy
    for buffer in buffers { buffer.startAverage(on: backend) }
  }

  /// Runs work with the average's values, if there is an average.
  ///
  /// - Parameter work: the work to do with them.
  /// - Returns: what the work returns.
  /// - Throws: what the work throws.
  public func withAverage<Result>(_ work: () throws -> Result) rethrows -> Result {
    let before = usesAverage
    usesAverage = true
    defer { usesAverage = before }
    return try work()
  }
}
