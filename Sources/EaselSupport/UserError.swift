/// A mistake that the person at the terminal can mend: what is wrong, where, and what to do about it.
///
/// Mistakes in code (a shape that does not fit) trap instead; see ``fatalShape(_:file:line:)``.
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
  /// What is wrong and where (path, byte, field), with what was expected and what was found.
  public let message: String
  /// What to do about it.
  public let hint: String?

  public init(_ kind: Kind, _ message: String, hint: String? = nil) {
    self.kind = kind
    self.message = message.escapingStrayBytes
    self.hint = hint?.escapingStrayBytes
  }

  /// The message and the hint, a line each: whatever names they hold, they begin no line of their own.
  public var description: String { [message, hint].compactMap { $0?.printable }.joined(separator: "\n") }
}
