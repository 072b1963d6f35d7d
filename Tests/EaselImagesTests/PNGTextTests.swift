import EaselImages
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

@Suite struct PNGTextTests {
  let image = patternedImage(width: 3, height: 2, channels: 1)

  @Test func entriesComeBackInOrder() throws {
    try withScratchFolder { folder in
      let text = PNGText([
        ("parameters", "a cat\nSteps: 50, Sampler: ddim, Seed: 7"), ("easel", #"{"seed":7,"name":"絵 и é"}"#),
        ("Comment", "Größe ½"), ("Comment", ""),
      ])
      try image.write(to: "\(folder)/picture.png", text: text)
      let read = try PNGText.read("\(folder)/picture.png")
      #expect(read == text)
      #expect(read["easel"] == #"{"seed":7,"name":"絵 и é"}"#)
      #expect(read["Comment"] == "Größe ½")
      #expect(read["none"] == nil)
      #expect(try Image.read("\(folder)/picture.png") == image)
    }
  }

  @Test func latin1IsPlainTextAndOtherTextInternational() throws {
    let bytes = try image.pngData(text: ["key": "é", "other": "絵"])
    #expect(bytes.contains(subsequence: Array("tEXtkey".utf8) + [0, 0xE9]))
    #expect(bytes.contains(subsequence: Array("iTXtother".utf8) + [0, 0, 0, 0, 0] + Array("絵".utf8)))
  }

  @Test func compressedTextOfOtherProgramsIsRead() throws {
    let text = try PNGText.read(Fixtures.path("text.png"))
    #expect(text == ["Comment": "déjà vu", "Title": "絵", "Author": "Éric"])
  }

  @Test(arguments: ["", " key", "key ", "a\u{7F}", "絵", String(repeating: "k", count: 80)])
  func keysThatPNGForbidsAreRefused(key: String) throws {
    let error = #expect(throws: UserError.self) { try image.pngData(text: PNGText([(key, "value")])) }
    #expect(error?.kind == .usage)
  }

  @Test func zeroCharactersAreRefused() {
    #expect(throws: UserError.self) { try image.pngData(text: ["key": "a\0b"]) }
  }

  @Test func damagedFilesAreNamed() throws {
    try withScratchFolder { folder in
      var bytes = try image.pngData(text: ["key": "value"])
      bytes[45] ^= 1
      try Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/damaged.png"))
      let error = #expect(throws: UserError.self) { try PNGText.read("\(folder)/damaged.png") }
      #expect(error?.kind == .badData)
      #expect(error?.message.hasPrefix("\(folder)/damaged.png") == true)
    }
  }
}

extension [UInt8] {
  func contains(subsequence: [UInt8]) -> Bool {
    indices.contains { self[$0...].starts(with: subsequence) }
  }
}
