import EaselSupport
import Foundation

/// The weights in a model's folder as diffusers and transformers save them: one file or several, in safetensors or
/// PyTorch's own format, in float32 or, if only that is there, as the variant in float16.
public struct WeightsFolder: TensorFile {
  /// The folder.
  public let path: String
  public let entries: [String: TensorEntry]
  /// The name of the file that was chosen in the folder: the weights, or the index of their parts.
  public let choice: String
  /// How many files the weights are in.
  public var fileCount: Int { files.count }

  private let files: [String: any TensorFile]
  /// The file of each tensor.
  private let places: [String: String]

  /// The limits of an index: bytes, and files that are open at once.
  private static let maximumIndexLength = 10_000_000
  private static let maximumFileCount = 256

  /// The names to look for, the best first: safetensors run nothing and are checked, the whole precision before half.
  public static let names: [String] =
    [("safetensors", ["diffusion_pytorch_model", "model"]), ("bin", ["diffusion_pytorch_model", "pytorch_model"])]
    .flatMap { format, stems in
      [".\(format)", ".\(format).index.json", ".fp16.\(format)", ".\(format).index.fp16.json"].flatMap { suffix in
        stems.map { $0 + suffix }
      }
    }

  /// Opens the first of ``names`` that is in a folder.
  ///
  /// - Throws: `UserError(.missingInput)` if there are no weights, or not all of their parts; `.badData` if an index or
  ///   a file is malformed; and as ``SafetensorsReader/init(path:)`` and ``PyTorchReader/init(path:)``.
  public init(_ path: String) throws {
    guard let choice = Self.names.first(where: { FileSystem.exists("\(path)/\($0)") }) else {
      throw UserError(
        .missingInput, "\(path): there are no weights in this folder",
        hint: "Expected \(Self.names[0]), model.safetensors or a file of the same kind in PyTorch's format.")
    }
    let isIndex = choice.hasSuffix(".json")
    let map = isIndex ? try Self.index(choice, in: path) : nil
    var files: [String: any TensorFile] = [:]
    for name in Set(map?.values.map { $0 } ?? [choice]).sorted() {
      guard FileSystem.exists("\(path)/\(name)") else {
        throw UserError(
          .missingInput, "\(path)/\(name) is missing, which \(choice) names",
          hint: "Download all files of the model.")
      }
      let file = "\(path)/\(name)"
      files[name] = try name.hasSuffix(".bin") ? PyTorchReader(path: file) : SafetensorsReader(path: file)
    }
    let places = map ?? files[choice]?.entries.mapValues { _ in choice } ?? [:]
    entries = try .init(
      uniqueKeysWithValues: places.map { tensor, name in
        guard let entry = files[name]?.entries[tensor] else {
          throw UserError(.badData, "\(path)/\(choice): weight_map: \(tensor) is not in \(name)")
        }
        return (tensor, entry)
      })
    (self.path, self.choice, self.files, self.places) = (path, choice, files, places)
  }

  public func read(_ name: String, into buffer: UnsafeMutableRawBufferPointer) throws {
    _ = try entry(name)
    try places[name].flatMap { files[$0] }?.read(name, into: buffer)
  }

  /// The file of each tensor, from an index.
  private static func index(_ name: String, in folder: String) throws -> [String: String] {
    struct Index: Decodable {
      let weightMap: [String: String]
      enum CodingKeys: String, CodingKey { case weightMap = "weight_map" }
    }
    let path = "\(folder)/\(name)"
    let json = try FileSystem.read(path, limit: maximumIndexLength)
    let map: [String: String]
    do {
      map = try JSONDecoder().decode(Index.self, from: json).weightMap
    } catch {
      throw UserError(.badData, "\(path): \(error.reason)")
    }
    if let key = firstDuplicateKey(inJSON: Array(json)) {
      throw UserError(.badData, "\(path): \(key) occurs more than once; two readers would see two tensors")
    }
    guard !map.isEmpty else { throw UserError(.badData, "\(path): weight_map: expected tensors, found none") }
    let suffix = name.contains(".safetensors.") ? ".safetensors" : ".bin"
    for (tensor, file) in map where file.contains("/") || file.hasPrefix(".") || !file.hasSuffix(suffix) {
      throw UserError(
        .badData,
        "\(path): weight_map.\(tensor): expected the name of a \(suffix) file in the same folder, found \(file)")
    }
    let count = Set(map.values).count
    guard count <= maximumFileCount else {
      throw UserError(.badData, "\(path): weight_map: expected at most \(maximumFileCount) files, found \(count)")
    }
    return map
  }
}
