/// A mistake that the person at the terminal can correct: what is wrong, where, and what to do about it.
///
/// Mistakes in code (a shape that does not fit) trap instead; see `fatalShape(_:file:line:)` of `EaselTensors`.
public struct UserError: Error, Equatable, CustomStringConvertible {
  /// The kind of mistake; its raw value is the exit code of `sysexits.h`.
  public enum Kind: Int32, Sendable {
    case usage = 64
    case badData = 65
    case missingInput = 66
    case unavailable = 69
    case internalFailure = 70
    case cannotCreate = 73
    case inputOutput = 74
  }

  public let kind: Kind
  private let markedMessage: String
  private let markedHint: String?

  /// What is wrong and where (path, byte, field), with what was expected and what was found.
  public var message: String { markedMessage.namingFields("") }
  /// What to do about it.
  public var hint: String? { markedHint?.namingFields("") }

  public init(_ kind: Kind, _ message: String, hint: String? = nil) {
    self.kind = kind
    markedMessage = message.escapingStrayBytes
    markedHint = hint?.escapingStrayBytes
  }

  /// The error with field names as a program shows them.
  ///
  /// - Parameter prefix: precedes each field's name, such as `--` for the options of a program.
  public func named(_ prefix: String) -> UserError {
    UserError(kind, markedMessage.namingFields(prefix), hint: markedHint?.namingFields(prefix))
  }

  /// The message and the hint, one line each; no name in them can begin a new line.
  public var description: String { [message, hint].compactMap { $0?.printable }.joined(separator: "\n") }
}
