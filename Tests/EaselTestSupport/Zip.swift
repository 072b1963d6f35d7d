/// A zip file of stored entries, without checksums.
///
/// - Parameters:
///   - entries: names and contents.
///   - method: the compression that the directory claims.
///   - isLong: whether sizes and offsets are in the zip64 parts, as for large files.
package func zip(_ entries: [(name: String, bytes: [UInt8])], method: Int = 0, isLong: Bool = false) -> [UInt8] {
  func number(_ value: Int, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
  let none = number(0xFFFF_FFFF, 4)
  var file: [UInt8] = []
  var directory: [UInt8] = []
  for (name, content) in entries {
    let size = number(content.count, 4)
    let extra =
      isLong
      ? bytes(
        number(1, 2), number(24, 2), number(content.count, 8), number(content.count, 8),
        number(file.count, 8)) : []
    directory += bytes(
      [0x50, 0x4B, 1, 2], number(0, 6), number(method, 2), number(0, 8), isLong ? none : size, isLong ? none : size,
      number(name.utf8.count, 2), number(extra.count, 2), number(0, 10), isLong ? none : number(file.count, 4),
      Array(name.utf8), extra)
    file += bytes(
      [0x50, 0x4B, 3, 4], number(0, 4), number(method, 2), number(0, 8), size, size, number(name.utf8.count, 2),
      number(0, 2), Array(name.utf8), content)
  }
  let (count, length, offset) = (entries.count, directory.count, file.count)
  file += directory
  if isLong {
    let end = file.count
    file += bytes(
      [0x50, 0x4B, 6, 6], number(44, 8), number(0, 12), number(count, 8), number(count, 8), number(length, 8),
      number(offset, 8), [0x50, 0x4B, 6, 7], number(0, 4), number(end, 8), number(1, 4))
  }
  return file
    + bytes(
      [0x50, 0x4B, 5, 6], number(0, 4), isLong ? [255, 255, 255, 255] : number(count, 2) + number(count, 2),
      isLong ? none : number(length, 4), isLong ? none : number(offset, 4), number(0, 2))
}

/// Pickles as `torch.save` writes them, opcode by opcode.
package enum PickleBytes {
  package static func file(_ opcodes: [UInt8]...) -> [UInt8] { bytes([0x80, 2], Array(opcodes.joined()), [0x2E]) }

  package static func text(_ text: String) -> [UInt8] {
    [0x58] + (0..<4).map { UInt8(truncatingIfNeeded: text.utf8.count >> (8 * $0)) } + Array(text.utf8)
  }

  /// A whole number of 8 bytes.
  package static func number(_ value: Int) -> [UInt8] {
    [0x8A, 8] + (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  package static func tuple(_ values: [[UInt8]]) -> [UInt8] { bytes([0x28], Array(values.joined()), [0x74]) }

  package static func global(_ module: String, _ name: String) -> [UInt8] { Array("c\(module)\n\(name)\n".utf8) }

  package static func call(_ module: String, _ name: String, _ arguments: [[UInt8]]) -> [UInt8] {
    bytes(global(module, name), tuple(arguments), [0x52])
  }

  package static func dictionary(_ items: [(key: [UInt8], value: [UInt8])]) -> [UInt8] {
    bytes([0x7D, 0x28], Array(items.flatMap { $0.key + $0.value }), [0x75])
  }

  package static func tensor(
    key: String = "0", count: Int, type: String = "FloatStorage", offset: Int = 0, shape: [Int], strides: [Int]
  ) -> [UInt8] {
    call(
      "torch._utils", "_rebuild_tensor_v2",
      [
        tuple([text("storage"), global("torch", type), text(key), text("cpu"), number(count)]) + [0x51],
        number(offset), tuple(shape.map(number)), tuple(strides.map(number)), [0x89],
        call("collections", "OrderedDict", []),
      ])
  }
}
