import Foundation

/// The machine's processors.
public enum Processor {
  /// The first one's name, as the kernel has it.
  public static let name = field("model name") ?? "unknown"

  /// Whether AMD made it.
  package static let isAMD = field("vendor_id") == "AuthenticAMD"

  /// How many of them this process may run on: its affinity mask, narrowed by `OMP_NUM_THREADS`.
  public static var available: Int {
    let processors = ProcessInfo.processInfo.activeProcessorCount
    let limit = ProcessInfo.processInfo.environment["OMP_NUM_THREADS"].flatMap(Int.init)
    return max(1, limit.map { min($0, processors) } ?? processors)
  }

  /// What `/proc/cpuinfo` tells of the first processor.
  private static func field(_ name: String) -> String? {
    let lines = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n") ?? []
    return lines.first { $0.hasPrefix(name) }
      .flatMap { $0.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) } }
  }
}
