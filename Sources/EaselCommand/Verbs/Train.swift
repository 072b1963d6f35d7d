import ArgumentParser
import EaselKit

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: TrainRequest.summary,
    discussion: "Presets:\n" + presetList)

  private static var presetList: String {
    let width = AnyPreset.all.map(\.name.count).max() ?? 0
    return AnyPreset.all.map { preset in
      let space = String(repeating: " ", count: width + 2 - preset.name.count)
      return "  \(preset.name)\(space)\(preset.summary)"
    }.joined(separator: "\n")
  }

  @Argument(help: .field(\TrainRequest.preset)) var preset: String
  @Option(help: .field(\TrainRequest.data)) var data: String?
  @Option(help: .field(\TrainRequest.dataB)) var dataB: String?
  @Option(help: .field(\TrainRequest.config)) var config: String?
  @Option(name: .customLong("set"), help: .field(\TrainRequest.settings)) var settings: [String] = []
  @Option(name: .customLong("run"), help: .field(\TrainRequest.run)) var runName: String?
  @Flag(help: .field(\TrainRequest.resume)) var resume = false
  @Flag(help: .field(\TrainRequest.overwrite)) var overwrite = false
  @Option(parsing: .unconditional, help: .field(\TrainRequest.keep)) var keep: Int?
  @OptionGroup var length: LengthOptions
  @Option(parsing: .unconditional, help: .field(\TrainRequest.batchSize)) var batchSize: Int?
  @Option(parsing: .unconditional, help: .field(\TrainRequest.learningRate)) var learningRate: Float?
  @Option(parsing: .unconditional, help: .field(\TrainRequest.seed)) var seed: UInt64?
  @Option(help: .field(\TrainRequest.imageSize)) var imageSize: String?
  @Option(help: .field(\TrainRequest.fit)) var fit: ImageFit?
  @Flag(help: .field(\TrainRequest.skipBroken)) var skipBroken = false
  @Option(help: .field(\TrainRequest.captionTemplate)) var captionTemplate: String?
  @Option(help: .field(\TrainRequest.from)) var from: String?

  @Flag(
    help:
      "Print the settings with explanations as a YAML file to start from, and stop; with --json, a schema for forms."
  )
  var printConfig = false

  @OptionGroup var compute: ComputeOptions
  @OptionGroup var common: CommonOptions

  func run() throws {
    let desk = try Desk(common)
    var request = TrainRequest {
      ($0.preset, $0.data, $0.dataB, $0.config, $0.settings) = (preset, data, dataB, config, settings)
      ($0.run, $0.resume, $0.overwrite, $0.keep) = (runName, resume, overwrite, keep)
      ($0.length, $0.batchSize, $0.learningRate, $0.seed) = (length.choice, batchSize, learningRate, seed)
      ($0.imageSize, $0.fit, $0.skipBroken, $0.from) = (imageSize, fit, skipBroken, from)
      ($0.captionTemplate, $0.compute) = (captionTemplate, compute.choice)
    }
    if printConfig {
      let (preset, configuration) = try desk.bench.configuration(of: request)
      let schema = try preset.settingsSchema(of: configuration)
      return desk.json ? try Console.print(json: schema) : Console.print(text: try configuration.commentedYAML())
    }
    request.command = TypedCommand.text(in: desk.bench.workspace)
    try TrainingReport(desk.bench.begin(request), json: desk.json).run()
  }
}
