import EaselSupport

/// What an image shall show.
public enum Condition: Sendable, Hashable, Codable {
  /// Anything.
  case nothing
  /// A class of the data, counted from 0.
  case label(Int)
  /// What a text describes.
  case text(String)
  /// What a vector describes, such as a picture's embedding.
  case embedding([Float])

  /// The class; nil for anything else.
  public var label: Int? { if case .label(let label) = self { label } else { nil } }

  /// The class, as networks of classes take it; −1 for nothing. Traps for other conditions, which a model of classes refuses
  /// before.
  var classIndex: Int32 {
    switch self {
    case .nothing: return -1
    case .label(let label): return Int32(label)
    case .text, .embedding: fatalShape("expected a class or nothing, found the condition \(self)")
    }
  }
}

extension Batch {
  /// What each image shows, by its label.
  var conditions: [Condition] {
    labels?.map { .label(Int($0)) } ?? [Condition](repeating: .nothing, count: count)
  }
}

extension DataDescription {
  /// Every class that a model can have learned: what conditional models draw in turn if nothing else is asked for.
  var trainedConditions: [Condition] { trainedClasses.map(Condition.label) }

  /// Checks what is asked of a model that knows this data's classes.
  ///
  /// - Throws: `UserError` (usage) for a condition that is not a class, for a class that there is not, and for one that no
  ///   image for training had.
  func check(_ conditions: [Condition]) throws {
    let classes = classNames.count
    let labels = try conditions.compactMap { condition -> Int? in
      switch condition {
      case .nothing: return nil
      case .label(let label): return label
      case .text:
        throw UserError(
          .usage, "\(field: "prompt"): this model was trained with classes, not with texts",
          hint: "Name a class with \(field: "label").")
      case .embedding: throw UserError(.usage, "this model was trained with classes: expected one, found a vector")
      }
    }
    if let stray = labels.first(where: { !(0..<classes).contains($0) }) {
      throw UserError(.usage, "\(field: "label"): expected 0 to \(classes - 1), found \(stray)")
    }
    if conditions.isEmpty { throw UserError(.usage, "\(field: "label"): expected a class, found none") }
    let trained = trainedClasses
    if let unknown = Set(labels).subtracting(trained).min() {
      throw UserError(
        .usage, "\(field: "label"): no image for training was of the class \(classNames[unknown])",
        hint: "Known: \(list(trained)).")
    }
  }

  /// Conditions for a picture's recipe: classes by name, for people, and by number, which is not to be mistaken; texts as they
  /// are.
  public func description(of conditions: [Condition]) -> [(key: String, value: String)] {
    let labels = conditions.compactMap(\.label)
    let texts = conditions.compactMap { if case .text(let text) = $0 { text } else { nil } }
    var description: [(key: String, value: String)] = []
    if !labels.isEmpty {
      description.append(("Label", labels.map { classNames[$0] }.joined(separator: ",")))
      description.append(("Label number", labels.map(String.init).joined(separator: ",")))
    }
    if !texts.isEmpty { description.append(("Prompt", texts.map(\.debugDescription).joined(separator: ","))) }
    return description
  }
}
