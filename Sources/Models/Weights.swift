import Layers
import RunStorage

/// A buffer of an arena in a safetensors file: each parameter's part under the parameter's name.
extension Arena {
  /// Entries for ``SafetensorsWriter``.
  ///
  /// - Parameters:
  ///   - buffer: values, an average or a moment.
  ///   - prefix: put before each name.
  public func entries(of buffer: Tensor, prefix: String = "") -> [SafetensorsWriter.Tensor] {
    parameters.map { parameter in
      let part = parameter.view(of: buffer)
      return SafetensorsWriter.Tensor(name: prefix + parameter.name, type: .float32, shape: part.shape.sizes) { sink in
        try part.withBytes { try sink($0) }
      }
    }
  }

  /// Reads every parameter's part of a buffer; float types narrower or wider than float32 are converted.
  ///
  /// - Throws: `UserError` (bad data) naming the file and the tensor that is missing or has another shape, before anything is
  ///   changed.
  public func load(_ buffer: Tensor, from file: SafetensorsReader, prefix: String = "") throws {
    for parameter in parameters {
      let name = prefix + parameter.name
      guard let entry = file.entries[name] else {
        throw UserError(
          .badData, "\(file.path): there is no tensor \(name)",
          hint: "The file belongs to another model, or to one with other settings.")
      }
      guard entry.shape == parameter.shape.sizes else {
        throw UserError(
          .badData, "\(file.path): tensor \(name) has shape \(Shape(entry.shape)), expected \(parameter.shape)",
          hint: "The file belongs to a model with other settings.")
      }
      guard [.float32, .bfloat16, .float16, .float64].contains(entry.type) else {
        throw UserError(
          .badData, "\(file.path): tensor \(name): expected F32, BF16, F16 or F64, found \(entry.type.rawValue)")
      }
    }
    for parameter in parameters {
      let values = try file.floats(prefix + parameter.name)
      parameter.view(of: buffer).withMutableFloats { _ = $0.update(fromContentsOf: values) }
    }
    buffer.storage.markModified()
  }
}

extension Component {
  /// What stands before this component's names in checkpoints.
  public var prefix: String { name.isEmpty ? "" : name + "." }
}
