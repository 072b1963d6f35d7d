import Datasets
import Foundation
import Tensors
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
    try withTemporaryFolder { folder in
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
      #expect(steps.last == "4 images for training, 2 for validation")
    }
  }

  @Test func aDamagedSourceLeavesNothing() throws {
    try withTemporaryFolder { folder in
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
    try withTemporaryFolder { folder in
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
    try withTemporaryFolder { folder in
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
    try withTemporaryFolder { folder in
      let importer = FashionMNISTImporter(installedFolder: "\(folder)/none", programFolders: ["\(folder)/none"])
      let error = #expect(throws: UserError.self) {
        try importer.run(from: nil, into: "\(folder)/Data", progress: { _ in })
      }
      #expect(error?.kind == .unavailable)
      #expect(error?.hint?.contains("apt-get download dataset-fashion-mnist") == true)
      #expect(error?.hint?.contains("dpkg -x") == true)
    }
  }

  @Test func aFailingDownloadShowsItsLastLine() throws {
    try withTemporaryFolder { folder in
      try writeProgram("echo first; echo 'E: no network' >&2; exit 100", to: "\(folder)/bin/apt-get")
      let importer = FashionMNISTImporter(installedFolder: "\(folder)/none", programFolders: ["\(folder)/bin"])
      let error = #expect(throws: UserError.self) {
        try importer.run(from: nil, into: "\(folder)/Data", progress: { _ in })
      }
      #expect(error?.kind == .unavailable)
      #expect(
        error?.message == "apt-get download dataset-fashion-mnist failed with status 100: E: no network")
    }
  }

  @Test func theInstalledPackageIsPreferredAndElseFetched() throws {
    try withTemporaryFolder { folder in
      try writeSource(to: "\(folder)/installed")
      let installed = FashionMNISTImporter(installedFolder: "\(folder)/installed", programFolders: [])
      _ = try installed.run(from: nil, into: "\(folder)/Data", progress: { _ in })
      #expect(try DatasetCatalog(searchRoots: [folder]).resolve("fashion-mnist").train.count == 4)

      try writeProgram("touch $2_1_all.deb", to: "\(folder)/bin/apt-get")
      try writeProgram(
        "mkdir -p $3/usr/share/datasets && cp -r \(folder)/installed $3/usr/share/datasets/fashion-mnist",
        to: "\(folder)/bin/dpkg")
      let fetching = FashionMNISTImporter(
        installedFolder: "\(folder)/none", programFolders: ["\(folder)/bin"])
      let path = try fetching.run(from: nil, into: "\(folder)/Other", progress: { _ in })
      #expect(try DatasetCatalog(searchRoots: []).resolve(path).train.count == 4)
      #expect(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/Other") == ["fashion-mnist"])
    }
  }

  private func writeProgram(_ script: String, to path: String) throws {
    try write("#!/bin/sh\n\(script)\n", to: path)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
  }
}
