import EaselSupport

/// Names and keywords of emoji in English, from Unicode's CLDR (`common/annotations` and `common/annotationsDerived`).
struct EmojiAnnotations {
  static let package = DebianPackage(
    name: "unicode-cldr-core", folder: "usr/share/unicode/cldr", size: "17 MB, which unpack to 230 MB")

  private struct Entry {
    var name: String?
    var keywords: [String] = []
  }

  private var entries: [[UInt32]: Entry] = [:]

  /// - Throws: `UserError` (missing input) if the package lacks a file, and bad data if a file has no annotations.
  init(_ package: UnpackedPackage) throws {
    for file in ["common/annotations/en.xml", "common/annotationsDerived/en.xml"] {
      let path = package.data.appendingPathComponent(file)
      guard path.existsAsFile else {
        throw UserError(
          .missingInput, "\(package.root): expected \(package.package.folder)/\(file) in it",
          hint: "Name the folder that \(package.package.name) was unpacked into with dpkg -x.")
      }
      let text = String(decoding: try FileIO.read(path, maximumSize: 1 << 24), as: UTF8.self)
      let before = entries.count
      for line in text.split(separator: "\n") {
        // <annotation cp="😀">face | grin | grinning face</annotation>, and with type="tts" its name.
        guard let match = line.firstMatch(of: /<annotation cp="([^"]+)"( type="tts")?>(.*)<\/annotation>/) else {
          continue
        }
        let codePoints = Emoji.significant(Self.unescaped(match.1).unicodeScalars.map(\.value))
        let words = Self.unescaped(match.3)
        if match.2 == nil {
          entries[codePoints, default: Entry()].keywords = words.split(separator: "|")
            .map { $0.split(separator: " ").joined(separator: " ") }
        } else {
          entries[codePoints, default: Entry()].name = words
        }
      }
      guard entries.count > before else { throw UserError(.badData, "\(path): expected annotations, found none") }
    }
  }

  /// A line with an emoji's name and one with its keywords. One with a skin colour that CLDR does not know yet has those
  /// of its base.
  ///
  /// - Parameter other: the name of an emoji that CLDR does not know at all.
  func text(of codePoints: [UInt32], named other: String) -> String {
    let entry = entries[codePoints] ?? entries[Emoji.base(codePoints)]
    let name = entry?.name ?? other
    let keywords = (entry?.keywords ?? []).filter { $0 != name }
    return name + "\n" + (keywords.isEmpty ? "" : keywords.joined(separator: ", ") + "\n")
  }

  private static func unescaped(_ text: Substring) -> String {
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
      .reduce(String(text)) { $0.replacing($1.0, with: $1.1) }
  }
}
