import EaselDatasets
import EaselImages
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

@Suite struct DatasetCatalogTests {
  @Test func theBundledDataSetHasItsFixedSplit() throws {
    let splits = try DatasetCatalog(searchRoots: [packageFolder]).resolve("fashion-mnist-10k")
    #expect(splits.train.count == 9000)
    #expect(splits.validation.count == 1000)
    #expect(splits.train.name == "fashion-mnist-10k")
    #expect(splits.train.imageSize == ImageSize(width: 28, height: 28))
    #expect(splits.train.classNames == FashionMNIST.classNames)
    #expect(splits.train.labels?.prefix(5) == [9, 2, 1, 1, 6])
    #expect(splits.validation.labels?.suffix(3) == [8, 1, 5])
  }

  @Test func theBundledDataSetIsListedWithItsLicence() throws {
    let entries = DatasetCatalog(searchRoots: [packageFolder]).entries()
    let entry = try #require(entries.first { $0.name == "fashion-mnist-10k" })
    #expect(entry.hasLicense)
    let summary = try entry.contents.get()
    #expect(summary.count == 10000)
    #expect(summary.channels == 1)
    #expect(summary.imageSize == ImageSize(width: 28, height: 28))
    #expect(summary.classNames == FashionMNIST.classNames)
  }

  @Test func imageSizeIsAppliedToNamedDataToo() throws {
    let splits = try DatasetCatalog(searchRoots: [packageFolder])
      .resolve("fashion-mnist-10k", imageSize: ImageSize(width: 8, height: 8))
    #expect(splits.train.imageSize == ImageSize(width: 8, height: 8))
    #expect(splits.train.count == 9000)
    let original = try DatasetCatalog(searchRoots: [packageFolder]).resolve("fashion-mnist-10k").train
    #expect(splits.train.image(at: 8999) == original.image(at: 8999).fitted(width: 8, height: 8))
  }

  @Test func theFirstRootThatHasANameWins() throws {
    try withScratchFolder { folder in
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

  /// The emoji that come with Easel.
  @Test func theBundledEmojiAreASheet() throws {
    let catalog = DatasetCatalog(searchRoots: [packageFolder])
    let splits = try catalog.resolve("emoji-32")
    #expect(splits.train.count == 1615 && splits.validation.count == 179)
    #expect(splits.train.imageSize == ImageSize(width: 32, height: 32) && splits.train.channels == 3)
    #expect(splits.train.classNames.count == 9)
    let place = try #require(splits.train.names.firstIndex(of: "smileys-emotion/1f600-grinning-face"))
    #expect(splits.train.annotations.captions?[place] == ["grinning face", "face, grin"])
    #expect(splits.train.labels.map { splits.train.classNames[Int($0[place])] } == "smileys-emotion")
    // A yellow face on white.
    let face = splits.train.image(at: place).pixels
    #expect(Array(face[..<3]) == [255, 255, 255])
    let nose = Array(face[3 * (32 * 15 + 16)..<3 * (32 * 15 + 16) + 3])
    #expect(nose[0] > 220 && nose[1] > 160 && nose[2] < 120, "\(nose)")
    let entry = try #require(catalog.entries().first { $0.name == "emoji-32" })
    #expect(entry.hasLicense)
    #expect(try entry.contents.get().count == 1794)
  }

  @Test(arguments: ["emoji", "emoji-styles/noto-paired"]) func whatCanBeImportedIsSaid(name: String) throws {
    try withScratchFolder { folder in
      let error = #expect(throws: UserError.self) { try DatasetCatalog(searchRoots: [folder]).resolve(name) }
      #expect(error?.kind == .missingInput)
      let importable = name.split(separator: "/")[0]
      #expect(error?.hint == "Bring it here with: easel data import \(importable). There are none yet.")
    }
  }

  @Test func aFolderOfDataSetsIsNamedByItsMembers() throws {
    try withScratchFolder { folder in
      for style in ["ink", "oil"] {
        for part in ["train", "validation"] {
          for index in 0..<3 {
            try writeImage(flatImage(UInt8(index)), to: "\(folder)/Data/art/\(style)/\(part)/\(index).png")
          }
        }
      }
      try write("What this is.", to: "\(folder)/Data/art/README.md")
      for index in 0..<3 { try writeImage(flatImage(1), to: "\(folder)/Data/pets/cats/\(index).png") }
      let catalog = DatasetCatalog(searchRoots: [folder])
      #expect(catalog.names == ["art/ink", "art/oil", "pets"])
      #expect(try catalog.entries().map { try $0.contents.get().count } == [6, 6, 3])
      let splits = try catalog.resolve("art/ink")
      #expect(splits.train.name == "art/ink")
      #expect(splits.train.count == 3 && splits.validation.count == 3)
      #expect(try catalog.resolve("\(folder)/Data/art/oil").train.name == "oil")
      for whole in ["art", "\(folder)/Data/art"] {
        let error = #expect(throws: UserError.self) { try catalog.resolve(whole) }
        #expect(error?.kind == .usage)
        #expect(error?.hint?.contains("\(whole)/ink, \(whole)/oil") == true)
      }
    }
  }

  @Test func brokenDataAreListedWithWhatIsWrong() throws {
    try withScratchFolder { folder in
      try write([1, 2, 3, 4], to: "\(folder)/Data/broken/train-images-idx3-ubyte")
      let entry = try #require(DatasetCatalog(searchRoots: [folder]).entries().first)
      let error = #expect(throws: UserError.self) { try entry.contents.get() }
      #expect(error?.kind == .badData)
    }
  }

  @Test func anUnknownNameListsWhatThereIs() throws {
    try withScratchFolder { folder in
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
