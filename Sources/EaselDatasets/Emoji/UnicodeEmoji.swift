import EaselSupport

/// Unicode's names and groups of emoji (`emoji-test.txt`).
struct UnicodeEmoji {
  struct Entry {
    let group: String
    let name: String
  }

  private var entries: [[UInt32]: Entry] = [:]

  /// - Throws: `UserError`: `missingInput` when there is no such file.
  init(testFile path: String) throws {
    let text = String(decoding: try FileIO.read(path, maximumSize: 1 << 24), as: UTF8.self)
    var group = ""
    for line in text.split(separator: "\n") {
      if let heading = line.wholeMatch(of: /# group: (.+)/) { group = String(heading.1) }
      // 1F600 ; fully-qualified # 😀 E1.0 grinning face
      guard let match = line.wholeMatch(of: /([0-9A-F ]+?) *; *[a-z-]+ *# \S+ (?:E[0-9.]+ )?(.+)/),
        let codePoints = Emoji.hexadecimal(match.1, separator: " "), entries[codePoints] == nil
      else { continue }
      // The swatches of skin colours form a separate group, which is too small for a class.
      entries[codePoints] = Entry(group: group == "Component" ? "Symbols" : group, name: String(match.2))
    }
  }

  /// An emoji's name and group. An emoji with a skin colour that Unicode does not know yet has the name of its base.
  subscript(codePoints: [UInt32]) -> Entry {
    entries[codePoints] ?? entries[Emoji.base(codePoints)] ?? Entry(group: "Symbols", name: "emoji")
  }
}
