import Foundation
import Testing

/// Other programs' readers for Easel's files, if Python has them: the Python that EASEL_PYTHON names, or python3.
package enum Python {
  private static let name = ProcessInfo.processInfo.environment["EASEL_PYTHON"] ?? "python3"

  /// Whether modules are installed. If not, the tests that need them say so and are skipped.
  package static func has(_ modules: String) -> Bool { run("import \(modules)", [])?.status == 0 }

  /// The output of a script with arguments; fails the test if the script does not end with 0.
  package static func output(
    _ script: String, _ arguments: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> String {
    let result = try #require(run(script, arguments), sourceLocation: sourceLocation)
    #expect(result.status == 0, "\(result.errors)", sourceLocation: sourceLocation)
    return result.output
  }

  private static func run(_ script: String, _ arguments: [String]) -> (status: Int32, output: String, errors: String)? {
    let process = Process()
    let (output, errors) = (Pipe(), Pipe())
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [name, "-W", "ignore", "-c", script] + arguments
    (process.standardOutput, process.standardError) = (output, errors)
    guard (try? process.run()) != nil else { return nil }
    // Read one after the other, since the scripts' error output fits into a pipe.
    func text(_ pipe: Pipe) -> String {
      String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    }
    let (printed, complaints) = (text(output), text(errors))
    process.waitUntilExit()
    return (process.terminationStatus, printed, complaints)
  }
}
