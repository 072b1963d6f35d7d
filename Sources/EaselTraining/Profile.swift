/// Where the time of a preset's training step goes, by operation and layer.
public struct Profile: Codable, Sendable {
  /// One operation with one shape in one layer.
  public struct Row: Codable, Sendable {
    public var operation: String
    /// The parameter that took part; empty if there was none.
    public var layer: String
    public var shape: String
    public var callsPerStep: Double
    public var milliseconds: Double
    /// In a step: operations of the plain algorithm, and bytes read and written.
    public var gigaflops, megabytes: Double
    public var gigaflopsPerSecond: Double
    public var gigabytesPerSecond: Double
    /// The least time that arithmetic or memory allow, divided by the time taken. Winograd's method needs fewer
    /// operations for a convolution than are counted here, so it may exceed 1.
    public var shareOfCeiling: Double
    /// Convolutions and matrix products: the time that the same call takes alone, divided by the time taken here.
    public var shareOfAlone: Double?

    public enum CodingKeys: String, CodingKey {
      case operation, layer, shape, milliseconds
      case callsPerStep = "calls_per_step"
      case gigaflops = "gflop"
      case megabytes = "mb"
      case gigaflopsPerSecond = "gflop_per_second"
      case gigabytesPerSecond = "gb_per_second"
      case shareOfCeiling = "share_of_ceiling"
      case shareOfAlone = "share_of_alone"
    }
  }

  public var model: String
  public var mode: String
  /// The size of the images: width×height×channels.
  public var image: String
  public var batch: Int
  public var threads: Int
  /// A whole step, and the part of it between operations, in milliseconds.
  public var step: Double
  public var between: Double
  public var ceilings: Ceilings
  /// The rows, slowest first.
  public var rows: [Row]

  /// - Parameters:
  ///   - preset: the preset to measure.
  ///   - configuration: its settings.
  ///   - data: a description of the images; nil for those that the preset was made for.
  ///   - parts: the checkpoints that the settings name; nil if these are paths of checkpoints' folders.
  ///   - base: the backend that computes.
  ///   - steps: how many steps are timed.
  public init(
    _ preset: AnyPreset, configuration: ConfigurationDocument, data: DataDescription? = nil,
    parts: PartCheckpoints? = nil, backend base: any Backend, steps: Int
  ) throws {
    ceilings = Ceilings(base)
    let backend = ProfilingBackend(base)
    var training = try BenchmarkTraining(
      preset, configuration: configuration, data: data, parts: parts, backend: backend)
    for component in training.model.networks {
      for parameter in component.arena.parameters {
        backend.name(parameter.value, parameter.name)
        backend.name(parameter.gradient, parameter.name)
      }
    }
    for _ in 0..<3 { training.step() }
    backend.isRecording = true
    let clock = ContinuousClock()
    let seconds = (0..<steps).map { _ in clock.measure { training.step() } / .seconds(1) }
    backend.isRecording = false

    let total = seconds.reduce(0, +) / Double(steps)
    step = 1000 * total
    between = 1000 * (total - backend.records.values.reduce(0) { $0 + $1.seconds.reduce(0, +) } / Double(steps))
    model = preset.name
    mode = "\(backend.kind.rawValue)-\(training.model.context.type.rawValue)"
    image = training.model.context.data.sizeText
    batch = training.settings.batchSize
    threads = backend.threads.count
    // A call that two layers share is timed once.
    var alone: [String: Double] = [:]
    rows = backend.records.map { [ceilings] key, record in
      let mean = record.seconds.reduce(0, +) / Double(record.seconds.count)
      var row = Row(
        operation: key.operation, layer: key.layer, shape: key.shape,
        callsPerStep: Double(record.seconds.count) / Double(steps),
        milliseconds: 1000 * record.seconds.reduce(0, +) / Double(steps),
        gigaflops: Double(record.flops * record.seconds.count) / Double(steps) / 1e9,
        megabytes: Double(record.bytes * record.seconds.count) / Double(steps) / 1e6,
        gigaflopsPerSecond: Double(record.flops) / mean / 1e9, gigabytesPerSecond: Double(record.bytes) / mean / 1e9,
        shareOfCeiling: ceilings.leastTime(flops: record.flops, bytes: record.bytes, type: key.type) / mean)
      if let make = record.alone {
        let call = "\(key.operation) \(key.shape)"
        let time = alone[call] ?? median(of: 5, make(backend))
        alone[call] = time
        row.shareOfAlone = time / (record.seconds.sorted()[record.seconds.count / 2])
      }
      return row
    }.sorted { ($0.milliseconds, $0.layer, $0.operation) > ($1.milliseconds, $1.layer, $1.operation) }
  }
}
