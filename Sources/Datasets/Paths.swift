import Foundation
import Tensors

extension String {
  /// The path of an entry of this folder.
  func appendingPathComponent(_ name: String) -> String { (self as NSString).appendingPathComponent(name) }

  /// The file's or folder's own name.
  var lastPathComponent: String { (self as NSString).lastPathComponent }

  /// The name or path up to the last dot of its last part.
  var deletingPathExtension: String { (self as NSString).deletingPathExtension }

  /// The path of the folder that holds this.
  var deletingLastPathComponent: String { (self as NSString).deletingLastPathComponent }

  /// There is a folder at this path, or a link to one.
  var isFolder: Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: self, isDirectory: &isFolder) && isFolder.boolValue
  }
}

/// The names in a folder without the hidden ones, in the order of their bytes (the same in every locale).
///
/// Throws ``UserError`` (`inputOutput`) when the folder cannot be read.
func visibleNames(inFolder path: String) throws -> [String] {
  do {
    return try FileManager.default.contentsOfDirectory(atPath: path)
      .filter { !$0.hasPrefix(".") }
      .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
  } catch {
    throw UserError(.inputOutput, "\(path): the folder cannot be read (\(error.reason))")
  }
}
