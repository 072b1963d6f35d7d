import EaselDatasets
import EaselImages
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

@Suite struct EmojiTests {
  private static let gems = "usr/share/rubygems-integration/all/gems"
  private static let noto = "\(gems)/tanuki_emoji-0.9/app/assets/images/tanuki_emoji"
  private static let gemojione = "\(gems)/gemojione-3.9/assets/png"

  /// A picture of 8×8 pixels, unique to its number.
  private func picture(_ number: Int, style: UInt8) -> Image {
    let pixels = (0..<64).flatMap { _ in [UInt8(number % 256), UInt8(number / 256), style] }
    return Image(width: 8, height: 8, channels: 3, pixels: pixels)
  }

  /// Faces 1F600 and on, one of them in six skin colours, one as man and woman; a flag; and the table of names.
  private func writePackages(to root: String, faces: Int) throws {
    var table = "# group: Smileys & Emotion\n# subgroup: faces\n"
    var codes: [[Int]] = []
    for face in 0..<faces {
      codes.append([0x1F600 + face])
      let digits = String(0x1F600 + face, radix: 16, uppercase: true)
      table += "\(digits)    ; fully-qualified     # 😀 E1.0 face: no. \(face)\n"
    }
    table += "\n# group: People & Body\n1F44B ; fully-qualified # 👋 E0.6 waving hand\n"
    table += "1F3C3 200D 2640 FE0F ; fully-qualified # x E4.0 woman running\n1F3C3 ; fully-qualified # x E1.0 running\n"
    table += "# group: Flags\n1F1E6 1F1E8 ; fully-qualified # 🇦🇨 E2.0 flag: Ascension Island\n"
    codes += [[0x1F44B]] + (0x1F3FB...0x1F3FF).map { [0x1F44B, $0] } + [[0x1F3C3], [0x1F3C3, 0x200D, 0x2640, 0xFE0F]]
    for (number, code) in codes.enumerated() {
      let digits = code.map { String($0, radix: 16) }
      let name = "emoji_u" + digits.filter { $0 != "fe0f" }.joined(separator: "_")
      try writeImage(picture(number, style: 10), to: "\(root)/\(Self.noto)/\(name).png")
      let other = digits.filter { $0 != "fe0f" && $0 != "200d" }.joined(separator: "-").uppercased()
      try writeImage(picture(number, style: 200), to: "\(root)/\(Self.gemojione)/\(other).png")
    }
    try writeImage(picture(900, style: 10), to: "\(root)/\(Self.noto)/AC.png")
    try writeImage(picture(900, style: 200), to: "\(root)/\(Self.gemojione)/1F1E6-1F1E8.png")
    try write("no emoji", to: "\(root)/\(Self.noto)/notes.png")
    try write(table, to: "\(root)/\(Self.gems)/tanuki_emoji-0.9/vendor/unicode/emoji-test.txt")
    for package in ["ruby-tanuki-emoji", "ruby-gemojione"] {
      try write("Licence of \(package).", to: "\(root)/usr/share/doc/\(package)/copyright")
      let changelog = Array("\(package) (0.9-1) unstable; urgency=medium\n\n  * New.\n".utf8)
      try write(gzip(changelog), to: "\(root)/usr/share/doc/\(package)/changelog.Debian.gz")
    }
  }

  private func names(_ folder: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
  }

  @Test func emojiAreSortedIntoGroupsAndNamed() throws {
    try withScratchFolder { folder in
      try writePackages(to: "\(folder)/unpacked", faces: 41)
      let path = try Emoji.importDataset(size: 16, from: "\(folder)/unpacked", into: "\(folder)/Data")
      #expect(path == "\(folder)/Data/emoji")
      #expect(try names("\(folder)/Data") == ["emoji"])
      #expect(try String(contentsOfFile: "\(path)/LICENSE", encoding: .utf8) == "Licence of ruby-tanuki-emoji.")
      let about = try String(contentsOfFile: "\(path)/README.md", encoding: .utf8)
      #expect(about.contains("50 emoji") && about.contains("ruby-tanuki-emoji 0.9-1"))

      let splits = try DatasetCatalog(searchRoots: [folder]).resolve("emoji")
      #expect(splits.train.count == 45 && splits.validation.count == 5)
      #expect(splits.train.imageSize == ImageSize(width: 16, height: 16) && splits.train.channels == 3)
      #expect(splits.train.classNames == ["flags", "people-body", "smileys-emotion"])
      var classes: [String: String] = [:]
      for part in [splits.train, splits.validation] {
        for (name, label) in zip(part.names, try #require(part.labels)) { classes[name] = part.classNames[Int(label)] }
      }
      #expect(classes.count == 50)
      #expect(classes["smileys-emotion/1f603-face-no-3"] == "smileys-emotion")
      #expect(classes["people-body/1f44b-1f3fd-waving-hand"] == "people-body")
      #expect(classes["people-body/1f3c3-2640-woman-running"] == "people-body")
      #expect(classes["flags/1f1e6-1f1e8-flag-ascension-island"] == "flags")
      // The picture of face 7 is that of its number.
      let all = [splits.train, splits.validation]
      for part in all {
        guard let place = part.names.firstIndex(of: "smileys-emotion/1f607-face-no-7") else { continue }
        #expect(Array(part.image(at: place).pixels[..<3]) == [7, 0, 10])
      }
      let hands = all.map { part in part.names.filter { $0.hasPrefix("people-body/1f44b") }.count }
      #expect(hands.sorted() == [0, 6], "one family is on one side")
    }
  }

  @Test("Unicode's names and keywords come along as captions, also those of a base for a skin colour that is not known")
  func captions() throws {
    try withScratchFolder { folder in
      let root = "\(folder)/unpacked"
      try writePackages(to: root, faces: 41)
      expectUserError(.missingInput, "common/annotations/en.xml", "dpkg -x") {
        try Emoji.importDataset(size: 16, captions: true, from: root, into: "\(folder)/Data")
      }
      let annotations = "\(root)/usr/share/unicode/cldr/common"
      try write(
        """
        <annotation cp="😃">face | mouth &amp; eyes | smiling face</annotation>
        <annotation cp="😃" type="tts">smiling face</annotation>
        <annotation cp="👋">hand | wave</annotation>
        <annotation cp="👋" type="tts">waving hand</annotation>
        """, to: "\(annotations)/annotations/en.xml")
      try write(
        """
        <annotation cp="🏃‍♀">racing | woman running</annotation>
        <annotation cp="🏃‍♀" type="tts">woman running</annotation>
        """, to: "\(annotations)/annotationsDerived/en.xml")
      try write("Licence of Unicode.", to: "\(root)/usr/share/doc/unicode-cldr-core/copyright")
      let path = try Emoji.importDataset(size: 16, captions: true, from: root, into: "\(folder)/Data")
      #expect(try String(contentsOfFile: "\(path)/LICENSE-captions", encoding: .utf8) == "Licence of Unicode.")
      let splits = try DatasetCatalog(searchRoots: [folder]).resolve("emoji")
      var captions: [String: [String]] = [:]
      for part in [splits.train, splits.validation] {
        for (name, texts) in zip(part.names, try #require(part.annotations.captions)) { captions[name] = texts }
      }
      #expect(captions["smileys-emotion/1f603-face-no-3"] == ["smiling face", "face, mouth & eyes"])
      #expect(captions["smileys-emotion/1f604-face-no-4"] == ["face: no. 4"])
      #expect(captions["people-body/1f44b-1f3fd-waving-hand"] == ["waving hand", "hand, wave"])
      #expect(captions["people-body/1f3c3-2640-woman-running"] == ["woman running", "racing"])
      #expect(splits.notes.isEmpty, "\(splits.notes)")
    }
  }

  /// Transparent pixels that are black underneath must not darken the edges, nor may the picture be cropped or stretched.
  @Test func transparencyBecomesWhiteWithoutDarkFringes() throws {
    try withScratchFolder { folder in
      try writePackages(to: "\(folder)/unpacked", faces: 10)
      var pixels = [UInt8](repeating: 0, count: 4 * 72 * 72)
      for y in 18..<54 {
        for x in 9..<63 { pixels.replaceSubrange(4 * (72 * y + x)..<4 * (72 * y + x) + 4, with: [255, 0, 0, 255]) }
      }
      try write(
        transparentPNG(width: 72, height: 72, pixels: pixels), to: "\(folder)/unpacked/\(Self.noto)/emoji_u1f600.png")
      let path = try Emoji.importDataset(size: 32, from: "\(folder)/unpacked", into: "\(folder)/Data")
      let file = ["train", "validation"].map { "\(path)/\($0)/smileys-emotion/1f600-face-no-0.png" }
        .first { FileManager.default.fileExists(atPath: $0) }
      let image = try Image.read(try #require(file))
      let levels = (0..<32 * 32).map { Array(image.pixels[3 * $0..<3 * $0 + 3]) }
      #expect(levels.allSatisfy { $0[0] == 255 && $0[1] == $0[2] }, "red over white has full red everywhere")
      let covered = levels.reduce(0) { $0 + 1 - Double($1[1]) / 255 }
      // The middle 54 × 36 of 72 × 72 pixels.
      #expect(abs(covered / 1024 - 0.375) < 0.002)
      let row = (0..<32).map { image.pixels[3 * (16 * 32 + $0) + 1] }
      #expect(row == row.reversed() && row[3] > 200 && row[5] < 10)
    }
  }

  @Test func stylesShareTheHeldOutPairsAndNoTrainingEmoji() throws {
    try withScratchFolder { folder in
      try writePackages(to: "\(folder)/unpacked", faces: 430)
      _ = try Emoji.importStyles(size: 8, from: "\(folder)/unpacked", into: "\(folder)/Data")
      let catalog = DatasetCatalog(searchRoots: [folder])
      let sets = ["noto", "gemojione", "noto-paired", "gemojione-paired"]
      #expect(catalog.names == sets.map { "emoji-styles/\($0)" }.sorted())
      let splits = try sets.map { try catalog.resolve("emoji-styles/\($0)") }

      for (one, set) in zip(splits, sets) {
        #expect(one.validation.count == 200)
        #expect(one.validation.names == splits[0].validation.names)
        // Pixel by pixel the same number, in the set's style.
        let style: UInt8 = set.hasPrefix("noto") ? 10 : 200
        for index in 0..<200 {
          let (here, first) = (one.validation.image(at: index), splits[0].validation.image(at: index))
          #expect(here.pixels[..<2] == first.pixels[..<2] && here.pixels[2] == style)
        }
        let license = try String(contentsOfFile: "\(folder)/Data/emoji-styles/\(set)/LICENSE", encoding: .utf8)
        #expect(license == "Licence of ruby-\(set.hasPrefix("noto") ? "tanuki-emoji" : "gemojione").")
      }
      let heldOut = Set(splits[0].validation.names)
      let (noto, gemojione) = (Set(splits[0].train.names), Set(splits[1].train.names))
      #expect(noto.count == 119 && gemojione.count == 119)
      #expect(noto.isDisjoint(with: gemojione) && noto.isDisjoint(with: heldOut) && gemojione.isDisjoint(with: heldOut))
      #expect(splits[2].train.names == splits[3].train.names)
      #expect(Set(splits[2].train.names) == noto.union(gemojione))
      #expect(noto.union(gemojione).union(heldOut).count == 438)
      #expect(!noto.union(gemojione).union(heldOut).contains { $0.contains("flag") })
      for family in ["1f44b", "1f3c3"] {
        let sizes = [noto, gemojione, heldOut].map { names in names.filter { $0.hasPrefix(family) }.count }
        #expect(sizes.filter { $0 > 0 }.count == 1, "\(family): \(sizes)")
      }
    }
  }

  @Test func whatIsMissingIsNamedAndNothingIsLeft() throws {
    try withScratchFolder { folder in
      try write("nothing here", to: "\(folder)/unpacked/notes.txt")
      let error = #expect(throws: UserError.self) {
        try Emoji.importDataset(from: "\(folder)/unpacked", into: "\(folder)/Data")
      }
      #expect(error?.kind == .missingInput && error?.message.contains("tanuki_emoji-*") == true)
      #expect(try names("\(folder)/Data").isEmpty)
      try writePackages(to: "\(folder)/unpacked", faces: 20)
      let few = #expect(throws: UserError.self) {
        try Emoji.importStyles(from: "\(folder)/unpacked", into: "\(folder)/Data")
      }
      #expect(few?.kind == .badData && few?.message.contains("more than 400") == true)
      #expect(try names("\(folder)/Data").isEmpty)
    }
  }

  @Test func bothPackagesAreFetchedAndUnpacked() throws {
    try withScratchFolder { folder in
      let none = PackageImport(installedRoot: "\(folder)/none", programFolders: [])
      let error = #expect(throws: UserError.self) {
        try Emoji.importStyles(size: 8, from: nil, into: "\(folder)/Data", by: none, progress: { _ in })
      }
      #expect(error?.kind == .unavailable)
      #expect(
        error?.hint?.contains(
          "apt-get download ruby-tanuki-emoji ruby-gemojione && dpkg -x ruby-tanuki-emoji_*.deb emoji-styles && "
            + "dpkg -x ruby-gemojione_*.deb emoji-styles") == true)

      try writePackages(to: "\(folder)/package", faces: 430)
      try writeProgram("touch $2_1_all.deb", to: "\(folder)/bin/apt-get")
      try writeProgram("mkdir $3 && cp -r \(folder)/package/usr $3", to: "\(folder)/bin/dpkg")
      let fetching = PackageImport(installedRoot: "\(folder)/none", programFolders: ["\(folder)/bin", "/bin"])
      let path = try Emoji.importStyles(size: 8, from: nil, into: "\(folder)/Data", by: fetching, progress: { _ in })
      #expect(try names(path) == ["README.md", "gemojione", "gemojione-paired", "noto", "noto-paired"])
      #expect(try names("\(folder)/Data") == ["emoji-styles"])
    }
  }
}
