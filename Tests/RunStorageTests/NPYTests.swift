import Foundation
import RunStorage
import Tensors
import TestSupport
import Testing

@Suite struct NPYTests {
  private let arrays: [NPYArray] = try! [
    NPYArray(shape: [2, 3], values: .float32([1, -2.5, 3, .infinity, 0, 0x1p-140])),
    NPYArray(shape: [4], values: .uint8([0, 1, 128, 255])),
    NPYArray(shape: [], values: .float32([7])),
    NPYArray(shape: [0, 28, 28, 1], values: .uint8([])),
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
      for i in range(4):
        a = np.load(f"\(scratch.path)/ours-{i}.npy")
        print(a.dtype, a.shape, a.sum())
        np.save(f"\(scratch.path)/theirs-{i}.npy", a)
      """)
    #expect(output == "float32 (2, 3) inf\nuint8 (4,) 384\nfloat32 () 7.0\nuint8 (0, 28, 28, 1) 0\n")
    for (index, array) in arrays.enumerated() {
      #expect(try NPYArray(path: scratch.file("theirs-\(index).npy")) == array)
      #expect(try contents(scratch.file("theirs-\(index).npy")) == contents(scratch.file("ours-\(index).npy")))
    }
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
    expectUserError(.badData, "bad.npy", "descr", "found >f4") { try NPYArray(path: write(header(">f4"))) }
    expectUserError(.badData, "fortran_order") { try NPYArray(path: write(header(order: "True"))) }
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
