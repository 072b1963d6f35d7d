import Foundation
import Tensors

/// A run's metrics, one JSON object a line: `{"step": 100, "loss": 0.53, "learning-rate": 0.0002}`.
public final class MetricsLog: Sendable {
  /// One line of the log.
  public struct Record: Sendable, Equatable {
    public let step: Int
    /// By name; nil where the number was not finite, which JSON cannot express.
    public let values: [String: Double?]
  }

  private let file: OpenFile

  /// Opens a log for appending, and creates it where there is none. The torn last line of a run that was killed is cut off.
  ///
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  public init(path: String) throws {
    file = try OpenFile(path, for: .appending)
    let size = try file.size()
    let whole = try Self.lengthOfWholeLines(file, size: size)
    guard whole == size || ftruncate(file.descriptor, off_t(whole)) == 0 else {
      throw FileSystem.failure("truncate", path)
    }
  }

  /// Appends a line, values sorted by name; a number that is not finite is written as `null`.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func append(step: Int, _ values: [String: Double]) throws {
    var fields = ["\"step\": \(step)"]
    for (name, value) in values.sorted(by: { $0.key < $1.key }) {
      let quoted = String(decoding: try JSONEncoder().encode(name), as: UTF8.self)
      fields.append("\(quoted): \(value.isFinite ? value.description : "null")")
    }
    // One write a line: a reader, or a kill, sees whole lines.
    try file.write("{\(fields.joined(separator: ", "))}\n")
  }

  /// Waits until the lines are on the disk; call it with every checkpoint.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func sync() throws { try file.sync() }

  /// Every whole line of a log; none where there is no file.
  ///
  /// - Throws: `UserError(.badData)` with path and line where a line is not a metrics record.
  public static func records(at path: String) throws -> [Record] {
    try lines(at: path).map(\.record)
  }

  /// The last whole line of a log, found without reading the rest; nil where there is none.
  ///
  /// - Throws: `UserError(.badData)` where it is not a metrics record.
  public static func lastRecord(at path: String) throws -> Record? {
    guard FileSystem.exists(path) else { return nil }
    let file = try OpenFile(path, for: .reading)
    let end = try lengthOfWholeLines(file, size: try file.size())
    guard end > 0 else { return nil }
    let begin = try lengthOfWholeLines(file, size: end - 1)
    return try record(try file.bytes(begin..<end - 1)[...], place: "\(path): last line")
  }

  /// Drops the lines after a step, for a run that goes on from that step's checkpoint. A reader sees the old log or the new
  /// one, never half of it. Open the log after this, not before.
  ///
  /// - Throws: `UserError(.badData)` with path and line where a line is not a metrics record; `.inputOutput`.
  public static func truncate(_ path: String, after step: Int) throws {
    let lines = try lines(at: path)
    let kept = lines.filter { $0.record.step <= step }
    guard kept.count < lines.count else { return }
    try FileSystem.replace(path, with: kept.map { $0.text + "\n" }.joined())
  }

  private static func lines(at path: String) throws -> [(text: String, record: Record)] {
    guard FileSystem.exists(path) else { return [] }
    let data = try FileSystem.read(path)
    let whole = data.lastIndex(of: UInt8(ascii: "\n")).map { data[..<$0] } ?? Data()
    guard !whole.isEmpty else { return [] }
    return try whole.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated().map {
      (String(decoding: $1, as: UTF8.self), try record(ArraySlice($1), place: "\(path) line \($0 + 1)"))
    }
  }

  private static func record(_ line: ArraySlice<UInt8>, place: String) throws -> Record {
    guard
      var values = try? JSONDecoder().decode([String: Double?].self, from: Data(line)),
      let step = (values.removeValue(forKey: "step") ?? nil).flatMap({ Int(exactly: $0) })
    else {
      throw UserError(.badData, "\(place): expected a JSON object of numbers with a whole `step`, found other text")
    }
    return Record(step: step, values: values)
  }

  /// The length of a file's first `size` bytes up to and including the last line end; 0 where there is none.
  private static func lengthOfWholeLines(_ file: borrowing OpenFile, size: Int) throws -> Int {
    var end = size
    while end > 0 {
      let begin = max(0, end - 4096)
      if let index = try file.bytes(begin..<end).lastIndex(of: UInt8(ascii: "\n")) { return begin + index + 1 }
      end = begin
    }
    return 0
  }
}
