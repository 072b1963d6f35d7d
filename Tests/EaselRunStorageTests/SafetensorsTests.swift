import EaselRunStorage
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

@Suite struct SafetensorsTests {
  /// The tensors of `Fixtures/make_fixtures.py`.
  private let referenceTensors: [SafetensorsWriter.Tensor] = [
    .init(name: "scalar", shape: [], floats: [7]),
    .init(name: "weight/ü", shape: [2, 3], floats: [1, 2, 3, 4, 5, 6]),
    .init(name: "half", type: .float16, shape: [2, 2]) { sink in
      let bits: [UInt16] = [0x3e00, 0xb400, 0x7bff, 0x0001]
      try bits[..<1].withUnsafeBytes(sink)
      try bits[1...].withUnsafeBytes(sink)
    },
    .init(name: "indices", shape: [3], integers: [1, -2, 1 << 40]),
    .init(name: "empty", shape: [0, 3], floats: []),
    .init(name: "tenths", type: .float64, shape: [2]) { sink in try [0.1, -2.5].withUnsafeBytes(sink) },
  ]

  @Test func readsTheReferenceWritersFile() throws {
    let reader = try SafetensorsReader(path: fixture("reference.safetensors"))
    #expect(reader.names == ["empty", "half", "indices", "scalar", "tenths", "weight/ü"])
    #expect(reader.metadata == ["writer": "reference \"0\""])
    #expect(try reader.floats("tenths") == [0.1, -2.5])
    #expect(try reader.floats("empty") == [])
    #expect(reader.entries["empty"]?.shape == [0, 3])
    #expect(try reader.floats("half") == [1.5, -0.25, 65504, 0x1p-24])
    #expect(try reader.integers("indices") == [1, -2, 1 << 40])
    #expect(try reader.floats("scalar") == [7])
    #expect(reader.entries["scalar"]?.shape == [])
    #expect(try reader.floats("weight/ü") == [1, 2, 3, 4, 5, 6])
    #expect(try reader.withBytes("half") { Array($0.prefix(2)) } == [0x00, 0x3e])
  }

  @Test func writesTheReferenceWritersBytes() throws {
    let scratch = try ScratchFolder()
    let path = scratch.file("ours.safetensors")
    try SafetensorsWriter.write(referenceTensors.reversed(), metadata: ["writer": "reference \"0\""], to: path)
    #expect(try contents(path) == contents(fixture("reference.safetensors")))
    try SafetensorsWriter.write(referenceTensors, metadata: ["writer": "reference \"0\""], to: path)
    #expect(try contents(path) == contents(fixture("reference.safetensors")))
  }

  @Test(.enabled(if: Python.has("numpy, safetensors"), "needs Python with numpy and safetensors"))
  func theReferenceReaderReadsOurFile() throws {
    let scratch = try ScratchFolder()
    let path = scratch.file("ours.safetensors")
    try SafetensorsWriter.write(
      [
        .init(name: "a.weight", shape: [2, 3], floats: [1.5, 2, 3, 4, 5, -6]),
        .init(name: "step", shape: [], integers: [-12000]),
        .init(name: "mask \"x\"", type: .uint8, shape: [3]) { sink in try [UInt8(1), 0, 255].withUnsafeBytes(sink) },
      ], metadata: ["format": "pt", "ü": "\n"], to: path)
    let output = try Python.output(
      """
      from safetensors import safe_open
      with safe_open("\(path)", framework="numpy") as f:
        print(sorted(f.metadata().items()))
        for name in sorted(f.keys()):
          t = f.get_tensor(name)
          print(name, t.dtype, t.shape, t.tolist())
      """)
    #expect(
      output == """
        [('format', 'pt'), ('ü', '\\n')]
        a.weight float32 (2, 3) [[1.5, 2.0, 3.0], [4.0, 5.0, -6.0]]
        mask "x" uint8 (3,) [1, 0, 255]
        step int64 () -12000

        """)
  }

  @Test(.enabled(if: Python.has("numpy, safetensors"), "needs Python with numpy and safetensors"))
  func weReadEveryTypeOfTheReferenceWriter() throws {
    let scratch = try ScratchFolder()
    _ = try Python.output(
      """
      import numpy as np
      from safetensors.numpy import save_file
      names = "bool uint8 int8 int16 uint16 float16 int32 uint32 float32 float64 int64 uint64".split()
      save_file({n: np.arange(5).astype(n) for n in names}, "\(scratch.file("all.safetensors"))")
      """)
    let reader = try SafetensorsReader(path: scratch.file("all.safetensors"))
    #expect(reader.names.count == 12)
    for name in ["float16", "float32", "float64"] { #expect(try reader.floats(name) == [0, 1, 2, 3, 4]) }
    for name in ["int32", "int64"] { #expect(try reader.integers(name) == [0, 1, 2, 3, 4]) }
    for entry in reader.entries.values { #expect(entry.elementCount == 5) }
    expectUserError(.badData, "uint8.dtype", "expected F32", "found U8") { try reader.floats("uint8") }
    expectUserError(.badData, "float32.dtype", "found F32") { try reader.integers("float32") }
    expectUserError(.badData, "no tensor is named flaot32", "Did you mean float32?") { try reader.floats("flaot32") }
  }

  @Test func widensBfloat16() throws {
    let scratch = try ScratchFolder()
    let path = scratch.file("b.safetensors")
    let tensor = SafetensorsWriter.Tensor(name: "b", type: .bfloat16, shape: [3]) { sink in
      try [UInt16(0x3f80), 0xc049, 0x7f80].withUnsafeBytes(sink)
    }
    try SafetensorsWriter.write([tensor], to: path)
    #expect(try SafetensorsReader(path: path).floats("b") == [1, -3.140625, .infinity])
  }

  @Test(arguments: 0..<8) func dataStartOnAMultipleOfEight(extra: Int) throws {
    let scratch = try ScratchFolder()
    let path = scratch.file("x.safetensors")
    let name = String(repeating: "n", count: extra + 1)
    try SafetensorsWriter.write([.init(name: name, shape: [1], floats: [2])], to: path)
    #expect((try contents(path).count - 4) % 8 == 0)
    #expect(try SafetensorsReader(path: path).floats(name) == [2])
  }

  @Test func writerRefusesMistakes() throws {
    let scratch = try ScratchFolder()
    let path = scratch.file("x.safetensors")
    let tensor = SafetensorsWriter.Tensor(name: "a", shape: [2], floats: [1, 2])
    expectUserError(.internalFailure, path, "two tensors") { try SafetensorsWriter.write([tensor, tensor], to: path) }
    expectUserError(.internalFailure, "expected 12 bytes", "given 8") {
      try SafetensorsWriter.write([.init(name: "a", shape: [3], floats: [1, 2])], to: path)
    }
    expectUserError(.internalFailure, "cannot have the shape") {
      try SafetensorsWriter.write([.init(name: "a", shape: [.max, 2], floats: [])], to: path)
    }
    expectUserError(.inputOutput, "/dev/full", "No space left on device", "Free some space") {
      try SafetensorsWriter.write([tensor], to: "/dev/full")
    }
    expectUserError(.cannotCreate, "\(path)/no/x", "cannot create") {
      try SafetensorsWriter.write([tensor], to: "\(path)/no/x")
    }
  }
}

/// Files that a reader must refuse, each with the field and the wrong numbers.
@Suite struct HostileSafetensorsTests {
  struct Refusal: CustomTestStringConvertible {
    let testDescription: String
    var length: UInt64?
    var header: String
    var data: Int
    let parts: [String]

    init(_ name: String, length: UInt64? = nil, _ header: String, data: Int = 8, _ parts: String...) {
      testDescription = name
      self.length = length
      self.header = header
      self.data = data
      self.parts = parts
    }

    var bytes: Data {
      var bytes = Data()
      withUnsafeBytes(of: (length ?? UInt64(header.utf8.count)).littleEndian) { bytes.append(contentsOf: $0) }
      return bytes + Data(header.utf8) + Data(count: data)
    }
  }

  private static func entry(_ name: String, _ shape: String, _ offsets: String, dtype: String = "F32") -> String {
    "\"\(name)\":{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":\(offsets)}"
  }

  static let refusals: [Refusal] = [
    .init("header past the end", length: 1000, "{}", data: 0, "header: expected 1000 bytes, found 2"),
    .init("header length overflows", length: .max, "{}", data: 0, "header length", "18446744073709551615"),
    .init("header length overflows when 8 is added", length: .max - 7, "{}", data: 0, "header length"),
    .init("header over the limit", length: 10_000_001, "{}", data: 0, "at most 10000000 bytes", "10000001"),
    .init("empty header", "", data: 0, "expected `{`", "found nothing"),
    .init("leading space", " {}", data: 0, "expected `{`", "byte 32"),
    .init("an array", "[]", data: 0, "expected `{`"),
    .init("cut JSON", "{\"a\":", data: 0, "header"),
    .init("text after the JSON", "{} x", data: 0, "header"),
    .init("deep nesting", "{\"a\":" + String(repeating: "[", count: 100_000), data: 0, "header"),
    .init("zero bytes as padding", "{}\0\0", data: 0, "UTF-8"),
    .init("entry is not an object", "{\"a\": 3}", "a:"),
    .init("no dtype", "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", "dtype"),
    .init("no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", "shape"),
    .init("no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "data_offsets"),
    .init("unknown dtype", "{\(entry("a", "[2]", "[0,8]", dtype: "F31"))}", "a.dtype", "found F31"),
    .init("one offset", "{\(entry("a", "[2]", "[0]"))}", "a.data_offsets", "found 1"),
    .init("three offsets", "{\(entry("a", "[2]", "[0,8,8]"))}", "a.data_offsets", "found 3"),
    .init("offsets backwards", "{\(entry("a", "[2]", "[8,0]"))}", "a.data_offsets", "[8, 0]"),
    .init("negative offset", "{\(entry("a", "[2]", "[-8,0]"))}", "a.data_offsets", "[-8, 0]"),
    .init("fractional offset", "{\(entry("a", "[2]", "[0,8.5]"))}", "a.data_offsets"),
    .init("offset beyond 64 bits", "{\(entry("a", "[2]", "[0,18446744073709551624]"))}", "a.data_offsets"),
    .init("negative extent", "{\(entry("a", "[-2]", "[0,8]"))}", "a.shape", "[-2]"),
    .init("two negative extents", "{\(entry("a", "[-2,-1]", "[0,8]"))}", "a.shape"),
    .init("shape product overflows", "{\(entry("a", "[4611686018427387904,4]", "[0,8]"))}", "a.shape"),
    .init("shape product wraps to the length", "{\(entry("a", "[4611686018427387906]", "[0,8]"))}", "a.shape"),
    .init("length does not fit the shape", "{\(entry("a", "[3]", "[0,8]"))}", "expected 12 bytes", "found 8"),
    .init(
      "overlap", "{\(entry("a", "[2]", "[0,8]")),\(entry("b", "[2]", "[4,12]"))}", data: 12, "b.data_offsets", "overlap"
    ),
    .init(
      "hole", "{\(entry("a", "[1]", "[0,4]")),\(entry("b", "[1]", "[8,12]"))}", data: 12, "b.data_offsets", "a hole"),
    .init("hole at the start", "{\(entry("a", "[1]", "[4,8]"))}", "a.data_offsets", "a hole"),
    .init("cut data", "{\(entry("a", "[2]", "[0,8]"))}", data: 7, "expected 8 bytes of data, found 7", "cut"),
    .init("data left over", "{\(entry("a", "[2]", "[0,8]"))}", data: 9, "expected 8 bytes of data, found 9"),
    .init("data without entries", "{}", data: 1, "expected 0 bytes of data, found 1"),
    .init(
      "duplicate tensor", "{\(entry("a", "[2]", "[0,8]")),\(entry("a", "[2]", "[0,8]"))}", "a occurs more than once"),
    .init(
      "duplicate tensor, one escaped", "{\(entry("a", "[2]", "[0,8]")),\(entry("\\u0061", "[2]", "[0,8]"))}",
      "a occurs more than once"),
    .init(
      "duplicate tensor, composed and decomposed",
      "{\(entry("\u{e9}", "[2]", "[0,8]")),\(entry("e\u{301}", "[2]", "[0,8]"))}", "occurs more than once"),
    .init(
      "duplicate field", "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
      "dtype occurs more than once"),
    .init("duplicate metadata", "{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", data: 0, "a occurs more than once"),
    .init("metadata of numbers", "{\"__metadata__\":{\"a\":1}}", data: 0, "__metadata__"),
  ]

  @Test(arguments: refusals) func isRefused(_ refusal: Refusal) throws {
    let scratch = try ScratchFolder()
    let path = try scratch.write(refusal.bytes, to: "hostile.safetensors")
    do {
      _ = try SafetensorsReader(path: path)
      Issue.record("was accepted")
    } catch let error as UserError {
      #expect(error.kind == .badData)
      for part in [path] + refusal.parts { #expect(error.description.contains(part), "\(error) lacks \(part)") }
    }
  }

  @Test func shortFilesAreRefused() throws {
    let scratch = try ScratchFolder()
    for size in 0..<8 {
      let path = try scratch.write(Data(count: size), to: "short")
      expectUserError(.badData, path, "at least 8 bytes, found \(size)") { try SafetensorsReader(path: path) }
    }
    expectUserError(.missingInput, scratch.file("none")) { try SafetensorsReader(path: scratch.file("none")) }
    expectUserError(.badData, "found a folder") { try SafetensorsReader(path: scratch.path) }
  }

  /// Unusual but valid: any order, spaces, braces and escaped quotes in names, the same key at different depths.
  @Test func validOddities() throws {
    let scratch = try ScratchFolder()
    let header =
      "{ \(Self.entry("dtype", "[1]", "[4,8]")), \(Self.entry("{\\\",}[", "[1,1]", "[0,4]")), "
      + "\(Self.entry("zero", "[0]", "[4,4]")), \"__metadata__\": {\"dtype\": \"\\\"a\\\": {\"} }   "
    let path = try scratch.write(Refusal("", header).bytes, to: "odd.safetensors")
    let reader = try SafetensorsReader(path: path)
    #expect(reader.names == ["dtype", "zero", "{\",}["])
    #expect(reader.metadata == ["dtype": "\"a\": {"])
    #expect(try reader.floats("dtype") == [0])
  }

  /// A header with any one byte changed either reads or throws; it never ends the process.
  @Test func everyChangedHeaderByteIsSurvived() throws {
    let scratch = try ScratchFolder()
    let original = try contents(fixture("reference.safetensors"))
    let headerEnd = 8 + Int(original[0]) + Int(original[1]) << 8
    for position in 0..<headerEnd {
      for flip: UInt8 in [0x01, 0x80, 0x22 ^ 0x5c] {
        var changed = original
        changed[position] ^= flip
        let path = try scratch.write(changed, to: "changed.safetensors")
        if let reader = try? SafetensorsReader(path: path) {
          for name in reader.names { try reader.withBytes(name) { _ in } }
        }
      }
    }
  }
}
