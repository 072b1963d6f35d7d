import Foundation
import Images
import Tensors

/// Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 70,000 pictures of clothes, 28×28, grey, ten classes.
public enum FashionMNIST {
  /// The data set's name in the catalogue.
  public static let name = "fashion-mnist"

  /// Class names by label.
  public static let classNames = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
  ]

  /// Copies the four files into `dataFolder/fashion-mnist`, which appears whole or not at all.
  ///
  /// - Parameters:
  ///   - source: A folder with the four `.gz` files, or one into which Debian's package `dataset-fashion-mnist` was
  ///     unpacked. Without one: the installed package if there is one, else the package is fetched with `apt-get`.
  ///   - dataFolder: A workspace's `Data` folder; made if need be.
  ///   - progress: Is told, in words, what is being done.
  /// - Returns: The new folder's path.
  ///
  /// Throws ``UserError``: `cannotCreate` when the data set is there already or cannot be written, `missingInput` when
  /// `source` lacks a file, `badData` when a file is damaged, `unavailable` when the package cannot be fetched.
  @discardableResult
  public static func importDataset(
    from source: String?, into dataFolder: String, progress: (String) -> Void = { _ in }
  ) throws -> String {
    try FashionMNISTImporter().run(from: source, into: dataFolder, progress: progress)
  }
}

/// The import with its surroundings spelt out: where an installed package lies, and where programs are.
package struct FashionMNISTImporter {
  private static let package = "dataset-fashion-mnist"
  private static let folderInPackage = "usr/share/datasets/fashion-mnist"
  private static let files = [
    "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
  ]

  private let installedFolder: String
  private let programFolders: [String]

  package init(
    installedFolder: String = "/" + folderInPackage,
    programFolders: [String] = Self.programFoldersOfEnvironment
  ) {
    self.installedFolder = installedFolder
    self.programFolders = programFolders
  }

  package static var programFoldersOfEnvironment: [String] {
    (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
  }

  package func run(from source: String?, into dataFolder: String, progress: (String) -> Void) throws -> String {
    let target = dataFolder.appendingPathComponent(FashionMNIST.name)
    guard !FileManager.default.fileExists(atPath: target) else {
      throw UserError(.cannotCreate, "\(target): is there already", hint: "Delete it first to import it again.")
    }
    // The temporary folder lies beside the target, so that moving it there is a rename.
    let token = String(UInt64.random(in: 0...UInt64.max), radix: 16)
    let temporary = dataFolder.appendingPathComponent(".\(FashionMNIST.name).\(token).partial")
    let staging = temporary.appendingPathComponent(FashionMNIST.name)
    try creating(target) {
      try FileManager.default.createDirectory(atPath: staging, withIntermediateDirectories: true)
    }
    defer { try? FileManager.default.removeItem(atPath: temporary) }

    let folder = try source ?? installed() ?? fetch(into: temporary, progress: progress)
    try copyFiles(from: folder, to: staging, progress: progress)
    progress("Checking the files")
    let splits = try datasetFormat(at: staging).splits(name: FashionMNIST.name, imageSize: nil)
    progress("\(splits.train.count) images for training, \(splits.validation.count) for validation")
    try creating(target) { try FileManager.default.moveItem(atPath: staging, toPath: target) }
    return target
  }

  private func installed() -> String? {
    FileManager.default.fileExists(atPath: installedFolder) ? installedFolder : nil
  }

  private func fetch(into folder: String, progress: (String) -> Void) throws -> String {
    let hint = """
      Run these where there is a network, then import from the folder: \
      apt-get download \(Self.package) && dpkg -x \(Self.package)_*.deb fashion-mnist
      """
    progress("Fetching the Debian package \(Self.package) (31 MB)")
    try ExternalCommand(name: "apt-get", searchPath: programFolders)
      .run(["download", Self.package], in: folder, hint: hint)
    guard let archive = try visibleNames(inFolder: folder).first(where: { $0.hasSuffix(".deb") }) else {
      throw UserError(.unavailable, "apt-get download \(Self.package) left no .deb file", hint: hint)
    }
    progress("Unpacking \(archive)")
    let unpacked = folder.appendingPathComponent("package")
    try ExternalCommand(name: "dpkg", searchPath: programFolders)
      .run(["-x", archive, unpacked], in: folder, hint: hint)
    return unpacked
  }

  private func copyFiles(from source: String, to staging: String, progress: (String) -> Void) throws {
    let inPackage = source.appendingPathComponent(Self.folderInPackage)
    let folder = FileManager.default.fileExists(atPath: inPackage) ? inPackage : source
    for file in Self.files {
      progress("Copying \(file)")
      let bytes = try FileIO.read(folder.appendingPathComponent(file), maximumSize: 1 << 28)
      try FileIO.write(bytes, to: staging.appendingPathComponent(file))
    }
    let classNames = FashionMNIST.classNames.joined(separator: "\n") + "\n"
    try FileIO.write(Array(classNames.utf8), to: staging.appendingPathComponent(IDXFormat.classNamesFile))
    try FileIO.write(Array(FashionMNIST.license.utf8), to: staging.appendingPathComponent("LICENSE"))
  }

  private func creating(_ target: String, _ make: () throws -> Void) throws {
    do {
      try make()
    } catch {
      throw UserError(.cannotCreate, "\(target): cannot be created (\(error.localizedDescription))")
    }
  }
}
