import EaselImages
import EaselSupport
import EaselTensors
import Foundation

/// A data set in three files: `train.png` and `validation.png`, each with its images side by side in rows, and
/// `sheet.json` with their size and number. The unused rest of a last row is ignored.
struct SheetFormat: DatasetFormat {
  static let fileName = "sheet.json"

  /// `sheet.json`.
  struct Description: Codable {
    /// One of the two files.
    struct Part: Codable {
      var count: Int
      /// A class index for each image.
      var labels: [Int32]?
      /// The texts that describe each image.
      var captions: [[String]]?
      /// The name of each image.
      var names: [String]?
    }

    /// The width of one image.
    var width: Int
    var height: Int
    var channels: Int
    /// Names of the class indices.
    var classes: [String]?
    var train: Part
    var validation: Part
  }

  private let folder: String

  /// Whether a folder holds sheets: with both picture files, or with the description and no other pictures, so that a
  /// missing file is reported. Another kind of description beside pictures does not count.
  static func accepts(_ folder: String, names: [String]) -> Bool {
    let files = [trainFile, validationFile]
    return names.contains(fileName)
      && (files.allSatisfy(names.contains)
        || !ImageFolderFormat.holdsPictures(folder, names: names.filter { !files.contains($0) }))
  }

  init(folder: String) { self.folder = folder }

  func summary() throws -> DatasetSummary {
    let description = try description()
    return DatasetSummary(
      count: description.train.count + description.validation.count,
      imageSize: ImageSize(width: description.width, height: description.height), channels: description.channels,
      classNames: description.classes ?? [])
  }

  func splits(name: String, imageSize: ImageSize?, fit: ImageFit) throws -> DatasetSplits {
    let description = try description()
    let train = try read(description.train, from: Self.trainFile, description, name: name)
    let heldOut = try read(description.validation, from: Self.validationFile, description, name: name)
    return DatasetSplits(
      train: train, validation: heldOut,
      rule: "the \(heldOut.count) images of \(Self.validationFile) are for validation"
    ).resized(to: imageSize, by: fit)
  }

  static let trainFile = "train.png"
  static let validationFile = "validation.png"

  private func description() throws -> Description {
    let path = folder.appendingPathComponent(Self.fileName)
    let bytes = try FileIO.read(path, maximumSize: 1 << 28)
    let description: Description
    do {
      description = try JSONDecoder().decode(Description.self, from: Data(bytes))
    } catch {
      throw UserError(.badData, "\(path): not the description of a sheet: \(error.reason)")
    }
    func require(_ holds: Bool, _ expected: String, _ found: Any) throws {
      if !holds { throw UserError(.badData, "\(path): expected \(expected), found \(found)") }
    }
    let sides = 1...ImageSize.maximumSide
    try require(
      sides ~= description.width && sides ~= description.height, "sides from 1 to \(ImageSize.maximumSide)",
      "\(description.width)×\(description.height)")
    try require([1, 3].contains(description.channels), "1 or 3 channels", description.channels)
    try require(
      (description.train.captions == nil) == (description.validation.captions == nil),
      "captions in both parts, or in neither",
      "them in one")
    for part in [description.train, description.validation] {
      try require(1...Image.maximumPixelCount ~= part.count, "1 image or more", part.count)
      try require((part.labels == nil) == (description.classes == nil), "classes and labels, or neither", "one of them")
      let classes = description.classes?.count ?? 0
      if let labels = part.labels {
        try require(labels.count == part.count, "\(part.count) labels", labels.count)
        for label in labels { try require(0..<classes ~= Int(label), "labels below \(classes)", label) }
      }
      if let captions = part.captions {
        try require(captions.count == part.count, "captions of \(part.count) images", captions.count)
      }
      if let names = part.names { try require(names.count == part.count, "\(part.count) names", names.count) }
    }
    return description
  }

  private func read(
    _ part: Description.Part, from file: String, _ description: Description, name: String
  ) throws -> ImageDataset {
    let path = folder.appendingPathComponent(file)
    let sheet = try Image.read(path).converted(channels: description.channels)
    let (width, height) = (description.width, description.height)
    let (columns, rows) = (sheet.width / width, sheet.height / height)
    guard columns * width == sheet.width, rows * height == sheet.height, part.count <= columns * rows else {
      throw UserError(
        .badData, "\(path): expected \(part.count) images of \(width)×\(height) in rows, found \(sheet.size) pixels")
    }
    var pixels: [UInt8] = []
    pixels.reserveCapacity(part.count * width * height * description.channels)
    let rowSize = width * description.channels
    for index in 0..<part.count {
      for y in 0..<height {
        let start = ((index / columns * height + y) * columns + index % columns) * rowSize
        pixels += sheet.pixels[start..<start + rowSize]
      }
    }
    return ImageDataset(
      name: name, source: path, width: width, height: height, channels: description.channels, pixels: pixels,
      annotations: Annotations(labels: part.labels, captions: part.captions),
      classNames: description.classes ?? [], names: part.names ?? [])
  }
}

extension DatasetSplits {
  /// Writes the data as sheets (two PNG files and `sheet.json`) into a new folder, completely or not at all.
  ///
  /// - Parameters:
  ///   - path: the path of the new folder.
  ///   - original: the folder that the data were read from, if any; its licence goes with them.
  /// - Throws: `UserError`: `cannotCreate` if something already exists at the path or if it cannot be written, `usage`
  ///   if there are too many images for a picture.
  public func writeSheets(to path: String, original: String? = nil) throws {
    let description = SheetFormat.Description(
      width: train.width, height: train.height, channels: train.channels,
      classes: train.labels == nil ? nil : train.classNames, train: .init(train), validation: .init(validation))
    _ = try creatingFolder(path) { _, folder in
      try train.sheet().write(to: folder.appendingPathComponent(SheetFormat.trainFile))
      try validation.sheet().write(to: folder.appendingPathComponent(SheetFormat.validationFile))
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
      let json = Array(try encoder.encode(description)) + [0x0A]
      try FileIO.write(json, to: folder.appendingPathComponent(SheetFormat.fileName))
      guard let original, original.isFolder else { return }
      for name in try visibleNames(inFolder: original) where isNamedAsLicense(name) {
        let text = try FileIO.read(original.appendingPathComponent(name), maximumSize: 1 << 20)
        try FileIO.write(text, to: folder.appendingPathComponent(name))
      }
    }
  }
}

extension SheetFormat.Description.Part {
  fileprivate init(_ dataset: ImageDataset) {
    self.init(
      count: dataset.count, labels: dataset.labels, captions: dataset.annotations.captions,
      names: dataset.names.isEmpty ? nil : dataset.names)
  }
}

extension ImageDataset {
  /// All images in rows, with about as many columns as rows.
  fileprivate func sheet() throws -> Image {
    let columns = Int(Double(count).squareRoot().rounded(.up))
    let (pixels, overflow) = (columns * columns).multipliedReportingOverflow(by: width * height)
    guard !overflow, pixels <= Image.maximumPixelCount else {
      throw UserError(
        .usage,
        "\(source): \(count) images of \(imageSize) do not fit in a picture of \(Image.maximumPixelCount) pixels",
        hint: "Make them smaller with \(field: "image-size").")
    }
    return ImageGrid.compose(images(0..<count), columns: columns, padding: 0, padValue: 255)
  }
}
