import EaselRunStorage
import EaselSupport
import EaselTestSupport
import Foundation
import Testing

@Suite struct WeightsFolderTests {
  private let folder: ScratchFolder

  init() throws { folder = try ScratchFolder() }

  /// A file with one number under a name.
  private func write(_ file: String, _ name: String = "w", _ value: Float = 1) throws {
    if file.hasSuffix(".safetensors") {
      try SafetensorsWriter.write([.init(name: name, shape: [1], floats: [value])], to: folder.file(file))
    } else {
      let tensor = PickleBytes.tensor(count: 1, shape: [1], strides: [1])
      let pickle = PickleBytes.file(PickleBytes.dictionary([(PickleBytes.text(name), tensor)]))
      let number = withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) }
      try folder.write(Data(zip([("a/data.pkl", pickle), ("a/data/0", number)])), to: file)
    }
  }

  private func writeIndex(_ name: String, _ map: [String: String]) throws {
    let json = try JSONSerialization.data(withJSONObject: ["metadata": ["total_size": 8], "weight_map": map])
    try folder.write(json, to: name)
  }

  @Test("The better of two files is taken, and said") func prefersTheBest() throws {
    let files = [
      "pytorch_model.fp16.bin", "pytorch_model.bin", "diffusion_pytorch_model.bin", "model.fp16.safetensors",
      "model.safetensors", "diffusion_pytorch_model.safetensors",
    ]
    for (index, file) in files.enumerated() {
      try write(file, "w", Float(index))
      let weights = try WeightsFolder(folder.path)
      #expect(weights.choice == file && weights.fileCount == 1)
      #expect(try weights.floats("w") == [Float(index)])
    }
  }

  @Test("Weights in parts", arguments: ["safetensors", "bin"]) func readsParts(_ format: String) throws {
    let parts = (1...2).map { "part-0000\($0)-of-00002.\(format)" }
    try write(parts[0], "a", 1)
    try write(parts[1], "b", 2)
    let index = "diffusion_pytorch_model.\(format).index.json"
    try writeIndex(index, ["a": parts[0], "b": parts[1]])
    let weights = try WeightsFolder(folder.path)
    #expect(weights.choice == index && weights.fileCount == 2 && weights.names == ["a", "b"])
    #expect(try weights.floats("a") == [1] && weights.floats("b") == [2])
    expectUserError(.badData, "no tensor is named c") { try weights.floats("c") }

    try writeIndex(index, ["a": parts[1]])
    expectUserError(.badData, "weight_map: a is not in \(parts[1])") { try WeightsFolder(folder.path) }
    try FileManager.default.removeItem(atPath: folder.file(parts[1]))
    expectUserError(.missingInput, "\(parts[1]) is missing, which \(index) names") { try WeightsFolder(folder.path) }
    for name in ["../\(parts[0])", "/\(parts[0])", "..", "sub/\(parts[0])", "part.txt", ""] {
      try writeIndex(index, ["a": name])
      expectUserError(.badData, "weight_map.a: expected the name of a .\(format) file in the same folder") {
        try WeightsFolder(folder.path)
      }
    }
  }

  @Test func refusesBadIndices() throws {
    expectUserError(.missingInput, "there are no weights in this folder") { try WeightsFolder(folder.path) }
    let index = "model.safetensors.index.json"
    for (text, problem) in [
      ("", "expected JSON"), ("{}", "weight_map: expected a value"), (#"{"weight_map": {}}"#, "found none"),
      (#"{"weight_map": {"a": 1}}"#, "weight_map.a: expected a text"),
      (#"{"weight_map": {"a": "b.safetensors", "a": "c.safetensors"}}"#, "a occurs more than once"),
    ] {
      try folder.write(text, to: index)
      expectUserError(.badData, index, problem) { try WeightsFolder(folder.path) }
    }
    try writeIndex(index, .init(uniqueKeysWithValues: (0..<257).map { ("w\($0)", "\($0).safetensors") }))
    expectUserError(.badData, "weight_map: expected at most 256 files, found 257") { try WeightsFolder(folder.path) }
  }

  @Test func renamesTensors() throws {
    try SafetensorsWriter.write(
      [.init(name: "old", shape: [2, 1, 1], floats: [1, 2]), .init(name: "same", shape: [1], floats: [3])],
      to: folder.file("a.safetensors"))
    let file = try SafetensorsReader(path: folder.file("a.safetensors"))
    let renamed = try RenamedTensors(file) { name, shape in name == "old" ? ("new", [2]) : (name, shape) }
    #expect(renamed.names == ["new", "same"] && renamed.entries["new"]?.shape == [2])
    #expect(try renamed.floats("new") == [1, 2] && renamed.floats("same") == [3])
    expectUserError(.badData, "no tensor is named old") { try renamed.floats("old") }
    expectUserError(.badData, "old and same are two names of one") { try RenamedTensors(file) { ("one", $1) } }
  }
}
