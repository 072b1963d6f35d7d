import Foundation

extension String {
  /// The path of an entry of this folder.
  package func appendingPathComponent(_ name: String) -> String { (self as NSString).appendingPathComponent(name) }

  /// The file's or folder's own name.
  package var lastPathComponent: String { (self as NSString).lastPathComponent }

  /// The name or path without its extension.
  package var deletingPathExtension: String { (self as NSString).deletingPathExtension }

  /// The path of the enclosing folder; empty for a name alone.
  ///
  /// Foundation's own function traps for a name of one character.
  package var deletingLastPathComponent: String {
    let slash = UInt8(ascii: "/")
    var folder = Array(utf8)
    func dropSlashes() { while folder.last == slash { folder.removeLast() } }
    dropSlashes()
    while let last = folder.last, last != slash { folder.removeLast() }
    dropSlashes()
    return folder.isEmpty && utf8.first == slash ? "/" : String(decoding: folder, as: UTF8.self)
  }
}
