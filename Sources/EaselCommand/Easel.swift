import ArgumentParser
import EaselKit
import Foundation

/// The `easel` program.
@main
struct Easel: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "easel",
    abstract: "A workbench for generative image models.",
    discussion: """
      Data, runs and pictures live in the current folder (Data/, Checkpoints/, Samples/), or in that of --workspace.

      Start with:  easel train diffusion-small --minutes 5 --run first
      Then:        easel sample first
      """,
    version: easelVersion,
    subcommands: [
      Train.self, Resume.self, Sample.self, Interpolate.self, Reconstruct.self, Denoise.self, Inpaint.self,
      Translate.self, Evaluate.self, Inspect.self, Verify.self, Export.self, Runs.self, DataVerb.self, Bench.self,
      Doctor.self,
    ])

  static func main() {
    StopSignal.install()
    do {
      var command = try parseAsRoot(typedArguments)
      try command.run()
    } catch let error as UserError {
      Console.error(error.description)
      Foundation.exit(error.kind.rawValue)
    } catch let interruption as Interrupted {
      Foundation.exit(interruption.exitCode)
    } catch {
      exit(withError: error)
    }
  }
}

/// What was typed after the program's name, with names of files whatever their bytes.
private var typedArguments: [String] {
  (1..<max(1, Int(CommandLine.argc))).compactMap { CommandLine.unsafeArgv[$0].map { String(fileSystemPath: $0) } }
}

/// A signal stopped the command after it had saved what it was doing.
struct Interrupted: Error {
  let exitCode: Int32
}
