import ArgumentParser
import EaselKit

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: DoctorRequest.summary)

  @OptionGroup var common: CommonOptions

  func run() throws {
    let desk = try Desk(common)
    let found = try desk.bench.run(DoctorRequest())
    if desk.json { return try Console.print(json: found) }
    Console.print("easel        \(found.easel)")
    Console.print("processor    \(found.processor), kernels for \(found.instructionSet), \(found.threads) threads")
    Console.print("memory       \(found.memoryBytes >> 30) GiB")
    Console.print("oneDNN       \(found.oneDNN ?? "none")")
    Console.print("precision    auto means \(found.precision): \(Backends.bfloat16.summary)")
    Console.print("images       \(Image.readableFormats)")
    Console.print("workspace    \(found.workspace)")
    for folder in found.dataFolders { Console.print("data         \(folder)") }
    for name in found.datasets { Console.print("             \(name)") }
    for folder in found.checkpointFolders { Console.print("checkpoints  \(folder)") }
    for name in found.runs { Console.print("             \(name)") }
    for problem in found.problems { Console.print("missing      \(problem)") }
    if found.problems.isEmpty { Console.print("Nothing is missing.") }
  }
}
