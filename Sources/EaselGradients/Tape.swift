import EaselTensors

/// A linear tape. It records operations in the order in which they happen, and is walked backwards once.
///
/// Several tapes may be in use at a time; an operation takes variables of one tape, and constants. A record is dropped
/// as soon as its gradient is known, together with the activations that it saved.
public final class Tape {
  /// Computes the inputs' gradients from the output's, and adds them through the tape: ``Tape/add(_:to:)``.
  typealias Pullback = (_ gradient: Tensor, _ tape: Tape) -> Void

  private struct Record {
    let output: Int
    let pullback: Pullback
  }

  private var records: [Record] = []
  private var gradients: [Int: Tensor] = [:]
  /// Where the gradients of parameters are added: views of an arena.
  private var sinks: [Int: Tensor] = [:]
  private var variableCount = 0

  /// An empty tape.
  public init() {}

  /// A variable of any shape. After ``backward(from:seed:)``, ``gradient(of:)`` returns its gradient.
  public func variable(_ value: Tensor) -> Variable {
    defer { variableCount += 1 }
    return Variable(value, tape: self, identifier: variableCount)
  }

  /// A variable with a gradient that is added to `sink`, float32 of the value's shape.
  public func variable(_ value: Tensor, accumulatingInto sink: Tensor) -> Variable {
    sinks[variableCount] = sink
    return variable(value)
  }

  /// Records an operation's output. If no input has a gradient, records nothing.
  ///
  /// - Parameter remake: computes the value again from what the operation saved of its inputs. It is for operations so
  ///   cheap that keeping their results until the backward pass is not worth the memory.
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

  /// Walks the tape backwards from a scalar and adds to the sinks of parameters. The tape is empty afterwards.
  ///
  /// - Parameters:
  ///   - result: a single number that this tape recorded; anything else traps.
  ///   - seed: the gradient of the result with respect to itself, normally 1; 1/k to average over k batches.
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

  /// The gradient with respect to a variable made by ``variable(_:)``, in its shape and type; nil if the result did not
  /// depend on it.
  public func gradient(of variable: Variable) -> Tensor? { variable.identifier.flatMap { gradients[$0] } }

  // MARK: For pullbacks

  /// Adds to the gradient of an input; does nothing for constants.
  func add(_ gradient: Tensor, to input: Input) {
    guard let identifier = input.identifier else { return }
    if let sink = sinks[identifier] {
      gradient.backend.accumulate(gradient.cast(to: .float32), alpha: 1, into: sink)
    } else if gradients[identifier]?.isUniquelyReferenced() == true, let existing = gradients[identifier] {
      // Nobody else holds the memory. (Test in place: binding it to a name would make a second holder.)
      existing.backend.accumulate(gradient, alpha: 1, into: existing)
    } else if let existing = gradients[identifier] {
      gradients[identifier] = existing.backend.add(existing, gradient, alpha: 1, beta: 1)
    } else {
      gradients[identifier] = gradient.reshaped(input.shape)
    }
  }

  /// Lets an operation that can add as it goes replace an input's gradient by a sum that includes it.
  func extend(_ input: Input, _ body: (_ existing: Tensor?) -> Tensor) {
    guard let identifier = input.identifier else { return }
    if sinks[identifier] != nil { return add(body(nil), to: input) }
    gradients[identifier] = body(gradients.removeValue(forKey: identifier)).reshaped(input.shape)
  }

  /// Lets an operation add a float32 gradient if it is wanted, without a temporary for parameters.
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
