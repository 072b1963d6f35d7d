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

  // MARK: Weights used as they lie in a file

  private static let configuration = UNetConfiguration(
    inputChannels: 3, outputChannels: 3, channels: [32, 64], attentionLevels: [1], groups: 8, classCount: 2)

  /// A file with the random weights of a network with every kind of layer.
  private func writeWeights(
    as type: ElementType, to path: String, changing change: @escaping @Sendable (inout [Float]) -> Void = { _ in }
  )
    throws
  {
    try onTensors { backend in
      let scope = Scope()
      _ = UNet(Self.configuration, scope)
      let arena = scope.makeArena(on: backend, seed: 3)
      try SafetensorsWriter.write(
        arena.parameters.map { parameter in
          // Zeros, as many weights are at first, would hide the others.
          var values = randomValues(parameter.shape.count, seed: UInt64(parameter.name.count), scale: 0.1)
          if parameter.name == "mid_block.resnets.0.conv1.weight" { change(&values) }
          let tensor = SafetensorsWriter.Tensor(name: parameter.name, shape: parameter.shape.sizes, floats: values)
          return type == .bfloat16 ? tensor.asBFloat16 : tensor
        }, to: path)
    }
  }

  @Test(
    "Weights used as they lie in a file give the same numbers as weights in memory, and need none",
    arguments: Backends.available, [ElementType.float32, .bfloat16])
  func usesWeights(_ kind: BackendKind, _ type: ElementType) throws {
    let folder = try ScratchFolder()
    let path = folder.file("weights.safetensors")
    try writeWeights(as: type, to: path)
    for activations in kind == .onednn && Backends.bfloat16 != .none ? [ScalarType.float32, .bfloat16] : [.float32] {
      let (outputs, values, memory, copied) = try onTensors(kind) { backend in
        var outputs: [[Float]] = []
        var values: [[Float]] = []
        var memory: [Int] = []
        for isUsed in [false, true] {
          let scope = Scope()
          let network = UNet(Self.configuration, scope)
          let arena = scope.makeArena(on: backend, seed: 1)
          let before = backend.memory.bytesInUse
          let file = try SafetensorsReader(path: path)
          try isUsed ? arena.useWeights(of: file) : arena.loadWeights(average: false, from: file)
          memory.append(backend.memory.bytesInUse - before)
          // Several times, since backends come to keep weights in other forms.
          for _ in 0..<4 {
            let labels = network.conditioner?([.label(0), .label(1)], type: activations, on: nil) ?? Conditioning()
            let x = randomTensor([2, 16, 16, 3], seed: 9, type: activations, on: backend)
            outputs.append(network(Variable(x), timesteps: [3, 700], conditioning: labels).value.values())
          }
          #expect(arena.isFrozen == (isUsed && (type == .float32 || backend.takesBFloat16Weights)))
          values.append(arena.parameters.flatMap { $0.value.values() })
          if isUsed {
            let generation = arena.parameters[0].stored.storage.generation
            arena.forgetDerived()
            #expect(arena.parameters[0].stored.storage.generation != generation)
            values.append(arena.parameters.flatMap { $0.view(of: arena.values).values() })
          }
        }
        return (outputs, values, memory, type == .bfloat16 && !backend.takesBFloat16Weights)
      }
      #expect(Set(outputs).count == 1 && values[0] == values[1] && values[0] == values[2])
      #expect(copied ? memory[1] == memory[0] : memory[1] * 10 < memory[0], "\(memory)")
    }
  }

  @Test("A file to be used is refused by name", arguments: [ElementType.float32, .bfloat16])
  func refusesWeights(_ type: ElementType) throws {
    let folder = try ScratchFolder()
    let path = folder.file("weights.safetensors")
    func use() throws {
      try onTensors { backend in
        let scope = Scope()
        _ = UNet(Self.configuration, scope)
        try scope.makeArena(on: backend, seed: 1).useWeights(of: SafetensorsReader(path: path))
      }
    }
    try writeWeights(as: type, to: path) { $0[100] = .nan }
    expectUserError(.badData, "mid_block.resnets.0.conv1.weight", "nan at index 100") { try use() }
    // A sum of squares of finite numbers that is not finite is no reason to refuse them.
    try writeWeights(as: type, to: path) { $0[100] = 3e38 }
    try use()
  }

  @Test("Weights of a file stay the same if it is replaced")
  func survivesReplacement() throws {
    let folder = try ScratchFolder()
    let path = folder.file("weights.safetensors")
    @Sendable func write(_ value: Float) throws {
      try SafetensorsWriter.write(
        [
          .init(name: "a", shape: [1024, 64], floats: [Float](repeating: value, count: 1 << 16)),
          .init(name: "integers", shape: [2], integers: [1, 2]),
          .init(name: "narrow", shape: [1, 2], floats: [value, -value]).asBFloat16,
        ], to: path + ".new")
      #expect(rename(path + ".new", path) == 0)
    }
    try write(1)
    let found = try onTensors { backend in
      let tensors = try SafetensorsReader(path: path).mappedTensors(on: backend)
      try write(2)
      tensors["a"]?.evict()
      return (tensors.keys.sorted(), tensors["a"]?.values(), tensors["narrow"]?.values())
    }
    #expect(found.0 == ["a", "narrow"] && found.1 == [Float](repeating: 1, count: 1 << 16) && found.2 == [1, -1])
  }

  @Test("Weights of a file leave the memory once they are packed", .enabled(if: Backends.available.contains(.onednn)))
  func leavesMemory() throws {
    let folder = try ScratchFolder()
    let path = folder.file("weights.safetensors")
    let size = 4096
    try SafetensorsWriter.write(
      [.init(name: "a", shape: [size, size], floats: [Float](repeating: 0.5, count: size * size))], to: path)
    let (before, read, packed, sums) = try onTensors(.onednn) { backend in
      guard let weight = try SafetensorsReader(path: path).mappedTensors(on: backend)["a"] else {
        return (0, 0, 0, [Float]())
      }
      let before = Self.filePages()
      _ = backend.sumOfSquares(weight)
      let read = Self.filePages()
      let x = Tensor(repeating: 1, shape: [1, size], on: backend)
      let sums = backend.linear(x, weight: weight, bias: nil, residual: nil).values()
      return (before, read, Self.filePages(), sums)
    }
    // Other tests use files meanwhile, but few as large as this.
    #expect(read - before > 48 << 20 && packed - before < 16 << 20, "\(before), \(read), \(packed)")
    #expect(sums == [Float](repeating: Float(size) / 2, count: size))
  }

  /// The bytes of files in the process's memory.
  private static func filePages() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("RssFile:") } ?? ""
    return (Int(line.filter(\.isNumber)) ?? 0) << 10
  }
}
