import EaselSupport
import EaselTensors
import Foundation
import Yams

/// YAML text for configurations: one document without anchors and aliases, and without the surprises of YAML 1.1's
/// numbers.
struct YAMLSource {
  let text: String
  /// The source of the text for error messages: a path, an option.
  let place: String
  /// Whether error messages name the line.
  let isFile: Bool

  /// - Returns: the root; an empty text is an empty mapping.
  /// - Throws: `UserError(.badData)` with place and line if the text is not such YAML.
  func parse() throws -> Node {
    try checkAliases()
    do {
      // Nodes refer to anchors weakly, so look for anchors while the parser lives.
      let parser = try Parser(yaml: text)
      return try withExtendedLifetime(parser) {
        guard let root = try parser.singleRoot() else { return Node([(Node, Node)]()) }
        return try plainNode(root)
      }
    } catch let error as YamlError {
      throw UserError(.badData, "\(place)\(description(of: error))")
    }
  }

  /// Yams replaces an alias by its content, and scans all of that if it is a key: twenty lines could take hours. A few
  /// aliases of anchors cost little; they are refused with their line.
  private func checkAliases() throws {
    // In quotes and comments these are not aliases, but only a YAML parser could tell.
    let words = text.split { !($0.isLetter || $0.isNumber || "_-&*".contains($0)) }
    let anchors = Set(words.filter { $0.first == "&" }.map { $0.dropFirst() })
    let aliases = words.count { $0.first == "*" && anchors.contains($0.dropFirst()) }
    if aliases > 4 {
      throw UserError(
        .badData, "\(place): expected plain values, found anchors and \(aliases) aliases of them",
        hint: "Write the values out where they are used.")
    }
  }

  private func plainNode(_ node: Node) throws -> Node {
    if let anchor = node.anchor {
      throw UserError(
        .badData, "\(place)\(suffix(node.mark)): expected plain values, found the anchor &\(anchor.rawValue)",
        hint: "Write the value out where it is used.")
    }
    switch node {
    case .scalar(var scalar):
      if scalar.style == .plain, isArchaicNumber(scalar.string) {
        scalar.style = .doubleQuoted
      }
      return .scalar(scalar)
    case .sequence(let elements):
      return Node(try elements.map(plainNode), .implicit, .flow)
    case .mapping(let fields):
      return Node(
        try fields.map { (try plainNode($0.key), try plainNode($0.value)) }, .implicit, .flow)
    case .alias:
      return node
    }
  }

  /// Whether YAML 1.1 reads a text as a base-60 or octal number (`1:30` is 90, `010` is 8). People mean something else,
  /// and Yams' base-60 arithmetic traps on overflow.
  private func isArchaicNumber(_ text: String) -> Bool {
    let digits = text.drop { $0 == "-" || $0 == "+" }
    guard digits.first?.isNumber == true || digits.first == ":" else { return false }
    return digits.contains(":") || digits.wholeMatch(of: /0[0-9_]+/) != nil
  }

  private func description(of error: YamlError) -> String {
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      "\(suffix(mark)): \(problem)"
    case .duplicatedKeysInMapping(let keys, let context):
      "\(suffix(context.mark)): \(keys.joined(separator: ", ")) is given more than once"
    case .reader(let problem, _, _, _):
      ": \(problem)"
    default:
      ": expected YAML"
    }
  }

  private func suffix(_ mark: Mark?) -> String { mark.flatMap { isFile ? " line \($0.line)" : nil } ?? "" }
}
