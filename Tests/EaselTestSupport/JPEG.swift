/// A black progressive JPEG with that many scans; all but the first say in a hundred bytes that nothing changes.
package func jpegOfScans(side: Int, count: Int) -> [UInt8] {
  func segment(_ marker: UInt8, _ data: [UInt8]) -> [UInt8] {
    bytes([0xFF, marker, UInt8((data.count + 2) >> 8), UInt8((data.count + 2) & 0xFF)], data)
  }
  let size = [UInt8(side >> 8), UInt8(side & 0xFF)]
  let start = bytes([0xFF, 0xD8], segment(0xDB, bytes([0], [UInt8](repeating: 1, count: 64))))
  let frame = segment(0xC2, bytes([8], size, size, [1, 1, 0x11, 0]))
  // Tables of one symbol with the bit 0 as its code: a block like the previous one; 16384 blocks without a remainder.
  func table(_ place: UInt8, _ symbol: UInt8) -> [UInt8] {
    segment(0xC4, bytes([place, 1], [UInt8](repeating: 0, count: 15), [symbol]))
  }
  func scan(from first: UInt8, to last: UInt8, bits: Int) -> [UInt8] {
    segment(0xDA, [1, 1, 0, first, last, 0]) + [UInt8](repeating: 0, count: bits / 8 + 1)
  }
  let blocks = ((side + 7) / 8) * ((side + 7) / 8)
  let first = bytes(start, frame, table(0, 0), table(0x10, 0xE0), scan(from: 0, to: 0, bits: blocks))
  let next = scan(from: 1, to: 63, bits: (blocks + 16383) / 16384 * 15)
  return bytes(first, Array(repeatElement(next, count: count - 1).joined()), [0xFF, 0xD9])
}
