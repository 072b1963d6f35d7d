import Images
import Tensors

/// What a model learns from, and what it is judged by.
public struct DatasetSplits: Sendable {
  public let train: ImageDataset
  public let validation: ImageDataset
  /// How the two were told apart, as a sentence for people.
  public let rule: String
  /// What was asked to be left out because it could not be read, and why.
  public internal(set) var skipped: [UserError] = []
  /// How many pictures lost a part when they were cropped to one size.
  public internal(set) var cropped = 0

  public init(train: ImageDataset, validation: ImageDataset, rule: String) {
    self.train = train
    self.validation = validation
    self.rule = rule
  }
}

extension DatasetSplits {
  /// The last tenth (at least one image) is for validation: for data that come in an order of no meaning.
  ///
  /// Throws ``UserError`` (`badData`) when there are fewer than two images.
  static func lastTenth(of dataset: ImageDataset) throws -> DatasetSplits {
    let boundary = dataset.count - (try validationCount(of: dataset))
    return DatasetSplits(
      train: dataset.subset(0..<boundary), validation: dataset.subset(boundary..<dataset.count),
      rule: "the last \(dataset.count - boundary) of \(dataset.count) images are for validation")
  }

  /// A tenth (at least one image) that a fixed shuffle chooses is for validation: for data sorted by class or name.
  ///
  /// The choice depends on the number of images alone, not on a run's seed: runs with other seeds see the same split.
  ///
  /// Throws ``UserError`` (`badData`) when there are fewer than two images.
  static func shuffledTenth(of dataset: ImageDataset) throws -> DatasetSplits {
    let validationCount = try validationCount(of: dataset)
    var generator = StreamGenerator(seed: 0, stream: .validation)
    let order = shuffledIndices(count: dataset.count, using: &generator)
    return DatasetSplits(
      train: dataset.subset(order[validationCount...].sorted()),
      validation: dataset.subset(order[..<validationCount].sorted()),
      rule: "\(validationCount) of \(dataset.count) images, chosen by a fixed shuffle, are for validation")
  }

  private static func validationCount(of dataset: ImageDataset) throws -> Int {
    guard dataset.count >= 2 else {
      throw UserError(
        .badData, "\(dataset.source): expected at least 2 images, found \(dataset.count)",
        hint: "One image at least is held out for validation.")
    }
    return max(1, dataset.count / 10)
  }

  /// The same images with 1 or 3 channels.
  public func converted(channels: Int) -> DatasetSplits {
    DatasetSplits(
      train: train.converted(channels: channels), validation: validation.converted(channels: channels), rule: rule)
  }

  /// The images of some classes, as ``ImageDataset/subset(classes:)``.
  ///
  /// - Throws: `UserError` (usage) where there are no such classes, a class is named twice, or none of their images are for
  ///   training or for validation.
  public func subset(classes: [Int]) throws -> DatasetSplits {
    guard train.labels != nil else {
      throw UserError(
        .usage, "\(train.name): expected images with classes, found none", hint: "Sub-folders are classes.")
    }
    let known = train.classNames.count
    guard Set(classes).count == classes.count, classes.allSatisfy((0..<known).contains) else {
      throw UserError(.usage, "\(train.name): expected different classes from 0 to \(known - 1), found \(classes)")
    }
    guard let train = train.subset(classes: classes), let validation = validation.subset(classes: classes),
      train.count > 0, validation.count > 0
    else {
      throw UserError(.usage, "\(self.train.name): no images of these classes for training, or none for validation")
    }
    return DatasetSplits(train: train, validation: validation, rule: rule)
  }

  func resized(to size: ImageSize?, by fit: ImageFit) -> DatasetSplits {
    guard let size else { return self }
    var splits = DatasetSplits(
      train: train.resized(to: size, by: fit), validation: validation.resized(to: size, by: fit), rule: rule)
    if fit == .crop, Image.isCut(train.imageSize, to: size) { splits.cropped = train.count + validation.count }
    return splits
  }
}

extension DatasetSplits {
  /// Two domains as a model of both takes them: in colour where one of them is.
  ///
  /// - Parameter isPaired: whether image k of one belongs to image k of the other, so that there have to be as many.
  /// - Throws: `UserError` (bad data) where sizes or, for pairs, counts differ.
  public static func matched(_ a: DatasetSplits, _ b: DatasetSplits, isPaired: Bool) throws -> (
    a: DatasetSplits, b: DatasetSplits
  ) {
    guard a.train.imageSize == b.train.imageSize else {
      let side = [a, b].map { min($0.train.width, $0.train.height) }.min() ?? 64
      throw UserError(
        .badData,
        "the two data sets differ in size: \(a.train.name) is \(a.train.imageSize), "
          + "\(b.train.name) is \(b.train.imageSize)",
        hint: "Bring them to one size with --image-size, for example --image-size \(side).")
    }
    if isPaired, a.train.count != b.train.count || a.validation.count != b.validation.count {
      func counts(_ splits: DatasetSplits) -> String {
        "\(splits.train.name) has \(splits.train.count) and \(splits.validation.count) held out"
      }
      throw UserError(
        .badData, "pairs expected, image k of one data set with image k of the other: \(counts(a)), \(counts(b))",
        hint: "Give both folders the same file names. Without pairs, train cyclegan.")
    }
    let channels = max(a.train.channels, b.train.channels)
    return (a.converted(channels: channels), b.converted(channels: channels))
  }
}
