import EaselKit
import Foundation

/// What goes to the person (stderr) and what goes to the next program (stdout).
enum Console {
  static let isTerminal = isatty(STDERR_FILENO) == 1

  /// A line on stderr: progress and remarks.
  static func note(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

  static func error(_ text: String) { note("easel: " + text) }

  /// A line on stdout: data.
  static func print(_ text: String) { write(text + "\n", to: STDOUT_FILENO) }

  /// Replaces the terminal's current line.
  static func rewriteLine(_ text: String) { write("\r\u{1B}[K" + text, to: STDERR_FILENO) }

  /// Says that pictures lost a part when they were brought to their size.
  static func noteCropped(_ count: Int, of total: Int, _ source: String, to size: ImageSize) {
    if count == 0 { return }
    note(
      "\(count) of \(total) pictures of \(source) have other proportions than \(size): cropped to their middle; "
        + "--fit pad or stretch keeps all of them.")
  }

  static func noteCropped(_ splits: DatasetSplits, _ name: String) {
    let count = splits.train.count + splits.validation.count
    noteCropped(splits.cropped, of: count, name, to: splits.train.imageSize)
  }

  private static func write(_ text: String, to descriptor: Int32) {
    var bytes = ArraySlice(Array(text.utf8))
    while !bytes.isEmpty {
      let written = bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      // A closed pipe or a full disk behind stdout: there is nobody left to tell.
      if written <= 0 { return }
      bytes = bytes.dropFirst(written)
    }
  }

  /// Lines of columns as wide as their widest cell.
  ///
  /// - Parameter first: the first of the columns that hold numbers, which end at the same place.
  static func table(_ header: [String], _ rows: [[String]], rightAlignedFrom first: Int) -> String {
    let widths = header.indices.map { column in ([header] + rows).map { $0[column].count }.max() ?? 0 }
    return ([header] + rows).map { row in
      row.enumerated().map { column, text in
        let space = String(repeating: " ", count: widths[column] - text.count)
        return column < first ? text + space : space + text
      }.joined(separator: "  ")
    }.joined(separator: "\n")
  }

  /// One JSON object on stdout.
  static func print(json value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    Console.print(String(decoding: try encoder.encode(value), as: UTF8.self))
  }
}

/// A number of things done out of a total: a bar on a terminal, nothing elsewhere.
struct ProgressBar {
  private let label: String

  init(_ label: String) { self.label = label }

  func show(_ share: Double) {
    guard Console.isTerminal else { return }
    let width = 30
    let filled = Int(share * Double(width))
    let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled)
    Console.rewriteLine("\(label) \(bar) \(Int(share * 100)) %")
    if share >= 1 { Console.rewriteLine("") }
  }
}

extension Double {
  /// With a number of digits after the point.
  func formatted(_ digits: Int) -> String { String(format: "%.\(digits)f", self) }
}

/// A time as people say it: `1 h 05 min`, `3 min 20 s`, `12 s`.
func duration(_ seconds: Double) -> String {
  let total = Int(max(0, seconds).rounded())
  let (hours, minutes, rest) = (total / 3600, total / 60 % 60, total % 60)
  if hours > 0 { return String(format: "%d h %02d min", hours, minutes) }
  return minutes > 0 ? String(format: "%d min %02d s", minutes, rest) : "\(rest) s"
}
