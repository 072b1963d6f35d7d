import EaselSupport

/// A table of comma-separated values (RFC 4180): fields may be quoted, and then hold commas, line ends and doubled quotes.
struct CSVTable {
  /// The first record.
  let header: [String]
  /// The other records, with the number of the line that each begins in, from 1. Each has as many fields as the header.
  let rows: [(line: Int, fields: [String])]

  /// - Parameters:
  ///   - text: the table. Empty lines are passed over.
  ///   - path: its file, for messages.
  /// - Throws: `UserError` (bad data) with the line, for a quote that is not closed or stands inside a field, and for a
  ///   record with more or fewer fields than the header.
  init(_ text: String, path: String) throws {
    var records: [(line: Int, fields: [String])] = []
    let bytes = Array(text.utf8)
    let (comma, quote, newline, return_) = (
      UInt8(ascii: ","), UInt8(ascii: "\""), UInt8(ascii: "\n"), UInt8(ascii: "\r")
    )
    var (position, line) = (0, 1)
    while position < bytes.count {
      let start = line
      var fields: [String] = []
      record: while true {
        var field: [UInt8] = []
        if position < bytes.count, bytes[position] == quote {
          let opened = line
          position += 1
          while true {
            guard position < bytes.count else {
              throw UserError(.badData, "\(path), line \(opened): a quote is not closed")
            }
            let byte = bytes[position]
            position += 1
            if byte == quote {
              guard position < bytes.count, bytes[position] == quote else { break }
              position += 1
            }
            if byte == newline { line += 1 }
            field.append(byte)
          }
        } else {
          while position < bytes.count, bytes[position] != comma, bytes[position] != newline,
            bytes[position] != return_
          {
            if bytes[position] == quote {
              throw UserError(
                .badData, "\(path), line \(line): a quote inside of a field",
                hint: #"Quote the whole field and double the quotes in it: "a ""red"" boot"."#)
            }
            field.append(bytes[position])
            position += 1
          }
        }
        fields.append(String(decoding: field, as: UTF8.self))
        if position < bytes.count, bytes[position] == return_ { position += 1 }
        guard position < bytes.count else { break record }
        let separator = bytes[position]
        position += 1
        if separator == newline {
          line += 1
          break record
        }
        guard separator == comma else {
          throw UserError(.badData, "\(path), line \(line): expected a comma or the line's end behind a field")
        }
      }
      if fields != [""] { records.append((start, fields)) }
    }
    header = records.first?.fields ?? []
    rows = Array(records.dropFirst())
    for row in rows where row.fields.count != header.count {
      throw UserError(
        .badData,
        "\(path), line \(row.line): expected \(header.count) fields as in the first line, found \(row.fields.count)",
        hint: "Quote fields that hold commas.")
    }
  }
}
