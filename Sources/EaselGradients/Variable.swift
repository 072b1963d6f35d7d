@_exported import EaselTensors

/// A tensor in a computation that may be differentiated.
///
/// Operations on variables record themselves on the tape of their inputs. Without a tape nothing is recorded, so
/// sampling runs the same code as training.
public struct Variable {
  /// The numbers, of any shape.
  public let value: Tensor
  /// The tape that records computations with this variable.
  public let tape: Tape?
  /// The variable's number on its tape; nil for constants, into which no gradient flows.
  let identifier: Int?
  /// The value for the backward pass.
  let kept: Kept

  /// Wraps a tensor of any shape as a constant, into which no gradient flows. Pass `tape` if parameters that it meets
  /// should receive gradients, as for a network's data.
  public init(_ value: Tensor, on tape: Tape? = nil) { self.init(value, tape: tape, identifier: nil) }

  init(_ value: Tensor, tape: Tape?, identifier: Int?, kept: Kept? = nil) {
    self.value = value
    self.tape = tape
    self.identifier = identifier
    self.kept = kept ?? Kept(value)
  }

  /// The value's shape.
  public var shape: Shape { value.shape }
  /// The value's backend.
  public var backend: any Backend { value.backend }

  /// Whether a gradient flows into this variable.
  public var wantsGradient: Bool { identifier != nil }

  /// The same values as a constant, on the same tape.
  public var detached: Variable { Variable(value, tape: tape, identifier: nil, kept: kept) }

  /// What a pullback keeps of an input if it does not need the value.
  var input: Input { Input(identifier: identifier, shape: shape, type: value.type) }
  /// What a pullback keeps of an input if it needs the value.
  var saved: Saved { Saved(input: input, kept: kept) }
}

/// A value for the backward pass: kept or, if that is cheap, computed again when it is first needed.
///
/// All pullbacks that need the value share this object, so that the value is computed at most once and lives until the
/// last of them has run.
final class Kept {
  private var tensor: Tensor?
  private let remake: (() -> Tensor)?

  init(_ tensor: Tensor) { (self.tensor, remake) = (tensor, nil) }
  init(remake: @escaping () -> Tensor) { (tensor, self.remake) = (nil, remake) }

  var value: Tensor {
    if let tensor { return tensor }
    guard let remade = remake?() else { fatalShape("a value was neither kept nor can be computed again") }
    tensor = remade
    return remade
  }
}

/// Where a gradient goes.
struct Input {
  let identifier: Int?
  let shape: Shape
  let type: ScalarType

  var wantsGradient: Bool { identifier != nil }
}

/// Where a gradient goes, and the value that it depends on.
struct Saved {
  let input: Input
  fileprivate let kept: Kept

  var value: Tensor { kept.value }
  var shape: Shape { input.shape }
  var wantsGradient: Bool { input.wantsGradient }
}
