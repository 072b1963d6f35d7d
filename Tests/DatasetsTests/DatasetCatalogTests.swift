import Datasets
import Foundation
import Images
import Tensors
import Testing

@Suite struct DatasetCatalogTests {
  /// The repository's root, where the bundled data lie.
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().path

  @Test func theBundledDataSetHasItsFixedSplit() throws {
    let splits = try DatasetCatalog(searchRoots: [Self.root]).resolve("fashion-mnist-10k")
    #expect(splits.train.count == 9000)
    #expect(splits.validation.count == 1000)
    #expect(splits.train.name == "fashion-mnist-10k")
    #expect(splits.train.imageSize == ImageSize(width: 28, height: 28))
    #expect(splits.train.classNames == FashionMNIST.classNames)
    #expect(splits.train.labels?.prefix(5) == [9, 2, 1, 1, 6])
    #expect(splits.validation.labels?.suffix(3) == [8, 1, 5])
  }

  @Test func theBundledDataSetIsListedWithItsLicence() throws {
    let entries = DatasetCatalog(searchRoots: [Self.root]).entries()
    let entry = try #require(entries.first { $0.name == "fashion-mnist-10k" })
    #expect(entry.hasLicense)
    let summary = try entry.contents.get()
    #expect(summary.count == 10000)
    #expect(summary.channels == 1)
    #expect(summary.imageSize == ImageSize(width: 28, height: 28))
    #expect(summary.classNames == FashionMNIST.classNames)
  }

  @Test func imageSizeIsAppliedToNamedDataToo() throws {
    let splits = try DatasetCatalog(searchRoots: [Self.root])
      .resolve("fashion-mnist-10k", imageSize: ImageSize(width: 8, height: 8))
    #expect(splits.train.imageSize == ImageSize(width: 8, height: 8))
    #expect(splits.train.count == 9000)
    let original = try DatasetCatalog(searchRoots: [Self.root]).resolve("fashion-mnist-10k").train
    #expect(splits.train.image(at: 8999) == original.image(at: 8999).fitted(width: 8, height: 8))
  }

  @Test func theFirstRootThatHasANameWins() throws {
    try withTemporaryFolder { folder in
      for (root, level) in [("first", 1), ("second", 2)] {
        for index in 0..<2 {
          try writeImage(flatImage(UInt8(level)), to: "\(folder)/\(root)/Data/pets/\(index).png")
        }
      }
      try writeImage(flatImage(3), to: "\(folder)/second/Data/birds/0.png")
      let catalog = DatasetCatalog(searchRoots: ["\(folder)/none", "\(folder)/first", "\(folder)/second"])
      #expect(try catalog.resolve("pets").train.pixels.first == 1)
      #expect(catalog.entries().map(\.name) == ["birds", "pets"])
      #expect(catalog.entries().map(\.hasLicense) == [false, false])
      #expect(try catalog.path(of: "birds") == "\(folder)/second/Data/birds")
    }
  }

  @Test func brokenDataAreListedWithWhatIsWrong() throws {
    try withTemporaryFolder { folder in
      try write([1, 2, 3, 4], to: "\(folder)/Data/broken/train-images-idx3-ubyte")
      let entry = try #require(DatasetCatalog(searchRoots: [folder]).entries().first)
      let error = #expect(throws: UserError.self) { try entry.contents.get() }
      #expect(error?.kind == .badData)
    }
  }

  @Test func anUnknownNameListsWhatThereIs() throws {
    try withTemporaryFolder { folder in
      for name in ["fashion-mnist", "pets"] { try writeImage(flatImage(1), to: "\(folder)/Data/\(name)/0.png") }
      let catalog = DatasetCatalog(searchRoots: [folder])
      let error = #expect(throws: UserError.self) { try catalog.resolve("fashon-mnist") }
      #expect(error?.kind == .missingInput)
      #expect(error?.message.contains("fashon-mnist") == true)
      #expect(error?.hint?.hasPrefix("Did you mean fashion-mnist? Known: fashion-mnist, pets.") == true)
      #expect(error?.hint?.contains("easel data import") == true)
      for outside in ["", "../Data/none", "/nowhere/at/all"] {
        #expect(throws: UserError.self) { try catalog.resolve(outside) }
      }
    }
  }
}
