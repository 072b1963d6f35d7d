import Foundation

/// The speed of a preset on made-up data. `Benchmarks/` has a PyTorch script that reports the same figures.
public struct BenchmarkResult: Codable, Sendable {
  public var model: String
  public var mode: String
  /// The size of the images: width×height×channels.
  public var image: String
  public var batch: Int
  public var threads: Int
  public var easel: String
  public var parameters: Int
  /// Median over whole training steps: forward, backward, clipping, optimizer, moving average.
  public var trainImagesPerSecond: Double
  /// Median over passes of the network that makes pictures.
  public var sampleImagesPerSecond: Double
  public var peakRSSMegabytes: Int
  /// Blocks taken from the system during the timed training steps; 0 if every step reuses the memory of the step
  /// before.
  public var systemAllocations: Int

  public enum CodingKeys: String, CodingKey {
    case model, mode, image, batch, threads, easel, parameters
    case trainImagesPerSecond = "train_images_per_second"
    case sampleImagesPerSecond = "sample_images_per_second"
    case peakRSSMegabytes = "peak_rss_mb"
    case systemAllocations = "system_allocations"
  }

  /// Trains and samples for a few steps.
  ///
  /// - Parameters:
  ///   - preset: the preset to measure.
  ///   - configuration: its settings.
  ///   - data: a description of the images; nil for those that the preset was made for.
  ///   - parts: the checkpoints that the settings name; nil if these are paths of checkpoints' folders.
  ///   - backend: the backend that computes.
  ///   - steps: how many steps are timed, after three that are not.
  public static func measure(
    _ preset: AnyPreset, configuration: ConfigurationDocument, data: DataDescription? = nil,
    parts: PartCheckpoints? = nil, backend: any Backend, steps: Int
  ) throws -> BenchmarkResult {
    var training = try BenchmarkTraining(
      preset, configuration: configuration, data: data, parts: parts, backend: backend)
    let (model, settings, batch) = (training.model, training.settings, training.batch)
    for _ in 0..<3 { training.step() }
    let before = backend.memory.systemAllocations
    let trainingTime = median(of: steps) { training.step() }
    let allocations = backend.memory.systemAllocations - before
    for _ in 0..<3 { model.benchmarkPass(batch) }
    let samplingTime = median(of: steps) { model.benchmarkPass(batch) }
    return BenchmarkResult(
      model: preset.name, mode: "\(backend.kind.rawValue)-\(model.context.type.rawValue)",
      image: model.context.data.sizeText, batch: settings.batchSize,
      threads: backend.threads.count, easel: easelVersion,
      parameters: model.parameterCount,
      trainImagesPerSecond: (10 * Double(settings.batchSize) / trainingTime).rounded() / 10,
      sampleImagesPerSecond: (10 * Double(settings.batchSize) / samplingTime).rounded() / 10,
      peakRSSMegabytes: peakMemory() >> 20, systemAllocations: allocations)
  }

  /// The largest resident memory of the process so far, in bytes.
  private static func peakMemory() -> Int {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return usage.ru_maxrss << 10
  }
}

/// A preset in training on made-up images.
struct BenchmarkTraining {
  let model: any Model
  let settings: TrainingSettings
  let batch: Batch
  private var index = 0

  /// - Parameters:
  ///   - preset: what is trained.
  ///   - configuration: its settings.
  ///   - data: what the images are like; nil for what the preset was made for.
  ///   - parts: the checkpoints that the settings name; nil if these are paths of checkpoints' folders.
  ///   - backend: what computes.
  init(
    _ preset: AnyPreset, configuration: ConfigurationDocument, data: DataDescription? = nil,
    parts: PartCheckpoints? = nil, backend: any Backend
  ) throws {
    let data = data ?? preset.data
    settings = try configuration.decode(TrainingSettings.self)
    try settings.validate()
    let type = try settings.precision.scalarType(on: backend, convolves3x3: preset.family.convolves3x3)
    let parts = try parts ?? PartCheckpoints(configuration, of: preset) { try CheckpointFolder.open($0) }
    let models = try parts.models(on: backend)
    let captions = Self.captions(count: settings.batchSize)
    let context = ModelContext(
      backend: backend, type: type, seed: settings.seed, data: data, parts: models,
      vocabulary: try preset.vocabulary(configuration, captions: captions, parts: models))
    model = try preset.makeModel(configuration, context)
    model.prepareForTraining(settings)
    let images = Self.images(data, count: settings.batchSize, .data)
    batch =
      preset.family.domains == .one
      ? images : images.with(counterpart: Self.images(data, count: settings.batchSize, .counterparts))
  }

  /// A different caption for each image.
  private static func captions(count: Int) -> [[String]] { (0..<count).map { ["a picture with the number \($0)"] } }

  private static func images(_ data: DataDescription, count: Int, _ stream: RandomStream) -> Batch {
    var generator = StreamGenerator(seed: 0, stream: stream)
    return Batch(
      number: 0, pixels: (0..<data.shape(count).count).map { _ in .random(in: 0...255, using: &generator) },
      annotations: Annotations(
        labels: data.classNames.isEmpty ? nil : [Int32](repeating: 0, count: count), captions: captions(count: count)),
      count: count, width: data.width,
      height: data.height, channels: data.channels)
  }

  mutating func step() {
    _ = model.trainingStep(batch, TrainingStep(index: index, settings: settings))
    index += 1
  }
}

extension DataDescription {
  /// `64×64×3`
  public var sizeText: String { "\(width)×\(height)×\(channels)" }
}

/// The median time of several calls, in seconds.
func median(of count: Int, _ body: () -> Void) -> Double {
  let clock = ContinuousClock()
  let times = (0..<count).map { _ in clock.measure(body) / .seconds(1) }.sorted()
  return times[times.count / 2]
}
