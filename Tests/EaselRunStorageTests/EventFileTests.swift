import EaselRunStorage
import EaselTestSupport
import Foundation
import Testing

@Suite struct EventFileTests {
  @Test("Checksums are Castagnoli's, masked")
  func checksum() {
    // CRC-32C's own test value, 0xE3069283 for the nine digits (RFC 3720, B.4 has others).
    let crc: UInt32 = 0xE306_9283
    #expect(maskedCRC32C(Array("123456789".utf8)) == (crc >> 15 | crc << 17) &+ 0xA282_EAD8)
    let zeros: UInt32 = 0x8A91_36AA
    #expect(maskedCRC32C([UInt8](repeating: 0, count: 32)) == (zeros >> 15 | zeros << 17) &+ 0xA282_EAD8)
  }

  /// The events of a file's records, whose lengths and checksums are checked.
  private func events(_ path: String) throws -> [[UInt8]] {
    var bytes = ArraySlice(try contents(path))
    func take(_ count: Int) throws -> [UInt8] {
      try #require(bytes.count >= count)
      defer { bytes = bytes.dropFirst(count) }
      return Array(bytes.prefix(count))
    }
    func number(_ bytes: [UInt8]) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
    var events: [[UInt8]] = []
    while !bytes.isEmpty {
      let length = try take(8)
      #expect(number(try take(4)) == UInt64(maskedCRC32C(length)))
      let event = try take(Int(number(length)))
      #expect(number(try take(4)) == UInt64(maskedCRC32C(event)))
      events.append(event)
    }
    return events
  }

  @Test("Records hold the version, the step to go on from, numbers and pictures")
  func records() throws {
    try withScratchFolder { folder in
      let time = Date(timeIntervalSince1970: 2)
      let file = try EventFile(folder: folder + "/events", fromStep: 300, at: time)
      try file.append(step: 301, ["loss": 0.5, "b": -2], at: time)
      try file.append(step: 301, "p", png: [1, 2, 3], width: 200, height: 7, channels: 3, at: time)
      try file.sync()
      let names = try FileManager.default.contentsOfDirectory(atPath: folder + "/events")
      #expect(names.count == 1 && names[0].hasPrefix("events.out.tfevents.2."))
      let found = try events("\(folder)/events/\(names[0])")
      // Field 1, a double: two seconds.
      let moment: [UInt8] = [0x09, 0, 0, 0, 0, 0, 0, 0, 0x40]
      // Varints of seven bits: 301 is 2 · 128 + 45.
      let step: [UInt8] = [0x10, 0xAD, 0x02]
      try #require(found.count == 4)
      #expect(found[0] == moment + [0x1A, 13] + Array("brain.Event:2".utf8))
      #expect(found[1] == moment + step + [0x3A, 2, 0x08, 1])
      #expect(
        found[2] == moment + step + [0x2A, 23] + [0x0A, 8, 0x0A, 1] + Array("b".utf8) + [0x15, 0, 0, 0, 0xC0]
          + [0x0A, 11, 0x0A, 4] + Array("loss".utf8) + [0x15, 0, 0, 0, 0x3F])
      #expect(
        found[3] == moment + step + [0x2A, 19, 0x0A, 17, 0x0A, 1] + Array("p".utf8)
          + [0x22, 12, 0x08, 7, 0x10, 0xC8, 0x01, 0x18, 3, 0x22, 3, 1, 2, 3])
    }
  }

  @Test("The files of sessions are in order, and the first does not go on from another")
  func sessions() throws {
    try withScratchFolder { folder in
      for (step, seconds) in [(0, 100.0), (10, 100), (20, 101)] {
        _ = try EventFile(folder: folder, fromStep: step, at: Date(timeIntervalSince1970: seconds))
      }
      let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
      #expect(try names.map { try events("\(folder)/\($0)").count } == [1, 2, 2])
      #expect(names.map { $0.suffix(8) } == ["00000000", "00000010", "00000020"])
    }
  }

  @Test func aFolderThatCannotBeMadeIsNamed() throws {
    try withScratchFolder { folder in
      try Data().write(to: URL(fileURLWithPath: folder + "/events"))
      expectUserError(.cannotCreate, folder + "/events") { try EventFile(folder: folder + "/events", fromStep: 0) }
    }
  }
}
