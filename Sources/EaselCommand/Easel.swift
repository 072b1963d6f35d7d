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

      Start with:  easel train diffusion-quick --minutes 5 --run first
      Then:        easel sample first
      """,
    version: easelVersion,
    subcommands: [
      Train.self, Resume.self, Sample.self, Interpolate.self, Reconstruct.self, Denoise.self, Inpaint.self,
      Translate.self, Search.self, Evaluate.self, Attack.self, Inspect.self, Verify.self, Import.self, Export.self,
      Runs.self, PlotVerb.self, DataVerb.self, Bench.self, Doctor.self,
    ])

  static func main() {
    StopSignal.install()
    // Libraries that run out of memory may hang during an ordinary exit, so end at once.
    MachineMemory.whenExhausted.withLock { $0 = { error in end(error) } }
    do {
      try MachineMemory.requireAddresses()
      try requireVerb(typedArguments)
      var command = try parseAsRoot(typedArguments)
      try command.run()
    } catch let error as UserError {
      end(error)
    } catch let interruption as Interrupted {
      Foundation.exit(interruption.exitCode)
    } catch {
      // Help and the version were asked for; everything else is a mistake in the command line.
      let (code, text) = (exitCode(for: error), TypedCommand.shown(in: fullMessage(for: error)))
      if code == .failure { end(UserError(.internalFailure, error.reason)) }
      if code.isSuccess { Console.print(text: text) } else { Console.note(text: text) }
      Foundation.exit(code.rawValue)
    }
  }
}

extension Easel {
  /// Refuses an unknown verb and names the nearest one. The parser would only say that it expected no argument.
  private static func requireVerb(_ words: some Sequence<String>) throws {
    var command: any ParsableCommand.Type = Easel.self
    for word in words.drop(while: { $0 == "help" }) {
      let verbs = command.configuration.subcommands
      if verbs.isEmpty || word.hasPrefix("-") { return }
      guard let verb = verbs.first(where: { $0._commandName == word }) else {
        let names = verbs.map { $0._commandName }
        throw UserError(
          .usage, "there is no verb \(word)",
          hint: nearestName(to: word, among: names).map { "Did you mean \($0)?" }
            ?? "Known: \(names.joined(separator: ", ")).")
      }
      command = verb
    }
  }

  private static func end(_ error: UserError) -> Never {
    Console.error(error)
    _exit(error.kind.rawValue)
  }
}

/// The arguments after the program's name. File names are kept whatever their bytes.
private var typedArguments: [String] {
  (1..<max(1, Int(CommandLine.argc))).compactMap { CommandLine.unsafeArgv[$0].map { String(fileSystemPath: $0) } }
}

/// A signal stopped the command after it had saved its work.
struct Interrupted: Error {
  let exitCode: Int32
}
