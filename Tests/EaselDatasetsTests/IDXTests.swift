import EaselDatasets
import EaselImages
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

@Suite struct IDXTests {
  let catalog = DatasetCatalog(searchRoots: [])
  /// Ten images of 2×3 pixels; pixel `k` of image `i` is `10 i + k`.
  let images = idx([10, 3, 2], (0..<10).flatMap { image in (0..<6).map { UInt8(10 * image + $0) } })
  let labels = idx([10], [0, 1, 2, 3, 4, 3, 2, 1, 0, 4])

  @Test(arguments: [false, true])
  func trainAndHeldOutFilesAreTheSplits(compressed: Bool) throws {
    try withScratchFolder { folder in
      let suffix = compressed ? ".gz" : ""
      let heldOut = idx([2, 3, 2], Array(200..<212))
      for (name, bytes) in [
        "train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels, "t10k-images-idx3-ubyte": heldOut,
        "t10k-labels-idx1-ubyte": idx([2], [5, 0]),
      ] {
        try write(compressed ? gzip(bytes) : bytes, to: "\(folder)/\(name)\(suffix)")
      }
      let splits = try catalog.resolve(folder)
      #expect(splits.train.count == 10)
      #expect(splits.train.imageSize == ImageSize(width: 2, height: 3))
      #expect(splits.train.image(at: 9).pixels == [90, 91, 92, 93, 94, 95])
      #expect(splits.train.labels == [0, 1, 2, 3, 4, 3, 2, 1, 0, 4])
      #expect(splits.validation.pixels == Array(200..<212))
      #expect(splits.validation.labels == [5, 0])
      // Label 5 comes only in the held-out file; both splits must know it.
      #expect(splits.train.classNames == ["0", "1", "2", "3", "4", "5"])
      #expect(splits.validation.classNames == splits.train.classNames)
    }
  }

  @Test func aSingleFileHoldsOutItsLastTenth() throws {
    try withScratchFolder { folder in
      try write(images, to: "\(folder)/t10k-images-idx3-ubyte")
      try write(gzip(labels), to: "\(folder)/t10k-labels-idx1-ubyte.gz")
      for path in [folder, "\(folder)/t10k-images-idx3-ubyte"] {
        let splits = try catalog.resolve(path)
        #expect(splits.train.count == 9)
        #expect(splits.validation.image(at: 0).pixels == [90, 91, 92, 93, 94, 95])
        #expect(splits.validation.labels == [4])
      }
    }
  }

  @Test("EMNIST's own names are read, compressed or not, and a second set is reported", arguments: ["", ".gz"])
  func namesOfMoreWords(_ suffix: String) throws {
    try withScratchFolder { folder in
      func write(_ name: String, _ bytes: [UInt8]) throws {
        try EaselDatasetsTests.write(
          suffix.isEmpty ? bytes : gzip(bytes), to: "\(folder)/emnist-\(name)-ubyte\(suffix)")
      }
      try write("letters-train-images-idx3", images)
      try write("letters-train-labels-idx1", idx([10], [1, 2, 3, 4, 5, 1, 2, 3, 4, 26]))
      try write("letters-test-images-idx3", idx([2, 3, 2], Array(200..<212)))
      try write("letters-test-labels-idx1", idx([2], [5, 7]))
      let splits = try catalog.resolve(folder)
      #expect(splits.train.count == 10 && splits.validation.pixels == Array(200..<212))
      #expect(splits.train.labels?.last == 26 && splits.validation.labels == [5, 7])
      #expect(splits.train.classNames.count == 27 && splits.train.classCounts[0] == 0)
      // The same file in both forms counts once.
      try EaselDatasetsTests.write(images, to: "\(folder)/emnist-letters-train-images-idx3-ubyte")
      #expect(try catalog.resolve(folder).train.fingerprint == splits.train.fingerprint)
      try write("digits-train-images-idx3", images)
      expectUserError(.badData, "expected one data set", "emnist-digits-train", "a folder of its own") {
        try catalog.resolve(folder)
      }
    }
  }

  @Test("If images are sorted by class, each class keeps one for training")
  func sortedClasses() throws {
    try withScratchFolder { folder in
      try write(idx([30, 1, 1], Array(0..<30)), to: "\(folder)/train-images-idx3-ubyte")
      try write(
        idx([30], (0..<30).map { $0 < 26 ? 0 : UInt8($0 < 28 ? 1 : 2) }), to: "\(folder)/train-labels-idx1-ubyte")
      let splits = try catalog.resolve(folder)
      #expect(splits.validation.pixels == [25, 27, 29] && !splits.train.classCounts.contains(0))
      #expect(splits.rule.hasPrefix("3 of 30 images, the last ones that leave each class one"))
      try write(idx([30], [UInt8](repeating: 0, count: 30)), to: "\(folder)/train-labels-idx1-ubyte")
      #expect(try catalog.resolve(folder).rule == "the last 3 of 30 images are for validation")
    }
  }

  @Test func classNamesAreReadFromTheFileBesides() throws {
    try withScratchFolder { folder in
      try write(images, to: "\(folder)/train-images-idx3-ubyte")
      try write(labels, to: "\(folder)/train-labels-idx1-ubyte")
      try write("zero\none\r\ntwo\nthree\nAnkle boot\n", to: "\(folder)/classes.txt")
      #expect(try catalog.resolve(folder).train.classNames == ["zero", "one", "two", "three", "Ankle boot"])
      try write("zero\none\n", to: "\(folder)/classes.txt")
      let error = #expect(throws: UserError.self) { try catalog.resolve(folder) }
      #expect(error?.message == "\(folder)/classes.txt: expected at least 5 class names, found 2")
    }
  }

  @Test(arguments: [false, true])
  func aShortFileTellsBothCounts(compressed: Bool) throws {
    let short = Array(images.dropLast(7))
    let error = try errorOfReading(compressed ? gzip(short) : short)
    #expect(error?.kind == .badData)
    #expect(error?.message.contains("expected 60 bytes (10 × 3 × 2)") == true)
    #expect(error?.message.contains("found \(compressed ? "53" : "at most 53")") == true, "\(error?.message ?? "")")
  }

  @Test(arguments: [false, true])
  func aLongFileTellsBothCounts(compressed: Bool) throws {
    let long = images + [1, 2, 3]
    let error = try errorOfReading(compressed ? gzip(long) : long)
    #expect(error?.message.contains("expected 60 bytes") == true)
    #expect(error?.message.contains("found 63") == true)
  }

  @Test func muchTooMuchIsNotReadToItsEnd() throws {
    let error = try errorOfReading(gzip(images + [UInt8](repeating: 0, count: 3 << 20)))
    #expect(error?.message.contains("found \(60 + (1 << 20)) or more") == true, "\(error?.message ?? "")")
  }

  @Test func aWrongMagicShowsTheBytes() throws {
    let error = try errorOfReading([0, 0, 9, 3] + images.dropFirst(4))
    #expect(error?.kind == .badData)
    #expect(error?.message.contains("[0, 0, 8, 3], found [0, 0, 9, 3]") == true)
  }

  @Test(arguments: 0..<16)
  func aCutHeaderIsAnError(length: Int) throws {
    #expect(try errorOfReading(Array(images[..<length]))?.kind == .badData)
  }

  @Test func hugeSizesAreRefusedBeforeMemoryIsTaken() throws {
    let everySize = idx([0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF], [])
    #expect(try errorOfReading(everySize)?.kind == .badData)
    // A few compressed bytes announce 2 GiB, but cannot expand to that size.
    let error = try errorOfReading(gzip(idx([1 << 21, 32, 32], [1, 2, 3])))
    #expect(error?.message.contains("expected 2147483648 bytes") == true)
    #expect(try errorOfReading(idx([0, 28, 28], []))?.kind == .badData)
  }

  @Test func damagedGzipIsAnError() throws {
    let whole = try gzip(images)
    #expect(try errorOfReading(Array(whole.dropLast(9)))?.message.contains("cut short") == true)
    var damaged = whole
    damaged[damaged.count - 6] ^= 1  // The checksum of the contents.
    #expect(try errorOfReading(damaged)?.message.contains("damaged") == true)
    #expect(try errorOfReading(whole + [7])?.message.contains("stray") == true)
  }

  @Test func aGzipFileMayHaveSeveralMembers() throws {
    try withScratchFolder { folder in
      try write(gzip(Array(images[..<30])) + gzip(Array(images[30...])), to: "\(folder)/train-images-idx3-ubyte.gz")
      #expect(try catalog.resolve(folder).train.pixels == Array(images[16..<70]))
    }
  }

  @Test func labelsMustBeAsManyAsImages() throws {
    try withScratchFolder { folder in
      try write(images, to: "\(folder)/train-images-idx3-ubyte")
      try write(idx([9], Array(repeating: 0, count: 9)), to: "\(folder)/train-labels-idx1-ubyte")
      let error = #expect(throws: UserError.self) { try catalog.resolve(folder) }
      #expect(error?.message.contains("expected 10 labels, one for each image, found 9") == true)
    }
  }

  private func errorOfReading(_ bytes: [UInt8]) throws -> UserError? {
    var error: UserError?
    try withScratchFolder { folder in
      let path = "\(folder)/train-images-idx3-ubyte"
      try write(bytes, to: path)
      error = #expect(throws: UserError.self) { try catalog.resolve(path) }
      #expect(error?.message.hasPrefix(path) == true)
    }
    return error
  }
}
