import EaselTensors

/// A linear tape: operations in the order in which they happened, walked backwards once.
///
/// Several tapes may be live at a time; an operation takes variables of one tape and constants. Each record is dropped as
/// soon as its gradient is known, and the activations it saved with it.
public final class Tape {
  /// Computes input gradients from the output's. It adds to them through the tape: ``Tape/add(_:to:)``.
  typealias Pullback = (_ gradient: Tensor, _ tape: Tape) -> Void

  private struct Record {
    let output: Int
    let pullback: Pullback
  }

  private var records: [Record] = []
  private var gradients: [Int: Tensor] = [:]
  /// Where gradients of parameters go: views of an arena, added to.
  private var sinks: [Int: Tensor] = [:]
  private var variableCount = 0

  /// An empty tape.
  public init() {}

  /// A variable of any shape, whose gradient ``gradient(of:)`` gives after ``backward(from:seed:)``.
  public func variable(_ value: Tensor) -> Variable {
    defer { variableCount += 1 }
    return Variable(value, tape: self, identifier: variableCount)
  }

  /// A variable whose gradient is added to `sink`, float32 of the value's shape.
  public func variable(_ value: Tensor, accumulatingInto sink: Tensor) -> Variable {
    sinks[variableCount] = sink
    return variable(value)
  }

  /// Records an operation's output. Nothing is recorded where no input has a gradient.
  ///
  /// - Parameter remake: computes the value again from what the operation saved of its inputs; for operations so cheap that
  ///   their results are not worth the memory until the backward pass.
  static func record(
    _ value: Tensor, from inputs: [Variable], remake: (() -> Tensor)? = nil, _ pullback: @escaping Pullback
  ) -> Variable {
    guard let tape = inputs.lazy.compactMap(\.tape).first else { return Variable(value) }
    require(inputs.allSatisfy { $0.tape == nil || $0.tape === tape }, "an operation mixes variables of two tapes")
    let kept = remake.map(Kept.init(remake:))
    guard inputs.contains(where: \.wantsGradient) else {
      return Variable(value, tape: tape, identifier: nil, kept: kept)
    }
    tape.records.append(Record(output: tape.variableCount, pullback: pullback))
    defer { tape.variableCount += 1 }
    return Variable(value, tape: tape, identifier: tape.variableCount, kept: kept)
  }

  /// Walks the tape backwards from a scalar, adding to the sinks of parameters; the tape is empty afterwards.
  ///
  /// - Parameters:
  ///   - result: one number that this tape recorded; anything else traps.
  ///   - seed: the gradient of the result with respect to itself, 1 as a rule; 1/k to average over k batches.
  public func backward(from result: Variable, seed: Float = 1) {
    require(result.value.count == 1, "backward starts from one number, not \(result.shape)")
    guard let identifier = result.identifier, result.tape === self else {
      fatalShape("backward starts from a variable that this tape recorded")
    }
    gradients[identifier] = Tensor(
      repeating: seed, shape: result.shape, type: result.value.type, on: result.backend)
    while let record = records.popLast() {
      guard let gradient = gradients.removeValue(forKey: record.output) else { continue }
      record.pullback(gradient, self)
    }
    sinks.removeAll(keepingCapacity: true)
  }

  /// The gradient with respect to a variable made by ``variable(_:)``, of its shape and type; nil if the result did not
  /// depend on it.
  public func gradient(of variable: Variable) -> Tensor? { variable.identifier.flatMap { gradients[$0] } }

  // MARK: For pullbacks

  /// Adds to the gradient of an input; nothing happens for constants.
  func add(_ gradient: Tensor, to input: Input) {
    guard let identifier = input.identifier else { return }
    if let sink = sinks[identifier] {
      gradient.backend.accumulate(gradient.cast(to: .float32), alpha: 1, into: sink)
    } else if gradients[identifier]?.isUniquelyReferenced() == true, let existing = gradients[identifier] {
      // Nobody else holds the memory. (Asked in place: a binding of its own would be a second holder.)
      existing.backend.accumulate(gradient, alpha: 1, into: existing)
    } else if let existing = gradients[identifier] {
      gradients[identifier] = existing.backend.add(existing, gradient, alpha: 1, beta: 1)
    } else {
      gradients[identifier] = gradient.reshaped(input.shape)
    }
  }

  /// Lets an operation that can add as it goes replace what there is of an input's gradient by a sum that contains it.
  func extend(_ input: Input, _ body: (_ existing: Tensor?) -> Tensor) {
    guard let identifier = input.identifier else { return }
    if sinks[identifier] != nil { return add(body(nil), to: input) }
    gradients[identifier] = body(gradients.removeValue(forKey: identifier)).reshaped(input.shape)
  }

  /// Lets an operation add a float32 gradient where it is wanted, without a temporary for parameters.
  func accumulate(into input: Input?, on backend: any Backend, _ body: (Tensor) -> Void) {
    guard let input, let identifier = input.identifier else { return }
    if let sink = sinks[identifier] {
      body(sink)
    } else {
      let gradient = Tensor(repeating: 0, shape: input.shape, on: backend)
      body(gradient)
      add(gradient, to: input)
    }
  }
}
