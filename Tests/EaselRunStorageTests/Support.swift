import Foundation

/// The names below a folder, hidden ones too.
func names(in folder: String) throws -> [String] {
  try FileManager.default.subpathsOfDirectory(atPath: folder).sorted()
}
