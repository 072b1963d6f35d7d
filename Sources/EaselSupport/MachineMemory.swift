import Foundation
import Synchronization

/// The machine's memory.
public enum MachineMemory {
  /// Bytes still available from the machine, from the control groups that confine the process, and within its address
  /// limit.
  public static var available: Int {
    ([machine, addresses] + groups).compactMap { $0 }.min() ?? .max
  }

  /// Bytes of addresses that the process may still take (`ulimit -v`); nil for no limit.
  package static var addresses: Int? {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0, limit.rlim_cur < 1 << 60 else { return nil }
    return max(0, Int(limit.rlim_cur) - (fields("/proc/self/status")["VmSize:"] ?? 0) << 10)
  }

  /// Refuses to start with too few addresses: threads and code need that much, and with less the libraries below fail.
  ///
  /// - Throws: `UserError(.unavailable)` with what is needed and what is available.
  public static func requireAddresses() throws {
    let needed = (1024 + 128 * Processor.available) << 20
    guard let addresses, addresses < needed else { return }
    throw UserError(
      .unavailable, "the process may take \(text(addresses)) more of addresses, expected at least \(text(needed))",
      hint: "Raise the limit: ulimit -v.")
  }

  /// Runs if memory ends during a computation, where no error can be thrown. By default it traps; a program may set
  /// something better.
  public static let whenExhausted = Mutex<@Sendable (UserError) -> Never>({ fatalError($0.description) })

  package static func end(_ needed: Int) -> Never {
    let handler = whenExhausted.withLock { $0 }
    handler(
      UserError(
        .unavailable, "out of memory: \(text(needed)) more are needed, \(text(available)) are available",
        hint: "Take a smaller batch, smaller images or fewer of them, or raise the limit (ulimit -v)."))
  }

  private static var machine: Int? {
    fields("/proc/meminfo")["MemAvailable:"].map { $0 << 10 }
  }

  /// What each of the process's control groups has left: version 2, and version 1 in its usual place.
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
    // Cached files that can be read again make room when it is needed.
    return max(0, limit - used + (fields(statistics)["inactive_file"] ?? 0))
  }

  /// The first number of each line, under the line's first word.
  private static func fields(_ path: String) -> [String: Int] {
    let lines = (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n") ?? []
    return Dictionary(
      lines.compactMap { line in
        let words = line.split(whereSeparator: \.isWhitespace)
        return words.count > 1 ? Int(words[1]).map { (String(words[0]), $0) } : nil
      }, uniquingKeysWith: { first, _ in first })
  }

  /// Refuses something that does not fit, before any memory is taken.
  ///
  /// - Throws: `UserError(.unavailable)` with what is needed and what is available.
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
