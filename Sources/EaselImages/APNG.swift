import EaselSupport

/// Animated PNG, which shows denoising and interpolation as they proceed. Viewers without animation show the first
/// frame.
public enum APNG {
  /// Encodes frames of one size into an animation.
  ///
  /// - Parameters:
  ///   - frames: pictures of equal size and channels, at least one.
  ///   - delayMilliseconds: how long each frame is shown, 0 to 65535.
  ///   - loops: how often the animation plays; 0 means for ever.
  ///   - text: text chunks, as in ``Image/pngData(text:)``.
  /// - Throws: `UserError` (`usage`) if the frames differ in size, if there are none, or if a number is out of its
  ///   range.
  public static func encode(
    frames: [Image], delayMilliseconds: Int, loops: Int = 0, text: PNGText = [:]
  ) throws -> [UInt8] {
    guard let first = frames.first else { throw UserError(.usage, "an animation needs at least one frame") }
    guard let delay = UInt16(exactly: delayMilliseconds) else {
      throw UserError(.usage, "frame delay of \(delayMilliseconds) ms: expected 0 to \(UInt16.max)")
    }
    guard let plays = UInt32(exactly: loops), plays <= Int32.max else {
      throw UserError(.usage, "\(loops) loops: expected 0 (for ever) to \(Int32.max)")
    }
    let header = try first.pngData(text: text)
    let beforePixels = try PNGChunk.parse(header, name: "first frame").prefix { $0.type != "IDAT" }

    var animation = ImageFormat.pngSignature + beforePixels.flatMap(\.encoded)
    animation += PNGChunk(type: "acTL", data: bigEndian(UInt32(frames.count)) + bigEndian(plays)).encoded
    var sequence: UInt32 = 0
    for (index, frame) in frames.enumerated() {
      guard frame.size == first.size, frame.channels == first.channels else {
        let sizes = "\(frame.size)×\(frame.channels), frame 0 is \(first.size)×\(first.channels)"
        throw UserError(.usage, "frames of an animation are of one size: frame \(index) is \(sizes)")
      }
      animation += control(of: frame, sequence: sequence, delay: delay).encoded
      sequence += 1
      for chunk in try PNGChunk.parse(frame.pngData(), name: "frame") where chunk.type == "IDAT" {
        if index == 0 {
          animation += chunk.encoded
        } else {
          animation += PNGChunk(type: "fdAT", data: bigEndian(sequence) + chunk.data).encoded
          sequence += 1
        }
      }
    }
    return animation + PNGChunk(type: "IEND", data: []).encoded
  }

  /// Encodes frames and writes the file, completely or not at all; throws like ``Image/write(to:text:)`` and `encode`.
  public static func write(
    frames: [Image], delayMilliseconds: Int, loops: Int = 0, text: PNGText = [:], to path: String
  ) throws {
    let bytes = try encode(frames: frames, delayMilliseconds: delayMilliseconds, loops: loops, text: text)
    try FileIO.write(bytes, to: path)
  }

  // fcTL: sequence, width, height, x, y, delay as a fraction of a second, how the frame is disposed of, how it is
  // blended.
  private static func control(of frame: Image, sequence: UInt32, delay: UInt16) -> PNGChunk {
    let keepFrame: UInt8 = 0
    let replacePixels: UInt8 = 0
    let place = bigEndian(UInt32(frame.width)) + bigEndian(UInt32(frame.height)) + bigEndian(0 as UInt32)
    let timing = bigEndian(0 as UInt32) + bigEndian(delay) + bigEndian(1000 as UInt16)
    return PNGChunk(type: "fcTL", data: bigEndian(sequence) + place + timing + [keepFrame, replacePixels])
  }
}
