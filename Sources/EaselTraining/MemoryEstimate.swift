import EaselSupport
import Foundation

/// How much of the machine's memory a training needs, measured by steps of a few images on separate heaps.
struct MemoryEstimate {
  /// Bytes that do not depend on the batch: parameters, gradients, moments, average.
  let fixed: Int
  let perImage: Int
  /// Bytes for completing an average, which may process more images than a step does.
  let settling: Int

  /// - Throws: `UserError` if the settings and the data do not fit together.
  init(
    _ preset: AnyPreset, _ configuration: ConfigurationDocument, data: DataDescription, parts: PartCheckpoints,
    like backend: any Backend, available: Int
  ) throws {
    func peaks(_ images: Int) throws -> (step: Int, settling: Int) {
      let scratch = try Backends.make(backend.kind, threads: backend.threads.count)
      var few = configuration
      try few.set("batch-size", to: String(images), origin: .place("estimate"))
      try few.set("accumulate", to: "1", origin: .place("estimate"))
      var training = try BenchmarkTraining(preset, configuration: few, data: data, parts: parts, backend: scratch)
      training.step()
      let step = scratch.memory.peakBytes
      training.model.refreshAverageStatistics()
      return (step, scratch.memory.peakBytes)
    }
    // Measuring takes memory too: try one image first, and more only if there is room for them.
    let least = try peaks(1)
    let more = least.step > available / 4 ? 2 : 4
    let most = least.step > available ? nil : try peaks(more)
    perImage = max(1, most.map { ($0.step - least.step) / (more - 1) } ?? least.step)
    fixed = max(0, least.step - perImage)
    settling = least.settling
  }

  func bytes(images: Int) -> Int { max(settling, fixed + images * perImage) }

  /// The most images that fit at once; 0 if not even one does.
  func images(fitting bytes: Int) -> Int { bytes < settling ? 0 : max(0, (bytes - fixed) / perImage) }
}

extension Trainer {
  /// Makes sure that gradients, moments and an average fit beside a model's parameters.
  ///
  /// - Throws: `UserError(.unavailable)` with what is needed and what is available.
  static func requireMemory(for model: any Model) throws {
    let parameters = model.components.lazy.filter { $0.role != .frozen }.reduce(0) { $0 + $1.arena.count }
    try MachineMemory.require(16 * parameters, for: "training \(parameters) parameters")
  }

  /// Makes sure that a training fits into memory, before it takes any.
  ///
  /// If it obviously fits, nothing is measured, since the estimate takes a moment.
  ///
  /// - Parameter available: bytes; nil for what the machine has left.
  /// - Throws: `UserError(.unavailable)` with the estimate and the batch that would fit.
  public func checkMemory(available: Int? = nil) throws {
    let available = available ?? MachineMemory.available
    let images = (settings.batchSize + settings.accumulate - 1) / settings.accumulate
    let description = state.data.description
    let parameters = model.parameterCount
    // More than any of the presets takes for a pixel, by its parameters.
    let (most, overflow) = (images * description.width * description.height).multipliedReportingOverflow(
      by: (64 << 10) * (1 + parameters / 4_000_000))
    if !overflow, most < available - 32 * parameters { return }
    let estimate = try MemoryEstimate(
      .named(state.preset), configuration, data: description, parts: parts, like: model.context.backend,
      available: available)
    let needed = estimate.bytes(images: images)
    if needed <= available { return }
    let fitting = estimate.images(fitting: available)
    let parts = fitting > 0 ? (settings.batchSize + fitting - 1) / fitting : 0
    throw UserError(
      .unavailable,
      "training on \(images) images at once needs about \(MachineMemory.text(needed)) of memory, \(MachineMemory.text(available)) are available",
      hint: fitting > 0
        ? "\(fitting) fit: \(field: "batch-size") \(fitting), or \(field: "set") accumulate=\(parts) for the same step in parts."
        : "Not even one image fits: make the images or the network smaller.")
  }
}
