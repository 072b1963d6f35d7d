import EaselKit
import Foundation

/// What goes to the person (stderr) and what goes to the next program (stdout).
///
/// Names and texts of others (files, data sets, checkpoints, recipes) come through here: what a terminal would obey in them is
/// shown instead, see `String.printable`. Only the path that a verb prints as its result stays as it is, for the next program.
enum Console {
  static let isTerminal = isatty(STDERR_FILENO) == 1

  /// A line on stderr: progress and remarks.
  static func note(_ line: String) { note(text: line.printable) }

  /// Lines on stderr.
  static func note(text: String) { write(text.printableLines + "\n", to: STDERR_FILENO) }

  static func error(_ error: UserError) { note(text: "easel: " + error.description) }

  /// A line on stdout: data.
  static func print(_ line: String) { print(text: line.printable) }

  /// Lines on stdout.
  static func print(text: String) { write(text.printableLines + "\n", to: STDOUT_FILENO) }

  /// The path of what a verb wrote.
  static func print(path: String) {
    if isatty(STDOUT_FILENO) == 1 { print(path) } else { write(path + "\n", to: STDOUT_FILENO) }
  }

  /// Replaces the terminal's current line.
  static func rewriteLine(_ text: String) { write("\r\u{1B}[K" + text.printable, to: STDERR_FILENO) }

  private static func write(_ text: String, to descriptor: Int32) {
    var bytes = ArraySlice(Array(text.utf8))
    while !bytes.isEmpty {
      let written = bytes.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if written >= 0 {
        bytes = bytes.dropFirst(written)
      } else if errno == EAGAIN {
        var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&ready, 1, -1)
      } else if errno != EINTR {
        return isLost(on: descriptor)
      }
    }
  }

  /// Ends the program where its results are lost; whoever has closed a pipe does not want them, and nobody reads stderr then.
  private static func isLost(on descriptor: Int32) {
    guard descriptor == STDOUT_FILENO, errno != EPIPE else { return }
    let error = UserError(.inputOutput, "standard output: cannot be written (\(String(cString: strerror(errno))))")
    Console.error(error)
    Foundation.exit(error.kind.rawValue)
  }

  /// Lines of columns as wide as their widest cell.
  ///
  /// - Parameter first: the first of the columns that hold numbers, which end at the same place.
  static func table(_ header: [String], _ rows: [[String]], rightAlignedFrom first: Int) -> String {
    let rows = rows.map { $0.map(\.printable) }
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
    write(String(decoding: try encoder.encode(value), as: UTF8.self).printableJSON + "\n", to: STDOUT_FILENO)
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
