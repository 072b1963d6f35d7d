import ArgumentParser
import EaselKit

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure a preset's speed and memory on made-up images.",
    discussion: "Prints the fields of Benchmarks/torch_peer.py, so that the two can be compared.")

  @Argument(help: "A preset.")
  var preset: String

  @Option(parsing: .unconditional, help: "Timed steps; the median counts.")
  var steps = 5

  @Option(parsing: .unconditional, help: "Images in a step.")
  var batchSize: String?

  @Option(name: .customLong("set"), help: "One setting, KEY=VALUE; may be given again.")
  var settings: [String] = []

  @OptionGroup var compute: ComputeOptions
  @OptionGroup var common: CommonOptions

  func run() throws {
    try check(steps, "--steps", 1...10_000)
    let preset = try AnyPreset.named(preset)
    var configuration = try preset.configuration()
    for assignment in settings { try configuration.set(assignment) }
    if let batchSize { try configuration.set("batch-size", to: batchSize, origin: "--batch-size") }
    if let precision = compute.precision {
      try configuration.set("precision", to: precision.rawValue, origin: "--precision")
    }
    let result = try BenchmarkResult.measure(
      preset, configuration: configuration, backend: compute.backend.make(), steps: steps)
    if common.json { return try Console.print(json: result) }
    Console.print(
      """
      \(result.model)  \(result.mode)  batch \(result.batch)  threads \(result.threads)  \(result.parameters) parameters
      training  \(result.trainImagesPerSecond) images/s
      sampling  \(result.sampleImagesPerSecond) images/s a pass
      memory    \(result.peakRSSMegabytes) MB at most; \(result.systemAllocations) blocks from the system while timed
      """)
  }
}
