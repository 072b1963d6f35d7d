import Foundation
import Tensors
import Testing

/// A folder of a test's own, removed when the test is over.
final class ScratchFolder {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("easel-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  @discardableResult
  func write(_ text: String, to name: String) throws -> String {
    try write(Data(text.utf8), to: name)
  }

  @discardableResult
  func write(_ data: Data, to name: String) throws -> String {
    try data.write(to: URL(fileURLWithPath: file(name)))
    return file(name)
  }
}

func fixture(_ name: String) -> String {
  URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures/\(name)").path
}

func contents(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

/// The names below a folder, hidden ones too.
func names(in folder: String) throws -> [String] {
  try FileManager.default.subpathsOfDirectory(atPath: folder).sorted()
}

/// Expects a ``UserError`` of a kind whose text (hint included) contains all the parts.
func expectUserError(
  _ kind: UserError.Kind, _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation,
  performing body: () throws -> some Any
) {
  do {
    _ = try body()
    Issue.record("expected an error", sourceLocation: sourceLocation)
  } catch let error as UserError {
    #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
    for part in parts {
      #expect(error.description.contains(part), "\(error) lacks \(part)", sourceLocation: sourceLocation)
    }
  } catch {
    Issue.record("expected a UserError, caught \(error)", sourceLocation: sourceLocation)
  }
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
