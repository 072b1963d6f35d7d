import EaselLayers
import EaselModels
import EaselRunStorage
import EaselSupport
import EaselTestSupport
import Foundation
import Testing

/// Weights from others' files, in their formats and under their older names.
@Suite struct WeightsTests {
  private typealias P = PickleBytes

  private static let older = ["to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"]

  /// A fixture's weights as an old version of diffusers wrote them: attention under older names and with the shapes of
  /// 1×1 convolutions, in a `.bin` file.
  private func writeOlderFile(_ fixture: UNetFixture, to folder: ScratchFolder) throws -> Int {
    let weights = try fixture.weights()
    var renamed = 0
    var entries: [(String, [UInt8])] = []
    var items: [(key: [UInt8], value: [UInt8])] = []
    for (index, name) in weights.names.enumerated() {
      let entry = try #require(weights.entries[name])
      var (old, shape) = (name, entry.shape)
      for (present, former) in Self.older where name.contains(".attentions.") && name.contains(".\(present).") {
        old = name.replacing(".\(present).", with: ".\(former).")
        if shape.count == 2 { shape += [1, 1] }
        renamed += 1
      }
      let strides = shape.indices.map { shape[($0 + 1)...].reduce(1, *) }
      let tensor = P.tensor(key: "\(index)", count: entry.elementCount, shape: shape, strides: strides)
      items.append((P.text(old), tensor))
      entries.append(("model/data/\(index)", try weights.withBytes(name) { Array($0) }))
    }
    let pickle = P.file(P.dictionary(items))
    try folder.write(Data(zip([("model/data.pkl", pickle)] + entries)), to: "diffusion_pytorch_model.bin")
    return renamed
  }

  @Test("Older names and 1×1 convolutions in a .bin file are the same weights", arguments: Backends.available)
  func loadsOlderFiles(_ kind: BackendKind) throws {
    let fixture = UNetFixture.all[0]
    let folder = try ScratchFolder()
    #expect(try writeOlderFile(fixture, to: folder) >= 8)
    let older = try WeightsFolder(folder.path).withCurrentNames()
    let values = try onTensors(kind) { backend -> [[Float]] in
      let scope = Scope()
      _ = UNet(try fixture.configuration(), scope)
      let arena = scope.makeArena(on: backend, seed: 1)
      return try [older, fixture.weights()].map { file in
        arena.values.withMutableFloats { $0.update(repeating: 0) }
        try arena.load(arena.values, from: file)
        return arena.values.values()
      }
    }
    #expect(values[0] == values[1])
  }

  @Test("Only attention's projections are renamed")
  func renamesOnlyProjections() throws {
    let folder = try ScratchFolder()
    let names: [(given: String, shape: [Int], name: String, found: [Int])] = [
      ("mid_block.attentions.0.query.weight", [2, 2, 1, 1], "mid_block.attentions.0.to_q.weight", [2, 2]),
      ("mid_block.attentions.0.proj_attn.bias", [2], "mid_block.attentions.0.to_out.0.bias", [2]),
      ("a.attentions.1.to_k.weight", [2, 2, 1, 1], "a.attentions.1.to_k.weight", [2, 2]),
      ("a.attentions.1.proj_in.weight", [2, 2, 1, 1], "a.attentions.1.proj_in.weight", [2, 2, 1, 1]),
      (
        "a.attentions.1.transformer_blocks.0.attn1.to_q.weight", [2, 2],
        "a.attentions.1.transformer_blocks.0.attn1.to_q.weight", [2, 2]
      ),
      ("text.key.weight", [2, 2], "text.key.weight", [2, 2]), ("value", [1], "value", [1]),
      ("attentions.0.value", [1], "attentions.0.value", [1]),
    ]
    let path = folder.file("a.safetensors")
    func write(_ tensors: [(String, [Int])]) throws {
      try SafetensorsWriter.write(
        tensors.map { .init(name: $0.0, shape: $0.1, floats: [Float](repeating: 1, count: $0.1.reduce(1, *))) },
        to: path)
    }
    try write(names.map { ($0.given, $0.shape) })
    let file = try SafetensorsReader(path: path).withCurrentNames()
    #expect(file.entries.mapValues(\.shape) == .init(uniqueKeysWithValues: names.map { ($0.name, $0.found) }))
    try write([("attentions.0.query.bias", [1]), ("attentions.0.to_q.bias", [1])])
    expectUserError(.badData, "are two names of attentions.0.to_q.bias") {
      try SafetensorsReader(path: path).withCurrentNames()
    }
  }
}
