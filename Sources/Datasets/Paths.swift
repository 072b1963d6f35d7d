import Foundation
import Tensors

extension String {
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
    throw UserError(.inputOutput, "\(path): the folder cannot be read (\(error.localizedDescription))")
  }
}
