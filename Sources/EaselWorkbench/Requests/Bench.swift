import EaselSupport

/// Measures a preset's speed and memory on made-up images.
public struct BenchRequest: Request {
  public static let name = "bench"
  public static let summary = "Measure a preset's speed and memory on made-up images."

  public var preset = ""
  /// Whether to report instead where a training step's time goes.
  public var profile = false
  /// Whether to time the backend's operations by themselves instead.
  public var operations = false
  public var steps = 5
  public var batchSize: String?
  public var imageSize: String?
  public var channels: Int?
  /// `KEY=VALUE`.
  public var settings: [String] = []
  public var compute = ComputeChoice()

  public init() {}

  public static let fields: [Field<BenchRequest>] =
    [
      Field("preset", \.preset, "A preset."),
      Field("profile", \.profile, "Print where a training step's time goes, by operation and layer."),
      Field(
        "operations", \.operations,
        "Time the backend's operations by themselves instead, on the shapes of the reference models."),
      Field("steps", \.steps, .from(1, to: 10_000), "How many steps to time; the median counts."),
      Field("batch-size", \.batchSize, "Images per training step."),
      Field(
        "image-size", \.imageSize, "The size of the images, N×N or W×H: N or WxH (default: the preset's)."),
      Field("channels", \.channels, "The images' channels, 1 or 3 (default: the preset's)."),
      Field("set", \.settings, "One setting, KEY=VALUE; may be repeated."),
    ] + ComputeChoice.fields.map { $0.at(\.compute) }

  public func check(_ check: inout FieldCheck) {
    if let channels {
      check.require([1, 3].contains(channels), "\(field: "channels"): expected 1 or 3, found \(channels)")
    }
    let isOfPreset = !preset.isEmpty || profile || imageSize != nil || channels != nil || !settings.isEmpty
    check.require(
      !operations || !(isOfPreset || batchSize != nil),
      "\(field: "operations") measures no preset: leave out that, or the preset and its options")
  }

  public enum Answer {
    case preset(BenchmarkResult)
    case profile(Profile)
    case operations(OperationReport)
  }

  /// Timings of single operations, beside what the processor can do.
  public struct OperationReport: Encodable {
    public let ceilings: Ceilings
    public let operations: [OperationTiming]
  }

  public func answer(_ work: Work) throws -> Answer {
    let backend = try compute.backend()
    if operations {
      let type = try (compute.precision ?? .auto).scalarType(on: backend)
      let (ceilings, timings) = OperationTiming.all(on: backend, type: type)
      return .operations(OperationReport(ceilings: ceilings, operations: timings))
    }
    guard !preset.isEmpty else {
      throw UserError(.usage, "expected a preset", hint: "Known: \(AnyPreset.all.map(\.name).joined(separator: ", ")).")
    }
    let named = try AnyPreset.named(preset)
    var configuration = try named.configuration()
    for assignment in settings {
      let key = String(assignment.prefix { $0 != "=" })
      if RunDescription.fields.contains(where: { $0.key == key }) {
        throw UserError(
          .usage, "\(field: "set") \(key): bench makes up its own images",
          hint: "Set their size and channels with \(field: "image-size") and \(field: "channels").")
      }
      try configuration.set(assignment)
    }
    if let batchSize { try configuration.set("batch-size", to: batchSize, origin: .field("batch-size")) }
    if let precision = compute.precision {
      try configuration.set("precision", to: precision.rawValue, origin: .field("precision"))
    }
    try named.requireEffects(of: configuration, over: named.configuration(), tell: work.remark)
    var data = named.data
    if let imageSize {
      let size = try ImageSize(parsing: imageSize)
      (data.width, data.height) = (size.width, size.height)
    }
    data.channels = channels ?? data.channels
    if let fitted = try named.fit(&configuration, to: data) { work.remark(fitted) }
    let parts = try PartCheckpoints(configuration, of: named) { try work.checkpoint($0) }
    if profile {
      return .profile(
        try Profile(
          named, configuration: configuration, data: data, parts: parts, backend: backend, steps: steps))
    }
    return .preset(
      try BenchmarkResult.measure(
        named, configuration: configuration, data: data, parts: parts, backend: backend, steps: steps))
  }
}
