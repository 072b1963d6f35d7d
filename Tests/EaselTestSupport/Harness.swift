import Foundation
import Testing

/// Compiles a program or library of Tests/Harness into a folder.
///
/// - Parameter flags: compiler flags besides warnings, including libraries.
/// - Returns: its path.
package func compiledHarness(_ source: String, _ flags: String..., in folder: ScratchFolder) throws -> String {
  let path = folder.file((source as NSString).deletingPathExtension)
  let status = try run(
    "clang",
    ["-std=gnu17", "-O1", "-Wall", "-Wextra", "-Werror", "-o", path, "\(packageFolder)/Tests/Harness/\(source)"] + flags
  )
  try #require(status == 0)
  return path
}

/// Runs a program to its end.
///
/// - Returns: its exit status.
package func run(_ program: String, _ arguments: [String]) throws -> Int32 {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = [program] + arguments
  try process.run()
  process.waitUntilExit()
  return process.terminationStatus
}
