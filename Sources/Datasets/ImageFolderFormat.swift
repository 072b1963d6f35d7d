import Foundation
import Images
import Tensors

/// A folder of pictures: sub-folders are classes (`root/<class>/**/<image>`); a flat folder has no labels.
///
/// Where there are two sub-folders `train` and `validation` (or `val`, or `test`), each of them is such a folder, and the
/// second one's pictures are held out. Otherwise a tenth of the pictures is.
///
/// Classes and files are sorted by name. Hidden files and files of other kinds are passed over; a file that is named as a
/// picture and is none is an error.
struct ImageFolderFormat: DatasetFormat {
  let path: String
  /// Whether pictures that cannot be read are left out, and listed, instead of being an error.
  var skipsBroken = false

  func summary() throws -> DatasetSummary {
    let (train, heldOut) = try listings()
    let first = try Image.read(train.files[0])
    return DatasetSummary(
      count: train.files.count + (heldOut?.files.count ?? 0), imageSize: first.size, channels: first.channels,
      classNames: train.classNames)
  }

  func splits(name: String, imageSize: ImageSize?, fit: ImageFit) throws -> DatasetSplits {
    var (train, heldOut) = try listings()
    let (images, skipped, cropped) = try read(train.files + (heldOut?.files ?? []), imageSize: imageSize, fit: fit)
    let boundary = train.files.count
    let channels = images.contains { $0?.channels == 3 } ? 3 : 1
    let trainImages = dataset(name: name, train.keep(images[..<boundary]), train, channels: channels)
    var splits: DatasetSplits
    if let heldOutImages = heldOut?.keep(images[boundary...]), let heldOut {
      let validation = dataset(
        name: name, heldOutImages, heldOut, channels: channels, classNames: train.classNames)
      splits = DatasetSplits(
        train: trainImages, validation: validation,
        rule: "the \(validation.count) images in \(heldOut.folder.lastPathComponent)/ are for validation")
    } else {
      splits = try .shuffledTenth(of: trainImages)
    }
    guard splits.train.count > 0, splits.validation.count > 0 else {
      throw UserError(.badData, "\(path): none of the pictures can be read; the first: \(skipped.first?.message ?? "")")
    }
    (splits.skipped, splits.cropped) = (skipped, cropped)
    return splits
  }

  /// All pictures, none held out.
  func dataset(name: String, imageSize: ImageSize?) throws -> ImageDataset {
    var listing = try list(path)
    let images = listing.keep(try read(listing.files, imageSize: imageSize, fit: .crop).images[...])
    return dataset(name: name, images, listing, channels: images.contains { $0.channels == 3 } ? 3 : 1)
  }

  private func dataset(
    name: String, _ images: [Image], _ listing: Listing, channels: Int, classNames: [String]? = nil
  ) -> ImageDataset {
    let size = images.first?.size ?? ImageSize(width: 1, height: 1)
    return ImageDataset(
      name: name, source: listing.folder, width: size.width, height: size.height, channels: channels,
      pixels: concatenated(images.lazy.map { $0.converted(channels: channels).pixels }), labels: listing.labels,
      classNames: classNames ?? listing.classNames,
      names: listing.files.map(\.lastPathComponent.deletingPathExtension))
  }

  /// The pictures of files; nil for those that are left out, and why they are; and how many lost a part to their size.
  private func read(
    _ files: [String], imageSize: ImageSize?, fit: ImageFit
  ) throws -> (images: [Image?], skipped: [UserError], cropped: Int) {
    try Image.reading(files) { try readReadable(files, imageSize: imageSize, fit: fit) }
  }

  private func readReadable(
    _ files: [String], imageSize: ImageSize?, fit: ImageFit
  ) throws -> (images: [Image?], skipped: [UserError], cropped: Int) {
    // The first picture decides what the others must be, so that a folder of photographs in many sizes is refused before
    // they fill the memory.
    let first = try firstReadable(files)
    let size = imageSize ?? first.image.size
    try checkMemory(count: files.count, size: size)
    let results = try concurrentMap(files) { file -> Result<(image: Image, isCut: Bool), UserError> in
      let image: Image
      do {
        image = try Image.read(file)
      } catch let error as UserError where skipsBroken && error.kind == .badData {
        return .failure(error)
      }
      if imageSize == nil, image.size != size {
        throw UserError(
          .badData, "\(path): images differ in size: \(first.file) is \(size), \(file) is \(image.size)",
          hint: "Bring them to one size with --image-size, for example --image-size \(min(size.width, size.height)).")
      }
      return .success((image.brought(to: size, by: fit), fit == .crop && Image.isCut(image.size, to: size)))
    }
    let skipped = results.compactMap { result -> UserError? in
      if case .failure(let error) = result { error } else { nil }
    }
    let images = results.map { try? $0.get() }
    return (images.map { $0?.image }, skipped, images.count { $0?.isCut == true })
  }

  private func firstReadable(_ files: [String]) throws -> (file: String, image: Image) {
    for file in files.dropLast() where skipsBroken {
      if let image = try? Image.read(file) { return (file, image) }
    }
    let file = skipsBroken ? files[files.count - 1] : files[0]
    return (file, try Image.read(file))
  }

  private func checkMemory(count: Int, size: ImageSize) throws {
    let available = ProcessInfo.processInfo.physicalMemory
    // Three channels, and twice: the images one by one and put together.
    let perImage = UInt64(size.width) * UInt64(size.height) * 3 * 2
    let (needed, overflow) = UInt64(count).multipliedReportingOverflow(by: perImage)
    guard !overflow, needed <= available else {
      throw UserError(
        .badData, "\(path): \(count) images of \(size) do not fit in this machine's \(available >> 20) MiB of memory",
        hint: "Make them smaller with --image-size.")
    }
  }

  // MARK: Listing

  private struct Listing {
    let folder: String
    var files: [String] = []
    /// One for each file, where there are classes.
    var labels: [Int32]?
    var classNames: [String] = []

    /// Leaves out the files that have no picture.
    mutating func keep(_ images: ArraySlice<Image?>) -> [Image] {
      let kept = zip(files.indices, images).compactMap { index, image in image.map { (index: index, image: $0) } }
      files = kept.map { files[$0.index] }
      labels = labels.map { labels in kept.map { labels[$0.index] } }
      return kept.map(\.image)
    }
  }

  /// The sub-folder that holds the pictures for validation, if it is there and `train` with it.
  static func heldOutFolder(of folder: String, names: [String]) -> String? {
    func isThere(_ name: String) -> Bool { names.contains(name) && folder.appendingPathComponent(name).isFolder }
    return isThere(trainFolder) ? heldOutFolders.first(where: isThere) : nil
  }

  private static let trainFolder = "train"
  private static let heldOutFolders = ["validation", "val", "test"]

  private func listings() throws -> (train: Listing, heldOut: Listing?) {
    guard let heldOutName = Self.heldOutFolder(of: path, names: try visibleNames(inFolder: path)) else {
      return (try list(path), nil)
    }
    let train = try list(path.appendingPathComponent(Self.trainFolder))
    var heldOut = try list(path.appendingPathComponent(heldOutName))
    guard Set(heldOut.classNames).isSubset(of: train.classNames), (heldOut.labels == nil) == (train.labels == nil)
    else {
      func classes(_ listing: Listing) -> String {
        listing.classNames.isEmpty ? "none" : listing.classNames.joined(separator: ", ")
      }
      throw UserError(
        .badData,
        "\(heldOut.folder): expected the classes of \(train.folder) (\(classes(train))), found \(classes(heldOut))")
    }
    // Not every class need be among the held-out pictures.
    let places = heldOut.classNames.map { name in Int32(train.classNames.firstIndex(of: name) ?? 0) }
    heldOut.labels = heldOut.labels?.map { places[Int($0)] }
    return (train, heldOut)
  }

  private func list(_ path: String) throws -> Listing {
    let names = try visibleNames(inFolder: path)
    let flatFiles = names.filter(Self.isNamedAsImage).map { path.appendingPathComponent($0) }.filter { !$0.isFolder }
    let classes = try names.map { (name: $0, folder: path.appendingPathComponent($0)) }.filter { $0.folder.isFolder }
      .map { (name: $0.name, files: try Self.images(inFolder: $0.folder)) }.filter { !$0.files.isEmpty }
    if let loose = flatFiles.first, let sorted = classes.first {
      throw UserError(
        .badData, "\(path): pictures lie both in the folder (\(loose)) and in its sub-folders (\(sorted.files[0]))",
        hint: "Sub-folders are classes: move every picture into one, or all of them out.")
    }
    guard !flatFiles.isEmpty || !classes.isEmpty else {
      throw UserError(
        .badData, "\(path): no pictures, IDX files or CIFAR batches in this folder",
        hint: "Expected pictures (\(Image.readableFormats)) in it, or in one sub-folder for each class.")
    }
    if classes.isEmpty { return Listing(folder: path, files: flatFiles) }
    return Listing(
      folder: path, files: classes.flatMap(\.files),
      labels: classes.enumerated().flatMap { index, entry in entry.files.map { _ in Int32(index) } },
      classNames: classes.map(\.name))
  }

  /// All pictures below a folder, sorted by path. Links to folders are followed, except round in a circle.
  fileprivate static func images(inFolder folder: String, ancestors: Set<String> = []) throws -> [String] {
    let realPath = URL(fileURLWithPath: folder).resolvingSymlinksInPath().path
    guard !ancestors.contains(realPath) else { return [] }
    return try visibleNames(inFolder: folder).flatMap { name -> [String] in
      let entry = folder.appendingPathComponent(name)
      if entry.isFolder { return try images(inFolder: entry, ancestors: ancestors.union([realPath])) }
      return isNamedAsImage(name) ? [entry] : []
    }
  }

  static func isNamedAsImage(_ name: String) -> Bool {
    // Of formats that cannot be read too: such a file is reported, not silently left out.
    Image.fileExtensions.contains(name.pathExtension.lowercased())
  }
}

extension Image {
  /// All pictures below a folder, sorted by path; what is named otherwise is passed over.
  ///
  /// Throws ``UserError``: `inputOutput` when a folder cannot be read, `badData` when there are none.
  public static func files(below folder: String) throws -> [String] {
    let files = try ImageFolderFormat.images(inFolder: folder)
    guard !files.isEmpty else {
      throw UserError(
        .badData, "\(folder): no pictures in this folder", hint: "Expected pictures (\(Image.readableFormats)).")
    }
    return files
  }
}
