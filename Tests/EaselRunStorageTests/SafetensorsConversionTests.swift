import EaselRunStorage
import EaselTestSupport
import Foundation
import Testing

@Suite struct SafetensorsConversionTests {
  /// Numbers with their nearest bfloat16, by PyTorch's `tensor.to(torch.bfloat16)`.
  private static let cases: [(value: UInt32, bfloat16: UInt16)] = [
    (0x3F80_0000, 0x3F80),  // 1
    (0x3F80_8000, 0x3F80),  // half-way between 1 and the next: to even, down
    (0x3F81_8000, 0x3F82),  // half-way: to even, up
    (0x3F80_8001, 0x3F81),  // just above half-way
    (0x3F80_7FFF, 0x3F80),
    (0xBF81_8000, 0xBF82),
    (0x0000_0001, 0x0000),  // the smallest subnormal
    (0x8000_0000, 0x8000),  // −0
    (0x7F7F_FFFF, 0x7F80),  // the largest number is nearer to infinity
    (0x7F80_0000, 0x7F80),  // infinity
    (0xFF80_0000, 0xFF80),
  ]

  private func convert(_ tensors: [SafetensorsWriter.Tensor], to type: ElementType) throws -> SafetensorsReader {
    let folder = try ScratchFolder()
    try SafetensorsWriter.write(tensors, metadata: ["format": "pt"], to: folder.file("a.safetensors"))
    let source = try SafetensorsReader(path: folder.file("a.safetensors"))
    try SafetensorsWriter.write(
      source.names.map { try source.tensor($0, floatsAs: type) }, metadata: source.metadata,
      to: folder.file("b.safetensors"))
    return try SafetensorsReader(path: folder.file("b.safetensors"))
  }

  private func bits(_ reader: SafetensorsReader, _ name: String) throws -> [UInt16] {
    try reader.withBytes(name) { Array($0.bindMemory(to: UInt16.self)) }
  }

  @Test func floatsBecomeTheNearestBfloat16TiesToEven() throws {
    let values = Self.cases.map { Float(bitPattern: $0.value) }
    let converted = try convert([.init(name: "x", shape: [values.count], floats: values)], to: .bfloat16)
    #expect(converted.entries["x"]?.type == .bfloat16)
    #expect(try bits(converted, "x") == Self.cases.map(\.bfloat16))
    #expect(converted.metadata == ["format": "pt"])
  }

  @Test func notANumberStaysNotANumber() throws {
    // A NaN with its payload only in the lower half, and one whose bits would carry over.
    let values = [Float(bitPattern: 0x7F80_0001), Float(bitPattern: 0x7FFF_FFFF), Float(bitPattern: 0xFFFF_FFFF)]
    let converted = try convert([.init(name: "x", shape: [3], floats: values)], to: .bfloat16)
    #expect(try converted.floats("x").allSatisfy(\.isNaN))
  }

  @Test func otherTypesStayAndBfloat16Widens() throws {
    let half = SafetensorsWriter.Tensor(name: "half", type: .float16, shape: [2]) { sink in
      try [Float16(1.5), Float16(-0.25)].withUnsafeBytes(sink)
    }
    let narrow = SafetensorsWriter.Tensor(name: "narrow", type: .bfloat16, shape: [1, 2]) { sink in
      try [UInt16(0x3FC0), UInt16(0xBE80)].withUnsafeBytes(sink)
    }
    let count = SafetensorsWriter.Tensor(name: "count", shape: [], integers: [1 << 40])
    for type in [ElementType.float32, .bfloat16] {
      let converted = try convert([half, narrow, count], to: type)
      #expect(converted.entries["half"]?.type == type && converted.entries["narrow"]?.type == type)
      #expect(try converted.floats("half") == [1.5, -0.25])
      #expect(try converted.floats("narrow") == [1.5, -0.25])
      #expect(converted.entries["narrow"]?.shape == [1, 2])
      #expect(try converted.integers("count") == [1 << 40])
    }
  }
}
