import EaselDatasets
import EaselImages
import EaselSupport
import EaselTestSupport
import Foundation
import Testing

/// Texts beside pictures. Picture k of a folder is the grey k, so that what belongs to what shows.
@Suite struct CaptionTests {
  let catalog = DatasetCatalog(searchRoots: [])

  private func writePictures(_ names: [String], in folder: String) throws {
    for (index, name) in names.enumerated() { try writeImage(flatImage(UInt8(index)), to: "\(folder)/\(name)") }
  }

  /// The captions of each grey, of pictures for training and held-out ones.
  private func captions(_ splits: DatasetSplits) throws -> [UInt8: [String]] {
    var found: [UInt8: [String]] = [:]
    for part in [splits.train, splits.validation] {
      for (index, texts) in try #require(part.annotations.captions).enumerated() {
        found[part.image(at: index).pixels[0]] = texts
      }
    }
    return found
  }

  @Test("Lines of metadata.jsonl describe pictures below its folder, with one text or several")
  func jsonLines() throws {
    try withScratchFolder { folder in
      try writePictures(["a.png", "b.png", "c.png", "d.png"], in: folder)
      try write(
        """
        {"file_name": "b.png", "text": "  the \\n second ", "id": 7}

        {"file_name": "./a.png", "text": ["größer", "", "bigger"], "caption2": "third"}
        {"text": null, "file_name": "d.png"}\r
        {"file_name": "c.png", "captions": ["c\u{2028}c"]}\r
        """, to: "\(folder)/metadata.jsonl")
      let splits = try catalog.resolve(folder)
      #expect(
        try captions(splits) == [0: ["third", "größer", "bigger"], 1: ["the second"], 2: ["c c"], 3: []])
      #expect(splits.notes.count == 2)
      #expect(splits.notes[0].contains("metadata.jsonl: not read: the columns id"), "\(splits.notes)")
      #expect(splits.notes[1].contains("1 of 4 pictures") && splits.notes[1].hasSuffix("d.png is the first"))
      #expect(splits.train.labels == nil)
    }
  }

  @Test("metadata.csv does too, with quoted fields, in each class's folder, and classes stay classes")
  func csv() throws {
    try withScratchFolder { folder in
      try writePictures(["cats/1.png", "cats/2.png", "dogs/1.png"], in: folder)
      try write(
        "\u{FEFF}file_name,text,text_2\r\n1.png,\"a \"\"red\"\" cat,\nsitting\",\"\"\r\n2.png,two,zwei\r\n",
        to: "\(folder)/cats/metadata.csv")
      try write("text,file_name\ndog,1.png", to: "\(folder)/dogs/metadata.csv")
      let splits = try catalog.resolve(folder)
      #expect(try captions(splits) == [0: ["a \"red\" cat, sitting"], 1: ["two", "zwei"], 2: ["dog"]])
      #expect(splits.train.classNames == ["cats", "dogs"] && splits.notes.isEmpty, "\(splits.notes)")
    }
  }

  @Test("A text beside a picture has a caption in each line; licences and other texts are none")
  func besides() throws {
    try withScratchFolder { folder in
      try writePictures(["x/1.png", "x/2.jpg.png", "y/1.png"], in: folder)
      try write("one\n\n  eins \r\nun\n", to: "\(folder)/x/1.txt")
      try write("two", to: "\(folder)/x/2.jpg.txt")
      try write("Do as you like.", to: "\(folder)/x/LICENSE.txt")
      try write("", to: "\(folder)/y/1.txt")
      let splits = try catalog.resolve(folder)
      #expect(try captions(splits) == [0: ["one", "eins", "un"], 1: ["two"], 2: []])
      #expect(splits.notes.count == 1 && splits.notes[0].contains("1 of 3 pictures"), "\(splits.notes)")
    }
    try withScratchFolder { folder in
      try writePictures(["1.png", "2.png"], in: folder)
      try write("Some notes.", to: "\(folder)/notes.txt")
      #expect(try catalog.resolve(folder).train.annotations.captions == nil)
    }
  }

  @Test("Near misses are named: other files' names, captions without a picture, pictures without a caption")
  func nearMisses() throws {
    try withScratchFolder { folder in
      try writePictures((0..<5).map { "\($0).png" }, in: folder)
      try write("[]", to: "\(folder)/metadata.json")
      for name in ["1", "2"] { try write("one", to: "\(folder)/\(name).caption") }
      var notes = try catalog.resolve(folder).notes
      #expect(notes.count == 2 && notes[0].contains("metadata.json is not read"), "\(notes)")
      #expect(notes[1].contains("1.caption, one of 2 such files, is not read: captions are in 1.txt"))

      try write("one", to: "\(folder)/1.txt")
      try write("seven", to: "\(folder)/7.txt")
      try write("file_name,text\n0.png,zero\n9.png,nine\n8.png,eight\n", to: "\(folder)/metadata.csv")
      notes = try catalog.resolve(folder).notes
      #expect(notes.contains { $0.contains("3 captions of") && $0.hasSuffix("9.png is the first") }, "\(notes)")
      #expect(notes.contains { $0.contains("3 of 5 pictures of") && $0.hasSuffix("2.png is the first") }, "\(notes)")
    }
  }

  @Test("If one part of the data has captions, the other's pictures have none")
  func parts() throws {
    try withScratchFolder { folder in
      try writePictures(["train/a.png", "test/b.png"], in: folder)
      try write("a", to: "\(folder)/train/a.txt")
      let splits = try catalog.resolve(folder)
      #expect(try captions(splits) == [0: ["a"], 1: []])
      try splits.writeSheets(to: "\(folder)-sheet")
      defer { try? FileManager.default.removeItem(atPath: "\(folder)-sheet") }
      #expect(try captions(catalog.resolve("\(folder)-sheet")) == [0: ["a"], 1: []])
    }
  }

  @Test("Captions go with the pictures that can be read")
  func broken() throws {
    try withScratchFolder { folder in
      try writePictures(["a.png", "b.png", "c.png"], in: folder)
      try write("no picture", to: "\(folder)/a.png")
      try write("file_name,text\na.png,a\nb.png,b\nc.png,c\n", to: "\(folder)/metadata.csv")
      #expect(try captions(catalog.resolve(folder, skippingBroken: true)) == [1: ["b"], 2: ["c"]])
    }
  }

  @Test(
    "Files that are not what their names say are refused with their line",
    arguments: [
      ("metadata.jsonl", #"{"file_name": "a.png", "text": "a"}"# + "\n[1]", ["line 2", "JSON object"]),
      ("metadata.jsonl", #"{"file_name": "a.png", "text": 3}"#, ["line 1", "text: expected a text or a list"]),
      ("metadata.jsonl", #"{"file_name": "../a.png", "text": "a"}"#, ["below the folder", "../a.png"]),
      ("metadata.jsonl", #"{"file_name": "/etc/passwd", "text": "a"}"#, ["below the folder"]),
      ("metadata.csv", "file_name,text\na.png,a,b", ["line 2", "expected 2 fields", "found 3"]),
      ("metadata.csv", "file_name,text\na.png,\"a\nb", ["line 2", "not closed"]),
      ("metadata.csv", "file_name,text\na.png,a \"b\"", ["line 2", "inside of a field"]),
      ("metadata.csv", "file_name,text\na.png,\"a\"b", ["line 2", "behind a field"]),
      ("a.txt", String(repeating: "a", count: 1 << 20), ["at most 16384 bytes", "1048576"]),
    ])
  func refused(_ name: String, _ text: String, _ parts: [String]) throws {
    try withScratchFolder { folder in
      try writePictures(["a.png", "b.png"], in: folder)
      try write(text, to: "\(folder)/\(name)")
      expectUserError(.badData, parts + [name]) { try catalog.resolve(folder) }
    }
  }

  @Test("Bytes that are no UTF-8 are refused, and two tables in one folder")
  func bytes() throws {
    try withScratchFolder { folder in
      try writePictures(["a.png", "b.png"], in: folder)
      try write([0x61, 0xC3, 0x28], to: "\(folder)/a.txt")
      expectUserError(.badData, "a.txt", "UTF-8") { try catalog.resolve(folder) }
      try write("a", to: "\(folder)/a.txt")
      for table in ["metadata.csv", "metadata.jsonl"] { try write("", to: "\(folder)/\(table)") }
      expectUserError(.badData, "metadata.jsonl and metadata.csv") { try catalog.resolve(folder) }
    }
  }

  @Test(
    "Tables of something else than captions are named and not read",
    arguments: [
      ("metadata.jsonl", #"{"file": "a.png", "text": "a"}"#, "file, text"),
      ("metadata.jsonl", #"{"file_name": "a.png", "objects": [1]}"#, "file_name, objects"),
      ("metadata.csv", "id,label\n1,2", "id, label"), ("metadata.csv", "file_name;text\na.png;a", "file_name;text"),
      ("metadata.csv", "", "none"),
    ])
  func otherTables(_ name: String, _ text: String, _ found: String) throws {
    try withScratchFolder { folder in
      try writePictures(["a.png", "b.png"], in: folder)
      try write(text, to: "\(folder)/\(name)")
      let splits = try catalog.resolve(folder)
      #expect(splits.train.annotations.captions == nil && splits.notes.count == 1)
      #expect(
        splits.notes[0].contains("\(name) is not read") && splits.notes[0].hasSuffix("found \(found)"),
        "\(splits.notes)")
    }
  }

  @Test("A table may be in any folder above its pictures; one beside the parts of the data is named")
  func places() throws {
    try withScratchFolder { folder in
      try writePictures(["cats/deep/1.png", "dogs/1.png"], in: folder)
      try write("file_name,text\ndeep/1.png,one\n", to: "\(folder)/cats/metadata.csv")
      #expect(try captions(catalog.resolve(folder)) == [0: ["one"], 1: []])
    }
    try withScratchFolder { folder in
      try writePictures(["train/1.png", "test/2.png"], in: folder)
      try write("file_name,text\ntrain/1.png,one\n", to: "\(folder)/metadata.csv")
      let splits = try catalog.resolve(folder)
      #expect(splits.train.annotations.captions == nil)
      #expect(splits.notes.contains { $0.contains("metadata.csv, which belongs into train/") }, "\(splits.notes)")
    }
  }

  @Test("Broken captions are left out and listed if that is asked for")
  func skipped() throws {
    try withScratchFolder { folder in
      try writePictures(["a.png", "b.png"], in: folder)
      try write([0xC3, 0x28], to: "\(folder)/a.txt")
      try write("b", to: "\(folder)/b.txt")
      expectUserError(.badData, "a.txt", "skip-broken") { try catalog.resolve(folder) }
      let splits = try catalog.resolve(folder, skippingBroken: true)
      #expect(try captions(splits) == [0: [], 1: ["b"]])
      #expect(splits.skipped.count == 1 && splits.skipped[0].message.contains("a.txt"))
    }
  }

  @Test("A template makes captions of the classes' names")
  func template() throws {
    let template = try CaptionTemplate(parsing: "a picture of a {} | {}")
    #expect(template.captions(of: "ankle-boot") == ["a picture of a ankle boot", "ankle boot"])
    let splits = DatasetSplits(train: numberedDataset(count: 4), validation: numberedDataset(count: 2), rule: "")
    let captioned = try splits.captioned(by: template)
    #expect(captioned.train.annotations.captions?[1] == ["a picture of a b", "b"])
    #expect(captioned.train.labels == splits.train.labels && captioned.validation.annotations.captions?.count == 2)
    expectUserError(.usage, "caption-template: expected {}", "\"a boot\"") { try CaptionTemplate(parsing: "{}|a boot") }
    let unlabelled = numberedDataset(count: 2, labelled: false)
    expectUserError(.usage, "has no classes") {
      try DatasetSplits(train: unlabelled, validation: unlabelled, rule: "").captioned(by: template)
    }
  }
}
