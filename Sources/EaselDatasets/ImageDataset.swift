import EaselImages
import EaselSupport
import EaselTensors

/// Pictures of one size in memory, with or without labels and captions.
///
/// Image `i` is the bytes `i × sampleSize ..< (i + 1) × sampleSize` of ``pixels``: `[count, height, width, channels]`.
public struct ImageDataset: Sendable {
  /// Its name for people (`fashion-mnist`, a folder's name).
  public let name: String
  /// Its origin, as a sentence or path for people.
  public let source: String
  public let width: Int
  public let height: Int
  /// 1 (grey) or 3 (red, green, blue).
  public let channels: Int
  /// 8-bit levels, row-major, channels interleaved.
  public let pixels: [UInt8]
  /// The labels and captions of the images.
  public let annotations: Annotations
  /// The name of each class index; empty without labels.
  public let classNames: [String]
  /// The name of each image (its file's path below the data's folder, without the extension); empty if images have no
  /// names.
  public let names: [String]

  /// Makes a data set from its parts.
  ///
  /// Traps if the bytes are not a whole number of images, if the number of annotations or names is not that of the
  /// images, or if a label has no class name. The readers of this module check their files before.
  public init(
    name: String, source: String, width: Int, height: Int, channels: Int, pixels: [UInt8],
    annotations: Annotations = Annotations(), classNames: [String] = [], names: [String] = []
  ) {
    guard width > 0, height > 0, channels == 1 || channels == 3,
      pixels.count.isMultiple(of: width * height * channels)
    else { fatalError("ImageDataset \(name): \(pixels.count) bytes for images of \(width)×\(height)×\(channels)") }
    let count = pixels.count / (width * height * channels)
    guard names.isEmpty || names.count == count else {
      fatalError("ImageDataset \(name): \(names.count) names for \(count) images")
    }
    if let problem = annotations.problem(images: count, classes: classNames.count) {
      fatalError("ImageDataset \(name): \(problem)")
    }
    self.name = name
    self.source = source
    self.width = width
    self.height = height
    self.channels = channels
    self.pixels = pixels
    self.annotations = annotations
    self.classNames = classNames
    self.names = names
  }

  /// One class index for each image, if the data are labelled.
  public var labels: [Int32]? { annotations.labels }

  /// How many images there are.
  public var count: Int { pixels.count / sampleSize }

  /// Bytes of one image: `height × width × channels`.
  public var sampleSize: Int { width * height * channels }

  public var imageSize: ImageSize { ImageSize(width: width, height: height) }

  /// The number of images of each class; empty without labels.
  public var classCounts: [Int] {
    labels?.reduce(into: [Int](repeating: 0, count: classNames.count)) { $0[Int($1)] += 1 } ?? []
  }

  /// SHA-256 (hexadecimal) of sizes, pixels and labels; it does not depend on where the data came from.
  ///
  /// Reads everything: keep the result if it is needed often.
  public var fingerprint: String {
    let hash = SHA256()
    for size in [count, height, width, channels, labels == nil ? 0 : 1] {
      withUnsafeBytes(of: UInt64(size).littleEndian) { hash.update($0) }
    }
    pixels.withUnsafeBytes { hash.update($0) }
    labels?.map(\.littleEndian).withUnsafeBytes { hash.update($0) }
    return hash.hexadecimal()
  }

  /// SHA-256 (hexadecimal) of the captions; nil if there are none. They have a hash of their own, since few models read them.
  public var captionFingerprint: String? {
    guard let captions = annotations.captions else { return nil }
    let hash = SHA256()
    func add(_ count: Int, to hash: borrowing SHA256) {
      withUnsafeBytes(of: UInt64(count).littleEndian) { hash.update($0) }
    }
    // The numbers of captions and of bytes come before the bytes, so that different data never give the same stream.
    add(captions.count, to: hash)
    for texts in captions {
      add(texts.count, to: hash)
      for text in texts {
        add(text.utf8.count, to: hash)
        Array(text.utf8).withUnsafeBytes { hash.update($0) }
      }
    }
    return hash.hexadecimal()
  }
}

extension ImageDataset {
  /// All pictures of a folder (PNG, JPEG), with none held out. Sub-folders are their classes.
  ///
  /// - Parameters:
  ///   - path: the path of the folder.
  ///   - imageSize: the size that they are brought to; nil if all have the same size.
  ///   - skippingBroken: whether pictures and folders that cannot be read are skipped.
  ///   - skipped: receives the error of each of them.
  /// - Throws: `UserError`: `missingInput` if there is no such folder, `badData` with the path of a broken picture.
  public init(
    folder path: String, imageSize: ImageSize? = nil, skippingBroken: Bool = false,
    skipped: ([UserError]) -> Void = { _ in }
  ) throws {
    guard path.isFolder else { throw UserError(.missingInput, "\(path): no such folder") }
    let (images, broken) = try ImageFolderFormat(path: path, skipsBroken: skippingBroken)
      .dataset(name: path.lastPathComponent, imageSize: imageSize)
    guard images.count > 0 else {
      throw UserError(.badData, "\(path): none of the pictures can be read; the first: \(broken.first?.message ?? "")")
    }
    skipped(broken)
    self = images
  }

  /// An image by its index.
  public func image(at index: Int) -> Image {
    let bytes = pixels[index * sampleSize..<(index + 1) * sampleSize]
    return Image(width: width, height: height, channels: channels, pixels: Array(bytes))
  }

  /// Images by their indices, in order.
  public func images(_ range: Range<Int>) -> [Image] { range.map(image) }

  /// Consecutive images as a separate data set.
  public func subset(_ range: Range<Int>) -> ImageDataset {
    replacing(
      pixels: Array(pixels[range.lowerBound * sampleSize..<range.upperBound * sampleSize]),
      annotations: annotations[range], names: names.isEmpty ? [] : Array(names[range]))
  }

  /// Chosen images as a separate data set, in the order of `indices`.
  public func subset(_ indices: [Int]) -> ImageDataset {
    var chosen: [UInt8] = []
    chosen.reserveCapacity(indices.count * sampleSize)
    for index in indices { chosen += pixels[index * sampleSize..<(index + 1) * sampleSize] }
    return replacing(
      pixels: chosen, annotations: annotations[indices],
      names: names.isEmpty ? [] : indices.map { names[$0] })
  }

  /// The images of some classes, renumbered in the given order; nil if there are no labels.
  ///
  /// - Parameter classes: distinct numbers of existing classes.
  public func subset(classes: [Int]) -> ImageDataset? {
    guard let labels else { return nil }
    let numbers = Dictionary(uniqueKeysWithValues: classes.enumerated().map { (Int32($1), Int32($0)) })
    let chosen = subset(labels.indices.filter { numbers[labels[$0]] != nil })
    var annotations = chosen.annotations
    annotations.labels = chosen.labels?.compactMap { numbers[$0] }
    return ImageDataset(
      name: name, source: source, width: width, height: height, channels: channels, pixels: chosen.pixels,
      annotations: annotations, classNames: classes.map { classNames[$0] }, names: chosen.names)
  }

  /// The same images at another size, as `Image.brought(to:by:)`.
  public func resized(to size: ImageSize, by fit: ImageFit = .crop) -> ImageDataset {
    if size == imageSize { return self }
    let places = Array(0..<count)
    let resized = concurrentMap(places) { image(at: $0).brought(to: size, by: fit).pixels }
    return ImageDataset(
      name: name, source: source, width: size.width, height: size.height, channels: channels,
      pixels: concatenated(resized), annotations: annotations, classNames: classNames, names: names)
  }

  /// The same images with 1 or 3 channels, as `Image.converted(channels:)`.
  public func converted(channels: Int) -> ImageDataset {
    if channels == self.channels { return self }
    let column = Image(width: width, height: height * count, channels: self.channels, pixels: pixels)
    return ImageDataset(
      name: name, source: source, width: width, height: height, channels: channels,
      pixels: column.converted(channels: channels).pixels, annotations: annotations, classNames: classNames,
      names: names)
  }

  /// The same images with other annotations.
  func with(_ annotations: Annotations) -> ImageDataset {
    replacing(pixels: pixels, annotations: annotations, names: names)
  }

  private func replacing(pixels: [UInt8], annotations: Annotations, names: [String]) -> ImageDataset {
    ImageDataset(
      name: name, source: source, width: width, height: height, channels: channels, pixels: pixels,
      annotations: annotations, classNames: classNames, names: names)
  }
}
