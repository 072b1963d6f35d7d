import EaselImages
import EaselSupport
import EaselTensors
import Foundation

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
  ///   - source: a folder with the four `.gz` files, or one into which Debian's package `dataset-fashion-mnist` was
  ///     unpacked. Without it, the installed package is used; if there is none, the package is fetched with `apt-get`.
  ///   - dataFolder: a workspace's `Data` folder, made if necessary.
  ///   - progress: receives what is being done, in words.
  /// - Returns: the new folder's path.
  /// - Throws: `UserError`: `cannotCreate` if the data set already exists or cannot be written, `missingInput` if
  ///   `source` lacks a file, `badData` if a file is damaged, `unavailable` if the package cannot be fetched.
  @discardableResult
  public static func importDataset(
    from source: String?, into dataFolder: String, progress: (String) -> Void = { _ in }
  ) throws -> String {
    try importDataset(from: source, into: dataFolder, by: PackageImport(), progress: progress)
  }

  package static func importDataset(
    from source: String?, into dataFolder: String, by importer: PackageImport, progress: (String) -> Void
  ) throws -> String {
    try importer.run(name, packages: [debianPackage], from: source, into: dataFolder, progress: progress) {
      packages, folder in
      for file in files {
        progress("Copying \(file)")
        let bytes = try FileIO.read(packages[0].data.appendingPathComponent(file), maximumSize: 1 << 28)
        try FileIO.write(bytes, to: folder.appendingPathComponent(file))
      }
      let names = classNames.joined(separator: "\n") + "\n"
      try FileIO.write(Array(names.utf8), to: folder.appendingPathComponent(IDXFormat.classNamesFile))
      try FileIO.write(Array(license.utf8), to: folder.appendingPathComponent("LICENSE"))
    }
  }

  private static let debianPackage = DebianPackage(
    name: "dataset-fashion-mnist", folder: "usr/share/datasets/fashion-mnist", size: "31 MB")

  private static let files = [
    "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
  ]
}
