import EaselImages
import EaselSupport
import EaselTensors
import Foundation

/// Emoji as drawn by Noto (Google, Apache-2.0) and by EmojiOne 3 (Ranks.com, CC-BY-SA-4.0), from Debian's packages
/// `ruby-tanuki-emoji` and `ruby-gemojione`: small pictures in colour over white, of faces, animals, food, things and
/// signs.
public enum Emoji {
  /// The names of the data sets in the catalogue; the second is a folder of several.
  public static let name = "emoji"
  public static let stylesName = "emoji-styles"

  /// The sides that an import accepts; the packages' pictures are 64, 72 or 128 pixels wide.
  public static let sizes = 8...128

  /// Makes `dataFolder/emoji`: Noto's emoji in folders by Unicode's groups, which are the classes. Each file is named
  /// by its code points and its name; a tenth is held out.
  ///
  /// - Parameters:
  ///   - size: the side of the pictures.
  ///   - captions: whether names and keywords come along, from Unicode's CLDR (Debian's package `unicode-cldr-core`): a
  ///     text beside each picture, with its name in the first line and its keywords in the second.
  ///   - source: a folder into which the packages were unpacked. Without it, installed packages are used; if there are
  ///     none, they are fetched with `apt-get` and unpacked. No Ruby is installed or run.
  ///   - dataFolder: a workspace's `Data` folder, made if necessary.
  ///   - progress: receives what is being done, in words.
  /// - Returns: the new folder's path.
  /// - Throws: `UserError`: `cannotCreate` if the data set already exists or cannot be written, `missingInput` if
  ///   `source` does not hold the package, `badData` if a picture is damaged, `unavailable` if it cannot be fetched.
  @discardableResult
  public static func importDataset(
    size: Int = 64, captions: Bool = false, from source: String?, into dataFolder: String,
    progress: (String) -> Void = { _ in }
  ) throws -> String {
    try importDataset(
      size: size, captions: captions, from: source, into: dataFolder, by: PackageImport(), progress: progress)
  }

  /// Makes `dataFolder/emoji-styles` with four data sets: `noto` and `gemojione`, the same emoji drawn in two ways, for
  /// training without pairs, and `noto-paired` and `gemojione-paired` for training with them.
  ///
  /// Image k held out of one data set is image k held out of every other, drawn in its style: 200 pairs. No emoji that
  /// `noto` has for training is among those for `gemojione`; the two `-paired` sets have all emoji that are not held
  /// out, in the same order. Emoji that differ only in skin colour or sex, and those that look the same, stay together.
  /// Flags are left out: one style draws them waving, the other as discs.
  ///
  /// Parameters and errors are those of ``importDataset(size:captions:from:into:progress:)``.
  @discardableResult
  public static func importStyles(
    size: Int = 64, from source: String?, into dataFolder: String, progress: (String) -> Void = { _ in }
  ) throws -> String {
    try importStyles(size: size, from: source, into: dataFolder, by: PackageImport(), progress: progress)
  }

  package static func importDataset(
    size: Int, captions: Bool = false, from source: String?, into dataFolder: String, by importer: PackageImport,
    progress: (String) -> Void
  ) throws -> String {
    let sources = [Noto.package] + (captions ? [EmojiAnnotations.package] : [])
    return try importer.run(name, packages: sources, from: source, into: dataFolder, progress: progress) {
      packages, folder in
      let annotations = try captions ? EmojiAnnotations(packages[1]) : nil
      let drawings = try drawings(of: packages[0], in: Noto.pictures, named: Noto.codePoints, size: size, progress)
        .sorted { $0.codePoints.lexicographicallyPrecedes($1.codePoints) }
      let table = try UnicodeEmoji(testFile: packages[0].data.appendingPathComponent(Noto.testFile))
      var random = StreamGenerator(seed: 0, stream: .validation)
      let parts = families(of: drawings.map(\.codePoints), lookingLike: drawings.map(\.original.pixels))
        .split(heldOut: drawings.count / 10, using: &random)
      for (part, places) in [("train", parts.rest.flatMap { $0 }), ("validation", parts.heldOut)] {
        for drawing in places.map({ drawings[$0] }) {
          let entry = table[drawing.codePoints]
          let path = try write(drawing, named: entry.name, to: "\(folder)/\(part)/\(slug(entry.group))")
          if let annotations {
            try writeText(annotations.text(of: drawing.codePoints, named: entry.name), to: "\(path).txt")
          }
        }
      }
      try writeText(try packages[0].copyright(), to: "\(folder)/LICENSE")
      if captions { try writeText(try packages[1].copyright(), to: "\(folder)/LICENSE-captions") }
      let words =
        captions
        ? """

        Beside each picture, a text has its name and its keywords in English, of Unicode's CLDR by Debian's package
        \(packages[1].title), under Unicode's licence: see LICENSE-captions.

        """ : ""
      try writeText(
        """
        # emoji

        \(drawings.count) emoji as Noto Emoji draws them, \(size)×\(size) pixels in colour: the pictures of Debian's
        package \(packages[0].title), laid over white and brought to one size. Their sub-folders are Unicode's groups, their
        names Unicode's code points and names. \(parts.heldOut.count) are held out in `validation/`; emoji that differ in
        skin colour or sex only, and flags that look the same, are on one side.

        The pictures are under the Apache License 2.0 (flags are in the public domain), names and groups under Unicode's
        licence: see LICENSE.
        \(words)
        """, to: "\(folder)/README.md")
    }
  }

  package static func importStyles(
    size: Int, from source: String?, into dataFolder: String, by importer: PackageImport, progress: (String) -> Void
  ) throws -> String {
    try importer.run(
      stylesName, packages: [Noto.package, Gemojione.package], from: source, into: dataFolder, progress: progress
    ) { packages, folder in
      let noto = try drawings(of: packages[0], in: Noto.pictures, named: Noto.codePoints, size: size, progress)
      let gemojione = try drawings(
        of: packages[1], in: Gemojione.pictures, named: Gemojione.codePoints, size: size, progress)
      let table = try UnicodeEmoji(testFile: packages[0].data.appendingPathComponent(Noto.testFile))
      let others = Dictionary(gemojione.map { ($0.codePoints, $0) }, uniquingKeysWith: { first, _ in first })
      let pairs = noto.compactMap { one in others[one.codePoints].map { (noto: one, gemojione: $0) } }
        .filter { !isFlag($0.noto.codePoints) }
        .sorted { $0.noto.codePoints.lexicographicallyPrecedes($1.noto.codePoints) }
      guard pairs.count > 2 * heldOutPairs else {
        throw UserError(
          .badData,
          "\(packages[1].root): expected more than \(2 * heldOutPairs) emoji in both styles, found \(pairs.count)")
      }
      var random = StreamGenerator(seed: 0, stream: .validation)
      let parts = families(
        of: pairs.map(\.noto.codePoints),
        lookingLike: pairs.map { $0.noto.original.pixels + $0.gemojione.original.pixels }
      ).split(heldOut: heldOutPairs, using: &random)
      let halves = parts.rest.halves
      for (style, places, license) in [("noto", halves.0, packages[0]), ("gemojione", halves.1, packages[1])] {
        for (set, training) in [(style, places), ("\(style)-paired", parts.rest.flatMap { $0 })] {
          for (part, places) in [("train", training), ("validation", parts.heldOut)] {
            for pair in places.map({ pairs[$0] }) {
              let drawing = style == "noto" ? pair.noto : pair.gemojione
              try write(drawing, named: table[drawing.codePoints].name, to: "\(folder)/\(set)/\(part)")
            }
          }
          try writeText(try license.copyright(), to: "\(folder)/\(set)/LICENSE")
        }
      }
      try writeText(
        """
        # emoji-styles

        \(pairs.count) emoji in two styles, \(size)×\(size) pixels in colour over white: those of Debian's packages
        \(packages[0].title) (Noto Emoji, Apache License 2.0) and \(packages[1].title) (EmojiOne 3 by Ranks.com Inc.,
        CC-BY-SA-4.0, changed here in size and background only).

        | data set | for training | held out |
        |---|---|---|
        | `noto` | \(halves.0.count) | \(parts.heldOut.count) |
        | `gemojione` | \(halves.1.count) others | the same |
        | `noto-paired`, `gemojione-paired` | \(pairs.count - parts.heldOut.count), the same in both | the same |

        Files are named by Unicode's code points and names. Emoji that differ in skin colour or sex only are on one side
        of every division. Pictures that a model makes of EmojiOne's may be shared under CC-BY-SA-4.0 with that attribution.

        """, to: "\(folder)/README.md")
    }
  }

  private static let heldOutPairs = 200

  /// The package with Noto's pictures and Unicode's table of emoji.
  private enum Noto {
    static let package = DebianPackage(
      name: "ruby-tanuki-emoji", folder: "usr/share/rubygems-integration/all/gems/tanuki_emoji-*", size: "6 MB")
    static let pictures = "app/assets/images/tanuki_emoji"
    static let testFile = "vendor/unicode/emoji-test.txt"

    /// `emoji_u1f468_200d_2764`, and `AC` for a flag, whose code points are two regional indicators.
    static func codePoints(_ name: String) -> [UInt32]? {
      if name.hasPrefix("emoji_u") { return hexadecimal(name.dropFirst(7), separator: "_") }
      let letters = Array(name.utf8)
      guard letters.count == 2, letters.allSatisfy({ 0x41...0x5A ~= $0 }) else { return nil }
      return letters.map { firstRegionalIndicator + UInt32($0) - 0x41 }
    }
  }

  /// The package with EmojiOne's pictures.
  private enum Gemojione {
    static let package = DebianPackage(
      name: "ruby-gemojione", folder: "usr/share/rubygems-integration/all/gems/gemojione-*", size: "5 MB")
    static let pictures = "assets/png"

    /// `1F468-2764-1F468`.
    static func codePoints(_ name: String) -> [UInt32]? { hexadecimal(name[...], separator: "-") }
  }

  private struct Drawing {
    /// Without joiners and variation selectors, since the packages write them only in some names.
    let codePoints: [UInt32]
    /// In the package's size, so that which emoji look the same does not depend on the requested size.
    let original: Image
    let image: Image
  }

  private static func drawings(
    of package: UnpackedPackage, in subfolder: String, named codePoints: (String) -> [UInt32]?, size: Int,
    _ progress: (String) -> Void
  ) throws -> [Drawing] {
    let folder = package.data.appendingPathComponent(subfolder)
    guard folder.isFolder else {
      throw UserError(
        .missingInput, "\(package.root): expected \(package.package.folder)/\(subfolder) in it",
        hint: "Name the folder that \(package.package.name) was unpacked into with dpkg -x.")
    }
    progress("Reading the pictures of \(package.title)")
    let files = try visibleNames(inFolder: folder).compactMap { file in
      file.hasSuffix(".png") ? codePoints(String(file.dropLast(4))).map { (file: file, codePoints: $0) } : nil
    }
    return try concurrentMap(files) { entry in
      let path = folder.appendingPathComponent(entry.file)
      // Composed over white before resizing: transparent pixels have a colour too, which must not bleed into the edges.
      let original = try Image.read(path, background: 255).converted(channels: 3)
      guard original.width == original.height else {
        throw UserError(.badData, "\(path): expected a square picture, found \(original.size)")
      }
      return Drawing(
        codePoints: entry.codePoints, original: original, image: original.resized(width: size, height: size))
    }
  }

  /// - Returns: the picture's path without its extension.
  @discardableResult
  private static func write(_ drawing: Drawing, named name: String, to folder: String) throws -> String {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let digits = drawing.codePoints.map { String(format: "%04x", $0) }.joined(separator: "-")
    let path = "\(folder)/\(digits)-\(slug(name))"
    try drawing.image.write(to: "\(path).png")
    return path
  }

  private static func writeText(_ text: String, to path: String) throws { try FileIO.write(Array(text.utf8), to: path) }

  /// Letters and digits in lower case, with a hyphen for anything between them.
  private static func slug(_ text: String) -> String {
    text.lowercased().split { !($0.isASCII && ($0.isLetter || $0.isNumber)) }.joined(separator: "-")
  }

  // MARK: Code points

  private static let firstRegionalIndicator: UInt32 = 0x1F1E6

  private static func isFlag(_ codePoints: [UInt32]) -> Bool {
    codePoints.count == 2
      && codePoints.allSatisfy { firstRegionalIndicator..<firstRegionalIndicator + 26 ~= $0 }
  }

  static func hexadecimal(_ text: Substring, separator: Character) -> [UInt32]? {
    var codePoints: [UInt32] = []
    for part in text.split(separator: separator, omittingEmptySubsequences: false) {
      guard let codePoint = UInt32(part, radix: 16) else { return nil }
      codePoints.append(codePoint)
    }
    let named = significant(codePoints)
    return named.isEmpty ? nil : named
  }

  /// The code points without joiners and variation selectors.
  static func significant(_ codePoints: [UInt32]) -> [UInt32] { codePoints.filter { $0 != 0x200D && $0 != 0xFE0F } }

  /// The code points without those for skin colour and sex.
  static func base(_ codePoints: [UInt32]) -> [UInt32] {
    let modifiers: Set<UInt32> = [0x1F3FB, 0x1F3FC, 0x1F3FD, 0x1F3FE, 0x1F3FF, 0x2640, 0x2642]
    let base = codePoints.filter { !modifiers.contains($0) }
    return base.isEmpty ? codePoints : base
  }

  /// The indices of emoji by family: those with the same base, and those that look the same.
  private static func families(of codePoints: [[UInt32]], lookingLike pixels: [[UInt8]]) -> [[Int]] {
    var families: [[Int]] = []
    var byBase: [[UInt32]: Int] = [:]
    var byPixels: [[UInt8]: Int] = [:]
    for place in codePoints.indices {
      let base = base(codePoints[place])
      let family = byBase[base] ?? byPixels[pixels[place]] ?? families.count
      if family == families.count { families.append([]) }
      families[family].append(place)
      byBase[base] = family
      byPixels[pixels[place]] = family
    }
    return families
  }
}

extension [[Int]] {
  /// Holds out whole families in a shuffled order, if they fit, up to the wanted number of images; the rest stays in
  /// that order.
  fileprivate func split(heldOut wanted: Int, using random: inout StreamGenerator) -> (heldOut: [Int], rest: [[Int]]) {
    var heldOut: [Int] = []
    var rest: [[Int]] = []
    for family in shuffledIndices(count: count, using: &random).map({ self[$0] }) {
      if heldOut.count + family.count <= wanted { heldOut += family } else { rest.append(family) }
    }
    return (heldOut, rest)
  }

  /// Two halves of about equal size, each of whole families, with about the same number of large families.
  fileprivate var halves: ([Int], [Int]) {
    sorted { $0.count > $1.count }.reduce(into: ([], [])) { halves, family in
      if halves.0.count <= halves.1.count { halves.0 += family } else { halves.1 += family }
    }
  }
}
