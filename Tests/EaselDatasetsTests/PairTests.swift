import EaselDatasets
import EaselImages
import EaselTensors
import EaselTestSupport
import Testing

/// Two data sets of paired images.
@Suite struct PairTests {
  /// Each image's level is its number, plus 100 in the second domain.
  private func dataset(_ numbers: [Int], plus: Int = 0, named: Bool = true, name: String = "a") -> ImageDataset {
    ImageDataset(
      name: name, source: "folder-\(name)", width: 1, height: 1, channels: 1, pixels: numbers.map { UInt8($0 + plus) },
      names: named ? numbers.map { "sub/\($0)" } : [])
  }

  private func splits(_ train: [Int], _ held: [Int], plus: Int = 0, named: Bool = true, name: String = "a")
    -> DatasetSplits
  {
    DatasetSplits(
      train: dataset(train, plus: plus, named: named, name: name),
      validation: dataset(held, plus: plus, named: named, name: name), rule: "")
  }

  @Test("Images with the same name are paired, in any order and whichever are held out")
  func namesDecide() throws {
    let a = splits([1, 2, 10], [3, 4])
    for b in [splits([1, 2, 10], [3, 4], plus: 100, name: "b"), splits([10, 3, 1], [2, 4], plus: 100, name: "b")] {
      let matched = try DatasetSplits.matched(a, b, isPaired: true)
      #expect(matched.a.train.pixels == [1, 2, 10] && matched.b.train.pixels == [101, 102, 110])
      #expect(matched.a.validation.pixels == [3, 4] && matched.b.validation.pixels == [103, 104])
      #expect(matched.b.train.names == matched.a.train.names)
      // Without pairs nothing moves.
      #expect(try DatasetSplits.matched(a, b, isPaired: false).b.train.pixels == b.train.pixels)
    }
  }

  @Test("The first without a partner is named, on either side")
  func lonelyImages() throws {
    let a = splits([1, 2, 3], [4])
    for (b, message) in [
      (splits([1, 5, 3], [4], name: "b"), "sub/2 of a (folder-a) has no partner in b (folder-b)"),
      (splits([1, 2, 3, 5], [4], name: "b"), "sub/5 of b (folder-b) has no partner in a (folder-a)"),
      (splits([1, 2], [4], name: "b"), "sub/3 of a (folder-a) has no partner in b"),
      (splits([1, 1, 3], [4], name: "b"), "two images that are called sub/1 in b"),
    ] {
      expectUserError(.badData, message) { try DatasetSplits.matched(a, b, isPaired: true) }
    }
  }

  @Test("Numbers that start again among the held-out images do not mix the two parts")
  func numbersThatBeginAnew() throws {
    let matched = try DatasetSplits.matched(
      splits([1, 2, 3], [1, 2]), splits([3, 2, 1], [2, 1], plus: 100, name: "b"), isPaired: true)
    #expect(matched.b.train.pixels == [101, 102, 103] && matched.b.validation.pixels == [101, 102])
  }

  @Test("Images without names are paired by index, and their numbers must be equal")
  func placesWithoutNames() throws {
    let a = splits([1, 2, 3], [4])
    let b = splits([7, 8, 9], [6], plus: 100, named: false, name: "b")
    #expect(try DatasetSplits.matched(a, b, isPaired: true).b.train.pixels == [107, 108, 109])
    expectUserError(.badData, "a has 3, b has 2") {
      try DatasetSplits.matched(a, splits([7, 8], [6], named: false, name: "b"), isPaired: true)
    }
  }

  @Test("01.png does not match 1.png, and composed and decomposed letters are different names")
  func filesThatLookAlike() throws {
    try withScratchFolder { folder in
      for index in 1...12 {
        try writeImage(flatImage(UInt8(index)), to: "\(folder)/a/\(index).png")
        try writeImage(flatImage(UInt8(index)), to: "\(folder)/b/\(index < 10 ? "0" : "")\(index).png")
        try writeImage(flatImage(UInt8(index + 100)), to: "\(folder)/c/\(index).apng")
      }
      for (name, letters) in [("d", "\u{F1}"), ("e", "n\u{303}")] {
        for index in 0..<3 { try writeImage(flatImage(1), to: "\(folder)/\(name)/\(letters)\(index).png") }
      }
      func resolve(_ name: String) throws -> DatasetSplits {
        try DatasetCatalog(searchRoots: []).resolve("\(folder)/\(name)")
      }
      let a = try resolve("a")
      expectUserError(.badData, "pairs expected", "of a (", "has no partner in b") {
        try DatasetSplits.matched(a, resolve("b"), isPaired: true)
      }
      expectUserError(.badData, "has no partner in e") {
        try DatasetSplits.matched(resolve("d"), resolve("e"), isPaired: true)
      }
      // Another extension does not change the name.
      let c = try DatasetSplits.matched(a, resolve("c"), isPaired: true).b
      #expect(c.train.pixels == a.train.pixels.map { $0 + 100 })
      #expect(c.validation.pixels == a.validation.pixels.map { $0 + 100 })
    }
  }
}
