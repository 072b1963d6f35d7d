import Foundation

/// The machine's processor.
public enum Processor {
  /// Its name, as the kernel has it.
  public static let name = field("model name") ?? "unknown"

  /// Whether AMD made it.
  static let isAMD = field("vendor_id") == "AuthenticAMD"

  /// What `/proc/cpuinfo` tells of the first processor.
  private static func field(_ name: String) -> String? {
    let lines = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n") ?? []
    return lines.first { $0.hasPrefix(name) }
      .flatMap { $0.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) } }
  }
}
