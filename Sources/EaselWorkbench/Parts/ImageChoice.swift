import EaselSupport
import Foundation

/// Images that a request works on: held-out ones of a data set, or files.
public struct ImageChoice: DeclaredFields {
  /// A data set whose held-out images are taken; nil for the run's own.
  public var data: String?
  /// Files, or folders of them, instead.
  public var images: [String] = []
  /// Nil for the fit used in training.
  public var fit: ImageFit?
  public var skipBroken = false
  /// The SHA-256 that the images' size and levels must have; nil for any.
  public var fingerprint: String?

  public init() {}

  public static let fields: [Field<ImageChoice>] = [
    Field("data", \.data, "A data set whose held-out images are taken (default: the run's own)."),
    Field("images", \.images, "Image files instead, or folders of them."),
    Field(
      "fit", \.fit, "How images are fitted to the model's size: crop, pad or stretch (default: as in training)."),
    Field("skip-broken", \.skipBroken, "Leave out pictures and folders that cannot be read, and list them."),
    Field("images-sha256", \.fingerprint, "The SHA-256 that the images must have (default: any)."),
  ]

  /// Images of the size and channels that a model takes.
  ///
  /// - Parameters:
  ///   - part: which of a data set's images to take.
  ///   - domain: which of the run's data sets to take if none is named; 0 is the first.
  ///   - limit: the most images of a data set to take; files are all taken.
  func load(
    _ work: Work, for loaded: LoadedModel, of part: Part = .heldOut, domain: Int = 0, from first: Int = 0,
    limit: Int? = nil
  ) throws -> ChosenImages {
    let chosen = try images.isEmpty ? take(part, work, loaded, domain, first, limit) : read(work, loaded)
    if let fingerprint, chosen.fingerprint != fingerprint {
      throw UserError(
        .badData,
        "\(chosen.source): expected the images with SHA-256 \(fingerprint.prefix(12))…, found "
          + "\(chosen.fingerprint.prefix(12))…",
        hint: "The recipe's picture was made from other images. Name those with \(field: "images").")
    }
    return chosen
  }

  /// This choice with the fingerprint of the chosen images, as a recipe records it.
  func resolved(_ chosen: ChosenImages) -> ImageChoice {
    var choice = self
    choice.fingerprint = chosen.fingerprint
    return choice
  }

  /// How images are brought to a model's size.
  func fit(for loaded: LoadedModel) throws -> ImageFit {
    try fit ?? loaded.configuration.decode(RunDescription.self).fit
  }

  /// Which images of a data set are taken.
  enum Part {
    case heldOut
    /// Those for training, then the held-out ones.
    case all
  }

  private func take(
    _ part: Part, _ work: Work, _ loaded: LoadedModel, _ domain: Int, _ first: Int, _ limit: Int?
  ) throws -> ChosenImages {
    let splits = try splits(work, of: loaded, domain: domain)
    func some(_ images: ImageDataset, _ kind: String) -> ChosenImages {
      let range = min(first, images.count)..<min(first + (limit ?? images.count), images.count)
      return ChosenImages(images, range, kind)
    }
    let heldOut = some(splits.validation, "held-out")
    if part == .heldOut { return heldOut }
    let training = some(splits.train, "training")
    // Numbers count from 0 in both parts.
    let names = splits.train.names.isEmpty ? training.names.map { "training \($0)" } : training.names
    let others = splits.validation.names.isEmpty ? heldOut.names.map { "held-out \($0)" } : heldOut.names
    return ChosenImages(
      images: training.images + heldOut.images, names: names + others, source: splits.train.name)
  }

  private func read(_ work: Work, _ loaded: LoadedModel) throws -> ChosenImages {
    let description = loaded.state.data.description
    let size = ImageSize(width: description.width, height: description.height)
    let fit = try fit(for: loaded)
    var broken: [UserError] = []
    func skip(_ error: UserError) throws {
      guard skipBroken else { throw error }
      broken.append(error)
    }
    let files = try images.flatMap { path -> [(path: String, name: String, isOne: Bool)] in
      let name = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
      guard path.isFolder else { return [(path, name, true)] }
      return try Image.files(below: path) { try skip($0.advisingToSkip) }.map { ($0.path, $0.name, false) }
    }
    var chosen = ChosenImages(images: [], names: [], source: "files")
    var cropped = 0
    try Image.reading(files.map(\.path)) {
      for file in files {
        do {
          let picture = try Image.read(file.path)
          if fit == .crop, Image.isCut(picture.size, to: size) { cropped += 1 }
          chosen.images.append(picture.brought(to: size, by: fit).converted(channels: description.channels))
          chosen.names.append(file.name.escapingStrayBytes)
          chosen.files.append(file.path)
        } catch let error as UserError {
          try skip(file.isOne ? error : error.advisingToSkip)
        }
      }
    }
    work.noteCropped(cropped, of: files.count, String(field: "images"), to: size)
    work.list(skipped: broken, of: images.joined(separator: ", "))
    if chosen.images.isEmpty, let first = broken.first {
      throw UserError(.badData, "\(field: "images"): none of the pictures can be read; the first: \(first.message)")
    }
    return chosen
  }

  /// The named data set, or else the run's own, in the size and channels that the model takes.
  ///
  /// - Parameter domain: which of the run's data sets; 0 is the first.
  func splits(_ work: Work, of loaded: LoadedModel, domain: Int) throws -> DatasetSplits {
    let description = loaded.state.data.description
    let run = try loaded.configuration.decode(RunDescription.self)
    let (own, key) = domain > 0 ? (run.dataB ?? run.data, "data-b") : (run.data, "data")
    return try work.data(
      data, or: work.workspace.place(of: own, key, of: loaded.checkpoint), like: description, fit: fit ?? run.fit,
      skippingBroken: skipBroken || (data == nil && run.skipBroken)
    ).converted(channels: description.channels)
  }
}

/// Images of the size and channels that a model takes.
struct ChosenImages {
  var images: [Image]
  /// The name of each, without its extension, with the sub-folders that it is in.
  var names: [String]
  /// A description of the images, for people.
  var source: String
  /// The files that they were read from; empty for those of a data set.
  var files: [String] = []

  /// SHA-256 of the images' size and levels, as ``ImageDataset/fingerprint``.
  var fingerprint: String {
    guard let first = images.first else { return "" }
    return ImageDataset(
      name: source, source: source, width: first.width, height: first.height, channels: first.channels,
      pixels: images.flatMap(\.pixels), classNames: []
    ).fingerprint
  }

  /// The images as the tensor that a model works on.
  func tensor(for model: any Model) -> Tensor { Batch(images).tensor(on: model.context.backend) }
}

extension ChosenImages {
  /// Some images of a data set.
  ///
  /// - Parameter kind: which of them, in a word.
  init(_ data: ImageDataset, _ range: Range<Int>, _ kind: String) {
    self.init(
      images: data.images(range),
      names: range.map { data.names.isEmpty ? String(format: "%05d", $0) : data.names[$0] },
      source: "\(data.name), \(kind)")
  }
}
