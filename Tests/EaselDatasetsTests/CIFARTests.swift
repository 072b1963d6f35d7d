import EaselDatasets
import EaselImages
import EaselSupport
import EaselTensors
import EaselTestSupport
import Testing

@Suite struct CIFARTests {
  let catalog = DatasetCatalog(searchRoots: [])

  /// Planes of one level each, except the first pixel of the second row of each plane.
  private func record(labels: [UInt8], red: UInt8, green: UInt8, blue: UInt8) -> [UInt8] {
    labels
      + [red, green, blue].flatMap { level in
        (0..<1024).map { $0 == 32 ? level + 1 : level }
      }
  }

  @Test func batchesAreJoinedAndPlanesInterleaved() throws {
    try withScratchFolder { folder in
      try write(record(labels: [1], red: 10, green: 20, blue: 30), to: "\(folder)/data_batch_1.bin")
      try write(record(labels: [2], red: 40, green: 50, blue: 60), to: "\(folder)/data_batch_2.bin")
      try write(record(labels: [0], red: 70, green: 80, blue: 90), to: "\(folder)/test_batch.bin")
      try write("plane\ncar\nbird\n\n", to: "\(folder)/batches.meta.txt")
      let splits = try catalog.resolve(folder)
      #expect(splits.train.count == 2)
      #expect(splits.train.channels == 3)
      #expect(splits.train.imageSize == ImageSize(width: 32, height: 32))
      #expect(splits.train.labels == [1, 2])
      #expect(splits.train.classNames == ["plane", "car", "bird"])
      let second = splits.train.image(at: 1)
      #expect(Array(second.pixels[..<3]) == [40, 50, 60])
      #expect(Array(second.pixels[96..<102]) == [41, 51, 61, 40, 50, 60])
      #expect(splits.validation.labels == [0])
      #expect(Array(splits.validation.pixels[..<3]) == [70, 80, 90])
    }
  }

  @Test func cifar100UsesTheFineLabel() throws {
    try withScratchFolder { folder in
      let training = (0..<3).flatMap { record(labels: [9, UInt8($0 + 5)], red: 1, green: 2, blue: UInt8($0)) }
      try write(training, to: "\(folder)/train.bin")
      try write(record(labels: [9, 4], red: 1, green: 2, blue: 3), to: "\(folder)/test.bin")
      let splits = try catalog.resolve(folder)
      #expect(splits.train.labels == [5, 6, 7])
      #expect(Array(splits.train.image(at: 2).pixels[..<3]) == [1, 2, 2])
      #expect(splits.validation.labels == [4])
    }
  }

  @Test func aBrokenRecordTellsTheSizes() throws {
    try withScratchFolder { folder in
      let path = "\(folder)/data_batch_1.bin"
      try write(record(labels: [1], red: 10, green: 20, blue: 30).dropLast() + [], to: path)
      let error = #expect(throws: UserError.self) { try catalog.resolve(folder) }
      #expect(error?.kind == .badData)
      #expect(error?.message.hasPrefix(path) == true)
      #expect(error?.message.contains("3073") == true)
      #expect(error?.message.contains("found 3072 bytes") == true)
    }
  }
}
