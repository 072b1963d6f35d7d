import Foundation

/// A temporary folder for a test, removed when the test is over.
package final class ScratchFolder {
  package let path: String

  package init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("easel-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  package func file(_ name: String) -> String { "\(path)/\(name)" }

  @discardableResult
  package func write(_ text: String, to name: String) throws -> String {
    try write(Data(text.utf8), to: name)
  }

  @discardableResult
  package func write(_ data: Data, to name: String) throws -> String {
    try data.write(to: URL(fileURLWithPath: file(name)))
    return file(name)
  }
}

/// Runs with a ``ScratchFolder``'s path.
package func withScratchFolder(_ body: (String) throws -> Void) throws {
  try withExtendedLifetime(ScratchFolder()) { try body($0.path) }
}

/// The package's folder, which contains the bundled data.
package let packageFolder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent().path

/// A path below Tests/Fixtures.
package func fixture(_ name: String) -> String { "\(packageFolder)/Tests/Fixtures/\(name)" }

package func contents(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }
