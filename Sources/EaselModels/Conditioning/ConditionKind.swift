import EaselSupport

/// The conditions that a model takes.
public enum ConditionKind: Sendable, Hashable {
  /// None: it draws anything.
  case nothing
  /// The classes of its data.
  case classes
  /// Texts, as the captions of its data are.
  case texts
  /// Vectors of a model that gives them to images and texts; texts therefore too.
  case embeddings(width: Int)

  /// - Parameters:
  ///   - conditions: the conditions of a request; nil if it names none.
  ///   - data: what the model was trained with.
  /// - Throws: `UserError` (usage) for conditions that the model cannot take.
  func check(_ conditions: [Condition]?, of data: DataDescription) throws {
    guard let conditions else { return }
    guard let first = conditions.first else {
      throw UserError(.usage, "expected a condition to draw by, found an empty list of them")
    }
    switch self {
    case .nothing:
      let problem =
        switch first {
        case .text: "\(field: "prompt"): this model was trained without captions"
        case .embedding: "\(field: "like"): this model was trained without pictures as conditions"
        case .label, .nothing: "\(field: "label"): this model was trained without labels (conditional: false)"
        }
      throw UserError(.usage, problem)
    case .classes: try data.check(conditions)
    case .texts, .embeddings:
      for condition in conditions {
        switch (condition, self) {
        case (.nothing, _), (.text, _): break
        case (.embedding(let vector), .embeddings(let width)):
          if vector.count != width {
            throw UserError(.usage, "expected a vector of \(width) numbers, found \(vector.count)")
          }
        case (.label, _):
          throw UserError(
            .usage, "\(field: "label"): this model was trained with captions, not with classes",
            hint: "Say what to draw with \(field: "prompt").")
        case (.embedding, _):
          throw UserError(
            .usage, "\(field: "like"): this model was trained with captions, not with pictures",
            hint: "Say what to draw with \(field: "prompt").")
        }
      }
    }
  }

  /// Whether a text can be a condition.
  public var takesTexts: Bool {
    switch self {
    case .texts, .embeddings: true
    case .nothing, .classes: false
    }
  }

  /// A condition of pictures whose vectors are not known yet, to check other options with; nil for models without them.
  package var placeholder: [Condition]? {
    if case .embeddings(let width) = self { [.embedding([Float](repeating: 0, count: width))] } else { nil }
  }

  /// What is drawn if a request names no conditions: all classes in turn, or nothing in particular.
  func usual(in data: DataDescription) -> [Condition] { self == .classes ? data.trainedConditions : [.nothing] }
}

extension SamplingOptions {
  /// The condition of each image of a series.
  package func conditions(of images: Range<Int>, _ kind: ConditionKind, in data: DataDescription) -> [Condition] {
    let conditions = conditions ?? kind.usual(in: data)
    return images.map { conditions[$0 % conditions.count] }
  }

  /// One column for each condition; nil if there is only one.
  func columns(_ kind: ConditionKind, in data: DataDescription) -> Int? {
    let columns = (conditions ?? kind.usual(in: data)).count
    return columns > 1 ? columns : nil
  }

  /// The conditions for a picture's recipe: see ``DataDescription/description(of:)``.
  func description(of kind: ConditionKind, in data: DataDescription) -> [(key: String, value: String)] {
    var description =
      conditions.map(data.description) ?? (kind == .classes ? [(key: "Label", value: Self.allLabels)] : [])
    if case .text(let text)? = negative { description.append(("Negative", text.debugDescription)) }
    return description
  }

  /// A recipe's text for nil ``conditions`` of a model of classes.
  public static let allLabels = "all in turn"
}

/// Draws images that are like others.
public protocol LikenessSampling: Sampling {
  /// The conditions for which images are like given ones.
  ///
  /// - Parameter images: float32 `[N, H, W, C]`, 0 to 1.
  /// - Throws: `UserError` (usage) if the model was not trained with pictures as conditions.
  func conditions(like images: Tensor) throws -> [Condition]
  /// The vectors of texts, as conditions in the same space.
  ///
  /// - Parameter texts: what images should show.
  /// - Throws: `UserError` (usage) if the model was not trained with pictures as conditions.
  func conditions(of texts: [String]) throws -> [Condition]
}

/// Reads texts that people write.
public protocol TextReading: Model {
  /// What people should know about a text: words that the model has never seen, and what it has no room for. Nil for
  /// nothing.
  func remark(on text: String) -> String?
}
