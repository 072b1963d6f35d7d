import EaselSupport
import EaselTensors
import Foundation

/// The list of a checkpoint's files, with each file's size and SHA-256, and a hash over the list itself.
///
/// The hash is the SHA-256 of the manifest's canonical form: its JSON without the hash, keys sorted, no white space
/// (`jq -cjS 'del(.hash)' manifest.json | sha256sum`). The file has one layout only, so that any changed byte shows.
public struct Manifest: Sendable, Equatable {
  static let fileName = "manifest.json"

  public struct File: Sendable, Equatable, Codable {
    /// In hexadecimal.
    public let sha256: String
    /// In bytes.
    public let size: Int
  }

  /// How many optimizer steps were done when the checkpoint was written.
  public let step: Int
  /// The files, by name.
  public let files: [String: File]

  /// The manifest's own SHA-256 in hexadecimal, which names exactly this content.
  public var hash: String { SHA256.hexadecimal(of: canonicalForm) }

  /// Measures a folder's files, except for the manifest itself.
  ///
  /// - Throws: `UserError(.internalFailure)` if the folder holds anything but plain files with plain names.
  init(step: Int, folder: String) throws {
    var files: [String: File] = [:]
    for name in try FileSystem.list(folder) where name != Self.fileName {
      let path = "\(folder)/\(name)"
      guard Self.isPlain(name), FileSystem.isPlainFile(path) else {
        throw UserError(.internalFailure, "\(path): a checkpoint holds plain files only")
      }
      let (size, sha256) = try FileSystem.digest(path)
      files[name] = File(sha256: sha256, size: size)
    }
    self.step = step
    self.files = files
  }

  /// Reads a checkpoint folder's manifest.
  ///
  /// - Throws: `UserError(.badData)` if it has been changed or cut off; `.missingInput` if there is none.
  init(folder: String) throws {
    let path = "\(folder)/\(Self.fileName)"
    let data = try FileSystem.read(path, limit: 1 << 20)
    guard let stored = try? JSONDecoder().decode(Stored.self, from: data), stored.step >= 0 else {
      throw UserError(.badData, "\(path): expected a checkpoint's manifest, found other text")
    }
    step = stored.step
    files = stored.files
    for name in files.keys.sorted() where !Self.isPlain(name) {
      throw UserError(.badData, "\(path): expected plain file names, found \(name.debugDescription)")
    }
    guard stored.hash == hash else {
      throw UserError(.badData, "\(path): expected the SHA-256 \(stored.hash) of its own content, found \(hash)")
    }
    guard data.elementsEqual(text.utf8) else {
      throw UserError(.badData, "\(path): expected the layout it was written in, found other white space or fields")
    }
  }

  /// The manifest's text, as in its file.
  var text: String {
    let lines = sortedFiles.map { "    \"\($0)\": {\"sha256\": \"\($1.sha256)\", \"size\": \($1.size)}" }
    return """
      {
        "files": {
      \(lines.joined(separator: ",\n"))
        },
        "hash": "\(hash)",
        "step": \(step)
      }

      """
  }

  private var canonicalForm: String {
    let fields = sortedFiles.map { "\"\($0)\":{\"sha256\":\"\($1.sha256)\",\"size\":\($1.size)}" }
    return "{\"files\":{\(fields.joined(separator: ","))},\"step\":\(step)}"
  }

  private var sortedFiles: [(name: String, file: File)] {
    files.sorted { $0.key < $1.key }.map { (name: $0.key, file: $0.value) }
  }

  /// Letters, digits and `._-` only. Such a name stays in its folder and needs no escaping in JSON.
  private static func isPlain(_ name: String) -> Bool { name.wholeMatch(of: /[A-Za-z0-9_][A-Za-z0-9._-]*/) != nil }

  private struct Stored: Decodable {
    let step: Int
    let files: [String: File]
    let hash: String
  }
}
