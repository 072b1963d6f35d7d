import EaselModels
import EaselRunStorage
import EaselSupport
import EaselTestSupport
import Foundation
import Testing

// MARK: - Tensors

/// ‖a − b‖ / ‖b‖, where b is the expected value. Infinite if the numbers of values differ.
func relativeError(_ a: [Float], _ b: [Float]) -> Double {
  guard a.count == b.count else { return .infinity }
  let difference = zip(a, b).reduce(0.0) { $0 + pow(Double($1.0) - Double($1.1), 2) }.squareRoot()
  return difference == 0 ? 0 : difference / norm(b)
}

/// Whether a parameter's gradient is the expected one to 1e-3, where `whole` is the norm of all of them together.
///
/// Some are zero by construction: softmax cancels the biases of keys, a norm with groups of one channel those of the
/// convolution before it. Only rounding remains of them.
func isSameGradient(_ found: [Float], _ expected: [Float], whole: Double) -> Bool {
  norm(expected) < 1e-9 * whole ? norm(found) < 1e-6 * whole : relativeError(found, expected) < 1e-3
}

func norm(_ values: [Float]) -> Double { values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot() }

func allFinite(_ values: [Float]) -> Bool { values.allSatisfy { $0.isFinite } }

func largestDifference(_ a: [Float], _ b: [Float]) -> Float {
  a.count == b.count ? zip(a, b).map { abs($0 - $1) }.max() ?? 0 : .infinity
}

/// Numbers without any pattern, the same every time: standard normal.
func normalValues(_ shape: Shape, seed: UInt64, on backend: any Backend) -> Tensor {
  let tensor = Tensor(uninitialized: shape, on: backend)
  backend.fillNormal(tensor, RandomDraw(seed: seed, stream: .data))
  return tensor
}

/// Images with values 0 to 1.
func uniformImages(_ shape: Shape, seed: UInt64 = 5, on backend: any Backend) -> Tensor {
  let tensor = Tensor(uninitialized: shape, on: backend)
  backend.fillUniform(tensor, RandomDraw(seed: seed, stream: .data))
  return tensor
}

extension Component {
  /// Moves every parameter off its initial value, since zeros of last layers would hide everything before them.
  func perturb(by deviation: Float, seed: UInt64 = 9) {
    for (index, parameter) in arena.parameters.enumerated() {
      let noise = normalValues(parameter.shape, seed: seed + UInt64(index), on: arena.backend)
      arena.backend.accumulate(noise, alpha: deviation, into: parameter.value)
    }
    arena.values.storage.markModified()
  }
}

// MARK: - Layouts

/// Values of PyTorch's `[N, C, H, W]` in the order of `[N, H, W, C]`.
func channelsLast<Value>(_ values: [Value], _ shape: [Int]) -> [Value] {
  permuted(values, shape, order: [0, 2, 3, 1])
}

/// The values of an array with its axes in another order, as `torch.permute`.
func permuted<Value>(_ values: [Value], _ shape: [Int], order: [Int]) -> [Value] {
  var strides = [Int](repeating: 1, count: shape.count)
  for axis in shape.indices.dropLast().reversed() { strides[axis] = strides[axis + 1] * shape[axis + 1] }
  let sizes = order.map { shape[$0] }
  let steps = order.map { strides[$0] }
  return values.indices.map { place in
    var (rest, source) = (place, 0)
    for axis in sizes.indices.reversed() {
      source += rest % sizes[axis] * steps[axis]
      rest /= sizes[axis]
    }
    return values[source]
  }
}

// MARK: - Fixtures

extension SafetensorsReader {
  /// An image tensor in Easel's layout.
  func images(_ name: String) throws -> (values: [Float], shape: Shape) {
    let shape = entries[name]?.shape ?? []
    guard shape.count == 4 else { throw UserError(.badData, "\(name) is no image tensor: \(shape)") }
    return (channelsLast(try floats(name), shape), [shape[0], shape[2], shape[3], shape[1]])
  }
}

// MARK: - Models

extension DataDescription {
  /// Small enough for a test.
  static let tiny = DataDescription(width: 8, height: 8, channels: 1)
  static let tinyLabelled = DataDescription(width: 8, height: 8, channels: 1, classNames: ["disc", "ring", "bar"])
}

extension ModelContext {
  static func float32(on backend: any Backend, _ data: DataDescription, seed: UInt64 = 1) -> ModelContext {
    ModelContext(backend: backend, type: .float32, seed: seed, data: data)
  }
}

/// Settings of a diffusion model that takes a millisecond per pass.
func tinyDiffusion(_ change: (inout DiffusionSettings) -> Void = { _ in }) -> DiffusionSettings {
  DiffusionSettings {
    $0.channels = [8, 16]
    $0.layersPerBlock = 1
    $0.attentionLevels = [1]
    $0.groups = 4
    $0.samplerSteps = 6
    change(&$0)
  }
}

/// A model in which every layer has an effect, although it was never trained.
func perturbedDiffusion(
  _ settings: DiffusionSettings = tinyDiffusion(), _ data: DataDescription = .tiny, by deviation: Float = 0.1,
  on backend: any Backend
) throws -> Diffusion {
  let model = try Diffusion(settings, .float32(on: backend, data))
  model.components[0].perturb(by: deviation)
  return model
}

/// Settings of a consistency model that takes a millisecond per pass.
func tinyConsistency(_ change: (inout ConsistencySettings) -> Void = { _ in }) -> ConsistencySettings {
  ConsistencySettings {
    $0.diffusion = tinyDiffusion {
      ($0.noiseSchedule, $0.prediction) = (.edm, .velocity)
      ($0.sampler, $0.samplerSteps) = (.consistency, 2)
    }
    change(&$0)
  }
}

/// A consistency model in which every layer has an effect, although it was never trained.
func perturbedConsistency(
  _ settings: ConsistencySettings = tinyConsistency(), _ data: DataDescription = .tiny, on backend: any Backend
) throws -> Consistency {
  let model = try Consistency(settings, .float32(on: backend, data))
  model.components[0].perturb(by: 0.1)
  return model
}

extension Model {
  /// Trains on one batch until it is learned, for at most `limit` steps. The number of steps depends on the processor's
  /// rounding, but whether the batch is learned does not.
  ///
  /// - Parameter isLearned: receives a step's metrics; called at every tenth step.
  /// - Returns: the number of steps; nil if the batch was not learned.
  func train(
    on batch: Batch, _ settings: TrainingSettings, atMost limit: Int = 5000,
    until isLearned: (EaselModels.Metrics) -> Bool
  ) -> Int? {
    for index in 0..<limit {
      let metrics = trainingStep(batch, TrainingStep(index: index, settings: settings))
      if (index + 1).isMultiple(of: 10), isLearned(metrics) { return index + 1 }
    }
    return nil
  }
}

/// Whether a training's losses are the recorded ones, as far as rounding lets them.
///
/// Each processor rounds sums in a different order, and training enlarges such differences from step to step: Adam
/// divides a gradient of nearly zero by its own size. The enlargement is measured by training again from parameters
/// that are off by a few roundings.
///
/// - Parameter losses: trains on a backend; it calls `prepare` with all parameters before the first step.
func expectCurve(
  _ expected: [Float], on kind: BackendKind, sourceLocation: SourceLocation = #_sourceLocation,
  losses: @escaping @Sendable (any Backend, _ prepare: ([Arena]) -> Void) throws -> [Float]
) throws {
  let found = try onTensors(kind) { try losses($0) { _ in } }
  let nudged = try onTensors(kind) { backend in
    try losses(backend) { arenas in
      for arena in arenas {
        arena.values.withMutableFloats { values in
          for place in values.indices { values[place] *= place.isMultiple(of: 2) ? 1 + 4e-7 : 1 - 4e-7 }
        }
        arena.values.storage.markModified()
      }
    }
  }
  #expect(found.count == expected.count, sourceLocation: sourceLocation)
  var spread: Float = 0
  for (step, (found, (expected, nudged))) in zip(found, zip(expected, nudged)).enumerated() {
    spread = max(spread, abs(nudged - found))
    let bound = max(2e-5 * abs(expected), 20 * spread)
    // A bound that accepts everything would be useless.
    #expect(bound < 0.2 * abs(expected), "step \(step)", sourceLocation: sourceLocation)
    #expect(
      abs(found - expected) < bound, "step \(step): \(found) for \(expected), bound \(bound)",
      sourceLocation: sourceLocation)
  }
}

/// A batch of smooth pictures, each different: blobs of several sizes and positions. Each has two captions; every ninth has
/// the same.
func blobs(_ data: DataDescription = .tiny, count: Int, labels: [Int32]? = nil) -> Batch {
  var pixels: [UInt8] = []
  for image in 0..<count {
    let centre = (x: Float(image * 3 % data.width), y: Float(image * 5 % data.height))
    let size = Float(1 + image % 3)
    for y in 0..<data.height {
      for x in 0..<data.width {
        let distance = (Float(x) - centre.x) * (Float(x) - centre.x) + (Float(y) - centre.y) * (Float(y) - centre.y)
        let level = UInt8(255 * exp(-distance / (2 * size * size)))
        for channel in 0..<data.channels { pixels.append(level / UInt8(1 + channel)) }
      }
    }
  }
  return Batch(
    number: 0, pixels: pixels,
    annotations: Annotations(
      labels: labels, captions: (0..<count).map { ["picture number \($0 % 9)", "number \($0 % 9)"] }),
    count: count, width: data.width, height: data.height, channels: data.channels)
}
