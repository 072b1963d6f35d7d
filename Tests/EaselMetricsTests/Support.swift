import EaselMetrics
import EaselRunStorage
import EaselTestSupport
import Foundation

/// Golden values of `Tests/Fixtures/make_metrics.py`.
enum Golden {
  static func reader() throws -> SafetensorsReader {
    try SafetensorsReader(path: fixture("metrics.safetensors"))
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
