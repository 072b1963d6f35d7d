import EaselSupport
import EaselTensors
import Foundation

extension String {
  /// Whether this path exists; a link must lead to something.
  package var existsAsFile: Bool { fileStatus != nil }

  /// Whether this is the path of a folder, or of a link to one.
  package var isFolder: Bool { fileStatus.map { $0.st_mode & S_IFMT == S_IFDIR } ?? false }

  /// The status of this path; nil if nothing is there.
  var fileStatus: stat? {
    var status = stat()
    return withFileSystemPath { stat($0, &status) } == 0 ? status : nil
  }
}

/// Files that archivers, desktops and notebooks leave behind. Most of these are hidden by a dot at the beginning.
private let leavings: Set<String> = ["__MACOSX", "Thumbs.db", "desktop.ini"]

/// The names in a folder without hidden files and those that programs leave behind, in byte order (the same in every
/// locale).
///
/// - Throws: `UserError` (`inputOutput`) if the folder cannot be read.
func visibleNames(inFolder path: String) throws -> [String] {
  func failure() -> UserError {
    UserError(.inputOutput, "\(path): the folder cannot be read (\(String(cString: strerror(errno))))")
  }
  guard let folder = path.withFileSystemPath({ opendir($0) }) else { throw failure() }
  defer { closedir(folder) }
  var names: [String] = []
  while true {
    errno = 0
    guard let entry = readdir(folder) else { break }
    let name = withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(fileSystemPath: $0) }
    }
    if !name.hasPrefix("."), !leavings.contains(name) { names.append(name) }
  }
  guard errno == 0 else { throw failure() }
  return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
}

/// Whether a name comes before another in natural order: digits by the value of their number, everything else by its
/// bytes.
func precedesNaturally(_ first: String, _ second: String) -> Bool {
  let (a, b) = (Array(first.utf8), Array(second.utf8))
  let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
  /// The digits of the number at a position, without leading zeros, and the position of their end.
  func number(_ text: [UInt8], from start: Int) -> (digits: ArraySlice<UInt8>, end: Int) {
    let all = text[start...].prefix(while: digits.contains)
    return (all.drop { $0 == digits.lowerBound }, all.endIndex)
  }
  var (i, j) = (0, 0)
  while i < a.count, j < b.count {
    if digits.contains(a[i]), digits.contains(b[j]) {
      let (x, y) = (number(a, from: i), number(b, from: j))
      if x.digits.count != y.digits.count { return x.digits.count < y.digits.count }
      if !x.digits.elementsEqual(y.digits) { return x.digits.lexicographicallyPrecedes(y.digits) }
      (i, j) = (x.end, y.end)
    } else {
      if a[i] != b[j] { return a[i] < b[j] }
      (i, j) = (i + 1, j + 1)
    }
  }
  if i < a.count || j < b.count { return j < b.count }
  return a.lexicographicallyPrecedes(b)
}
