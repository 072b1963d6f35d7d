import EaselSupport
import EaselTensors
import Foundation

/// A program of the system, found in a list of folders.
struct ExternalCommand {
  let name: String
  /// The folders to search for programs.
  let searchPath: [String]

  /// Runs the program in a folder and waits for its end.
  ///
  /// - Throws: `UserError` (`unavailable`, with `hint`) if there is no such program, or if it fails.
  func run(_ arguments: [String], in folder: String, hint: String) throws {
    let candidates = searchPath.map { $0.appendingPathComponent(name) }
    guard let executable = candidates.first(where: FileManager.default.isExecutableFile) else {
      throw UserError(.unavailable, "\(name): no such program here", hint: hint)
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    process.standardInput = FileHandle.nullDevice
    // One pipe for both outputs, read to its end, so that neither can fill up and stall the program.
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    do {
      try process.run()
    } catch {
      throw UserError(.unavailable, "\(executable): cannot be started (\(error.reason))", hint: hint)
    }
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationReason == .exit, process.terminationStatus == 0 else {
      let command = ([name] + arguments).joined(separator: " ")
      let lastLine = text.split(whereSeparator: \.isNewline).last.map(String.init) ?? "no message"
      throw UserError(
        .unavailable, "\(command) failed with status \(process.terminationStatus): \(lastLine)", hint: hint)
    }
  }
}
