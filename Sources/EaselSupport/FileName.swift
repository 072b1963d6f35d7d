// On Linux a file name is a sequence of any bytes, but a String holds only UTF-8. So each byte that is not UTF-8
// becomes a separate character at the end of the last private plane. Every name then becomes a String and back
// without loss, and names that differ in a byte differ in their UTF-8.

import Foundation

extension String {
  /// A name or a path from the file system's bytes.
  package init(fileSystemBytes bytes: some Collection<UInt8>) {
    self = String(decoding: bytes, as: UTF8.self)
    if utf8.elementsEqual(bytes), !holdsStrayBytes { return }
    var text = ""
    var iterator = bytes.makeIterator()
    var parser = Unicode.UTF8.ForwardParser()
    var place = bytes.startIndex
    parsing: while true {
      let isScalar: Bool
      let length: Int
      switch parser.parseScalar(from: &iterator) {
      case .emptyInput: break parsing
      case .error(let count): (isScalar, length) = (false, count)
      case .valid(let encoded):
        let scalar = Unicode.UTF8.decode(encoded)
        // A file's name may contain one of the characters that stand for bytes: its bytes then stand for themselves.
        isScalar = scalar.strayByte == nil
        length = encoded.count
        if isScalar { text.unicodeScalars.append(scalar) }
      }
      let end = bytes.index(place, offsetBy: length)
      if !isScalar {
        text.unicodeScalars.append(contentsOf: bytes[place..<end].compactMap(Unicode.Scalar.init(strayByte:)))
      }
      place = end
    }
    self = text
  }

  /// The bytes of a name or a path that ``init(fileSystemBytes:)`` made, or of any other text in UTF-8.
  package var fileSystemBytes: [UInt8] {
    guard holdsStrayBytes else { return Array(utf8) }
    return unicodeScalars.flatMap { scalar in scalar.strayByte.map { [$0] } ?? Array(String(scalar).utf8) }
  }

  /// A name or a path from C, which ends with a zero.
  package init(fileSystemPath path: UnsafePointer<CChar>) {
    self.init(fileSystemBytes: UnsafeRawBufferPointer(start: path, count: strlen(path)))
  }

  /// Runs the closure with the path in C's form.
  package func withFileSystemPath<Result>(_ body: (UnsafePointer<CChar>) throws -> Result) rethrows -> Result {
    let bytes = fileSystemBytes.map(CChar.init(bitPattern:)) + [0]
    return try bytes.withUnsafeBufferPointer { buffer in
      guard let start = buffer.baseAddress else { fatalError("a path without an end") }
      return try body(start)
    }
  }

  /// The name with `\xE9` for a byte that is not UTF-8: for people, and for names that are not opened.
  package var escapingStrayBytes: String {
    guard holdsStrayBytes else { return self }
    return unicodeScalars.reduce(into: "") { text, scalar in
      if let byte = scalar.strayByte {
        text += "\\x" + String(byte, radix: 16, uppercase: true)
      } else {
        text.unicodeScalars.append(scalar)
      }
    }
  }

  private var holdsStrayBytes: Bool {
    // Every character of that plane begins with this byte.
    utf8.contains(0xF4) && unicodeScalars.contains { $0.strayByte != nil }
  }

  /// Whether the bytes are the same: two names that look alike may be two files.
  package func hasSameBytes(as other: String) -> Bool { utf8.elementsEqual(other.utf8) }
}

extension Unicode.Scalar {
  private static let firstStray: UInt32 = 0x10_FF00

  /// The character for a byte that is not UTF-8; such bytes begin at 0x80.
  fileprivate init?(strayByte byte: UInt8) { self.init(Self.firstStray + UInt32(byte)) }

  fileprivate var strayByte: UInt8? { value >= Self.firstStray + 0x80 ? UInt8(value - Self.firstStray) : nil }
}
