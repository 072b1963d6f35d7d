import EaselImages
import EaselSupport
import EaselTensors
import Foundation

/// A folder of pictures: sub-folders are classes (`root/<class>/**/<image>`); a flat folder has no labels.
///
/// If there are two sub-folders `train` (or `training`) and `validation` (or `valid`, `val`, `dev`, `eval`, `test`; the
/// first that exists), in upper or lower case, each of them is such a folder, and the second one's pictures are held
/// out. Otherwise a tenth of the pictures is. With `trainA` and `trainB`, and `testA` and `testB`, a folder holds two
/// domains, `root/A` and `root/B`.
///
/// Files are sorted by name; so are classes, but with numbers in their names by value. Hidden files and other kinds of
/// files are ignored; a file with a picture's name that is no picture is an error.
struct ImageFolderFormat: DatasetFormat {
  let path: String
  /// `A` or `B` for one of the folder's two domains; empty for a folder of one domain.
  var domain = ""
  /// Whether unreadable pictures and folders are left out and listed instead of being an error.
  var skipsBroken = false

  func summary() throws -> DatasetSummary {
    let (train, heldOut) = try listings()
    let first = try firstReadable(train.files).image
    return DatasetSummary(
      count: train.files.count + (heldOut?.files.count ?? 0), imageSize: first.size, channels: first.channels,
      classNames: train.classNames)
  }

  func splits(name: String, imageSize: ImageSize?, fit: ImageFit) throws -> DatasetSplits {
    var (train, heldOut) = try listings()
    try train.readCaptions(skippingBroken: skipsBroken)
    try heldOut?.readCaptions(skippingBroken: skipsBroken)
    // Captions of one part are the data's, of which the other part's pictures have none.
    if train.captions != nil || heldOut?.captions != nil {
      train.completeCaptions()
      heldOut?.completeCaptions()
    }
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
    (splits.skipped, splits.cropped) = (train.broken + (heldOut?.broken ?? []) + skipped, cropped)
    splits.notes = try unusedNotes() + train.notes + (heldOut?.notes ?? [])
    return splits
  }

  /// All pictures, none held out, and what was left out.
  func dataset(name: String, imageSize: ImageSize?) throws -> (images: ImageDataset, skipped: [UserError]) {
    var listing = try list(path)
    try listing.readCaptions(skippingBroken: skipsBroken)
    let (all, skipped, _) = try read(listing.files, imageSize: imageSize, fit: .crop)
    let images = listing.keep(all[...])
    let channels = images.contains { $0.channels == 3 } ? 3 : 1
    return (dataset(name: name, images, listing, channels: channels), listing.broken + skipped)
  }

  private func dataset(
    name: String, _ images: [Image], _ listing: Listing, channels: Int, classNames: [String]? = nil
  ) -> ImageDataset {
    let size = images.first?.size ?? ImageSize(width: 1, height: 1)
    return ImageDataset(
      name: name, source: listing.folder.escapingStrayBytes, width: size.width, height: size.height, channels: channels,
      pixels: concatenated(images.lazy.map { $0.converted(channels: channels).pixels }),
      annotations: Annotations(labels: listing.labels, captions: listing.captions),
      classNames: classNames ?? listing.classNames,
      names: listing.pictures.map(\.deletingPathExtension.escapingStrayBytes))
  }

  /// The pictures of files, nil for those that are left out; the reasons; and how many were cropped.
  private func read(
    _ files: [String], imageSize: ImageSize?, fit: ImageFit
  ) throws -> (images: [Image?], skipped: [UserError], cropped: Int) {
    try Image.reading(files) { try readReadable(files, imageSize: imageSize, fit: fit) }
  }

  private func readReadable(
    _ files: [String], imageSize: ImageSize?, fit: ImageFit
  ) throws -> (images: [Image?], skipped: [UserError], cropped: Int) {
    // The first picture determines what the others must be, so that a folder of photographs in many sizes is refused
    // before they fill the memory.
    let first = try firstReadable(files)
    let size = imageSize ?? first.image.size
    try checkMemory(count: files.count, size: size)
    let results = try concurrentMap(files) { file -> Result<(image: Image, isCut: Bool), UserError> in
      let image: Image
      do {
        image = try Image.read(file)
      } catch let error as UserError {
        if skipsBroken { return .failure(error) }
        throw error.advisingToSkip
      }
      if imageSize == nil, image.size != size {
        throw UserError(
          .badData, "\(path): images differ in size: \(first.file) is \(size), \(file) is \(image.size)",
          hint:
            "Bring them to one size with \(field: "image-size"), for example \(field: "image-size") \(min(size.width, size.height))."
        )
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
    do {
      return (file, try Image.read(file))
    } catch let error as UserError {
      throw skipsBroken ? error : error.advisingToSkip
    }
  }

  private func checkMemory(count: Int, size: ImageSize) throws {
    let available = ProcessInfo.processInfo.physicalMemory
    // Three channels, and twice: the single images and the data set.
    let perImage = UInt64(size.width) * UInt64(size.height) * 3 * 2
    let (needed, overflow) = UInt64(count).multipliedReportingOverflow(by: perImage)
    guard !overflow, needed <= available else {
      throw UserError(
        .badData, "\(path): \(count) images of \(size) do not fit in this machine's \(available >> 20) MiB of memory",
        hint: "Make them smaller with \(field: "image-size").")
    }
  }

  // MARK: Listing

  private struct Listing {
    let folder: String
    /// The pictures' paths below the folder.
    var pictures: [String] = []
    /// A label for each picture, if there are classes.
    var labels: [Int32]?
    var classNames: [String] = []
    /// The texts of each picture; nil if there are none, or if they were not read yet.
    var captions: [[String]]?
    /// What a person should know of the captions.
    var notes: [String] = []
    /// Folders and captions that cannot be read.
    var broken: [UserError] = []

    var files: [String] { pictures.map(folder.appendingPathComponent) }

    mutating func readCaptions(skippingBroken: Bool) throws {
      let files = try CaptionFiles(of: pictures, in: folder, skipsBroken: skippingBroken)
      (captions, notes) = (files.captions, files.notes)
      broken += files.broken
    }

    /// Gives each picture an empty list of captions if none were found.
    mutating func completeCaptions() { captions = captions ?? [[String]](repeating: [], count: pictures.count) }

    /// Leaves out the files that have no picture.
    mutating func keep(_ images: ArraySlice<Image?>) -> [Image] {
      let kept = zip(pictures.indices, images).compactMap { index, image in image.map { (index: index, image: $0) } }
      pictures = kept.map { pictures[$0.index] }
      labels = labels.map { labels in kept.map { labels[$0.index] } }
      captions = captions.map { captions in kept.map { captions[$0.index] } }
      return kept.map(\.image)
    }
  }

  private static let trainNames = ["train", "training"]
  /// Pictures for choosing a model come before those for its final figures.
  private static let heldOutNames = ["validation", "valid", "val", "dev", "eval", "test"]
  static let domains = ["A", "B"]

  /// The first of some known names that a sub-folder has, in upper or lower case.
  private static func subfolder(_ known: [String], domain: String, of folder: String, names: [String]) -> String? {
    known.lazy.compactMap { known in
      let wanted = known + domain.lowercased()
      return names.first { $0.lowercased() == wanted && folder.appendingPathComponent($0).isFolder }
    }.first
  }

  /// The sub-folders with training and held-out pictures, if both exist.
  static func parts(of folder: String, names: [String]) -> (train: String, heldOut: String)? {
    guard let train = subfolder(trainNames, domain: "", of: folder, names: names),
      let heldOut = subfolder(heldOutNames, domain: "", of: folder, names: names)
    else { return nil }
    return (train, heldOut)
  }

  /// Whether a folder holds two domains to translate between, like those of CycleGAN's data.
  static func holdsTwoDomains(_ folder: String, names: [String]) -> Bool {
    domains.allSatisfy { subfolder(trainNames, domain: $0, of: folder, names: names) != nil }
  }

  /// Whether there are pictures in a folder or anywhere below it.
  static func holdsPictures(_ folder: String, names: [String]) -> Bool {
    if names.contains(where: isNamedAsImage) { return true }
    return names.lazy.map(folder.appendingPathComponent).contains {
      $0.isFolder && (try? images(inFolder: $0) { _ in })?.isEmpty == false
    }
  }

  /// The sub-folders with training and held-out pictures; nil for the folder itself, of which a tenth is held out.
  private func parts() throws -> (train: String, heldOut: String?)? {
    let names = try visibleNames(inFolder: path)
    if domain.isEmpty { return Self.parts(of: path, names: names).map { ($0.train, $0.heldOut) } }
    return Self.subfolder(Self.trainNames, domain: domain, of: path, names: names).map { train in
      (train, Self.subfolder(Self.heldOutNames, domain: domain, of: path, names: names))
    }
  }

  /// Notes which of the folder's pictures are neither for training nor held out.
  private func unusedNotes() throws -> [String] {
    guard let parts = try parts() else { return [] }
    var names = Set([parts.train, parts.heldOut].compactMap { $0 })
    if !domain.isEmpty {
      let other = Self.domains.filter { $0 != domain }.map { $0.lowercased() }
      names.formUnion(
        try visibleNames(inFolder: path).filter { name in other.contains { name.lowercased().hasSuffix($0) } })
    }
    let rest = try visibleNames(inFolder: path).filter { !names.contains($0) }
    let folders = rest.filter { name in
      let folder = path.appendingPathComponent(name)
      return folder.isFolder && (try? Self.images(inFolder: folder) { _ in })?.isEmpty == false
    }
    let loose = rest.count { Self.isNamedAsImage($0) && !path.appendingPathComponent($0).isFolder }
    let unused =
      folders.map { "\($0)/" } + (loose > 0 ? ["pictures beside \(parts.train)/ (\(loose))"] : [])
      + CaptionFiles.tableNames.filter(rest.contains).map { "\($0), which belongs into \(parts.train)/" }
    return unused.isEmpty ? [] : ["not used of \(path): \(unused.joined(separator: ", "))".escapingStrayBytes]
  }

  private func listings() throws -> (train: Listing, heldOut: Listing?) {
    guard let parts = try parts() else { return (try list(path), nil) }
    let train = try list(path.appendingPathComponent(parts.train))
    guard var heldOut = try parts.heldOut.map({ try list(path.appendingPathComponent($0)) }) else {
      return (train, nil)
    }
    // Some classes may be missing among the held-out pictures.
    let places = heldOut.classNames.map { name in train.classNames.firstIndex { $0.hasSameBytes(as: name) } }
    guard !places.contains(nil), (heldOut.labels == nil) == (train.labels == nil) else {
      func classes(_ listing: Listing) -> String {
        listing.classNames.isEmpty ? "none" : listing.classNames.joined(separator: ", ")
      }
      throw UserError(
        .badData,
        "\(heldOut.folder): expected the classes of \(train.folder) (\(classes(train))), found \(classes(heldOut))")
    }
    heldOut.labels = heldOut.labels?.map { Int32(places[Int($0)] ?? 0) }
    return (train, heldOut)
  }

  private func list(_ path: String) throws -> Listing {
    var listing = Listing(folder: path)
    let names = try visibleNames(inFolder: path)
    let loose = names.filter { Self.isNamedAsImage($0) && !path.appendingPathComponent($0).isFolder }
    let classes = try names.filter { path.appendingPathComponent($0).isFolder }.sorted(by: precedesNaturally)
      .map { name in
        let folder = path.appendingPathComponent(name)
        let pictures = try Self.images(inFolder: folder) { error in
          guard skipsBroken else { throw error.advisingToSkip }
          listing.broken.append(error)
        }
        return (name: name, pictures: pictures.map(name.appendingPathComponent))
      }.filter { !$0.pictures.isEmpty }
    if let loose = loose.first, let sorted = classes.first {
      throw UserError(
        .badData,
        "\(path): pictures lie both in the folder (\(path.appendingPathComponent(loose))) and in its sub-folders "
          + "(\(path.appendingPathComponent(sorted.pictures[0])))",
        hint: "Sub-folders are classes: move every picture into one, or all of them out.")
    }
    guard !loose.isEmpty || !classes.isEmpty else {
      throw UserError(
        .badData, "\(path): no pictures, IDX files or CIFAR batches in this folder",
        hint: "Expected pictures (\(Image.readableFormats)) in it, or in one sub-folder for each class.")
    }
    listing.pictures = classes.isEmpty ? loose : classes.flatMap(\.pictures)
    if !classes.isEmpty {
      listing.labels = classes.enumerated().flatMap { index, entry in entry.pictures.map { _ in Int32(index) } }
      listing.classNames = classes.map(\.name.escapingStrayBytes)
    }
    return listing
  }

  /// The sorted paths of all pictures below a folder. Links to folders are followed, except in a circle.
  ///
  /// - Parameter unreadable: receives each folder below that cannot be read.
  fileprivate static func images(
    inFolder folder: String, ancestors: [stat] = [], unreadable: (UserError) throws -> Void
  ) throws -> [String] {
    guard let own = folder.fileStatus,
      !ancestors.contains(where: { $0.st_dev == own.st_dev && $0.st_ino == own.st_ino })
    else { return [] }
    let names: [String]
    do {
      names = try visibleNames(inFolder: folder)
    } catch let error as UserError {
      try unreadable(error)
      return []
    }
    return try names.flatMap { name -> [String] in
      let entry = folder.appendingPathComponent(name)
      if entry.isFolder {
        return try images(inFolder: entry, ancestors: ancestors + [own], unreadable: unreadable)
          .map(name.appendingPathComponent)
      }
      return isNamedAsImage(name) ? [name] : []
    }
  }

  static func isNamedAsImage(_ name: String) -> Bool {
    // Unreadable formats count too: such a file is reported, not silently left out.
    Image.fileExtensions.contains(name.pathExtension.lowercased())
  }
}

extension Image {
  /// All pictures below a folder, sorted by path, each with its path below the folder without extension. Files with
  /// other names are ignored.
  ///
  /// - Parameters:
  ///   - folder: the folder's path.
  ///   - unreadable: receives each folder that cannot be read.
  /// - Throws: `UserError`: `badData` if there are none, and what `unreadable` throws.
  public static func files(
    below folder: String, unreadable: (UserError) throws -> Void = { throw $0 }
  ) throws -> [(path: String, name: String)] {
    let pictures = try ImageFolderFormat.images(inFolder: folder, unreadable: unreadable)
    guard !pictures.isEmpty else {
      throw UserError(
        .badData, "\(folder): no pictures in this folder", hint: "Expected pictures (\(Image.readableFormats)).")
    }
    return pictures.map { (folder.appendingPathComponent($0), $0.deletingPathExtension) }
  }
}
