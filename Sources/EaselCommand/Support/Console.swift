import EaselKit
import Foundation
import Synchronization

/// Writes what is for the person to stderr and what is for the next program to stdout. Fields of requests become
/// options here.
///
/// Names and texts of others (files, data sets, checkpoints, recipes) are printed through here only. Characters that a
/// terminal would obey are shown instead, see `String.printable`. Only the path that a verb prints as its result stays
/// as it is, for the next program.
enum Console {
  static let isTerminal = isatty(STDERR_FILENO) == 1

  /// A line on stderr: progress and remarks.
  static func note(_ line: String) { note(text: line.printable) }

  /// Lines on stderr.
  static func note(text: String) { write(text.printableLines + "\n", to: STDERR_FILENO) }

  /// Lines on stderr, below a line that is being rewritten.
  static func noteBelow(_ text: String) {
    if isTerminal { rewriteLine("") }
    note(text: text)
  }

  static func error(_ error: UserError) { note(text: "easel: " + error.named("--").description) }

  /// A line on stdout: data.
  static func print(_ line: String) { print(text: line.printable) }

  /// Lines on stdout.
  static func print(text: String) { write(text.printableLines + "\n", to: STDOUT_FILENO) }

  /// The path of what a verb wrote, on stdout.
  static func print(path: String) {
    if isatty(STDOUT_FILENO) == 1 { print(path) } else { write(path + "\n", to: STDOUT_FILENO) }
  }

  /// Replaces the terminal's current line.
  static func rewriteLine(_ text: String) { write("\r\u{1B}[K" + text.printable, to: STDERR_FILENO) }

  private static func write(_ text: String, to descriptor: Int32) {
    var bytes = ArraySlice(Array(text.namingFields("--").utf8))
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

  /// Ends the program if its results cannot be written. If a reader has closed the pipe, it does not want them.
  /// Failures on stderr are ignored, since nobody could read about them.
  private static func isLost(on descriptor: Int32) {
    guard descriptor == STDOUT_FILENO, errno != EPIPE else { return }
    let error = UserError(.inputOutput, "standard output: cannot be written (\(String(cString: strerror(errno))))")
    Console.error(error)
    Foundation.exit(error.kind.rawValue)
  }

  /// A table whose columns are as wide as their widest cells.
  ///
  /// - Parameter first: the first column of numbers; it and those after it are aligned at the right.
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

/// Shows how much of some work is done: a bar on a terminal, a line every ten seconds elsewhere; both with the time
/// left.
final class ProgressBar {
  private var label: String
  private var start = Date()
  private var last = Date()

  private static let interval = 10.0

  init(_ label: String = "") { self.label = label }

  /// The same, for several kinds of work one after the other.
  func show(_ label: String, _ fraction: Double) {
    if label != self.label { (self.label, start, last) = (label, Date(), Date()) }
    show(fraction)
  }

  /// - Parameter fraction: 0 to 1.
  func show(_ fraction: Double) {
    let now = Date()
    let seconds = now.timeIntervalSince(start)
    // The first moments prepare kernels and say nothing about the rest.
    let left = fraction > 0 && seconds > 1 ? ", \(duration(seconds * (1 - fraction) / fraction)) left" : ""
    guard Console.isTerminal else {
      guard fraction < 1, now.timeIntervalSince(last) >= ProgressBar.interval else { return }
      last = now
      return Console.note("\(label): \(Int(fraction * 100)) %\(left)")
    }
    let width = 30
    let filled = Int(fraction * Double(width))
    let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: width - filled)
    Console.rewriteLine("\(label) \(bar) \(Int(fraction * 100)) %\(left)")
    if fraction >= 1 { Console.rewriteLine("") }
  }
}

/// A message for waiting people, shown only if the wait is long.
final class Patience: Sendable {
  private enum State { case waiting, said, over }

  private let state = Mutex(State.waiting)

  private static let limit = 1.0

  /// Starts waiting.
  init(_ text: String) {
    DispatchQueue.global().asyncAfter(deadline: .now() + Patience.limit) { [self] in
      state.withLock { state in
        guard state == .waiting else { return }
        if Console.isTerminal { Console.rewriteLine(text) } else { Console.note(text) }
        state = .said
      }
    }
  }

  /// Ends the wait; from here on nothing is shown.
  func end() {
    state.withLock { state in
      if state == .said, Console.isTerminal { Console.rewriteLine("") }
      state = .over
    }
  }
}

/// A time as people write it: `1 h 05 min`, `3 min 20 s`, `12 s`.
func duration(_ seconds: Double) -> String {
  let total = Int(max(0, seconds).rounded())
  let (hours, minutes, rest) = (total / 3600, total / 60 % 60, total % 60)
  if hours > 0 { return String(format: "%d h %02d min", hours, minutes) }
  return minutes > 0 ? String(format: "%d min %02d s", minutes, rest) : "\(rest) s"
}
