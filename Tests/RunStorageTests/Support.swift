import Foundation
import Tensors
import Testing

/// The names below a folder, hidden ones too.
func names(in folder: String) throws -> [String] {
  try FileManager.default.subpathsOfDirectory(atPath: folder).sorted()
}

/// A Python with numpy and safetensors, for checks against the formats' reference implementations.
enum Python {
  static let executable: String? = {
    let candidates = [ProcessInfo.processInfo.environment["EASEL_PYTHON"], "/usr/bin/python3"]
    return candidates.compactMap(\.self).first { run("import numpy, safetensors", with: $0)?.status == 0 }
  }()

  /// What a script prints; fails the test where it does not end with 0.
  static func output(_ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> String {
    let result = try #require(executable.flatMap { run(script, with: $0) }, sourceLocation: sourceLocation)
    #expect(result.status == 0, "\(result.output)", sourceLocation: sourceLocation)
    return result.output
  }

  private static func run(_ script: String, with executable: String) -> (status: Int32, output: String)? {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = ["-c", script]
    process.standardOutput = pipe
    process.standardError = pipe
    guard (try? process.run()) != nil else { return nil }
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }
}
