import EaselDatasets
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

@Suite struct FashionMNISTTests {
  /// The four files, tiny.
  private func writeSource(to folder: String) throws {
    for (prefix, count) in [("train", 4), ("t10k", 2)] {
      let images = idx([count, 2, 2], (0..<4 * count).map { UInt8($0) })
      try write(gzip(images), to: "\(folder)/\(prefix)-images-idx3-ubyte.gz")
      try write(gzip(idx([count], (0..<count).map { UInt8($0) })), to: "\(folder)/\(prefix)-labels-idx1-ubyte.gz")
    }
  }

  @Test(arguments: ["source", "source/usr/share/datasets/fashion-mnist"])
  func theFilesAreCopiedWithNamesAndLicence(layout: String) throws {
    try withScratchFolder { folder in
      try writeSource(to: "\(folder)/\(layout)")
      var steps: [String] = []
      let path = try FashionMNIST.importDataset(
        from: "\(folder)/source", into: "\(folder)/Data", progress: { steps.append($0) })
      #expect(path == "\(folder)/Data/fashion-mnist")
      #expect(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/Data") == ["fashion-mnist"])
      let catalog = DatasetCatalog(searchRoots: [folder])
      let splits = try catalog.resolve("fashion-mnist")
      #expect(splits.train.count == 4)
      #expect(splits.validation.count == 2)
      #expect(splits.train.classNames == FashionMNIST.classNames)
      #expect(catalog.entries().map(\.hasLicense) == [true])
      #expect(steps.last == "fashion-mnist: 4 images for training, 2 for validation")
    }
  }

  @Test func aDamagedSourceLeavesNothing() throws {
    try withScratchFolder { folder in
      try writeSource(to: "\(folder)/source")
      try write([1, 2, 3], to: "\(folder)/source/t10k-images-idx3-ubyte.gz")
      let error = #expect(throws: UserError.self) {
        try FashionMNIST.importDataset(from: "\(folder)/source", into: "\(folder)/Data")
      }
      #expect(error?.kind == .badData)
      let left = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/Data")
      #expect(left == [])
    }
  }

  @Test func aMissingFileIsNamed() throws {
    try withScratchFolder { folder in
      try writeSource(to: "\(folder)/source")
      try FileManager.default.removeItem(atPath: "\(folder)/source/train-labels-idx1-ubyte.gz")
      let error = #expect(throws: UserError.self) {
        try FashionMNIST.importDataset(from: "\(folder)/source", into: "\(folder)/Data")
      }
      #expect(error?.kind == .missingInput)
      #expect(error?.message.contains("train-labels-idx1-ubyte.gz") == true)
    }
  }

  @Test func whatIsThereAlreadyStays() throws {
    try withScratchFolder { folder in
      try writeSource(to: "\(folder)/source")
      try write("mine", to: "\(folder)/Data/fashion-mnist/notes.txt")
      let error = #expect(throws: UserError.self) {
        try FashionMNIST.importDataset(from: "\(folder)/source", into: "\(folder)/Data")
      }
      #expect(error?.kind == .cannotCreate)
      #expect(FileManager.default.fileExists(atPath: "\(folder)/Data/fashion-mnist/notes.txt"))
    }
  }

  @Test func withoutAptTheCommandsAreTold() throws {
    try withScratchFolder { folder in
      let importer = PackageImport(installedRoot: "\(folder)/none", programFolders: ["\(folder)/none"])
      let error = #expect(throws: UserError.self) {
        try FashionMNIST.importDataset(from: nil, into: "\(folder)/Data", by: importer, progress: { _ in })
      }
      #expect(error?.kind == .unavailable)
      #expect(error?.hint?.contains("apt-get download dataset-fashion-mnist") == true)
      #expect(error?.hint?.contains("dpkg -x") == true)
    }
  }

  @Test func aFailingDownloadShowsItsLastLine() throws {
    try withScratchFolder { folder in
      try writeProgram("echo first; echo 'E: no network' >&2; exit 100", to: "\(folder)/bin/apt-get")
      let importer = PackageImport(installedRoot: "\(folder)/none", programFolders: ["\(folder)/bin"])
      let error = #expect(throws: UserError.self) {
        try FashionMNIST.importDataset(from: nil, into: "\(folder)/Data", by: importer, progress: { _ in })
      }
      #expect(error?.kind == .unavailable)
      #expect(
        error?.message == "apt-get download dataset-fashion-mnist failed with status 100: E: no network")
    }
  }

  @Test func theInstalledPackageIsPreferredAndElseFetched() throws {
    try withScratchFolder { folder in
      let files = "usr/share/datasets/fashion-mnist"
      try writeSource(to: "\(folder)/installed/\(files)")
      let installed = PackageImport(installedRoot: "\(folder)/installed", programFolders: [])
      _ = try FashionMNIST.importDataset(from: nil, into: "\(folder)/Data", by: installed, progress: { _ in })
      #expect(try DatasetCatalog(searchRoots: [folder]).resolve("fashion-mnist").train.count == 4)

      try writeProgram("touch $2_1_all.deb", to: "\(folder)/bin/apt-get")
      try writeProgram("mkdir $3 && cp -r \(folder)/installed/usr $3", to: "\(folder)/bin/dpkg")
      let fetching = PackageImport(installedRoot: "\(folder)/none", programFolders: ["\(folder)/bin"])
      let path = try FashionMNIST.importDataset(from: nil, into: "\(folder)/Other", by: fetching, progress: { _ in })
      #expect(try DatasetCatalog(searchRoots: []).resolve(path).train.count == 4)
      #expect(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/Other") == ["fashion-mnist"])
      // The programs run in another folder than this one.
      let depth = FileManager.default.currentDirectoryPath.split(separator: "/").count
      let relative = String(repeating: "../", count: depth) + folder.drop { $0 == "/" } + "/Relative"
      #expect(throws: Never.self) {
        try FashionMNIST.importDataset(from: nil, into: relative, by: fetching, progress: { _ in })
      }
      #expect(try DatasetCatalog(searchRoots: []).resolve("\(folder)/Relative/fashion-mnist").train.count == 4)
    }
  }
}
