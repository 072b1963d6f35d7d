import EaselSupport

/// A file's tensors under other names, and in other shapes of as many elements.
public struct RenamedTensors: TensorFile {
  public let entries: [String: TensorEntry]
  public var path: String { file.path }

  private let file: any TensorFile
  /// The names in the file.
  private let sources: [String: String]

  /// - Parameters:
  ///   - file: the file.
  ///   - rename: a tensor's new name and shape; a shape of as many elements as before.
  /// - Throws: `UserError(.badData)` if two tensors get the same name.
  public init(_ file: any TensorFile, _ rename: (_ name: String, _ shape: [Int]) -> (name: String, shape: [Int])) throws
  {
    var entries: [String: TensorEntry] = [:]
    var sources: [String: String] = [:]
    for source in file.names {
      let entry = try file.entry(source)
      let (name, shape) = rename(source, entry.shape)
      entries[name] = TensorEntry(type: entry.type, shape: shape)
      if let other = sources.updateValue(source, forKey: name) {
        throw UserError(.badData, "\(file.path): \(other) and \(source) are two names of \(name)")
      }
    }
    (self.file, self.entries, self.sources) = (file, entries, sources)
  }

  public func read(_ name: String, into buffer: UnsafeMutableRawBufferPointer) throws {
    _ = try entry(name)
    try file.read(sources[name] ?? name, into: buffer)
  }
}
