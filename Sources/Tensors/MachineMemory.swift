import Foundation

/// The machine's memory.
public enum MachineMemory {
  /// Bytes that the machine, and the control groups that confine the process, can still give.
  public static var available: Int {
    ([machine] + groups).compactMap { $0 }.min() ?? .max
  }

  private static var machine: Int? {
    fields("/proc/meminfo")["MemAvailable:"].map { $0 << 10 }
  }

  /// What each of the process's control groups has left: version 2, and version 1 at its usual place.
  private static var groups: [Int?] {
    let root = "/sys/fs/cgroup"
    var left = [
      room(
        limit: "\(root)/memory/memory.limit_in_bytes", used: "\(root)/memory/memory.usage_in_bytes",
        statistics: "\(root)/memory/memory.stat")
    ]
    let own = (try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8))?.split(separator: "\n")
      .first { $0.hasPrefix("0::") }?.dropFirst(3)
    var path = own.map(String.init) ?? "/"
    while true {
      let folder = root + (path == "/" ? "" : path)
      left.append(
        room(limit: "\(folder)/memory.max", used: "\(folder)/memory.current", statistics: "\(folder)/memory.stat"))
      if path == "/" || path.isEmpty { return left }
      path = path.deletingLastPathComponent
    }
  }

  private static func room(limit: String, used: String, statistics: String) -> Int? {
    func number(_ path: String) -> Int? {
      (try? String(contentsOfFile: path, encoding: .utf8)).flatMap {
        Int($0.trimmingCharacters(in: .whitespacesAndNewlines))
      }
    }
    guard let limit = number(limit), let used = number(used) else { return nil }
    // Files that were read and can be read again make room when it is needed.
    return max(0, limit - used + (fields(statistics)["inactive_file"] ?? 0))
  }

  /// The first number of each line, by the line's first word.
  private static func fields(_ path: String) -> [String: Int] {
    let lines = (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n") ?? []
    return Dictionary(
      lines.compactMap { line in
        let words = line.split(separator: " ", omittingEmptySubsequences: true)
        return words.count > 1 ? Int(words[1]).map { (String(words[0]), $0) } : nil
      }, uniquingKeysWith: { first, _ in first })
  }

  /// Refuses what does not fit before any of it is taken.
  ///
  /// - Throws: `UserError(.unavailable)` with what is needed and what there is.
  public static func require(
    _ bytes: Int, for purpose: String, hint: String = "Make the network smaller."
  ) throws {
    let available = available
    guard bytes <= available else {
      throw UserError(
        .unavailable, "\(purpose) needs about \(text(bytes)) of memory, \(text(available)) are available",
        hint: hint)
    }
  }

  /// `512 MB`, `3.4 GB`.
  public static func text(_ bytes: Int) -> String {
    bytes < 1_000_000_000 ? "\(bytes / 1_000_000) MB" : String(format: "%.1f GB", Double(bytes) / 1e9)
  }
}
