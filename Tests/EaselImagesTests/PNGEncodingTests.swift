import EaselImages
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

@Suite struct PNGEncodingTests {
  @Test(arguments: [1, 3], [1, 7, 64])
  func decodingGivesThePixelsBack(channels: Int, width: Int) throws {
    let image = patternedImage(width: width, height: 5, channels: channels)
    #expect(try Image(png: image.pngData()) == image)
  }

  @Test func equalPicturesGiveEqualBytes() throws {
    let image = patternedImage(width: 40, height: 30, channels: 3)
    let text: PNGText = ["parameters": "Steps: 50, Seed: 7"]
    #expect(try image.pngData(text: text) == image.pngData(text: text))
    #expect(try image.pngData(text: text) != image.pngData())
  }

  @Test func writingReplacesAFileAndLeavesNothingElse() throws {
    try withScratchFolder { folder in
      let path = "\(folder)/grid.png"
      try patternedImage(width: 4, height: 4, channels: 1).write(to: path)
      let second = patternedImage(width: 9, height: 3, channels: 3)
      try second.write(to: path, text: ["easel": "{}"])
      #expect(try Image.read(path) == second)
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["grid.png"])
    }
  }

  @Test func writingFollowsALinkAndKeepsIt() throws {
    try withScratchFolder { folder in
      try patternedImage(width: 2, height: 2, channels: 1).write(to: "\(folder)/target.png")
      try FileManager.default.createSymbolicLink(
        atPath: "\(folder)/link.png", withDestinationPath: "\(folder)/target.png")
      let second = patternedImage(width: 3, height: 3, channels: 1)
      try second.write(to: "\(folder)/link.png")
      #expect(try Image.read("\(folder)/target.png") == second)
      #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/link.png").hasSuffix("target.png"))
    }
  }

  @Test func aMissingFolderAndAFolderAsTargetCannotBeCreated() throws {
    try withScratchFolder { folder in
      let image = patternedImage(width: 2, height: 2, channels: 1)
      let missing = #expect(throws: UserError.self) { try image.write(to: "\(folder)/none/grid.png") }
      #expect(missing?.kind == .cannotCreate)
      #expect(missing?.message.contains("\(folder)/none/grid.png") == true)
      let occupied = #expect(throws: UserError.self) { try image.write(to: folder) }
      #expect(occupied?.kind == .cannotCreate)
      let left = try FileManager.default.contentsOfDirectory(atPath: folder)
      #expect(left == [])
    }
  }

  /// The temporary file can be made, but cannot then be renamed to 300 characters.
  @Test func aFailedRenameLeavesNothing() throws {
    try withScratchFolder { folder in
      let path = "\(folder)/\(String(repeating: "n", count: 296)).png"
      let error = #expect(throws: UserError.self) {
        try patternedImage(width: 2, height: 2, channels: 1).write(to: path)
      }
      #expect(error?.kind == .cannotCreate)
      let left = try FileManager.default.contentsOfDirectory(atPath: folder)
      #expect(left == [])
    }
  }

  @Test(.enabled(if: FileManager.default.fileExists(atPath: "/dev/full"), "needs a device that is always full"))
  func aFullDiskIsAnError() throws {
    let image = patternedImage(width: 2, height: 2, channels: 1)
    let error = #expect(throws: UserError.self) { try image.write(to: "/dev/full") }
    #expect(error?.kind == .inputOutput)
    #expect(FileManager.default.fileExists(atPath: "/dev/full"))
  }
}
