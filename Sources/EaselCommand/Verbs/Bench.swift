import ArgumentParser
import EaselKit

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure a preset's speed and memory on made-up images.",
    discussion: """
      Prints the fields of Benchmarks/torch_peer.py, so that the two can be compared: Benchmarks/compare does that. \
      Measure on a quiet machine.
      """)

  @Argument(help: "A preset.")
  var preset: String?

  @Flag(help: "Print where a training step's time goes, by operation and layer.")
  var profile = false

  @Flag(help: "Time the backend's operations by themselves instead, on the shapes of the reference models.")
  var operations = false

  @Option(parsing: .unconditional, help: "Timed steps; the median counts.")
  var steps = 5

  @Option(parsing: .unconditional, help: "Images in a step.")
  var batchSize: String?

  @Option(help: "The size of the images, N×N or W×H: N or WxH (default: the preset's).")
  var imageSize: String?

  @Option(parsing: .unconditional, help: "The images' channels, 1 or 3 (default: the preset's).")
  var channels: Int?

  @Option(name: .customLong("set"), help: "One setting, KEY=VALUE; may be given again.")
  var settings: [String] = []

  @OptionGroup var compute: ComputeOptions
  @OptionGroup var common: CommonOptions

  func run() throws {
    try check(steps, "--steps", 1...10_000)
    if operations {
      if preset != nil || profile || imageSize != nil || channels != nil || !settings.isEmpty || batchSize != nil {
        throw UserError(
          .usage, "--operations measures no preset", hint: "Leave out --operations, or the preset and its options.")
      }
      return try printOperations()
    }
    guard let preset else {
      throw UserError(.usage, "expected a preset", hint: "Known: \(AnyPreset.all.map(\.name).joined(separator: ", ")).")
    }
    let named = try AnyPreset.named(preset)
    var configuration = try named.configuration()
    for assignment in settings {
      if let key = RunDescription.CodingKeys(stringValue: String(assignment.prefix { $0 != "=" })) {
        throw UserError(
          .usage, "--set \(key.stringValue): bench makes its images up",
          hint: "Say with --image-size and --channels what they are like.")
      }
      try configuration.set(assignment)
    }
    if let batchSize { try configuration.set("batch-size", to: batchSize, origin: "--batch-size") }
    if let precision = compute.precision {
      try configuration.set("precision", to: precision.rawValue, origin: "--precision")
    }
    try named.requireEffects(of: configuration, over: named.configuration()) { Console.note($0) }
    let data = try description(named.data)
    if let fitted = try named.fit(&configuration, to: data) { Console.note(fitted) }
    if profile {
      let profile = try Profile(
        named, configuration: configuration, data: data, backend: compute.backend.make(), steps: steps)
      return common.json ? try Console.print(json: profile) : Console.print(text: profile.text)
    }
    let result = try BenchmarkResult.measure(
      named, configuration: configuration, data: data, backend: compute.backend.make(), steps: steps)
    if common.json { return try Console.print(json: result) }
    Console.print(
      text: """
        \(result.model)  \(result.mode)  \(result.image)  batch \(result.batch)  threads \(result.threads)  \(result.parameters) parameters
        training  \(result.trainImagesPerSecond) images/s
        sampling  \(result.sampleImagesPerSecond) images/s a pass
        memory    \(result.peakRSSMegabytes) MB at most; \(result.systemAllocations) blocks from the system while timed
        """)
  }

  /// What the made-up images are like.
  private func description(_ own: DataDescription) throws -> DataDescription {
    var data = own
    if let imageSize {
      let size = try ImageSize(parsing: imageSize)
      (data.width, data.height) = (size.width, size.height)
    }
    if let channels {
      guard [1, 3].contains(channels) else {
        throw UserError(.usage, "--channels: expected 1 or 3, found \(channels)")
      }
      data.channels = channels
    }
    return data
  }

  private func printOperations() throws {
    let backend = try compute.backend.make()
    let type = try (compute.precision ?? .auto).scalarType(on: backend)
    let (ceilings, timings) = OperationTiming.all(on: backend, type: type)
    if common.json { return try Console.print(json: OperationReport(ceilings: ceilings, operations: timings)) }
    Console.print(text: ceilings.text)
    Console.print(
      text: Console.table(
        ["operation", "shape", "type", "ms", "GFLOP/s", "GB/s", "of ceiling"],
        timings.map {
          [
            $0.operation, $0.shape, $0.type, $0.milliseconds.formatted(3), $0.gigaflopsPerSecond.formatted(0),
            $0.gigabytesPerSecond.formatted(1), $0.shareOfCeiling.percent,
          ]
        }, rightAlignedFrom: 3))
  }
}

private struct OperationReport: Encodable {
  let ceilings: Ceilings
  let operations: [OperationTiming]
}

extension Ceilings {
  fileprivate var text: String {
    let matrices = bfloat16.map { "; bfloat16 matrix product \(($0 / 1e9).formatted(0))" } ?? ""
    return """
      ceilings: float32 multiply-add \((float32 / 1e9).formatted(0)) GFLOP/s\(matrices); copy \((copy / 1e9).formatted(1)) GB/s \
      read and written
      """
  }
}

extension Profile {
  fileprivate var text: String {
    let products = ["convolution", "linear", "matmul", "attention"]
    let heavy = rows.filter { row in products.contains { row.operation.hasPrefix($0) } }
    let heavyTime = heavy.reduce(0) { $0 + $1.milliseconds }
    let leastTime = heavy.reduce(0) { $0 + $1.milliseconds * $1.shareOfCeiling }
    let totals = Dictionary(grouping: rows, by: \.operation)
      .map {
        (
          operation: $0, milliseconds: $1.reduce(0) { $0 + $1.milliseconds },
          calls: $1.reduce(0) { $0 + $1.callsPerStep }
        )
      }
      .sorted { $0.milliseconds > $1.milliseconds }
    func share(_ milliseconds: Double) -> String { (milliseconds / step).percent }
    return """
      \(model)  \(mode)  \(image)  batch \(batch)  threads \(threads)
      \(ceilings.text)
      step \(step.formatted(1)) ms: \(share(heavyTime)) convolutions and matrix products \
      (\((leastTime / max(heavyTime, .leastNormalMagnitude)).percent) of the ceilings), \
      \(share(step - heavyTime - between)) other operations, \(share(between)) between operations

      \(Console.table(
        ["operation", "calls", "ms a step", "of step"],
        totals.map { [$0.operation, $0.calls.formatted(0), $0.milliseconds.formatted(2), share($0.milliseconds)] },
        rightAlignedFrom: 1))

      \(Console.table(
        ["operation", "layer", "shape", "calls", "ms a step", "GFLOP", "MB", "GFLOP/s", "GB/s", "of ceiling", "of alone"],
        rows.map {
          [
            $0.operation, $0.layer, $0.shape, $0.callsPerStep.formatted(0), $0.milliseconds.formatted(2),
            $0.gigaflops.formatted(2), $0.megabytes.formatted(1), $0.gigaflopsPerSecond.formatted(0), $0.gigabytesPerSecond.formatted(1), $0.shareOfCeiling.percent,
            $0.shareOfAlone?.percent ?? "",
          ]
        }, rightAlignedFrom: 3))
      """
  }
}

extension Double {
  fileprivate func text(_ digits: Int) -> String {
    formatted(.number.precision(.fractionLength(digits)).grouping(.never))
  }
  fileprivate var percent: String { "\((100 * self).formatted(0)) %" }
}
