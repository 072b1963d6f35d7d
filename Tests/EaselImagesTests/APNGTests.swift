import EaselImages
import EaselSupport
import EaselTensors
import Testing

@Suite struct APNGTests {
  let frames = (0..<3).map { patternedImage(width: 6, height: 4, channels: 3, offset: $0 * 50) }

  @Test func chunksFollowTheSpecification() throws {
    let bytes = try APNG.encode(frames: frames, delayMilliseconds: 120, loops: 5, text: ["easel": "{}"])
    let chunks = splitIntoChunks(bytes)
    #expect(
      chunks.map(\.type) == ["IHDR", "tEXt", "acTL", "fcTL", "IDAT", "fcTL", "fdAT", "fcTL", "fdAT", "IEND"])
    #expect(chunks[2].data == [0, 0, 0, 3, 0, 0, 0, 5])
    let sequenced = chunks.filter { ["fcTL", "fdAT"].contains($0.type) }
    #expect(sequenced.map { Array($0.data.prefix(4)) } == (0..<5).map { [0, 0, 0, UInt8($0)] })
    // Width, height, x, y; then 120/1000 s; then “leave the frame” and “replace”.
    let control: [UInt8] = [0, 0, 0, 6, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 120, 0x03, 0xE8, 0, 0]
    for chunk in chunks where chunk.type == "fcTL" { #expect(Array(chunk.data.dropFirst(4)) == control) }
  }

  @Test func everyFrameHasItsPixels() throws {
    let chunks = splitIntoChunks(try APNG.encode(frames: frames, delayMilliseconds: 40))
    let pixels = chunks.filter { $0.type == "IDAT" } + chunks.filter { $0.type == "fdAT" }
    for (index, frame) in frames.enumerated() {
      let expected = splitIntoChunks(try frame.pngData()).filter { $0.type == "IDAT" }.flatMap(\.data)
      #expect(pixels[index].data.dropFirst(index == 0 ? 0 : 4) == expected[...])
    }
  }

  @Test func withoutAnimationTheFirstFrameIsSeen() throws {
    #expect(try Image(png: APNG.encode(frames: frames, delayMilliseconds: 40)) == frames[0])
  }

  @Test func textCanBeReadBack() throws {
    let bytes = try APNG.encode(frames: frames, delayMilliseconds: 40, text: ["parameters": "Seed: 3"])
    #expect(try PNGText(png: bytes)["parameters"] == "Seed: 3")
  }

  @Test func whatCannotBeAnAnimationIsRefused() {
    let other = patternedImage(width: 5, height: 4, channels: 3)
    #expect(throws: UserError.self) { try APNG.encode(frames: [], delayMilliseconds: 40) }
    #expect(throws: UserError.self) { try APNG.encode(frames: frames + [other], delayMilliseconds: 40) }
    #expect(throws: UserError.self) { try APNG.encode(frames: frames, delayMilliseconds: 65536) }
    #expect(throws: UserError.self) { try APNG.encode(frames: frames, delayMilliseconds: 40, loops: -1) }
  }

  private func splitIntoChunks(_ bytes: [UInt8]) -> [(type: String, data: [UInt8])] {
    var chunks: [(type: String, data: [UInt8])] = []
    var offset = 8
    while offset < bytes.count {
      let length = bytes[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) }
      let data = bytes[offset + 8..<offset + 8 + length]
      chunks.append((String(decoding: bytes[offset + 4..<offset + 8], as: UTF8.self), Array(data)))
      offset += 12 + length
    }
    return chunks
  }
}
