@_exported import Tensors

/// A tensor in a computation that may be differentiated.
///
/// Operations on variables record themselves on the tape of their inputs. Without a tape nothing is recorded: sampling runs
/// the same code as training.
public struct Variable {
  public let value: Tensor
  /// The tape that a computation with this variable is recorded on.
  public let tape: Tape?
  /// The variable's number on its tape; nil for constants, into which no gradient flows.
  let identifier: Int?

  /// A constant. Data enter a network so, on the tape that its parameters shall be differentiated on.
  public init(_ value: Tensor, on tape: Tape? = nil) { self.init(value, tape: tape, identifier: nil) }

  init(_ value: Tensor, tape: Tape?, identifier: Int?) {
    self.value = value
    self.tape = tape
    self.identifier = identifier
  }

  public var shape: Shape { value.shape }
  public var backend: any Backend { value.backend }

  /// Whether a gradient flows into this variable.
  public var wantsGradient: Bool { identifier != nil }

  /// The same values as a constant, on the same tape.
  public var detached: Variable { Variable(value, on: tape) }
}

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

  public init() {}

  /// A variable whose gradient ``gradient(of:)`` gives after ``backward(from:)``.
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
  static func record(_ value: Tensor, from inputs: [Variable], _ pullback: @escaping Pullback) -> Variable {
    guard let tape = inputs.lazy.compactMap(\.tape).first else { return Variable(value) }
    require(inputs.allSatisfy { $0.tape == nil || $0.tape === tape }, "an operation mixes variables of two tapes")
    guard inputs.contains(where: \.wantsGradient) else { return Variable(value, on: tape) }
    tape.records.append(Record(output: tape.variableCount, pullback: pullback))
    return tape.variable(value)
  }

  /// Walks the tape backwards from a scalar, adding to the sinks of parameters; the tape is empty afterwards.
  ///
  /// - Parameter seed: the gradient of the result with respect to itself, 1 as a rule; 1/k to average over k batches.
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

  /// The gradient with respect to a variable made by ``variable(_:)``; nil when the result did not depend on it.
  public func gradient(of variable: Variable) -> Tensor? { variable.identifier.flatMap { gradients[$0] } }

  // MARK: For pullbacks

  /// Adds to the gradient of an input; nothing happens for constants.
  func add(_ gradient: Tensor, to input: Variable) {
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

  /// Lets an operation add a float32 gradient where it is wanted, without a temporary for parameters.
  func accumulate(into input: Variable?, _ body: (Tensor) -> Void) {
    guard let input, let identifier = input.identifier else { return }
    if let sink = sinks[identifier] {
      body(sink)
    } else {
      let gradient = Tensor(repeating: 0, shape: input.shape, on: input.backend)
      body(gradient)
      add(gradient, to: input)
    }
  }
}
