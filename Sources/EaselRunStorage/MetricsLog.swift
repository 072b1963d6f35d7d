import EaselSupport
import EaselTensors
import Foundation

/// A run's metrics, one JSON object per line: `{"step": 100, "loss": 0.53, "learning-rate": 0.0002}`.
public final class MetricsLog: Sendable {
  /// One line of the log.
  public struct Record: Sendable, Equatable {
    public let step: Int
    /// The values, by name; nil if the number was not finite, which JSON cannot express.
    public let values: [String: Double?]
  }

  private let file: OpenFile

  /// Opens a log for appending, and creates it if there is none. Cuts off the torn last line of a run that was killed.
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

  /// Appends a line with values sorted by name; a number that is not finite is written as `null`.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func append(step: Int, _ values: [String: Double]) throws {
    var fields = ["\"step\": \(step)"]
    for (name, value) in values.sorted(by: { $0.key < $1.key }) {
      let quoted = String(decoding: try JSONEncoder().encode(name), as: UTF8.self)
      fields.append("\(quoted): \(value.isFinite ? value.description : "null")")
    }
    // One write per line, so that readers see whole lines, even after a kill.
    try file.write("{\(fields.joined(separator: ", "))}\n")
  }

  /// Waits until the lines are on the disk. Call it with every checkpoint.
  ///
  /// - Throws: `UserError(.inputOutput)` with the path and the reason.
  public func sync() throws { try file.sync() }

  /// Every whole line of a log; none if there is no file.
  ///
  /// - Throws: `UserError(.badData)` with path and line if a line is not a metrics record.
  public static func records(at path: String) throws -> [Record] {
    try lines(at: path).enumerated().map { index, line in
      guard let record = line.record else { throw refusal("\(path) line \(index + 1)") }
      return record
    }
  }

  /// The last whole line of a log, found without reading the rest; nil if there is none.
  ///
  /// - Throws: `UserError(.badData)` if it is not a metrics record.
  public static func lastRecord(at path: String) throws -> Record? {
    guard FileSystem.exists(path) else { return nil }
    let file = try OpenFile(path, for: .reading)
    let end = try lengthOfWholeLines(file, size: try file.size())
    guard end > 0 else { return nil }
    let begin = try lengthOfWholeLines(file, size: end - 1)
    guard let record = record(try file.bytes(begin..<end - 1)[...]) else { throw refusal("\(path): last line") }
    return record
  }

  /// Moves lines that are no metrics records (from a failing disk or an editor) to the end of `<path>.damaged`, so that
  /// they are not lost and the run can go on.
  ///
  /// - Returns: the numbers of these lines, counted from 1.
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  @discardableResult
  public static func setAsideDamage(_ path: String) throws -> [Int] {
    let lines = try lines(at: path)
    let damaged = lines.indices.filter { lines[$0].record == nil }
    guard !damaged.isEmpty else { return [] }
    let file = try OpenFile("\(path).damaged", for: .appending)
    for index in damaged { try (lines[index].bytes + [UInt8(ascii: "\n")]).withUnsafeBytes { try file.write($0) } }
    try file.sync()
    try replace(path, with: lines.filter { $0.record != nil })
    return damaged.map { $0 + 1 }
  }

  /// Drops the lines after a step, for a run that goes on from that step's checkpoint; sets damaged lines aside first.
  /// A reader sees the old log or the new one, never half of it. Open the log after this, not before.
  ///
  /// - Throws: `UserError(.cannotCreate)` or `.inputOutput` with the path and the reason.
  public static func truncate(_ path: String, after step: Int) throws {
    try setAsideDamage(path)
    let lines = try lines(at: path)
    let kept = lines.filter { ($0.record?.step ?? 0) <= step }
    if kept.count < lines.count { try replace(path, with: kept) }
  }

  private typealias Line = (bytes: [UInt8], record: Record?)

  private static func replace(_ path: String, with lines: [Line]) throws {
    try FileSystem.replace(path, with: lines.flatMap { $0.bytes + [UInt8(ascii: "\n")] })
  }

  /// The whole lines; the record is nil if a line is damaged.
  private static func lines(at path: String) throws -> [Line] {
    guard FileSystem.exists(path) else { return [] }
    let data = try FileSystem.read(path, limit: 1 << 28)
    let whole = data.lastIndex(of: UInt8(ascii: "\n")).map { data[..<$0] } ?? Data()
    guard !whole.isEmpty else { return [] }
    return whole.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map {
      (Array($0), record(ArraySlice($0)))
    }
  }

  private static func record(_ line: ArraySlice<UInt8>) -> Record? {
    guard
      var values = try? JSONDecoder().decode([String: Double?].self, from: Data(line)),
      let step = (values.removeValue(forKey: "step") ?? nil).flatMap({ Int(exactly: $0) })
    else { return nil }
    return Record(step: step, values: values)
  }

  private static func refusal(_ place: String) -> UserError {
    UserError(.badData, "\(place): expected a JSON object of numbers with a whole `step`, found other text")
  }

  /// The length of a file's first `size` bytes up to and including the last line end; 0 if there is none.
  private static func lengthOfWholeLines(_ file: borrowing OpenFile, size: Int) throws -> Int {
    var end = size
    while end > 0 {
      guard size - end < longestLine else {
        throw UserError(.badData, "\(file.path): expected lines of at most \(longestLine) bytes, found a longer one")
      }
      let begin = max(0, end - 4096)
      if let index = try file.bytes(begin..<end).lastIndex(of: UInt8(ascii: "\n")) { return begin + index + 1 }
      end = begin
    }
    return 0
  }

  private static let longestLine = 1 << 20
}
