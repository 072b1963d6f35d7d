import EaselSupport
import EaselTensors
import Foundation

/// Reads the texts that describe the pictures of a folder, in the two forms that people have them in.
///
/// `metadata.jsonl` or `metadata.csv`, in the folder or in any below that holds pictures, has a record for each picture:
/// `file_name`, relative to the file's own folder, and `text` (Hugging Face's `ImageFolder`). Further columns that are
/// called `caption`, or `text` or `caption` with a number behind, are alternatives, and in JSON so are the elements of a
/// list. `picture.txt` beside `picture.png` has an alternative in each line, as trainers of Stable Diffusion have it.
struct CaptionFiles {
  /// The texts of each picture, in the order of the pictures; nil if the folder has none at all.
  private(set) var captions: [[String]]?
  /// What a person should know: files that were nearly captions, captions without a picture, pictures without a caption.
  private(set) var notes: [String] = []
  /// Texts that were left out because they cannot be read.
  private(set) var broken: [UserError] = []

  static let tableNames = ["metadata.jsonl", "metadata.csv"]
  /// Bytes of one text; more is no caption.
  static let maximumSize = 1 << 14
  private static let fileNameColumn = "file_name"

  private let folder: String
  private let pictures: [String]
  private let skipsBroken: Bool
  private var texts: [[String]]
  private var isFound = false
  private var strays: [String] = []

  /// - Parameters:
  ///   - folder: its path.
  ///   - pictures: their paths below it.
  ///   - skipsBroken: whether files that cannot be read are left out, and listed in ``broken``.
  /// - Throws: `UserError` (bad data) with file and line, for a file that is not what its name says.
  init(of pictures: [String], in folder: String, skipsBroken: Bool = false) throws {
    (self.folder, self.pictures, self.skipsBroken) = (folder, pictures, skipsBroken)
    texts = [[String]](repeating: [], count: pictures.count)
    let numbers = Dictionary(pictures.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
    let places = Dictionary(grouping: pictures.indices) { pictures[$0].deletingLastPathComponent }
    // Tables may be in any folder above the pictures.
    var all: Set = [""]
    for var place in places.keys { while all.insert(place).inserted { place = place.deletingLastPathComponent } }
    for place in all.sorted() { try read(place, places[place] ?? [], numbers) }
    if isFound {
      captions = texts
      if let first = strays.first {
        notes.append("\(strays.count) captions of \(folder) have no picture: \(first) is the first")
      }
      let bare = texts.indices.filter { texts[$0].isEmpty }
      if let first = bare.first {
        notes.append(
          "\(bare.count) of \(pictures.count) pictures of \(folder) have no caption: \(pictures[first]) is the first")
      }
    }
    notes = notes.map(\.escapingStrayBytes)
  }

  /// Reads what a folder has.
  ///
  /// - Parameters:
  ///   - place: its path below ``folder``.
  ///   - inside: the indices of the pictures in it.
  ///   - numbers: the pictures' indices by their paths.
  private mutating func read(_ place: String, _ inside: [Int], _ numbers: [String: Int]) throws {
    let path = place.isEmpty ? folder : folder.appendingPathComponent(place)
    let names = try visibleNames(inFolder: path)
    let tables = Self.tableNames.filter(names.contains)
    guard tables.count < 2 else {
      throw UserError(.badData, "\(path): expected one table of captions, found \(tables.joined(separator: " and "))")
    }
    for name in tables {
      guard let rows = try unlessBroken({ try Self.rows(of: path.appendingPathComponent(name), notes: &$0.notes) })
      else { continue }
      isFound = isFound || !rows.isEmpty
      for row in rows {
        let picture = place.isEmpty ? row.picture : place.appendingPathComponent(row.picture)
        if let number = numbers[picture] { texts[number] += row.texts } else { strays.append(picture) }
      }
    }
    for name in names where Self.isNearlyTable(name) {
      notes.append("\(path.appendingPathComponent(name)) is not read: captions are in metadata.jsonl or metadata.csv")
    }

    let stems = Dictionary(grouping: inside) { pictures[$0].lastPathComponent.deletingPathExtension }
    var lonely: [String] = []
    var misnamed: [String] = []
    var isBeside = false
    for name in names where ["txt", "caption"].contains(name.pathExtension.lowercased()) {
      let file = path.appendingPathComponent(name)
      guard let described = stems[name.deletingPathExtension] else {
        if !isNamedAsLicense(name), !name.lowercased().hasPrefix("readme") { lonely.append(name) }
        continue
      }
      guard name.pathExtension == "txt" else {
        misnamed.append(name)
        continue
      }
      (isFound, isBeside) = (true, true)
      let lines = try unlessBroken { _ in
        try Self.cleaned(Self.text(file).split(whereSeparator: \.isNewline).map(String.init), at: file)
      }
      for picture in described { texts[picture] += lines ?? [] }
    }
    if let first = misnamed.first {
      let others = misnamed.count > 1 ? ", one of \(misnamed.count) such files," : ""
      notes.append(
        "\(path.appendingPathComponent(first))\(others) is not read: captions are in \(first.deletingPathExtension).txt"
      )
    }
    if isBeside { strays += lonely.map { place.isEmpty ? $0 : place.appendingPathComponent($0) } }
  }

  /// - Returns: nil for a file that is left out because it is broken.
  private mutating func unlessBroken<Result>(_ read: (inout CaptionFiles) throws -> Result) throws -> Result? {
    do {
      return try read(&self)
    } catch let error as UserError {
      guard skipsBroken else { throw error.advisingToSkip }
      broken.append(error)
      return nil
    }
  }

  /// A name that someone may have meant for a table of captions.
  private static func isNearlyTable(_ name: String) -> Bool {
    let (stem, end) = (name.deletingPathExtension.lowercased(), name.pathExtension.lowercased())
    return !tableNames.contains(name) && (stem.hasPrefix("metadata") || stem.hasPrefix("caption"))
      && ["json", "json1", "jsonl", "ndjson", "csv", "tsv", "parquet"].contains(end)
  }

  // MARK: Tables

  private typealias Row = (picture: String, texts: [String])

  private static func rows(of path: String, notes: inout [String]) throws -> [Row] {
    let text = try text(path)
    var unread: Set<String> = []
    let rows =
      path.pathExtension == "csv"
      ? try rows(ofCSV: text, path, &unread, &notes) : try rows(ofJSONLines: text, path, &unread, &notes)
    if !unread.isEmpty {
      notes.append("\(path): not read: the columns \(unread.sorted().prefix(8).joined(separator: ", "))")
    }
    return rows
  }

  private static func rows(ofCSV text: String, _ path: String, _ unread: inout Set<String>, _ notes: inout [String])
    throws
    -> [Row]
  {
    let table = try CSVTable(text, path: path)
    let columns = table.header
    let read = columns.indices.filter { isCaption(columns[$0]) }
    guard let file = columns.firstIndex(of: fileNameColumn), !read.isEmpty else {
      notes.append(isNoTable(path, found: columns))
      return []
    }
    unread = Set(columns).subtracting(read.map { columns[$0] } + [fileNameColumn])
    return try table.rows.map { row in
      let place = "\(path), line \(row.line)"
      return (try picture(row.fields[file], at: place), try cleaned(read.map { row.fields[$0] }, at: place))
    }
  }

  private static func rows(
    ofJSONLines text: String, _ path: String, _ unread: inout Set<String>, _ notes: inout [String]
  )
    throws -> [Row]
  {
    var (rows, keys, isText) = ([Row](), Set<String>(), false)
    // Only these end a line: others may stand in a text.
    let lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
    for (index, line) in lines.enumerated() {
      if line.allSatisfy(\.isWhitespace) { continue }
      let place = "\(path), line \(index + 1)"
      guard let record = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] else {
        throw UserError(
          .badData, "\(place): expected a JSON object", hint: #"Such as: {"file_name": "1.png", "text": "a boot"}"#)
      }
      keys.formUnion(record.keys)
      guard let file = record[fileNameColumn] as? String else {
        notes.append(isNoTable(path, found: keys.sorted()))
        return []
      }
      let columns = record.keys.sorted()
      let texts = try columns.filter(isCaption).flatMap { column -> [String] in
        isText = true
        switch record[column] {
        case let text as String: return [text]
        case let texts as [String]: return texts
        case is NSNull: return []
        default: throw UserError(.badData, "\(place): \(column): expected a text or a list of texts")
        }
      }
      rows.append((try picture(file, at: place), try cleaned(texts, at: place)))
    }
    guard rows.isEmpty || isText else {
      notes.append(isNoTable(path, found: keys.sorted()))
      return []
    }
    unread = keys.filter { $0 != fileNameColumn && !isCaption($0) }
    return rows
  }

  /// Others use these files for labels or boxes, which is nothing wrong.
  private static func isNoTable(_ path: String, found columns: [String]) -> String {
    "\(path) is not read: captions need the columns \(fileNameColumn) and text, found "
      + (columns.isEmpty ? "none" : columns.prefix(8).joined(separator: ", "))
  }

  /// `text`, `caption`, `texts`, `captions`, `text2`, `caption_3`.
  private static func isCaption(_ column: String) -> Bool {
    guard let stem = ["text", "caption"].first(where: column.hasPrefix) else { return false }
    let rest = column.dropFirst(stem.count)
    let digits = rest.hasPrefix("_") ? rest.dropFirst() : rest
    return rest.isEmpty || rest == "s" || !digits.isEmpty && digits.allSatisfy { $0.isASCII && $0.isNumber }
  }

  /// - Throws: `UserError` (bad data) for a path that leads out of the folder.
  private static func picture(_ name: String, at place: String) throws -> String {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    guard !name.isEmpty, !name.hasPrefix("/"), !parts.contains("..") else {
      throw UserError(
        .badData, "\(place): \(fileNameColumn): expected a path below the folder, found \(name.debugDescription)")
    }
    return parts.filter { $0 != "." && !$0.isEmpty }.joined(separator: "/")
  }

  // MARK: Texts

  /// Texts without white space around them, each in one line; empty ones are left out.
  private static func cleaned(_ texts: [String], at place: String) throws -> [String] {
    try texts.compactMap { text in
      guard text.utf8.count <= maximumSize else {
        throw UserError(
          .badData, "\(place): expected a caption of at most \(maximumSize) bytes, found \(text.utf8.count)")
      }
      let words = text.split(whereSeparator: \.isWhitespace)
      return words.isEmpty ? nil : words.joined(separator: " ")
    }
  }

  private static func text(_ path: String) throws -> String {
    let bytes = try FileIO.read(path, maximumSize: 1 << 28)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw UserError(.badData, "\(path): expected UTF-8 text, found other bytes")
    }
    return text.hasPrefix("\u{FEFF}") ? String(text.dropFirst()) : text
  }
}
