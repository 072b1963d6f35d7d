import ArgumentParser
import EaselKit

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: BenchRequest.summary,
    discussion: """
      Prints the fields of Benchmarks/torch_peer.py, so that the two can be compared: Benchmarks/compare does that. \
      Measure on a quiet machine.
      """)

  @Argument(help: .field(\BenchRequest.preset)) var preset: String?
  @Flag(help: .field(\BenchRequest.profile)) var profile = false
  @Flag(help: .field(\BenchRequest.operations)) var operations = false
  @Option(parsing: .unconditional, help: .field(\BenchRequest.steps)) var steps = 5
  @Option(parsing: .unconditional, help: .field(\BenchRequest.batchSize)) var batchSize: String?
  @Option(help: .field(\BenchRequest.imageSize)) var imageSize: String?
  @Option(parsing: .unconditional, help: .field(\BenchRequest.channels)) var channels: Int?
  @Option(name: .customLong("set"), help: .field(\BenchRequest.settings)) var settings: [String] = []
  @OptionGroup var compute: ComputeOptions
  @OptionGroup var common: CommonOptions

  func run() throws {
    let desk = try Desk(common)
    try desk.bench.run(
      BenchRequest {
        ($0.preset, $0.profile, $0.operations, $0.steps) = (preset ?? "", profile, operations, steps)
        ($0.batchSize, $0.imageSize, $0.channels) = (batchSize, imageSize, channels)
        ($0.settings, $0.compute) = (settings, compute.choice)
      }
    ).print(desk)
  }
}
