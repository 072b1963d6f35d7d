@_exported import EaselTensors

/// A tensor in a computation that may be differentiated.
///
/// Operations on variables record themselves on the tape of their inputs. Without a tape nothing is recorded: sampling runs
/// the same code as training.
public struct Variable {
  /// The numbers, of any shape.
  public let value: Tensor
  /// The tape that a computation with this variable is recorded on.
  public let tape: Tape?
  /// The variable's number on its tape; nil for constants, into which no gradient flows.
  let identifier: Int?
  /// The value as the backward pass gets it.
  let kept: Kept

  /// A constant of any shape, into which no gradient flows. Data enter a network so, on the tape that its parameters shall
  /// be differentiated on.
  public init(_ value: Tensor, on tape: Tape? = nil) { self.init(value, tape: tape, identifier: nil) }

  init(_ value: Tensor, tape: Tape?, identifier: Int?, kept: Kept? = nil) {
    self.value = value
    self.tape = tape
    self.identifier = identifier
    self.kept = kept ?? Kept(value)
  }

  /// The value's.
  public var shape: Shape { value.shape }
  /// The value's.
  public var backend: any Backend { value.backend }

  /// Whether a gradient flows into this variable.
  public var wantsGradient: Bool { identifier != nil }

  /// The same values as a constant, on the same tape.
  public var detached: Variable { Variable(value, tape: tape, identifier: nil, kept: kept) }

  /// What a pullback holds of an input whose value it does not need.
  var input: Input { Input(identifier: identifier, shape: shape, type: value.type) }
  /// What a pullback holds of an input whose value it needs.
  var saved: Saved { Saved(input: input, kept: kept) }
}

/// A value that waits for the backward pass: kept, or, where that is cheap, computed again when it is first asked for.
///
/// All pullbacks that need the value share one of these, so that it is computed at most once, and lives until the last of
/// them has run.
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
