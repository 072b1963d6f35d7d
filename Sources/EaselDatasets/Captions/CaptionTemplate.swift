import EaselSupport

/// Makes captions of the names of classes: `a picture of a {}`, or several with `|` between.
public struct CaptionTemplate: Sendable, Equatable {
  private let wordings: [String]

  /// - Throws: `UserError` (usage) for a wording without `{}`.
  public init(parsing text: String) throws {
    wordings = text.split(separator: "|", omittingEmptySubsequences: false)
      .map { $0.split(whereSeparator: \.isWhitespace).joined(separator: " ") }
    if let wrong = wordings.first(where: { !$0.contains("{}") }) {
      throw UserError(
        .usage,
        "\(field: "caption-template"): expected {} where the class's name shall stand, found \(wrong.debugDescription)",
        hint: #"For example: "a picture of a {}". Put | between several wordings."#)
    }
  }

  /// The captions of a class; hyphens and underscores of its name, as in names of folders, become spaces.
  public func captions(of className: String) -> [String] {
    let name = String(className.map { "-_".contains($0) ? " " : $0 })
    return wordings.map { $0.replacing("{}", with: name) }
  }
}

extension DatasetSplits {
  /// The same images with captions made of their classes' names, in place of others.
  ///
  /// - Throws: `UserError` (usage) if the images have no classes.
  public func captioned(by template: CaptionTemplate) throws -> DatasetSplits {
    try mapped { images in
      guard let labels = images.labels else {
        throw UserError(
          .usage, "\(field: "caption-template"): \(images.name) has no classes to name",
          hint: "Sub-folders are classes.")
      }
      let captions = images.classNames.map(template.captions)
      return images.with(Annotations(labels: labels, captions: labels.map { captions[Int($0)] }))
    }
  }
}
