import ArgumentParser
import EaselKit
import Foundation

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Tell what Easel found on this machine, and what is missing.")

  @OptionGroup var common: CommonOptions

  private struct Report: Encodable {
    var easel: String
    var processor: String
    var instructionSet: String
    var threads: Int
    var oneDNN: String?
    var bfloat16: String
    var precision: String
    var jpeg: Bool
    var webp: Bool
    var gif: Bool
    var memoryBytes: UInt64
    var workspace: String
    var dataFolders: [String]
    var checkpointFolders: [String]
    var problems: [String]
  }

  /// What `--precision auto` means here.
  private func precision() throws -> String {
    let backend = try Backends.make()
    func type(_ convolves3x3: Bool) -> String {
      Precision.choice(on: backend, convolves3x3: convolves3x3).type.rawValue
    }
    let families = modelFamilies.filter { $0.convolves3x3 }.map { $0.name }.joined(separator: ", ")
    return type(false) == type(true) ? type(false) : "\(type(false)), for \(families) \(type(true))"
  }

  func run() throws {
    let workspace = try Workspace(common.workspace)
    var problems: [String] = []
    if !Backends.hasOneDNN {
      problems.append(
        "oneDNN is not in this build; training is several times slower. apt-get install libdnnl-dev, then build again.")
    }
    for (isThere, library, format, package) in [
      (Image.readsJPEG, "libjpeg", "JPEG", "libjpeg-dev"), (Image.readsWebP, "libwebp", "WebP", "libwebp-dev"),
      (Image.readsGIF, "giflib", "GIF", "libgif-dev"),
    ] where !isThere {
      problems.append(
        "\(library) is not in this build; \(format) files cannot be read. apt-get install \(package), then build again."
      )
    }
    func folders(_ name: String) -> [String] {
      workspace.roots.map { "\($0)/\(name)" }.filter { FileManager.default.fileExists(atPath: $0) }
    }
    if workspace.datasets.names.isEmpty {
      problems.append("No data set was found. Run easel in its source folder, or: easel data import fashion-mnist")
    }
    let report = Report(
      easel: easelVersion, processor: Processor.name, instructionSet: InstructionSet.best.rawValue,
      threads: Processor.available, oneDNN: Backends.oneDNN.map { "\($0.version), \($0.instructionSet)" },
      bfloat16: Backends.bfloat16.rawValue, precision: try precision(), jpeg: Image.readsJPEG,
      webp: Image.readsWebP, gif: Image.readsGIF,
      memoryBytes: ProcessInfo.processInfo.physicalMemory, workspace: workspace.path, dataFolders: folders("Data"),
      checkpointFolders: folders("Checkpoints"), problems: problems)
    if common.json { return try Console.print(json: report) }
    Console.print("easel        \(report.easel)")
    Console.print("processor    \(report.processor), kernels for \(report.instructionSet), \(report.threads) threads")
    Console.print("memory       \(report.memoryBytes >> 30) GiB")
    Console.print("oneDNN       \(report.oneDNN ?? "none")")
    Console.print("precision    auto means \(report.precision): \(Backends.bfloat16.summary)")
    Console.print("images       \(Image.readableFormats)")
    Console.print("workspace    \(report.workspace)")
    for folder in report.dataFolders { Console.print("data         \(folder)") }
    for name in workspace.datasets.names { Console.print("             \(name)") }
    for folder in report.checkpointFolders { Console.print("checkpoints  \(folder)") }
    for run in try workspace.checkpoints.runs() { Console.print("             \(run.name)") }
    for problem in report.problems { Console.print("missing      \(problem)") }
    if report.problems.isEmpty { Console.print("Nothing is missing.") }
  }
}
