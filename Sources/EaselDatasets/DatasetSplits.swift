import EaselImages
import EaselSupport
import EaselTensors

/// What a model learns from, and what it is judged by.
public struct DatasetSplits: Sendable {
  public let train: ImageDataset
  public let validation: ImageDataset
  /// How images were held out, as a sentence for people.
  public let rule: String
  /// What was left out on request because it could not be read, and why.
  public internal(set) var skipped: [UserError] = []
  /// How many pictures were cropped to reach the common size.
  public internal(set) var cropped = 0
  /// What else people should know about the data, such as pictures that are not used, one sentence each.
  public internal(set) var notes: [String] = []

  public init(train: ImageDataset, validation: ImageDataset, rule: String) {
    self.train = train
    self.validation = validation
    self.rule = rule
  }
}

extension DatasetSplits {
  /// Holds out the last tenth (at least one image) for validation: for data in an order without meaning.
  ///
  /// Skips images that are the last of their class for training, as in ``shuffledTenth(of:)``.
  ///
  /// - Throws: `UserError` (`badData`) if there are fewer than two images.
  static func lastTenth(of dataset: ImageDataset) throws -> DatasetSplits {
    let heldOut = try tenth(of: dataset, inOrder: (0..<dataset.count).reversed())
    let isWhole = heldOut.count == dataset.count - (heldOut.min() ?? 0)
    return dataset.splits(
      heldOut: heldOut,
      rule: isWhole
        ? "the last \(heldOut.count) of \(dataset.count) images are for validation"
        : "\(heldOut.count) of \(dataset.count) images, the last ones that leave each class one for training, are for validation"
    )
  }

  /// Holds out a tenth (at least one image), chosen by a fixed shuffle, for validation: for data sorted by class or
  /// name.
  ///
  /// The choice depends on the number of images, not on a run's seed: runs with other seeds see the same split. If it
  /// would take all images of a class, the last of them stays and the next image in the order is taken instead, if
  /// there is one.
  ///
  /// - Throws: `UserError` (`badData`) if there are fewer than two images.
  static func shuffledTenth(of dataset: ImageDataset) throws -> DatasetSplits {
    var generator = StreamGenerator(seed: 0, stream: .validation)
    let heldOut = try tenth(of: dataset, inOrder: shuffledIndices(count: dataset.count, using: &generator))
    return dataset.splits(
      heldOut: heldOut,
      rule: "\(heldOut.count) of \(dataset.count) images, chosen by a fixed shuffle, are for validation")
  }

  /// The indices of the first tenth in an order, without those that are the last of their class.
  private static func tenth(of dataset: ImageDataset, inOrder order: some Collection<Int>) throws -> [Int] {
    let wanted = try validationCount(of: dataset)
    guard let labels = dataset.labels else { return Array(order.prefix(wanted)) }
    var left = dataset.classCounts
    var chosen: [Int] = []
    for place in order where chosen.count < wanted && left[Int(labels[place])] > 1 {
      left[Int(labels[place])] -= 1
      chosen.append(place)
    }
    // If there are as many classes as images, one image must be held out anyway.
    return chosen.isEmpty ? Array(order.prefix(1)) : chosen
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
  public func converted(channels: Int) -> DatasetSplits { mapped { $0.converted(channels: channels) } }

  /// Other images for these, by a rule for each part.
  func mapped(_ change: (ImageDataset) throws -> ImageDataset) rethrows -> DatasetSplits {
    with(try change(train), try change(validation))
  }

  /// The same splits with other images.
  private func with(_ train: ImageDataset, _ validation: ImageDataset) -> DatasetSplits {
    var splits = DatasetSplits(train: train, validation: validation, rule: rule)
    (splits.skipped, splits.cropped, splits.notes) = (skipped, cropped, notes)
    return splits
  }

  /// The images of some classes, as ``ImageDataset/subset(classes:)``.
  ///
  /// - Throws: `UserError` (usage) if there are no such classes, a class is named twice, or none of their images are
  ///   for training or for validation.
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
    return with(train, validation)
  }

  func resized(to size: ImageSize?, by fit: ImageFit) -> DatasetSplits {
    guard let size else { return self }
    var splits = with(train.resized(to: size, by: fit), validation.resized(to: size, by: fit))
    if fit == .crop, Image.isCut(train.imageSize, to: size) { splits.cropped = train.count + validation.count }
    return splits
  }
}

extension DatasetSplits {
  /// Prepares two domains for a model of both: in colour if one of them is.
  ///
  /// - Parameters:
  ///   - a: the first domain's data.
  ///   - b: the second's.
  ///   - isPaired: whether images of one belong to images of the other: those with the same name (their path without
  ///     extension) or, if one of the two has no names, those with the same index. The second's images are put into the
  ///     first's order, and are held out if the first's are.
  /// - Throws: `UserError` (bad data) if sizes differ or, for pairs, if an image has no partner.
  public static func matched(_ a: DatasetSplits, _ b: DatasetSplits, isPaired: Bool) throws -> (
    a: DatasetSplits, b: DatasetSplits
  ) {
    guard a.train.imageSize == b.train.imageSize else {
      let side = [a, b].map { min($0.train.width, $0.train.height) }.min() ?? 64
      throw UserError(
        .badData,
        "the two data sets differ in size: \(a.train.name) is \(a.train.imageSize), "
          + "\(b.train.name) is \(b.train.imageSize)",
        hint: "Bring them to one size with \(field: "image-size"), for example \(field: "image-size") \(side).")
    }
    let b = isPaired ? try b.inOrder(of: a) : b
    let channels = max(a.train.channels, b.train.channels)
    return (a.converted(channels: channels), b.converted(channels: channels))
  }

  private func inOrder(of other: DatasetSplits) throws -> DatasetSplits {
    // Which images are held out may differ, for example if files of two kinds sort in two ways. If the same names occur
    // both for training and held out, as with numbered files in two folders, a name in one says nothing about the
    // other.
    let (mine, others) = (train.appending(validation), other.train.appending(other.validation))
    guard let mine, let others, mine.hasDifferentNames, others.hasDifferentNames else {
      return with(try train.inOrder(of: other.train), try validation.inOrder(of: other.validation))
    }
    let paired = try mine.inOrder(of: others)
    return with(paired.subset(0..<other.train.count), paired.subset(other.train.count..<others.count))
  }
}

extension ImageDataset {
  /// The images that belong to another data set's, in its order: those with the same names or, if one of the two has no
  /// names, with the same indices.
  ///
  /// - Throws: `UserError` (bad data) if an image of either has no partner.
  public func inOrder(of other: ImageDataset) throws -> ImageDataset {
    let hint = "Give both the same file names. Without pairs, train cyclegan."
    guard !names.isEmpty, !other.names.isEmpty else {
      guard count == other.count else {
        throw UserError(
          .badData,
          "pairs expected, image k of one data set with image k of the other: \(other.name) has \(other.count), "
            + "\(name) has \(count)", hint: hint)
      }
      return self
    }
    if names.elementsEqual(other.names, by: { $0.hasSameBytes(as: $1) }) { return self }
    func places(_ dataset: ImageDataset) throws -> [[UInt8]: Int] {
      var places: [[UInt8]: Int] = [:]
      for (place, name) in dataset.names.enumerated() {
        if places.updateValue(place, forKey: Array(name.utf8)) != nil {
          throw UserError(
            .badData, "pairs expected, found two images that are called \(name) in \(dataset.name) (\(dataset.source))",
            hint: hint)
        }
      }
      return places
    }
    let (mine, others) = (try places(self), try places(other))
    for (one, isFound, another) in [(other, mine, self), (self, others, other)] {
      if let lonely = one.names.first(where: { isFound[Array($0.utf8)] == nil }) {
        throw UserError(
          .badData,
          "pairs expected, images of one name in both: \(lonely) of \(one.name) (\(one.source)) has no partner in "
            + "\(another.name) (\(another.source))", hint: hint)
      }
    }
    return subset(other.names.compactMap { mine[Array($0.utf8)] })
  }

  fileprivate var hasDifferentNames: Bool { Set(names.map { Array($0.utf8) }).count == count }

  /// These images followed by those of another data set of the same kind; nil if either has no names.
  fileprivate func appending(_ other: ImageDataset) -> ImageDataset? {
    guard !names.isEmpty, !other.names.isEmpty else { return nil }
    return ImageDataset(
      name: name, source: source, width: width, height: height, channels: channels, pixels: pixels + other.pixels,
      annotations: annotations.appending(other.annotations), classNames: classNames, names: names + other.names)
  }

  /// Holds out some images; the others are for training.
  fileprivate func splits(heldOut: [Int], rule: String) -> DatasetSplits {
    let isHeldOut = Set(heldOut)
    return DatasetSplits(
      train: subset((0..<count).filter { !isHeldOut.contains($0) }), validation: subset(heldOut.sorted()), rule: rule)
  }
}
