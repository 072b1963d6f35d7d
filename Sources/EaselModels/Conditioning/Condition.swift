import EaselSupport
import EaselTensors

/// What an image should show.
public enum Condition: Sendable, Hashable, Codable {
  /// No condition: anything.
  case nothing
  /// A class of the data, by its number from 0.
  case label(Int)
  /// The content that a text describes.
  case text(String)
  /// The content that a vector describes, such as a picture's embedding.
  case embedding([Float])

  /// The class; nil for anything else.
  public var label: Int? { if case .label(let label) = self { label } else { nil } }

  /// The class as networks of classes take it; −1 for nothing. Traps for other conditions, which a model of classes has
  /// already refused.
  var classIndex: Int32 {
    switch self {
    case .nothing: return -1
    case .label(let label): return Int32(label)
    case .text, .embedding: fatalShape("expected a class or nothing, found the condition \(self)")
    }
  }
}

extension Batch {
  /// The condition of each image, from its label.
  var conditions: [Condition] {
    labels?.map { .label(Int($0)) } ?? [Condition](repeating: .nothing, count: count)
  }
}

extension Batch {
  /// A text that describes each image; nil for an image without captions.
  ///
  /// - Parameters:
  ///   - draw: chooses among an image's captions; nil for the first.
  ///   - backend: draws the numbers.
  package func captions(chosenBy draw: RandomDraw?, on backend: any Backend) -> [String?] {
    guard let all = annotations.captions else { return [String?](repeating: nil, count: count) }
    guard let draw else { return all.map(\.first) }
    let numbers = Tensor(uninitialized: [count], on: backend)
    backend.fillUniform(numbers, draw)
    return zip(all, numbers.values()).map { captions, number in
      captions.isEmpty ? nil : captions[min(captions.count - 1, Int(number * Float(captions.count)))]
    }
  }
}

extension DataDescription {
  /// Every class that a model can have learned; by default, conditional models draw them in turn.
  var trainedConditions: [Condition] { trainedClasses.map(Condition.label) }

  /// Checks conditions for a model that knows this data's classes.
  ///
  /// - Throws: `UserError` (usage) for a condition that is not a class, for a class that does not exist, and for a
  ///   class without training images.
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

  /// Conditions for a picture's recipe: classes by name, for people, and by number, which is unambiguous; texts as they
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
