import Foundation

extension TensorFile {
  /// One of this file's tensors for writing to another file; its bytes are read when they are written.
  ///
  /// - Parameters:
  ///   - name: its name in both files.
  ///   - type: the type that F32, BF16, F16 and F64 elements are converted to: `.float32` or `.bfloat16`, rounded to
  ///     the nearest, ties to even. Elements of other types stay as they are.
  /// - Throws: `UserError(.badData)` if the file has no such tensor.
  public func tensor(_ name: String, floatsAs type: ElementType) throws -> SafetensorsWriter.Tensor {
    precondition([.float32, .bfloat16].contains(type), "floats are exported as float32 or bfloat16")
    let entry = try entry(name)
    let isFloat = [.float32, .bfloat16, .float16, .float64].contains(entry.type)
    guard isFloat, entry.type != type else {
      return SafetensorsWriter.Tensor(name: name, type: entry.type, shape: entry.shape) { sink in
        try self.withBytes(name, sink)
      }
    }
    return SafetensorsWriter.Tensor(name: name, type: type, shape: entry.shape) { sink in
      let values = try self.floats(name)
      if type == .float32 {
        try values.withUnsafeBytes(sink)
      } else {
        try values.map(bfloat16Bits).withUnsafeBytes(sink)
      }
    }
  }
}

extension SafetensorsWriter.Tensor {
  /// This tensor under another name.
  public func named(_ name: String) -> SafetensorsWriter.Tensor {
    SafetensorsWriter.Tensor(name: name, type: type, shape: shape, writeBytes: writeBytes)
  }

  /// This float32 tensor, stored as bfloat16: rounded to the nearest, ties to even.
  public var asBFloat16: SafetensorsWriter.Tensor {
    SafetensorsWriter.Tensor(name: name, type: .bfloat16, shape: shape) { sink in
      try writeBytes { bytes in try bytes.bindMemory(to: Float.self).map(bfloat16Bits).withUnsafeBytes(sink) }
    }
  }
}

/// The bfloat16 nearest to a number, ties to even: the upper half of its bits, rounded.
func bfloat16Bits(_ value: Float) -> UInt16 {
  // Rounding could carry a NaN's bits into an infinity or a zero.
  if value.isNaN { return UInt16(value.bitPattern >> 16) | 0x0040 }
  let bits = value.bitPattern
  return UInt16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
}
