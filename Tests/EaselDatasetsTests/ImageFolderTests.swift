import EaselDatasets
import EaselImages
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
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
      #expect(splits.train.names == ["cats/a", "dogs/a", "dogs/b"])
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
      #expect(error?.hint?.contains("image-size") == true)
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
      // Data that already have one size give the same.
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
      // The error in the first appears only at its end, long after the second has failed on another core.
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
      // Each of the others keeps its own level and class.
      for set in [splits.train, splits.validation] {
        for index in 0..<set.count {
          let level = set.image(at: index).pixels[0]
          #expect(set.labels?[index] == Int32(level % 3))
          #expect(set.names[index] == "\(level % 3)/\(level + 10)")
        }
      }
      // A picture of another size is not a broken one.
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

  @Test("Classes with numbers as names are in numerical order")
  func numberedClassesInNaturalOrder() throws {
    try withScratchFolder { folder in
      for name in ["10", "2", "1", "02", "b2", "b10", "a"] {
        for index in 0..<2 { try writeImage(flatImage(UInt8(index)), to: "\(folder)/\(name)/\(index).png") }
      }
      #expect(try catalog.resolve(folder).train.classNames == ["1", "02", "2", "10", "a", "b2", "b10"])
    }
  }

  @Test(
    "The known names of the two parts are recognised in any case",
    arguments: [
      ("Train", "Val"), ("train", "valid"), ("training", "dev"), ("TRAIN", "eval"), ("Training", "Validation"),
      ("train", "Test"),
    ])
  func namesOfParts(_ train: String, _ heldOut: String) throws {
    try withScratchFolder { folder in
      for (part, count) in [(train, 4), (heldOut, 2)] {
        for index in 0..<count { try writeImage(flatImage(UInt8(index)), to: "\(folder)/\(part)/cats/\(index).png") }
      }
      let splits = try catalog.resolve(folder)
      #expect(splits.train.count == 4 && splits.validation.count == 2)
      #expect(splits.train.classNames == ["cats"] && splits.notes.isEmpty)
      #expect(splits.rule == "the 2 images in \(heldOut)/ are for validation")
    }
  }

  @Test("Validation takes precedence over test, and unused parts are reported")
  func unusedPartsAreSaid() throws {
    try withScratchFolder { folder in
      for (part, count) in [("train", 4), ("Valid", 2), ("test", 3), ("extra/deep", 1)] {
        for index in 0..<count { try writeImage(flatImage(UInt8(index)), to: "\(folder)/\(part)/\(index).png") }
      }
      try writeImage(flatImage(1), to: "\(folder)/overview.png")
      try write("", to: "\(folder)/documents/about.txt")
      let splits = try catalog.resolve(folder)
      #expect(splits.validation.count == 2 && splits.train.count == 4)
      #expect(splits.notes == ["not used of \(folder): extra/, test/, pictures beside train/ (1)"])
    }
  }

  @Test("CycleGAN's layout gives two data sets", arguments: [true, false])
  func twoDomains(_ hasTest: Bool) throws {
    try withScratchFolder { folder in
      let whole = "\(folder)/Data/horse2zebra"
      for (part, count) in [("trainA", 10), ("trainB", 20)] + (hasTest ? [("testA", 3), ("testB", 2)] : []) {
        for index in 0..<count { try writeImage(flatImage(UInt8(index)), to: "\(whole)/\(part)/\(index).png") }
      }
      let catalog = DatasetCatalog(searchRoots: [folder])
      #expect(catalog.names == ["horse2zebra/A", "horse2zebra/B"])
      #expect(try catalog.entries().map { try $0.contents.get().count } == (hasTest ? [13, 22] : [10, 20]))
      for name in ["horse2zebra", whole] {
        #expect(catalog.domains(of: name) == ["\(name)/A", "\(name)/B"])
        let (a, b) = try (catalog.resolve("\(name)/A"), catalog.resolve("\(name)/B"))
        #expect(a.train.name == "horse2zebra/A" && a.notes.isEmpty && a.train.labels == nil)
        let counts: [Int] = [a, b].flatMap { [$0.train.count, $0.validation.count] }
        let expected: [Int] = hasTest ? [10, 3, 20, 2] : [9, 1, 18, 2]
        #expect(counts == expected)
        expectUserError(.usage, "easel train cyclegan data \(name)", "data \(name)/B") {
          try catalog.resolve(name)
        }
      }
      #expect(catalog.domains(of: folder) == nil)
      expectUserError(.missingInput, "horse2zebra/C") { try catalog.resolve("horse2zebra/C") }
    }
  }

  @Test("A class keeps a picture for training; the other choices do not change")
  func everyClassIsTrained() throws {
    try withScratchFolder { folder in
      for index in 0..<60 { try writeImage(flatImage(UInt8(index)), to: "\(folder)/flat/\(index + 100).png") }
      let flat = try catalog.resolve("\(folder)/flat")
      // Classes of two, where the shuffle would hold out some completely, and a class of one.
      for index in 0..<60 {
        let name = index < 59 ? String(100 + index / 2) : "single"
        try writeImage(flatImage(UInt8(index)), to: "\(folder)/pairs/\(name)/\(index + 100).png")
        try writeImage(flatImage(UInt8(index)), to: "\(folder)/halves/\(index / 30)/\(index + 100).png")
        try writeImage(flatImage(UInt8(index)), to: "\(folder)/singles/\(index + 100)/a.png")
      }
      let pairs = try catalog.resolve("\(folder)/pairs")
      #expect(pairs.validation.count == 6 && pairs.train.count == 54 && !pairs.train.classCounts.contains(0))
      let halves = try catalog.resolve("\(folder)/halves")
      #expect(halves.validation.pixels == flat.validation.pixels && halves.train.pixels == flat.train.pixels)
      // One has to be held out.
      let singles = try catalog.resolve("\(folder)/singles")
      #expect(singles.validation.count == 1 && singles.train.classCounts.count { $0 == 0 } == 1)
    }
  }

  @Test("Files that programs leave beside pictures do not change the kind of a folder")
  func leavings() throws {
    try withScratchFolder { folder in
      for name in ["cats", "dogs"] {
        for index in 0..<5 { try writeImage(flatImage(UInt8(index)), to: "\(folder)/\(name)/\(index).png") }
      }
      let before = try catalog.resolve(folder)
      try write([1, 2, 3], to: "\(folder)/weights.bin")
      try write([1, 2, 3], to: "\(folder)/cats/train.bin")
      try write([UInt8](repeating: 0, count: 3073), to: "\(folder)/dogs/weights.bin")
      try write("{\"frames\": []}", to: "\(folder)/sheet.json")
      try write("{}", to: "\(folder)/dogs/sheet.json")
      for place in [".ipynb_checkpoints", "__MACOSX", "__MACOSX/train", "cats/__MACOSX", "cats/.ipynb_checkpoints"] {
        try writeImage(flatImage(9), to: "\(folder)/\(place)/9.png")
      }
      try write("", to: "\(folder)/.DS_Store")
      try write("", to: "\(folder)/Thumbs.db")
      let after = try catalog.resolve(folder)
      #expect(after.train.fingerprint == before.train.fingerprint)
      #expect(after.validation.fingerprint == before.validation.fingerprint)
      #expect(after.train.classNames == ["cats", "dogs"])
    }
  }

  @Test("Names with any bytes are read and distinguished")
  func namesOfAnyBytes() throws {
    try withScratchFolder { folder in
      let latin = String(fileSystemBytes: Array("caf".utf8) + [0xE9])
      for (level, name) in ["\u{F1}", "n\u{303}", latin].enumerated() {
        let path = "\(folder)/\(name)"
        try #require(path.withFileSystemPath { mkdir($0, 0o755) } == 0)
        for index in 0..<4 {
          let file = "\(path)/\(index)" + String(fileSystemBytes: [0xFF]) + ".png"
          let descriptor = file.withFileSystemPath { open($0, O_WRONLY | O_CREAT, 0o644) }
          let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
          try handle.write(contentsOf: Data(flatImage(UInt8(10 * level + index)).pngData()))
        }
      }
      let splits = try catalog.resolve(folder)
      #expect(
        splits.train.classNames.map { Array($0.utf8) } == [
          Array(#"caf\xE9"#.utf8), Array("n\u{303}".utf8), Array("\u{F1}".utf8),
        ])
      var seen: [UInt8: Int32] = [:]
      for dataset in [splits.train, splits.validation] {
        for index in 0..<dataset.count { seen[dataset.image(at: index).pixels[0]] = dataset.labels?[index] }
      }
      #expect(seen.count == 12 && seen.allSatisfy { level, label in label == [2, 1, 0][Int(level) / 10] })
      #expect(splits.train.names.allSatisfy { $0.hasSuffix(#"\xFF"#) })

      #expect(try catalog.resolve("\(folder)/\(latin)").train.source == folder + #"/caf\xE9"#)

      // A class of held-out pictures is the class whose name has the same bytes.
      for (part, letters) in [("train", "\u{F1}"), ("train", "n\u{303}"), ("val", "n\u{303}")] {
        try writeImage(flatImage(1), to: "\(folder)/parts/\(part)/\(letters)/0.png")
      }
      #expect(try catalog.resolve("\(folder)/parts").validation.labels == [0])
    }
  }

  @Test("Skipping ignores links, pipes and unreadable folders; without it the message names the option")
  func unreadableEntries() throws {
    try withScratchFolder { folder in
      for index in 0..<20 { try writeImage(flatImage(UInt8(index)), to: "\(folder)/\(index % 2)/\(index + 10).png") }
      let files = FileManager.default
      try files.createSymbolicLink(atPath: "\(folder)/0/a.png", withDestinationPath: "nowhere.png")
      try files.createSymbolicLink(atPath: "\(folder)/0/b.png", withDestinationPath: "b.png")
      try #require(mkfifo("\(folder)/1/c.png", 0o600) == 0)
      expectUserError(.missingInput, "0/a.png: no such file", "skip-broken") { try catalog.resolve(folder) }
      let splits = try catalog.resolve(folder, skippingBroken: true)
      #expect(splits.train.count + splits.validation.count == 20)
      #expect(
        splits.skipped.map { String($0.message.dropFirst(folder.count + 1).prefix(7)) } == [
          "0/a.png", "0/b.png", "1/c.png",
        ])
      var told: [UserError] = []
      let whole = try ImageDataset(folder: folder, skippingBroken: true) { told = $0 }
      #expect(whole.count == 20 && told == splits.skipped)

      // A folder that only its owner may read, read by another user; only this thread changes its user.
      try writeImage(flatImage(1), to: "\(folder)/2/0.png")
      try files.setAttributes([.posixPermissions: 0], ofItemAtPath: "\(folder)/2")
      defer { try? files.setAttributes([.posixPermissions: 0o700], ofItemAtPath: "\(folder)/2") }
      typealias SetUser = @convention(c) (uid_t) -> Int32
      let setUser = unsafeBitCast(try #require(dlsym(nil, "setfsuid")), to: SetUser.self)
      if geteuid() == 0 { _ = setUser(65534) }
      defer { if geteuid() == 0 { _ = setUser(0) } }
      expectUserError(.inputOutput, "\(folder)/2: the folder cannot be read", "skip-broken") {
        try catalog.resolve(folder)
      }
      let rest = try catalog.resolve(folder, skippingBroken: true)
      #expect(rest.train.count + rest.validation.count == 20)
      #expect(rest.skipped.count == 4 && rest.skipped[0].message.hasPrefix("\(folder)/2:"))
      #expect(rest.train.classNames == ["0", "1"])
    }
  }
}
