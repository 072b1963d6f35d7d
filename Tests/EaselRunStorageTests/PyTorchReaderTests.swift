import EaselRunStorage
import EaselSupport
import EaselTestSupport
import Foundation
import Testing

@Suite struct PyTorchReaderTests {
  private typealias P = PickleBytes

  // MARK: PyTorch's own files

  @Test("Tensors of every type, shared, transposed and narrowed, are those that PyTorch has")
  func readsAStateDictionary() throws {
    let file = try PyTorchReader(path: fixture("torch/state.bin"))
    let expected = try SafetensorsReader(path: fixture("torch/expected.safetensors"))
    #expect(file.names.count == 24 && file.names == expected.names)
    #expect(file.entries == expected.entries)
    for name in file.names {
      #expect(try file.withBytes(name) { Array($0) } == expected.withBytes(name) { Array($0) }, "\(name)")
    }
    #expect(try file.floats("f16") == [1.5, -0.25, 65504, 0x1p-24])
    #expect(try file.integers("i64") == [1, -2, 1 << 40])
    #expect(file.entries["scalar"]?.shape == [] && file.entries["empty"]?.shape == [0, 3])
  }

  @Test func readsParametersUnderStateDict() throws {
    let file = try PyTorchReader(path: fixture("torch/nested.pt"))
    #expect(file.names == ["weight"])
    #expect(file.entries["weight"] == TensorEntry(type: .float32, shape: [2, 3]))
    #expect(try file.floats("weight") == [0, 1, 2, 3, 4, 5])
  }

  @Test func refusesFunctionsAndTheOldFormat() throws {
    expectUserError(.badData, "function.bin: data.pkl: byte", "posix.system is not part of a state dictionary") {
      try PyTorchReader(path: fixture("torch/function.bin"))
    }
    expectUserError(.badData, "legacy.bin: expected a file of PyTorch 1.6 or later", "torch.save(torch.load(") {
      try PyTorchReader(path: fixture("torch/legacy.bin"))
    }
    expectUserError(.badData, "expected a zip file that torch.save wrote") {
      try PyTorchReader(path: fixture("reference.safetensors"))
    }
    expectUserError(.missingInput, "none.bin") { try PyTorchReader(path: fixture("none.bin")) }
  }

  @Test(.enabled(if: Python.has("torch, safetensors"), "needs Python with torch and safetensors"))
  func readsWhatTorchWritesNow() throws {
    let folder = try ScratchFolder()
    _ = try Python.output(
      """
      import torch
      from safetensors.torch import save_file
      torch.manual_seed(1)
      net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Linear(5, 2, bias=False))
      torch.save(net.state_dict(), "\(folder.file("a.bin"))")
      save_file(net.state_dict(), "\(folder.file("a.safetensors"))")
      """)
    let (file, expected) = try (
      PyTorchReader(path: folder.file("a.bin")), SafetensorsReader(path: folder.file("a.safetensors"))
    )
    #expect(file.entries == expected.entries && file.names.count == 8)
    for name in file.names { #expect(try file.withBytes(name) { Array($0) } == expected.withBytes(name) { Array($0) }) }
  }

  // MARK: Files by hand

  private static let six: [UInt8] = [0, 1, 2, 3, 4, 5].flatMap { value in
    withUnsafeBytes(of: Float(value).bitPattern.littleEndian) { Array($0) }
  }

  /// Opens a file with a pickle and a storage of the numbers 0 to 5 named 0.
  private func open(_ pickle: [UInt8], storage: [UInt8] = six, method: Int = 0, isLong: Bool = false) throws
    -> PyTorchReader
  {
    let folder = try ScratchFolder()
    let entries = [("a/data.pkl", pickle), ("a/byteorder", Array("little".utf8)), ("a/data/0", storage)]
    let path = try folder.write(Data(zip(entries, method: method, isLong: isLong)), to: "a.bin")
    return try PyTorchReader(path: path)
  }

  private func pickle(_ tensor: [UInt8]) -> [UInt8] { P.file(P.dictionary([(P.text("w"), tensor)])) }

  @Test("Sizes and offsets of large files", arguments: [false, true]) func readsZip64(_ isLong: Bool) throws {
    let tensor = P.tensor(count: 6, offset: 1, shape: [2, 2], strides: [1, 2])
    #expect(try open(pickle(tensor), isLong: isLong).floats("w") == [1, 3, 2, 4])
  }

  @Test(
    "Tensors that are not parts of their storage",
    arguments: [
      (6, 0, [7], [1]), (6, 1, [6], [1]), (6, 0, [2, 3], [4, 1]), (6, -1, [2], [1]), (6, 0, [-1], [1]),
      (6, 0, [2], [-1]), (6, 0, [7], [0]), (6, 0, [Int.max, Int.max], [0, 0]), (6, 0, [3, 2], [Int.max, Int.max]),
      (6, Int.max, [2], [1]), (6, 7, [0], [1]), (6, 0, [1 << 62, 0, 2], [1, 1, 1]), (7, 0, [2], [1]),
      (Int.max, 0, [2], [1]),
    ])
  func refusesTensorsOutside(_ count: Int, _ offset: Int, _ shape: [Int], _ strides: [Int]) {
    expectUserError(.badData, "a.bin: w: expected") {
      try open(pickle(P.tensor(count: count, offset: offset, shape: shape, strides: strides)))
    }
  }

  @Test("Pickles that are malformed, or of something else")
  func refusesPickles() {
    let tensor = P.tensor(count: 6, shape: [6], strides: [1])
    let list: [UInt8] = [0x5D]
    let cases: [(pickle: [UInt8], problem: String)] = [
      ([0x80, 2], "the pickle ends in the middle"),
      ([0x80, 4, 0x2E], "expected pickle protocol 2, found 4"),
      (P.file([0x93]), "opcode STACK_GLOBAL is not part"),
      (P.file([0x69]), "opcode INST is not part"),
      (P.file([0xFE]), "opcode 0xfe is not part"),
      (P.file(), "a value is missing"),
      (P.file([0x28, 0x2E]), "a value is missing"),
      (P.file([0x74]), "a mark is missing"),
      (P.file([0x68, 3]), "nothing was remembered as number 3"),
      (P.file([0x4E, 0x4E, 0x52]), "expected a function and its arguments"),
      (P.file(P.call("torch", "FloatStorage", [])), "a storage's type is not a function"),
      (P.file(P.call("builtins", "eval", [])), "builtins.eval is not part"),
      (P.file(P.call("collections", "OrderedDict", [list])), "an ordered dictionary without arguments"),
      (P.file(P.call("torch._utils", "_rebuild_tensor_v2", [list])), "expected a tensor's storage"),
      (P.file(P.call("torch._utils", "_rebuild_parameter", [list])), "expected a parameter's tensor"),
      (P.file(list, [0x51]), "expected a storage's type"),
      (P.file(list, list, [0x62]), "only a dictionary may have attributes"),
      (P.file([0x4E, 0x4E, 0x61]), "expected a list to append to"),
      (P.file([0x7D, 0x28, 0x4E, 0x75]), "a value for each key"),
      (P.file([0x58, 1, 0, 0, 0, 0xFF]), "expected a text in UTF-8"),
      (P.file([0x58, 255, 255, 255, 255]), "ends in the middle of a value"),
      (P.file([0x8A, 9], [UInt8](repeating: 1, count: 9)), "at most 8 bytes, found 9"),
      (P.file(Array("cno end".utf8)), "expected a name of at most 256 bytes"),
      (P.file(list), "expected a dictionary of tensors, found another value"),
      (P.file(P.dictionary([(P.text("n"), P.number(1))])), "found one without any"),
      (P.file(P.dictionary([(P.text("w"), tensor), (P.text("w"), tensor)])), "w occurs more than once"),
      (pickle(P.tensor(key: "1", count: 6, shape: [6], strides: [1])), "there is no entry a/data/1"),
      (pickle(P.tensor(key: "../../x", count: 6, shape: [6], strides: [1])), "there is no entry a/data/../../x"),
      (pickle(P.tensor(count: 6, shape: [6], strides: [1, 1])), "expected a tensor's storage, offset"),
      (
        pickle(
          P.tensor(count: 6, shape: [Int](repeating: 1, count: 65), strides: [Int](repeating: 1, count: 65))),
        "expected a tensor's storage, offset"
      ),
    ]
    for (pickle, problem) in cases { expectUserError(.badData, "a.bin: ", problem) { try open(pickle) } }
  }

  @Test("Lists that contain themselves and deep nesting cost nothing") func passesOverStrangeValues() throws {
    let own: [UInt8] = bytes([0x5D, 0x71, 0, 0x68, 0, 0x61])
    let deep = [UInt8](repeating: 0x5D, count: 300_000) + [UInt8](repeating: 0x61, count: 299_999)
    let tuples = bytes([0x29], [UInt8](repeating: 0x85, count: 300_000))
    let tensor = P.tensor(count: 6, shape: [6], strides: [1])
    let items = [
      (P.text("own"), own), (P.text("deep"), deep), (P.text("tuples"), tuples), (P.text("w"), tensor),
      (P.number(1), tensor), (P.text("negative"), P.number(-5)),
    ]
    #expect(try open(P.file(P.dictionary(items))).names == ["w"])
  }

  @Test func refusesOtherZipFiles() throws {
    let good = pickle(P.tensor(count: 6, shape: [6], strides: [1]))
    #expect(try open(good).floats("w") == [0, 1, 2, 3, 4, 5])
    expectUserError(.badData, "a/byteorder cannot be read: it is compressed (method 8)") { try open(good, method: 8) }
    expectUserError(.badData, "w: expected a storage of 6 elements of type F32, found 23 bytes") {
      try open(good, storage: Self.six.dropLast())
    }
    let folder = try ScratchFolder()
    func openZip(_ entries: [(String, [UInt8])]) throws -> PyTorchReader {
      try PyTorchReader(path: folder.write(Data(zip(entries)), to: "a.bin"))
    }
    expectUserError(.badData, "expected one entry data.pkl, found 0") { try openZip([("a/b", [])]) }
    expectUserError(.badData, "found 2") { try openZip([("a/data.pkl", good), ("b/data.pkl", good)]) }
    expectUserError(.badData, "a/b occurs more than once") { try openZip([("a/b", []), ("a/b", [])]) }
    expectUserError(.badData, "byteorder: expected little") {
      try openZip([("a/data.pkl", good), ("a/byteorder", Array("big".utf8)), ("a/data/0", Self.six)])
    }
    expectUserError(.badData, "data.pkl: expected at most 4000000 bytes") {
      try openZip([("a/data.pkl", [UInt8](repeating: 0x4E, count: 4_000_001))])
    }
  }

  @Test("A file cut anywhere is refused") func refusesCutFiles() throws {
    let folder = try ScratchFolder()
    let whole = try contents(fixture("torch/nested.pt"))
    for length in stride(from: 0, to: whole.count, by: 7) {
      let path = try folder.write(whole.prefix(length), to: "a.bin")
      expectUserError(.badData, path) { try PyTorchReader(path: path) }
    }
  }
}
