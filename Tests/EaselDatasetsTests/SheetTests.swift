import EaselDatasets
import EaselImages
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

@Suite struct SheetTests {
  let catalog = DatasetCatalog(searchRoots: [])

  /// Labelled, named pictures of 5×3 pixels; every byte of image `i` encodes its position.
  private func dataset(count: Int, channels: Int, first: Int = 0) -> ImageDataset {
    ImageDataset(
      name: "pictures", source: "a test", width: 5, height: 3, channels: channels,
      pixels: (0..<count * 15 * channels).map { UInt8(($0 * 7 + first) % 256) },
      annotations: Annotations(
        labels: (0..<count).map { Int32($0 % 2) },
        captions: (0..<count).map { [["a picture", "number \($0)"], []][$0 % 2] }),
      classNames: ["even", "odd"],
      names: (0..<count).map { "image \($0)" })
  }

  private func splits(channels: Int = 3, train: Int = 11, validation: Int = 2) -> DatasetSplits {
    DatasetSplits(
      train: dataset(count: train, channels: channels),
      validation: dataset(count: validation, channels: channels, first: 100), rule: "")
  }

  @Test(arguments: [(1, 11, 2), (3, 11, 2), (3, 1, 1), (1, 16, 5)])
  func whatIsPackedComesBack(channels: Int, train: Int, validation: Int) throws {
    try withScratchFolder { folder in
      let splits = splits(channels: channels, train: train, validation: validation)
      try splits.writeSheets(to: "\(folder)/pictures")
      let names = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/pictures").sorted()
      #expect(names == ["sheet.json", "train.png", "validation.png"])
      let read = try catalog.resolve("\(folder)/pictures")
      for (one, other) in [(read.train, splits.train), (read.validation, splits.validation)] {
        #expect(one.fingerprint == other.fingerprint)
        #expect(one.names == other.names && one.classNames == other.classNames)
        #expect(one.annotations == other.annotations)
      }
      let half = try catalog.resolve("\(folder)/pictures", imageSize: ImageSize(width: 2, height: 2))
      #expect(half.train.image(at: 0) == splits.train.image(at: 0).fitted(width: 2, height: 2))
    }
  }

  @Test func theLicenceGoesAlongAndWhatIsThereStays() throws {
    try withScratchFolder { folder in
      try write("Do as you like.", to: "\(folder)/original/LICENSE.txt")
      try write("Notes.", to: "\(folder)/original/notes.txt")
      try splits().writeSheets(to: "\(folder)/packed", original: "\(folder)/original")
      #expect(try String(contentsOfFile: "\(folder)/packed/LICENSE.txt", encoding: .utf8) == "Do as you like.")
      #expect(!FileManager.default.fileExists(atPath: "\(folder)/packed/notes.txt"))
      let error = #expect(throws: UserError.self) { try splits().writeSheets(to: "\(folder)/packed") }
      #expect(error?.kind == .cannotCreate)
    }
  }

  @Test(
    arguments: [
      ("\"count\":11", "\"count\":12", "12 labels"),
      ("\"width\":5", "\"width\":3", "train.png"),
      ("\"width\":5", "\"width\":0", "sides from 1"),
      ("\"channels\":3", "\"channels\":2", "channels"),
      ("[0,1,0,1,0,1,0,1,0,1,0]", "[0,1,0,1,0,1,0,1,0,1]", "11 labels"),
      ("[0,1,0,1,0,1,0,1,0,1,0]", "[0,1,0,1,0,1,0,1,0,1,2]", "labels below 2"),
      ("\"classes\":[\"even\",\"odd\"],", "", "classes"),
      ("\"image 1\",", "", "names"),
      ("[\"a picture\",\"number 0\"],", "", "captions of 11 images"),
      ("\"train\"", "\"training\"", "sheet.json"),
    ])
  func aDamagedDescriptionIsRefused(text: String, replacement: String, message: String) throws {
    try withScratchFolder { folder in
      try splits().writeSheets(to: "\(folder)/pictures")
      let path = "\(folder)/pictures/sheet.json"
      var description = try String(contentsOfFile: path, encoding: .utf8)
      let place = try #require(description.range(of: text))
      description.replaceSubrange(place, with: replacement)
      try write(description, to: path)
      let error = #expect(throws: UserError.self) { try catalog.resolve("\(folder)/pictures") }
      #expect(error?.kind == .badData)
      #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }
  }

  @Test func aSheetTooSmallForItsCountIsRefused() throws {
    try withScratchFolder { folder in
      let plain = ImageDataset(
        name: "plain", source: "a test", width: 2, height: 2, channels: 1, pixels: [UInt8](repeating: 5, count: 28))
      try DatasetSplits(train: plain, validation: plain, rule: "").writeSheets(to: "\(folder)/plain")
      let path = "\(folder)/plain/sheet.json"
      let description = try String(contentsOfFile: path, encoding: .utf8)
      // Seven images are in three rows of three.
      for (count, isThere) in [(9, true), (10, false)] {
        try write(description.replacing("\"count\":7", with: "\"count\":\(count)"), to: path)
        #expect((try? catalog.resolve("\(folder)/plain").train.count == 9) ?? false == isThere)
      }
    }
  }

  @Test func aMissingSheetIsNamed() throws {
    try withScratchFolder { folder in
      try splits().writeSheets(to: "\(folder)/pictures")
      try FileManager.default.removeItem(atPath: "\(folder)/pictures/validation.png")
      let error = #expect(throws: UserError.self) { try catalog.resolve("\(folder)/pictures") }
      #expect(error?.kind == .missingInput && error?.message.contains("validation.png") == true)
    }
  }

  @Test func tooManyPixelsForAPictureAreRefused() throws {
    try withScratchFolder { folder in
      let side = 4096
      let large = ImageDataset(
        name: "large", source: "a test", width: side, height: side, channels: 1,
        pixels: [UInt8](repeating: 1, count: 5 * side * side))
      let splits = DatasetSplits(train: large, validation: large, rule: "")
      let error = #expect(throws: UserError.self) { try splits.writeSheets(to: "\(folder)/large") }
      #expect(error?.kind == .usage && error?.hint?.contains("image-size") == true)
      let left = try FileManager.default.contentsOfDirectory(atPath: folder)
      #expect(left.isEmpty)
    }
  }
}
