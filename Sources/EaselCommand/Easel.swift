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
    // Libraries that lack memory may hang when they are told to clean up.
    MachineMemory.whenExhausted.withLock { $0 = { error in end(error) } }
    do {
      try MachineMemory.requireAddresses()
      var command = try parseAsRoot()
      try command.run()
    } catch let error as UserError {
      end(error)
    } catch let interruption as Interrupted {
      Foundation.exit(interruption.exitCode)
    } catch {
      // Help and the version are asked for; everything else is a mistake in the command line.
      let (code, text) = (exitCode(for: error), TypedCommand.shown(in: fullMessage(for: error)))
      if code == .failure { end(UserError(.internalFailure, error.reason)) }
      if code.isSuccess { Console.print(text: text) } else { Console.note(text: text) }
      Foundation.exit(code.rawValue)
    }
  }
}

extension Easel {
  private static func end(_ error: UserError) -> Never {
    Console.error(error)
    _exit(error.kind.rawValue)
  }
}

/// A signal stopped the command after it had saved what it was doing.
struct Interrupted: Error {
  let exitCode: Int32
}
