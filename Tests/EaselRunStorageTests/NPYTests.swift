import EaselRunStorage
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

@Suite struct NPYTests {
  private let arrays: [NPYArray] = try! [
    NPYArray(shape: [2, 3], values: .float32([1, -2.5, 3, .infinity, 0, 0x1p-140])),
    NPYArray(shape: [4], values: .uint8([0, 1, 128, 255])),
    NPYArray(shape: [], values: .float32([7])),
    NPYArray(shape: [0, 28, 28, 1], values: .uint8([])),
    NPYArray(shape: [2], values: .integers([-1, 1 << 40])),
  ]

  @Test func readsBackWhatItWrites() throws {
    let scratch = try ScratchFolder()
    for array in arrays {
      try array.write(to: scratch.file("a.npy"))
      #expect(try NPYArray(path: scratch.file("a.npy")) == array)
    }
  }

  @Test func theFileIsVersionOneAndAligned() throws {
    let scratch = try ScratchFolder()
    try arrays[1].write(to: scratch.file("a.npy"))
    let data = try contents(scratch.file("a.npy"))
    #expect(data.count == 128 + 4)
    #expect(data.prefix(10).elementsEqual([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, 118, 0]))
    #expect(
      String(decoding: data[10..<70], as: UTF8.self).hasPrefix(
        "{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }"))
    #expect(data[127] == UInt8(ascii: "\n"))
  }

  @Test(.enabled(if: Python.has("numpy, safetensors"), "needs Python with numpy and safetensors"))
  func numpyReadsOursAndWeReadNumpys() throws {
    let scratch = try ScratchFolder()
    for (index, array) in arrays.enumerated() { try array.write(to: scratch.file("ours-\(index).npy")) }
    let output = try Python.output(
      """
      import numpy as np
      for i in range(5):
        a = np.load(f"\(scratch.path)/ours-{i}.npy")
        print(a.dtype, a.shape, a.sum())
        np.save(f"\(scratch.path)/theirs-{i}.npy", a)
      """)
    #expect(
      output == "float32 (2, 3) inf\nuint8 (4,) 384\nfloat32 () 7.0\nuint8 (0, 28, 28, 1) 0\nint64 (2,) 1099511627775\n"
    )
    for (index, array) in arrays.enumerated() {
      #expect(try NPYArray(path: scratch.file("theirs-\(index).npy")) == array)
      #expect(try contents(scratch.file("theirs-\(index).npy")) == contents(scratch.file("ours-\(index).npy")))
    }
  }

  /// A file with this type, order and shape; version 2 has a longer field for the header's length.
  private func file(
    _ type: String, _ bytes: [UInt8], shape: String = "3,", order: String = "False", version: UInt8 = 1
  ) -> Data {
    let header = Array("{'descr': '\(type)', 'fortran_order': \(order), 'shape': (\(shape)), }\n".utf8)
    let length = [UInt8(header.count), 0] + (version == 1 ? [] : [0, 0])
    return Data(EaselTestSupport.bytes([0x93], Array("NUMPY".utf8), [version, 0], length, header, bytes))
  }

  @Test func everyTypeOfNumberIsReadInBothByteOrders() throws {
    let scratch = try ScratchFolder()
    func read(_ type: String, _ bytes: [UInt8], version: UInt8 = 1) throws -> NPYArray.Values {
      try NPYArray(path: scratch.write(file(type, bytes, version: version), to: "a.npy")).values
    }
    func bytes(_ patterns: [some FixedWidthInteger]) -> [UInt8] {
      patterns.flatMap { pattern in withUnsafeBytes(of: pattern.littleEndian) { Array($0) } }
    }
    func check(_ kind: String, _ patterns: [some FixedWidthInteger], _ expected: NPYArray.Values) throws {
      #expect(try read("<\(kind)", bytes(patterns)) == expected, "<\(kind)")
      #expect(try read("\(kind)", bytes(patterns), version: 2) == expected, "\(kind)")
      #expect(try read(">\(kind)", bytes(patterns.map(\.byteSwapped)), version: 3) == expected, ">\(kind)")
    }
    let floats: [Float] = [0.5, -2, 65504]
    try check("f2", floats.map { Float16($0).bitPattern }, .float32(floats))
    try check("f4", floats.map(\.bitPattern), .float32(floats))
    try check("f8", floats.map { Double($0).bitPattern }, .float32(floats))
    try check("i2", [-1, 2, Int16.min], .integers([-1, 2, -32768]))
    try check("i4", [-1, 2, Int32.min], .integers([-1, 2, Int(Int32.min)]))
    try check("i8", [-1, 2, Int64.min], .integers([-1, 2, .min]))
    try check("u2", [1, 2, UInt16.max], .integers([1, 2, 65535]))
    try check("u4", [1, 2, UInt32.max], .integers([1, 2, Int(UInt32.max)]))
    try check("u8", [1, 2, UInt64.max], .integers([1, 2, .max]))
    #expect(try read("|i1", [255, 2, 128]) == .integers([-1, 2, -128]))
    #expect(try read("|u1", [255, 2, 128]) == .uint8([255, 2, 128]))
  }

  @Test func fortransOrderIsTurned() throws {
    let scratch = try ScratchFolder()
    // Value 100 i + 10 j + k at [i, j, k], the first axis innermost.
    var bytes: [UInt8] = []
    for k in 0..<4 { for j in 0..<3 { for i in 0..<2 { bytes.append(UInt8(100 * i + 10 * j + k)) } } }
    let path = try scratch.write(file("|u1", bytes, shape: "2, 3, 4", order: "True"), to: "a.npy")
    var expected: [UInt8] = []
    for i in 0..<2 { for j in 0..<3 { for k in 0..<4 { expected.append(UInt8(100 * i + 10 * j + k)) } } }
    #expect(try NPYArray(path: path) == NPYArray(shape: [2, 3, 4], values: .uint8(expected)))
  }

  @Test func malformedFilesAreRefused() throws {
    let scratch = try ScratchFolder()
    func write(_ header: String, _ body: Int = 8) throws -> String {
      let prefix: [UInt8] = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, UInt8(header.utf8.count), 0]
      return try scratch.write(Data(prefix) + Data(header.utf8) + Data(count: body), to: "bad.npy")
    }
    func header(_ type: String = "<f4", order: String = "False", shape: String = "2,") -> String {
      "{'descr': '\(type)', 'fortran_order': \(order), 'shape': (\(shape)), }\n"
    }
    #expect(try NPYArray(path: write(header())).shape == [2])
    for type in ["|b1", "<c8", "<U4", "|O", "<f16", "|S8", "<M8[s]"] {
      expectUserError(.badData, "bad.npy", "descr", "found \(type)", "astype") {
        try NPYArray(path: write(header(type)))
      }
    }
    expectUserError(.badData, "an archive", "numpy.load") {
      try NPYArray(path: scratch.write(Data("PK\u{3}\u{4}".utf8), to: "many.npz"))
    }
    expectUserError(.badData, "shape", "8 bytes") { try NPYArray(path: write(header(shape: "3,"))) }
    expectUserError(.badData, "shape") { try NPYArray(path: write(header(shape: "4611686018427387906,"))) }
    expectUserError(.badData, "shape") { try NPYArray(path: write(header(shape: "99999999999999999999,"))) }
    expectUserError(.badData, "header") { try NPYArray(path: write("{}")) }
    expectUserError(.badData, "magic") { try NPYArray(path: scratch.write("", to: "empty.npy")) }
    let long = try contents(write(header(), 0)).prefix(20)
    expectUserError(.badData, "header", "found 20") { try NPYArray(path: scratch.write(Data(long), to: "cut.npy")) }
    expectUserError(.missingInput, "none.npy") { try NPYArray(path: scratch.file("none.npy")) }
    expectUserError(.internalFailure, "[2, 2]", "3 values") {
      try NPYArray(shape: [2, 2], values: .uint8([1, 2, 3]))
    }
  }
}
