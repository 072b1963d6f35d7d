import EaselTensors
import Foundation

/// A run's numbers and pictures by step, in a file that TensorBoard reads; each training session has a separate file.
///
/// A record consists of its length, the length's checksum, an event in Protocol Buffers' encoding, and the event's
/// checksum (TensorFlow's `record_writer.cc`, `event.proto` and `summary.proto`). Checked with PyPI `tensorboard`.
public final class EventFile: Sendable {
  private let file: OpenFile

  /// Begins a file in a folder; makes the folder if it is missing.
  ///
  /// - Parameters:
  ///   - folder: the folder's path.
  ///   - step: the step from which training goes on. Later steps in earlier files become void.
  ///   - time: the time of the first event.
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  public init(folder: String, fromStep step: Int, at time: Date = Date()) throws {
    try FileSystem.makeFolders(folder)
    // Readers take files in the order of their names.
    let seconds = String(Int(time.timeIntervalSince1970))
    file = try OpenFile(
      "\(folder)/events.out.tfevents.\(seconds).\(Self.host).\(stepFolderName(step))", for: .writing)
    try append(Event(time: time) { $0.add(3, text: "brain.Event:2") })
    if step > 0 {
      // SessionLog.START: points at this step and after it are purged.
      try append(Event(time: time, step: step + 1) { $0.add(7, message: ProtocolMessage { $0.add(1, number: 1) }) })
    }
  }

  /// Appends the numbers of a step, by name.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func append(step: Int, _ values: [String: Double], at time: Date = Date()) throws {
    let summary = ProtocolMessage {
      for (name, value) in values.sorted(by: { $0.key < $1.key }) {
        let number = ProtocolMessage {
          $0.add(1, text: name)
          $0.add(2, float: Float(value))
        }
        $0.add(1, message: number)
      }
    }
    try append(Event(time: time, step: step) { $0.add(5, message: summary) })
  }

  /// Appends a picture of a step, as a PNG of 1 or 3 channels.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func append(
    step: Int, _ name: String, png: [UInt8], width: Int, height: Int, channels: Int, at time: Date = Date()
  ) throws {
    let picture = ProtocolMessage {
      $0.add(1, number: UInt64(height))
      $0.add(2, number: UInt64(width))
      $0.add(3, number: UInt64(channels))
      $0.add(4, bytes: png)
    }
    let value = ProtocolMessage {
      $0.add(1, text: name)
      $0.add(4, message: picture)
    }
    try append(Event(time: time, step: step) { $0.add(5, message: ProtocolMessage { $0.add(1, message: value) }) })
  }

  /// Waits until the events are on the disk. Call it with every checkpoint.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func sync() throws { try file.sync() }

  private func append(_ event: Event) throws {
    let length = Self.littleEndian(UInt64(event.bytes.count))
    let record = length + Self.littleEndian(maskedCRC32C(length)) + event.bytes
    // One write per record, so that readers see whole records, even after a kill.
    try (record + Self.littleEndian(maskedCRC32C(event.bytes))).withUnsafeBytes { try file.write($0) }
  }

  private static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian, Array.init)
  }

  private static var host: String {
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    let letters = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    return letters.isEmpty ? "localhost" : String(decoding: letters, as: UTF8.self).replacing("/", with: "-")
  }
}

/// An event: its time, its step, and what happened.
private struct Event {
  let bytes: [UInt8]

  init(time: Date, step: Int = 0, _ fill: (inout ProtocolMessage) -> Void) {
    bytes =
      ProtocolMessage {
        $0.add(1, double: time.timeIntervalSince1970)
        if step > 0 { $0.add(2, number: UInt64(step)) }
        fill(&$0)
      }.bytes
  }
}

/// A message in Protocol Buffers' wire format.
private struct ProtocolMessage {
  private(set) var bytes: [UInt8] = []

  init(_ fill: (inout ProtocolMessage) -> Void) { fill(&self) }

  private enum Wire: UInt64 {
    case number = 0
    case bits64 = 1
    case bytes = 2
    case bits32 = 5
  }

  private mutating func key(_ field: UInt64, _ wire: Wire) { append(field << 3 | wire.rawValue) }

  /// Seven bits per byte, lowest first; the eighth bit says that more follow.
  private mutating func append(_ number: UInt64) {
    var rest = number
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  mutating func add(_ field: UInt64, number: UInt64) {
    key(field, .number)
    append(number)
  }

  mutating func add(_ field: UInt64, double value: Double) {
    key(field, .bits64)
    withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func add(_ field: UInt64, float value: Float) {
    key(field, .bits32)
    withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
  }

  mutating func add(_ field: UInt64, bytes value: [UInt8]) {
    key(field, .bytes)
    append(UInt64(value.count))
    bytes.append(contentsOf: value)
  }

  mutating func add(_ field: UInt64, text: String) { add(field, bytes: Array(text.utf8)) }
  mutating func add(_ field: UInt64, message: ProtocolMessage) { add(field, bytes: message.bytes) }
}

/// Castagnoli's cyclic redundancy check, rotated and shifted as in TensorFlow's records, so that checksums of data that
/// contain checksums stay useful.
package func maskedCRC32C(_ bytes: [UInt8]) -> UInt32 {
  var crc = ~UInt32(0)
  for byte in bytes { crc = crc >> 8 ^ castagnoliTable[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] }
  crc = ~crc
  return (crc >> 15 | crc << 17) &+ 0xA282_EAD8
}

/// For each byte, its remainder by the reflected polynomial 0x82F63B78.
private let castagnoliTable: [UInt32] = (0..<256).map { byte in
  (0..<8).reduce(UInt32(byte)) { rest, _ in rest >> 1 ^ (rest & 1 == 1 ? 0x82F6_3B78 : 0) }
}
