import EaselImages
import EaselSupport
import EaselTensors

/// An IDX file of unsigned bytes (the format of MNIST), plain or compressed with gzip.
///
/// Layout: bytes 0, 0, 8 (unsigned byte), rank; one big-endian u32 for each dimension; the values, last dimension
/// fastest.
struct IDXFile {
  /// The largest file, and the largest number of values, that are read: 4 GiB.
  private static let maximumSize = 1 << 32

  let dimensions: [Int]
  let values: [UInt8]

  /// Reads a file and checks that it holds the number of values that its header announces.
  ///
  /// - Throws: `UserError`: `missingInput` if there is no such file, `badData` with the expected and the actual count.
  init(path: String, rank: Int) throws {
    var reader = try IDXReader(path: path)
    let dimensions = try reader.dimensions(rank: rank)
    let expected = try Self.checkedCount(dimensions, path: path)
    guard expected <= reader.mostRemaining else {
      throw Self.wrongLength(path, dimensions, expected: expected, found: "at most \(reader.mostRemaining)")
    }
    values = try reader.read(expected)
    guard values.count == expected else {
      throw Self.wrongLength(path, dimensions, expected: expected, found: "\(values.count)")
    }
    // A few compressed bytes may expand to gigabytes, so do not count all surplus bytes.
    let most = 1 << 20
    let surplus = try reader.read(most).count
    guard surplus == 0 else {
      throw Self.wrongLength(
        path, dimensions, expected: expected, found: "\(expected + surplus)\(surplus == most ? " or more" : "")")
    }
    self.dimensions = dimensions
  }

  /// The dimensions alone; throws like `init` for a bad header.
  static func dimensions(path: String, rank: Int) throws -> [Int] {
    var reader = try IDXReader(path: path)
    let dimensions = try reader.dimensions(rank: rank)
    _ = try checkedCount(dimensions, path: path)
    return dimensions
  }

  private static func checkedCount(_ dimensions: [Int], path: String) throws -> Int {
    var count = 1
    for dimension in dimensions {
      let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
      guard dimension > 0, !overflow, product <= maximumSize else {
        throw UserError(
          .badData, "\(path): announces \(describe(dimensions)) values; expected 1 to \(maximumSize) bytes")
      }
      count = product
    }
    return count
  }

  private static func wrongLength(_ path: String, _ dimensions: [Int], expected: Int, found: String) -> UserError {
    UserError(
      .badData, "\(path): expected \(expected) bytes (\(describe(dimensions))) after the header, found \(found)",
      hint: "The file is damaged or incomplete: fetch it again.")
  }

  private static func describe(_ dimensions: [Int]) -> String {
    dimensions.map(String.init).joined(separator: " × ")
  }

  /// The file's bytes, decompressed if necessary.
  private struct IDXReader {
    private let path: String
    private let bytes: [UInt8]
    private let inflater: Inflater?
    private var offset = 0

    init(path: String) throws {
      self.path = path
      bytes = try FileIO.read(path, maximumSize: IDXFile.maximumSize)
      let isCompressed = bytes.starts(with: [0x1F, 0x8B])
      inflater = isCompressed ? Inflater(bytes, name: path) : nil
    }

    /// The limit of bytes still to read: a few compressed bytes may stand for gigabytes of the same value.
    var mostRemaining: Int { inflater == nil ? bytes.count - offset : max(1 << 26, 128 * bytes.count) }

    mutating func read(_ count: Int) throws -> [UInt8] {
      if let inflater { return try inflater.read(upToCount: count) }
      let piece = bytes[offset...].prefix(count)
      offset += piece.count
      return Array(piece)
    }

    mutating func dimensions(rank: Int) throws -> [Int] {
      let expected: [UInt8] = [0, 0, 8, UInt8(rank)]
      let magic = try read(4)
      guard magic == expected else {
        throw UserError(
          .badData, "\(path): expected an IDX file that begins with the bytes \(expected), found \(magic)")
      }
      let sizes = try read(4 * rank)
      guard sizes.count == 4 * rank else {
        throw UserError(.badData, "\(path): expected a header of \(4 + 4 * rank) bytes, found \(4 + sizes.count)")
      }
      return (0..<rank).map { axis in sizes[4 * axis..<4 * axis + 4].reduce(0) { $0 << 8 | Int($1) } }
    }
  }
}
