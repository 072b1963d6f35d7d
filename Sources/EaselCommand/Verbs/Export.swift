import ArgumentParser
import EaselKit

struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a checkpoint for pictures only: small, to keep or to give away.",
    discussion: """
      The new folder has the weights that pictures are made from (the moving average where the run keeps one), the \
      settings and the record of the training. Every verb that makes pictures takes it; training cannot go on from it, but \
      another run can begin with its weights: easel train PRESET --from FOLDER
      """)

  @Argument(help: "A run's name, a run's folder or a checkpoint's folder.")
  var checkpoint: String

  @Option(help: "The new folder.")
  var output: String

  @Option(help: "What the weights are stored as: bfloat16 or float32.")
  var type = StoredType.bfloat16

  @Flag(help: "Replace the checkpoints in a folder that is there already.")
  var overwrite = false

  @OptionGroup var common: CommonOptions

  enum StoredType: String, CaseIterable, ExpressibleByArgument {
    case bfloat16, float32

    var elementType: ElementType { self == .bfloat16 ? .bfloat16 : .float32 }
  }

  private struct Report: Encodable {
    var output: String
    var hash: String
    var step: Int
    var type: String
    var bytes: Int
  }

  func run() throws {
    try checkName(output, option: "--output", is: .folder)
    let workspace = try Workspace(common.workspace)
    let (source, damaged) = try workspace.checkpoints.resolve(checkpoint)
    for one in damaged { Console.note("\(one.path): passed over: \(one.error.message)") }
    let exported = try LoadedModel(source, backend: Backends.make())
      .export(to: RunFolder(path: output), as: type.elementType, replacing: overwrite)
    if common.json {
      return try Console.print(
        json: Report(
          output: exported.path, hash: exported.modelHash, step: exported.step, type: type.rawValue,
          bytes: exported.manifest.files.values.reduce(0) { $0 + $1.size }))
    }
    Console.print(path: exported.path)
  }
}
