import EaselSupport
import Foundation

/// A path that something will be written to, checked before any computing.
public struct Destination {
  /// What is written.
  public enum Kind {
    case picture, array, folder

    /// The extensions that its name may have.
    fileprivate var extensions: [String] {
      switch self {
      case .picture: ["png", "apng"]
      case .array: ["npy"]
      case .folder: []
      }
    }
  }

  public let path: String
  private let field: String
  private let kind: Kind

  /// Extensions that tell a file's kind.
  private static let known = Image.fileExtensions.union([
    "npy", "npz", "pdf", "svg", "eps", "ico", "tga", "mp4", "webm", "mov", "avi", "mkv", "json", "csv", "txt", "zip",
  ])

  /// - Parameters:
  ///   - path: the path to write to.
  ///   - field: the field that holds the path.
  ///   - kind: what will be written there.
  public init(_ path: String, field: String = "output", is kind: Kind = .picture) {
    (self.path, self.field, self.kind) = (path, field, kind)
  }

  /// - Throws: `UserError` (usage) if the name stands for another kind of file than is written.
  public func checkName() throws {
    let name = URL(fileURLWithPath: path).pathExtension.lowercased()
    guard Destination.known.contains(name), !kind.extensions.contains(name) else { return }
    let ending = kind.extensions.first.map { ".\($0)" }
    throw UserError(
      .usage, "\(field: field): expected a name \(ending.map { "that ends in \($0)" } ?? "of a folder"), found \(path)",
      hint: "Write \(field: field) \(path.deletingPathExtension)\(ending ?? "")")
  }

  /// Makes sure that files can be written there, and changes nothing.
  ///
  /// - Throws: `UserError`; usage if the name stands for something else, otherwise cannot create.
  public func check() throws {
    try checkName()
    let files = FileManager.default
    var isFolder: ObjCBool = false
    let file = kind == .folder ? "\(path)/picture.png" : path
    if files.fileExists(atPath: file, isDirectory: &isFolder), isFolder.boolValue {
      throw UserError(.cannotCreate, "\(file): expected a file's name, found a folder")
    }
    // Missing folders will be made in the first one that exists.
    var folder = URL(fileURLWithPath: file).standardizedFileURL.deletingLastPathComponent()
    while !files.fileExists(atPath: folder.path, isDirectory: &isFolder) { folder.deleteLastPathComponent() }
    let hint = "Choose another place with \(field: field)."
    guard isFolder.boolValue else {
      throw UserError(.cannotCreate, "\(file): expected a folder at \(folder.path), found a file", hint: hint)
    }
    if access(folder.path, W_OK) != 0 {
      throw UserError(.cannotCreate, "\(folder.path): \(String(cString: strerror(errno)))", hint: hint)
    }
  }
}

extension FileOutput {
  /// Makes the folder for a file that is about to be written.
  ///
  /// - Throws: `UserError` (cannot create).
  package static func makeFolder(for path: String) throws {
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw UserError(.cannotCreate, "\(folder): the folder cannot be made: \(error.reason)")
    }
  }
}
