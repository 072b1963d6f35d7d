import Foundation

/// Other people's readers of what Easel writes, where Python has them: that of EASEL_PYTHON, or python3.
enum Python {
  private static let name = ProcessInfo.processInfo.environment["EASEL_PYTHON"] ?? "python3"

  /// Whether a module is there. What is not is no failure; tests that need it say that they were skipped.
  static func has(_ module: String) -> Bool { (try? run("import \(module)"))?.status == 0 }

  /// Runs a script with arguments.
  static func run(_ script: String, _ arguments: String...) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [name, "-W", "ignore", "-c", script] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = FileHandle.nullDevice
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }
}
