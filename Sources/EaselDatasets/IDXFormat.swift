import EaselImages
import EaselSupport
import EaselTensors
import Foundation

/// A folder of IDX files (`train-images-idx3-ubyte.gz` and so on), or one file of images with its labels beside it.
///
/// Names may contain more words, as EMNIST's do (`emnist-letters-train-images-idx3-ubyte`). If there are both, `t10k`
/// or `test` is for validation; otherwise the last tenth is.
struct IDXFormat: DatasetFormat {
  /// Names of the class indices 0, 1, …, one per line.
  static let classNamesFile = "classes.txt"

  private let path: String
  private let trainImages: String
  private let validationImages: String?

  static func isImageFile(_ name: String) -> Bool {
    let name = name.lowercased()
    return name.contains("images") && (name.contains("idx3") || name.hasSuffix(".idx"))
  }

  init(file: String) {
    path = file
    trainImages = file
    validationImages = nil
  }

  /// - Throws: `UserError` (`badData`) if it is unclear which of the folder's image files are for training.
  init(folder: String, names: [String]) throws {
    // A file may exist both compressed and uncompressed.
    let images = names.filter(Self.isImageFile).filter {
      !($0.hasSuffix(".gz") && names.contains(String($0.dropLast(3))))
    }
    let training = images.filter { Self.hasWord($0, beginning: ["train"]) }
    let heldOut = images.filter { Self.hasWord($0, beginning: ["t10k", "test"]) }
    let (first, second) = (training.first ?? heldOut.first ?? images[0], training.isEmpty ? nil : heldOut.first)
    guard training.count <= 1, heldOut.count <= 1, !(training + heldOut).isEmpty || images.count == 1 else {
      let isSeveral = training.count > 1 || heldOut.count > 1
      throw UserError(
        .badData,
        "\(folder): expected \(isSeveral ? "one data set" : "train-images… or t10k-images…"), found "
          + images.joined(separator: ", "),
        hint: isSeveral
          ? "Give each a folder of its own, or name one file as the data."
          : "Rename the files, or name one of them as the data.")
    }
    path = folder
    trainImages = folder.appendingPathComponent(first)
    validationImages = second.map { folder.appendingPathComponent($0) }
  }

  /// Whether a word of the name begins with one of the parts. Words are separated by anything but letters and digits.
  private static func hasWord(_ name: String, beginning parts: [String]) -> Bool {
    name.lowercased().split { !$0.isLetter && !$0.isNumber }.contains { word in parts.contains(where: word.hasPrefix) }
  }

  func summary() throws -> DatasetSummary {
    let files = [trainImages, validationImages].compactMap { $0 }
    let sizes = try files.map { try IDXFile.dimensions(path: $0, rank: 3) }
    let labels = try files.compactMap(Self.labelsFile).map { try IDXFile(path: $0, rank: 1).values }
    return DatasetSummary(
      count: sizes.reduce(0) { $0 + $1[0] }, imageSize: ImageSize(width: sizes[0][2], height: sizes[0][1]),
      channels: 1, classNames: try Self.classNames(of: labels, besides: trainImages))
  }

  func splits(name: String, imageSize: ImageSize?, fit: ImageFit) throws -> DatasetSplits {
    let training = try Self.read(trainImages)
    let validation = try validationImages.map(Self.read)
    let labels = [training.labels, validation?.labels].compactMap { $0 }
    let classNames = try Self.classNames(of: labels, besides: trainImages)
    let train = dataset(name: name, contents: training, classNames: classNames)
    guard let validation else { return try .lastTenth(of: train).resized(to: imageSize, by: fit) }
    let heldOut = dataset(name: name, contents: validation, classNames: classNames)
    guard train.imageSize == heldOut.imageSize else {
      throw UserError(
        .badData, "\(path): images are \(train.imageSize) for training and \(heldOut.imageSize) for validation")
    }
    guard (train.labels == nil) == (heldOut.labels == nil) else {
      throw UserError(.badData, "\(path): labels are there for only one of the two image files")
    }
    let fileName = validation.path.lastPathComponent
    return DatasetSplits(
      train: train, validation: heldOut, rule: "the \(heldOut.count) images of \(fileName) are for validation"
    ).resized(to: imageSize, by: fit)
  }

  private func dataset(name: String, contents: Contents, classNames: [String]) -> ImageDataset {
    ImageDataset(
      name: name, source: contents.path, width: contents.images.dimensions[2], height: contents.images.dimensions[1],
      channels: 1, pixels: contents.images.values, annotations: Annotations(labels: contents.labels?.map(Int32.init)),
      classNames: classNames)
  }

  /// A file of images with its labels.
  private struct Contents {
    let path: String
    let images: IDXFile
    let labels: [UInt8]?
  }

  private static func read(_ path: String) throws -> Contents {
    let images = try IDXFile(path: path, rank: 3)
    guard let labelsPath = labelsFile(besides: path) else { return Contents(path: path, images: images, labels: nil) }
    let labels = try IDXFile(path: labelsPath, rank: 1).values
    guard labels.count == images.dimensions[0] else {
      throw UserError(
        .badData, "\(labelsPath): expected \(images.dimensions[0]) labels, one for each image, found \(labels.count)")
    }
    return Contents(path: path, images: images, labels: labels)
  }

  /// `train-labels-idx1-ubyte` for `train-images-idx3-ubyte`, compressed or not, if there is one.
  private static func labelsFile(besides imagesPath: String) -> String? {
    let folder = imagesPath.deletingLastPathComponent
    let name = imagesPath.lastPathComponent
    let labelsName = name.replacingOccurrences(of: "images", with: "labels")
      .replacingOccurrences(of: "idx3", with: "idx1")
    guard labelsName != name else { return nil }
    let plain = labelsName.hasSuffix(".gz") ? String(labelsName.dropLast(3)) : labelsName
    return [plain, plain + ".gz"].map { folder.appendingPathComponent($0) }
      .first(where: \.existsAsFile)
  }

  private static func classNames(of labels: [[UInt8]], besides file: String) throws -> [String] {
    guard !labels.isEmpty else { return [] }
    return try EaselDatasets.classNames(
      inFolder: file.deletingLastPathComponent, candidates: [classNamesFile], labels: labels.compactMap { $0.max() })
  }
}
