import Datasets
import Foundation
import Images
import Tensors
import TestSupport
import Testing

@Suite struct ImageFolderTests {
  let catalog = DatasetCatalog(searchRoots: [])

  @Test func subfoldersAreClassesInOrder() throws {
    try withScratchFolder { folder in
      for index in 0..<6 { try writeImage(flatImage(UInt8(100 + index)), to: "\(folder)/dogs/deep/\(index).png") }
      for index in 0..<5 { try writeImage(flatImage(UInt8(index)), to: "\(folder)/cats/\(index).png") }
      try write("not a picture", to: "\(folder)/cats/notes.txt")
      try write("not a picture", to: "\(folder)/cats/.hidden.png")
      try write("no pictures here", to: "\(folder)/about/README.md")
      let splits = try catalog.resolve(folder)
      #expect(splits.train.classNames == ["cats", "dogs"])
      #expect(splits.train.count == 10)
      #expect(splits.validation.count == 1)
      var seen: [UInt8: Int32] = [:]
      for dataset in [splits.train, splits.validation] {
        let labels = try #require(dataset.labels)
        for index in 0..<dataset.count { seen[dataset.image(at: index).pixels[0]] = labels[index] }
      }
      #expect(seen == [0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 100: 1, 101: 1, 102: 1, 103: 1, 104: 1, 105: 1])
    }
  }

  @Test func aFlatFolderHasNoLabelsAndKeepsTheOrderOfNames() throws {
    try withScratchFolder { folder in
      for index in 0..<20 { try writeImage(flatImage(UInt8(index)), to: "\(folder)/\(index + 100).png") }
      let splits = try catalog.resolve(folder)
      #expect(splits.train.labels == nil)
      #expect(splits.train.classNames.isEmpty)
      let train = splits.train.images(0..<18).map { $0.pixels[0] }
      let validation = splits.validation.images(0..<2).map { $0.pixels[0] }
      #expect(train == train.sorted())
      #expect((train + validation).sorted() == Array(0..<20))
      #expect(validation != [18, 19], "the held-out images must not be the last ones")
      #expect(try catalog.resolve(folder).validation.fingerprint == splits.validation.fingerprint)
    }
  }

  @Test(arguments: ["validation", "val", "test"])
  func aHeldOutFolderIsTakenAsItIs(heldOut: String) throws {
    try withScratchFolder { folder in
      for (name, level) in [("dogs/b", 11), ("cats/a", 10), ("dogs/a", 12)] {
        try writeImage(flatImage(UInt8(level)), to: "\(folder)/train/\(name).png")
      }
      for index in 0..<4 { try writeImage(flatImage(UInt8(index)), to: "\(folder)/\(heldOut)/dogs/\(index).png") }
      let splits = try catalog.resolve(folder)
      #expect(splits.train.images(0..<3).map { $0.pixels[0] } == [10, 12, 11])
      #expect(splits.train.labels == [0, 1, 1])
      #expect(splits.train.names == ["a", "a", "b"])
      #expect(splits.validation.images(0..<4).map { $0.pixels[0] } == [0, 1, 2, 3])
      #expect(splits.validation.labels == [1, 1, 1, 1])
      #expect(splits.validation.classNames == ["cats", "dogs"])
      #expect(splits.rule == "the 4 images in \(heldOut)/ are for validation")

      try writeImage(flatImage(1), to: "\(folder)/\(heldOut)/birds/0.png")
      let error = #expect(throws: UserError.self) { try catalog.resolve(folder) }
      #expect(error?.kind == .badData && error?.message.contains("birds") == true)
    }
  }

  @Test func aClassThatIsCalledTrainIsAClass() throws {
    try withScratchFolder { folder in
      for name in ["bus", "train"] {
        for index in 0..<3 { try writeImage(flatImage(UInt8(index)), to: "\(folder)/\(name)/\(index).png") }
      }
      #expect(try catalog.resolve(folder).train.classNames == ["bus", "train"])
    }
  }

  @Test func anyColourMakesAllColour() throws {
    try withScratchFolder { folder in
      let red = Image(width: 4, height: 4, channels: 3, pixels: (0..<16).flatMap { _ in [200, 0, 0] as [UInt8] })
      try writeImage(flatImage(7), to: "\(folder)/a.png")
      try writeImage(red, to: "\(folder)/b.png")
      let splits = try catalog.resolve(folder)
      let first = [splits.train, splits.validation].map { Array($0.pixels.prefix(3)) }
      #expect(splits.train.channels == 3)
      #expect(Set(first) == [[7, 7, 7], [200, 0, 0]])
    }
  }

  @Test func differentSizesNameTwoFilesAndTheOption() throws {
    try withScratchFolder { folder in
      try writeImage(flatImage(1), to: "\(folder)/a.png")
      try writeImage(flatImage(2, width: 6), to: "\(folder)/b.png")
      try writeImage(flatImage(3), to: "\(folder)/c.png")
      let error = #expect(throws: UserError.self) { try catalog.resolve(folder) }
      #expect(error?.kind == .badData)
      #expect(error?.message.contains("\(folder)/a.png is 4×4, \(folder)/b.png is 6×4") == true)
      #expect(error?.hint?.contains("--image-size") == true)
      let splits = try catalog.resolve(folder, imageSize: ImageSize(width: 3, height: 2))
      #expect(splits.train.imageSize == ImageSize(width: 3, height: 2))
      #expect(splits.train.count == 2)
    }
  }

  @Test func imagesAreBroughtToTheSizeAskedFor() throws {
    try withScratchFolder { folder in
      let wide = Image(width: 8, height: 4, channels: 1, pixels: (0..<32).map { UInt8($0 * 8) })
      for name in ["a", "b"] { try writeImage(wide, to: "\(folder)/\(name).png") }
      let size = ImageSize(width: 2, height: 2)
      for (fit, expected, cropped) in [
        (ImageFit.crop, wide.fitted(width: 2, height: 2), 2), (.pad, wide.padded(width: 2, height: 2), 0),
        (.stretch, wide.resized(width: 2, height: 2), 0),
      ] {
        let splits = try catalog.resolve(folder, imageSize: size, fit: fit)
        #expect(splits.train.image(at: 0) == expected && splits.cropped == cropped, "\(fit)")
      }
      try writeImage(flatImage(1), to: "\(folder)/c.png")
      #expect(try catalog.resolve(folder, imageSize: size).cropped == 2)
      // Data that have one size already tell the same.
      try withScratchFolder { other in
        let wide = ImageSize(width: 4, height: 2)
        try catalog.resolve(folder, imageSize: wide).writeSheets(to: "\(other)/sheets")
        #expect(try catalog.resolve("\(other)/sheets", imageSize: size).cropped == 3)
        #expect(try catalog.resolve("\(other)/sheets", imageSize: size, fit: .pad).cropped == 0)
      }
    }
  }

  @Test func allFilesOfFormatsThatAreNotReadAreNamedAtOnce() throws {
    try withScratchFolder { folder in
      for name in ["b", "e"] { try writeImage(flatImage(1), to: "\(folder)/\(name).png") }
      for name in ["a.bmp", "c.bmp", "d.png", "f.jpg"] { try write("BM, as a bitmap", to: "\(folder)/\(name)") }
      try write([0x49, 0x49, 42, 0], to: "\(folder)/g.tif")
      for size in [nil, ImageSize(width: 2, height: 2)] {
        let error = #expect(throws: UserError.self) { try catalog.resolve(folder, imageSize: size) }
        #expect(error?.kind == .badData && error?.hint?.contains("mogrify -format png") == true)
        let message = error?.message ?? ""
        #expect(
          message.contains("4 BMP, 1 TIFF among 7 pictures") && message.contains("\(folder)/a.bmp, \(folder)/c.bmp"))
      }
    }
  }

  @Test func theFirstBrokenImageIsNamed() throws {
    try withScratchFolder { folder in
      for index in 0..<30 { try writeImage(flatImage(UInt8(index)), to: "\(folder)/\(index + 10).png") }
      // What is wrong with the first shows only at its end, long after the second has failed on another core.
      try write(flatImage(0, width: 1500, height: 1500).pngData().dropLast(13) + [0], to: "\(folder)/20.png")
      try write("not a picture", to: "\(folder)/21.png")
      for _ in 0..<5 {
        let error = #expect(throws: UserError.self) { try catalog.resolve(folder) }
        #expect(error?.kind == .badData)
        #expect(error?.message.hasPrefix("\(folder)/20.png") == true)
      }
    }
  }

  @Test func brokenPicturesAreLeftOutAndListedWhereThatIsAsked() throws {
    try withScratchFolder { folder in
      for index in 0..<30 { try writeImage(flatImage(UInt8(index)), to: "\(folder)/\(index % 3)/\(index + 10).png") }
      // The very first, and one of the last class.
      for name in ["0/10.png", "2/39.png"] { try write("not a picture", to: "\(folder)/\(name)") }
      let splits = try catalog.resolve(folder, skippingBroken: true)
      #expect(splits.train.count + splits.validation.count == 28)
      #expect(splits.skipped.map { $0.message.hasPrefix("\(folder)/0/10.png") } == [true, false])
      #expect(splits.skipped.map { $0.message.hasPrefix("\(folder)/2/39.png") } == [false, true])
      // Each of the others has its own level and still its own class.
      for set in [splits.train, splits.validation] {
        for index in 0..<set.count {
          #expect(set.labels?[index] == Int32(set.image(at: index).pixels[0] % 3))
          #expect(set.names[index] == String(set.image(at: index).pixels[0] + 10))
        }
      }
      // A picture of another size is no broken one.
      try writeImage(flatImage(1, width: 9, height: 9), to: "\(folder)/1/99.png")
      #expect(throws: UserError.self) { try catalog.resolve(folder, skippingBroken: true) }
      for index in 0..<30 { try write("none", to: "\(folder)/\(index % 3)/\(index + 10).png") }
      try FileManager.default.removeItem(atPath: "\(folder)/1/99.png")
      let error = #expect(throws: UserError.self) { try catalog.resolve(folder, skippingBroken: true) }
      #expect(error?.kind == .badData)
    }
  }

  @Test func picturesInTwoLevelsAreRefused() throws {
    try withScratchFolder { folder in
      try writeImage(flatImage(1), to: "\(folder)/a.png")
      try writeImage(flatImage(1), to: "\(folder)/cats/b.png")
      let error = #expect(throws: UserError.self) { try catalog.resolve(folder) }
      #expect(error?.message.contains("\(folder)/a.png") == true)
      #expect(error?.message.contains("\(folder)/cats/b.png") == true)
    }
  }

  @Test func anEmptyFolderAndASingleImageAreRefused() throws {
    try withScratchFolder { folder in
      #expect(throws: UserError.self) { try catalog.resolve(folder) }
      try writeImage(flatImage(1), to: "\(folder)/a.png")
      let error = #expect(throws: UserError.self) { try catalog.resolve(folder) }
      #expect(error?.message.contains("expected at least 2 images, found 1") == true)
    }
  }

  @Test func linksInACircleEnd() throws {
    try withScratchFolder { folder in
      for index in 0..<3 { try writeImage(flatImage(UInt8(index)), to: "\(folder)/cats/\(index).png") }
      try FileManager.default.createSymbolicLink(
        atPath: "\(folder)/cats/again", withDestinationPath: "\(folder)/cats")
      let splits = try catalog.resolve(folder)
      #expect(splits.train.count + splits.validation.count == 3)
    }
  }
}
