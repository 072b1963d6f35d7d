import EaselRunStorage

extension TensorFile {
  /// The file with today's names for what older versions of diffusers called otherwise.
  ///
  /// Attention's projections were `query`, `key`, `value` and `proj_attn` before diffusers 0.17. In weights that come
  /// from 1×1 convolutions, all projections have shape `[outputs, inputs, 1, 1]` instead of `[outputs, inputs]`.
  ///
  /// - Throws: `UserError` (bad data) if a tensor is there under both names.
  public func withCurrentNames() throws -> any TensorFile {
    try RenamedTensors(self) { name, shape in
      let parts = name.split(separator: ".", omittingEmptySubsequences: false)
      // ….attentions.0.query.weight
      guard let list = parts.lastIndex(of: "attentions"), parts.count >= list + 4 else { return (name, shape) }
      let projection = parts[(list + 2)..<(parts.count - 1)].joined(separator: ".")
      let current = legacyProjections[projection] ?? projection
      guard legacyProjections.values.contains(current) else { return (name, shape) }
      let isConvolution = shape.count == 4 && shape[2...] == [1, 1]
      return (
        (parts[..<(list + 2)] + [Substring(current)] + parts.suffix(1)).joined(separator: "."),
        isConvolution ? Array(shape[..<2]) : shape
      )
    }
  }
}

/// Old and present names of attention's projections.
private let legacyProjections = ["query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"]
