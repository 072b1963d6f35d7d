import Foundation
import Metrics
import RunStorage

/// Runs work on the tensor thread with a fresh backend.
func onTensors<Result>(
  _ kind: BackendKind = .openblas, threads: Int = 2, _ work: @escaping @Sendable (any Backend) throws -> Result
) throws -> Result {
  try TensorThread.run { try work(Backends.make(kind, threads: threads)) }
}

/// Golden values of `Tests/Fixtures/make_metrics.py`.
enum Golden {
  static func reader() throws -> SafetensorsReader {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    return try SafetensorsReader(path: folder.appendingPathComponent("Fixtures/metrics.safetensors").path)
  }

  static func points(_ name: String) throws -> FeatureSet {
    let reader = try reader()
    return FeatureSet(try reader.floats(name), dimensions: reader.entries[name]?.shape.last ?? 1)
  }

  static func numbers(_ name: String) throws -> [Double] { try reader().floats(name).map(Double.init) }

  static func image(_ name: String) throws -> Image {
    let reader = try reader()
    let shape = reader.entries[name]?.shape ?? []
    return try reader.withBytes(name) {
      Image(width: shape[1], height: shape[0], channels: shape[2], pixels: Array($0))
    }
  }
}

/// Standard normal points, the same every time.
func normalPoints(_ count: Int, _ dimensions: Int, seed: UInt64, scale: Float = 1, shift: Float = 0) throws
  -> FeatureSet
{
  let values = try onTensors { backend in
    let tensor = Tensor(uninitialized: [count, dimensions], on: backend)
    backend.fillNormal(tensor, RandomDraw(seed: seed, stream: .data))
    return tensor.values()
  }
  return FeatureSet(values.map { scale * $0 + shift }, dimensions: dimensions)
}
