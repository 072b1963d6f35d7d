import Foundation

/// The machine's processors.
public enum Processor {
  /// The first processor's name, according to the kernel.
  public static let name = field("model name") ?? "unknown"

  /// Whether AMD made it.
  package static let isAMD = field("vendor_id") == "AuthenticAMD"

  /// How many processors this process may run on: its affinity mask, limited by `OMP_NUM_THREADS`.
  public static var available: Int {
    let processors = ProcessInfo.processInfo.activeProcessorCount
    let limit = ProcessInfo.processInfo.environment["OMP_NUM_THREADS"].flatMap(Int.init)
    return max(1, limit.map { min($0, processors) } ?? processors)
  }

  /// A field of the first processor in `/proc/cpuinfo`.
  private static func field(_ name: String) -> String? {
    let lines = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n") ?? []
    return lines.first { $0.hasPrefix(name) }
      .flatMap { $0.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) } }
  }
}
