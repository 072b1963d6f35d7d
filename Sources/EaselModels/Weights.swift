import EaselLayers
import EaselRunStorage
import EaselSupport

/// An arena's buffer in a safetensors file: each parameter's part under the parameter's name.
extension Arena {
  /// Entries for `SafetensorsWriter`.
  ///
  /// - Parameters:
  ///   - buffer: values, an average or a moment.
  ///   - prefix: put before each name.
  public func entries(of buffer: Tensor, prefix: String = "") -> [SafetensorsWriter.Tensor] {
    entries(prefix: prefix) { $0.view(of: buffer) }
  }

  /// Entries of the values in use.
  package var valueEntries: [SafetensorsWriter.Tensor] { entries(prefix: "") { $0.value } }

  private func entries(prefix: String, _ values: @escaping (Parameter) -> Tensor) -> [SafetensorsWriter.Tensor] {
    parameters.map { parameter in
      SafetensorsWriter.Tensor(name: prefix + parameter.name, type: .float32, shape: parameter.shape.sizes) { sink in
        try values(parameter).withBytes { try sink($0) }
      }
    }
  }

  /// Reads every parameter's part of a buffer; float types narrower or wider than float32 are converted.
  ///
  /// - Throws: `UserError` (bad data) naming the file and the tensor that is missing or has another shape, before
  ///   anything is changed, or that holds an infinity or no number at all.
  public func load(_ buffer: Tensor, from file: any TensorFile, prefix: String = "") throws {
    try check(file, prefix: prefix)
    for parameter in parameters {
      let values = try file.finiteFloats(prefix + parameter.name)
      parameter.view(of: buffer).withMutableFloats { _ = $0.update(fromContentsOf: values) }
    }
    buffer.storage.markModified()
  }

  /// Checks that a file has a tensor of floats for every parameter, in its shape.
  private func check(_ file: any TensorFile, prefix: String) throws {
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
  }
}

/// What a network computes with: its parameters, trained or averaged, and the buffers beside them.
extension Arena {
  /// Entries for `SafetensorsWriter`; none if the average is requested but does not exist.
  public func weightEntries(average: Bool, prefix: String = "") -> [SafetensorsWriter.Tensor] {
    guard let values = average ? self.average : values else { return [] }
    return entries(of: values, prefix: prefix)
      + buffers.map { buffer in
        let value = withWeights(average: average) { buffer.value }
        return SafetensorsWriter.Tensor(name: prefix + buffer.name, type: .float32, shape: buffer.shape.sizes) { sink in
          try value.withBytes { try sink($0) }
        }
      }
  }

  /// Reads what ``weightEntries(average:prefix:)`` wrote into the trained weights, or into the average.
  ///
  /// - Throws: `UserError` (bad data), as ``load(_:from:prefix:)``.
  public func loadWeights(average: Bool, from file: any TensorFile, prefix: String = "") throws {
    guard let values = average ? self.average : values else { return }
    try withWeights(average: average) {
      try readBuffers(from: file, prefix: prefix) { try load(values, from: file, prefix: prefix) }
    }
  }

  /// Reads the trained weights of a network that is only used from now on. Those of several axes are used as they lie in
  /// the file, without a copy in memory, if the backend takes their type.
  ///
  /// - Throws: `UserError` (bad data), as ``load(_:from:prefix:)``.
  package func useWeights(of file: SafetensorsReader, prefix: String = "") throws {
    try readBuffers(from: file, prefix: prefix) {
      try check(file, prefix: prefix)
      let mapped = file.mappedTensors(on: backend)
      let stored = parameters.compactMap { mapped[prefix + $0.name] }
      guard stored.count == parameters.count,
        backend.takesBFloat16Weights || stored.allSatisfy({ $0.type == .float32 })
      else { return try load(values, from: file, prefix: prefix) }
      use(
        try zip(parameters, stored).map { parameter, weights in
          let name = prefix + parameter.name
          if parameter.shape.rank < 2 {
            let vector = Tensor(try file.finiteFloats(name), shape: parameter.shape, on: backend)
            vector.storage.markModified()
            return vector
          }
          // A sum of finite numbers may also be too large, so look at the numbers.
          if !backend.sumOfSquares(weights.cast(to: .float32)).isFinite { _ = try file.finiteFloats(name) }
          weights.evict()
          return weights
        })
    }
  }

  /// Checks the shapes of the buffers in a file, and reads them after other work.
  private func readBuffers(from file: any TensorFile, prefix: String, after work: () throws -> Void) throws {
    for buffer in buffers {
      guard file.entries[prefix + buffer.name]?.shape == buffer.shape.sizes else {
        throw UserError(
          .badData, "\(file.path): expected a tensor \(prefix + buffer.name) of shape \(buffer.shape)",
          hint: "The file belongs to another model, or to one with other settings.")
      }
    }
    try work()
    for buffer in buffers {
      let numbers = try file.finiteFloats(prefix + buffer.name)
      buffer.value.withMutableFloats { _ = $0.update(fromContentsOf: numbers) }
    }
  }

  private func withWeights<Result>(average: Bool, _ work: () throws -> Result) rethrows -> Result {
    let before = usesAverage
    usesAverage = average
    defer { usesAverage = before }
    return try work()
  }
}

extension TensorFile {
  /// The numbers of a usable network. A network that is partly not finite may still give finite losses and pictures,
  /// because activations such as a sigmoid swallow NaN, but they mean nothing.
  ///
  /// - Throws: `UserError` (bad data) naming the first number that is not finite; and as ``floats(_:)``.
  package func finiteFloats(_ name: String) throws -> [Float] {
    let values = try floats(name)
    if let place = values.firstIndex(where: { !$0.isFinite }) {
      throw UserError(
        .badData, "\(path): tensor \(name): expected finite numbers, found \(values[place]) at index \(place)",
        hint: "The training that wrote it had gone wrong. Name an earlier checkpoint by its folder's path.")
    }
    return values
  }
}

extension Component {
  /// The prefix of this component's names in checkpoints.
  public var prefix: String { name.isEmpty ? "" : name + "." }
}
