import EaselSupport
import Yams

extension Node {
  /// A field's value as YAML.
  init(_ content: FieldContent) {
    switch content {
    // Plain, because readers take a quoted null for a text.
    case .null: self = Node("null", .implicit, .plain)
    case .flag(let flag): self = Node(flag ? "true" : "false")
    case .number(let digits): self = Node(Self.number(digits))
    case .text(let text): self.init(quotedIfNeeded: text)
    case .list(let elements): self = Node(elements.map(Node.init), .implicit, .flow)
    }
  }

  /// Quotes a text that a reader would take for a number, a truth value or null.
  private init(quotedIfNeeded text: String) {
    let plain = Node(text)
    let isText = !text.isEmpty && Resolver.default.resolveTag(of: plain) == .str
    self = isText ? plain : Node(text, .implicit, .doubleQuoted)
  }

  private static func number(_ digits: String) -> String {
    switch digits {
    case "nan": return ".nan"
    case "inf": return ".inf"
    case "-inf": return "-.inf"
    default:
      // YAML 1.1 readers (PyYAML) take `1e-05` for a text and `1.0e-05` for a number.
      guard let exponent = digits.firstIndex(of: "e"), !digits.contains(".") else { return digits }
      return digits[..<exponent] + ".0" + digits[exponent...]
    }
  }
}
