import EaselImages
import EaselSupport
import EaselTensors
import Foundation

/// CIFAR-10 and CIFAR-100 in their binary form: records of labels, then 1024 red, 1024 green and 1024 blue levels.
///
/// `test_batch.bin` (or `test.bin`) is held out for validation if it exists; otherwise the last tenth of the records
/// is.
struct CIFARFormat: DatasetFormat {
  private static let side = 32
  private static let planeSize = side * side
  private static let maximumSize = 1 << 32

  private let path: String
  private let trainFiles: [String]
  private let validationFile: String?

  static func isNamedAsBatch(_ name: String) -> Bool { name.lowercased().hasSuffix(".bin") }

  /// Whether a folder holds CIFAR batches: any file with such a name or, if there are pictures too, one with CIFAR's
  /// own name and size.
  static func accepts(_ folder: String, names: [String]) -> Bool {
    let batches = names.filter(isNamedAsBatch)
    return !batches.isEmpty
      && (batches.contains { name in
        let size = folder.appendingPathComponent(name).fileStatus.map { Int($0.st_size) } ?? 0
        return ["data_batch", "test", "train"].contains(where: name.lowercased().hasPrefix)
          && !labelCounts(size).isEmpty
      } || !ImageFolderFormat.holdsPictures(folder, names: names))
  }

  init(file: String) {
    path = file
    trainFiles = [file]
    validationFile = nil
  }

  init(folder: String, names: [String]) {
    let files = names.filter(Self.isNamedAsBatch)
    let test = files.first { $0.lowercased().hasPrefix("test") }
    let training = files.filter { $0 != test }
    path = folder
    trainFiles = (training.isEmpty ? files : training).map { folder.appendingPathComponent($0) }
    validationFile = training.isEmpty ? nil : test.map { folder.appendingPathComponent($0) }
  }

  func summary() throws -> DatasetSummary {
    let batches = try (trainFiles + [validationFile].compactMap { $0 }).map(Self.read)
    return DatasetSummary(
      count: batches.reduce(0) { $0 + $1.labels.count }, imageSize: ImageSize(width: Self.side, height: Self.side),
      channels: 3, classNames: try Self.classNames(of: batches, besides: trainFiles[0]))
  }

  func splits(name: String, imageSize: ImageSize?, fit: ImageFit) throws -> DatasetSplits {
    let training = try trainFiles.map(Self.read)
    let validation = try validationFile.map(Self.read)
    let classNames = try Self.classNames(of: training + [validation].compactMap { $0 }, besides: trainFiles[0])
    let train = dataset(name: name, source: path, batches: training, classNames: classNames)
    guard let validation, let validationFile else { return try .lastTenth(of: train).resized(to: imageSize, by: fit) }
    let heldOut = dataset(name: name, source: validationFile, batches: [validation], classNames: classNames)
    let fileName = validationFile.lastPathComponent
    return DatasetSplits(
      train: train, validation: heldOut, rule: "the \(heldOut.count) images of \(fileName) are for validation"
    ).resized(to: imageSize, by: fit)
  }

  private func dataset(name: String, source: String, batches: [Batch], classNames: [String]) -> ImageDataset {
    ImageDataset(
      name: name, source: source, width: Self.side, height: Self.side, channels: 3,
      pixels: concatenated(batches.map(\.pixels)),
      annotations: Annotations(labels: batches.flatMap { $0.labels.map(Int32.init) }),
      classNames: classNames)
  }

  /// The records of one file: labels, and pixels as `[count, 32, 32, 3]`.
  private struct Batch {
    var labels: [UInt8] = []
    var pixels: [UInt8] = []
  }

  private static func read(_ path: String) throws -> Batch {
    let bytes = try FileIO.read(path, maximumSize: maximumSize)
    let labelCount = try labelCount(path: path, fileSize: bytes.count)
    let recordSize = labelCount + 3 * planeSize
    var batch = Batch()
    batch.pixels.reserveCapacity(bytes.count / recordSize * 3 * planeSize)
    for record in stride(from: 0, to: bytes.count, by: recordSize) {
      // CIFAR-100 has a coarse label and then the fine one, which gives its 100 classes.
      batch.labels.append(bytes[record + labelCount - 1])
      let red = record + labelCount
      for pixel in red..<red + planeSize {
        batch.pixels.append(bytes[pixel])
        batch.pixels.append(bytes[pixel + planeSize])
        batch.pixels.append(bytes[pixel + 2 * planeSize])
      }
    }
    return batch
  }

  /// How many labels a record can have if the file consists of whole records.
  private static func labelCounts(_ fileSize: Int) -> [Int] {
    [1, 2].filter { fileSize > 0 && fileSize.isMultiple(of: $0 + 3 * planeSize) }
  }

  /// 1 (CIFAR-10) or 2 (CIFAR-100), by the file's size and, if both would fit, by its name.
  private static func labelCount(path: String, fileSize: Int) throws -> Int {
    let fitting = labelCounts(fileSize)
    let isNamedAsCIFAR100 = ["train.bin", "test.bin"].contains(path.lastPathComponent)
    guard let labelCount = isNamedAsCIFAR100 ? fitting.last : fitting.first else {
      throw UserError(
        .badData, "\(path): expected records of 3073 (CIFAR-10) or 3074 (CIFAR-100) bytes, found \(fileSize) bytes",
        hint: "The file is incomplete, or no CIFAR batch.")
    }
    return labelCount
  }

  private static func classNames(of batches: [Batch], besides file: String) throws -> [String] {
    try EaselDatasets.classNames(
      inFolder: file.deletingLastPathComponent,
      candidates: ["batches.meta.txt", "fine_label_names.txt"], labels: batches.compactMap { $0.labels.max() })
  }
}
