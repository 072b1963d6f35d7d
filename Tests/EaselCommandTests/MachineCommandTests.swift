import EaselKit
import EaselTestSupport
import Foundation
import Testing

/// Effects of the machine and other processes on the built program: runs that are moved or read meanwhile, limits,
/// special files, names that would control a terminal.
@Suite(.serialized) struct MachineCommandTests {
  private static let train = [
    "train", "autoencoder", "--data", "images", "--batch-size", "4", "--set", "base-channels=8",
  ]

  private func program() throws -> Program {
    let program = try Program()
    try program.writeImages("images")
    return program
  }

  private func trained(_ name: String = "r", steps: Int = 2, _ more: [String] = []) throws -> Program {
    let program = try program()
    let result = try program.run(Self.train + ["--run", name, "--steps", String(steps)] + more)
    #expect(result.status == 0, "\(result.errors)")
    return program
  }

  /// Runs a line of a shell with the program as `$easel`.
  private func shell(_ program: Program, _ line: String) throws -> Program.Result {
    try program.finish(program.start(shell: line))
  }

  /// Waits until a condition holds; the time limit is generous.
  private func wait(until isSo: () throws -> Bool) throws {
    for _ in 0..<12_000 where try !isSo() { usleep(10_000) }
    try #require(try isSo())
  }

  @Test("The doctor names the kernels in use, and an instruction set that it cannot use")
  func instructionSets() throws {
    let program = try program()
    func doctor(_ name: String) throws -> (kernels: String, problems: String) {
      struct Answer: Decodable {
        let instructionSet: String
        let problems: [String]
      }
      let result = try program.run(["doctor", "--json"], environment: ["EASEL_ISA": name])
      let answer = try JSONDecoder().decode(Answer.self, from: Data(result.output.utf8))
      return (answer.instructionSet, answer.problems.joined(separator: "\n"))
    }
    let (narrow, unknown) = (try doctor("baseline"), try doctor("axv2"))
    #expect(narrow.kernels == "baseline" && !narrow.problems.contains("EASEL_ISA"))
    #expect(unknown.kernels == InstructionSet.best.rawValue)
    #expect(unknown.problems.contains("EASEL_ISA is ignored: expected one of baseline"), "\(unknown)")
    #expect(unknown.problems.contains("found axv2"), "\(unknown)")
  }

  @Test("A run whose folder is moved or deleted writes into no other, saves and says where", arguments: [true, false])
  func movedRuns(_ isMoved: Bool) throws {
    let program = try trained("other")
    let files = FileManager.default
    let running = try program.start(
      Self.train + ["--run", "r", "--steps", "100000000", "--set", "checkpoint-every=1000000"])
    let metrics = program.path("Checkpoints/r/metrics.jsonl")
    try wait { (try? MetricsLog.lastRecord(at: metrics)) ?? nil != nil || !running.process.isRunning }
    // The training must see only the final state, not, for example, a folder in its new place before it is deleted.
    kill(running.process.processIdentifier, SIGSTOP)
    defer { kill(running.process.processIdentifier, SIGCONT) }
    if isMoved {
      try files.moveItem(atPath: program.path("Checkpoints/r"), toPath: program.path("Checkpoints/moved"))
    } else {
      try files.moveItem(atPath: program.path("Checkpoints/r"), toPath: program.path("gone"))
      try files.removeItem(atPath: program.path("gone"))
    }
    // The training may save under a free name before another run takes it.
    try? files.copyItem(atPath: program.path("Checkpoints/other"), toPath: program.path("Checkpoints/r"))
    kill(running.process.processIdentifier, SIGCONT)
    let result = try program.finish(running)
    #expect(result.status == 74, "\(result.errors)")
    let told = try #require(result.errors.firstMatch(of: #/is saved in (\S+)/#), "\(result.errors)")
    let place = URL(fileURLWithPath: String(told.1)).lastPathComponent
    #expect(!isMoved || place == "moved", "\(result.errors)")
    #expect(try program.run("verify", place).status == 0)
    let next = try RunFolder(workspace: program.workspace, name: place).newestValid().checkpoint.step + 1
    let resumed = try program.run("resume", place, "--steps", String(next))
    #expect(resumed.status == 0, "\(resumed.errors)")
    #expect(try RunFolder(workspace: program.workspace, name: "other").newestValid().checkpoint.step == 2)
  }

  @Test("Readers get a complete checkpoint while training replaces it")
  func rotation() throws {
    let program = try trained()
    let running = try program.start(
      ["resume", "r", "--steps", "100000000"])
    defer {
      running.process.interrupt()
      _ = try? program.finish(running)
    }
    for index in 0..<6 {
      for verb in [
        ["verify", "r"], ["reconstruct", "r", "--count", "1", "--output", "p.png"],
        ["export", "r", "--output", "e\(index)"],
      ] {
        let result = try program.run(verb)
        #expect(result.status == 0 && !result.errors.contains("passed over"), "\(verb): \(result.errors)")
      }
    }
  }

  @Test("The second of two trainings with one name is refused, since the first has it")
  func twoOfOneName() throws {
    let program = try program()
    let arguments = Self.train + ["--run", "r", "--steps", "100000000"]
    let both = try [program.start(arguments), program.start(arguments)]
    try wait { both.contains { !$0.process.isRunning } }
    let loser = try program.finish(try #require(both.first { !$0.process.isRunning }))
    #expect(loser.status == 69 && loser.errors.contains("run r is being trained by another process"), "\(loser.errors)")
    let late = try program.run(arguments)
    #expect(late.status == 69 && late.errors.contains("run r is being trained by another process"), "\(late.errors)")
    let winner = try #require(both.first { $0.process.isRunning })
    winner.process.terminate()
    #expect(try program.finish(winner).status == 143)
  }

  @Test("A signal after the last step does not ask to go on")
  func lateSignal() throws {
    let program = try program()
    // The picture of the last step takes long, and its checkpoint exists before.
    let running = try program.start(
      ["train", "diffusion-small", "--data", "images", "--run", "r", "--steps", "2"] + Program.tinyDiffusion
        + ["--set", "sample-every=2", "--set", "sampler-steps=1000"])
    let last = program.path("Checkpoints/r/step-00000002")
    try wait { FileManager.default.fileExists(atPath: last) || !running.process.isRunning }
    running.process.terminate()
    let result = try program.finish(running)
    #expect([0, 143].contains(result.status) && !result.errors.contains("Go on with"), "\(result.errors)")
    #expect(try RunFolder(workspace: program.workspace, name: "r").status?.outcome == .complete)
  }

  @Test("One bad line of the metrics does not stop a run from going on, and is kept")
  func badMetrics() throws {
    let program = try trained()
    let path = program.path("Checkpoints/r/metrics.jsonl")
    let text = try String(contentsOfFile: path, encoding: .utf8)
    try ("garbage\n" + text).write(toFile: path, atomically: true, encoding: .utf8)
    let resumed = try program.run("resume", "r", "--steps", "4")
    #expect(resumed.status == 0 && resumed.errors.contains("damaged in line 1"), "\(resumed.errors)")
    #expect(try MetricsLog.records(at: path).last?.step == 4)
    #expect(try program.bytes("Checkpoints/r/metrics.jsonl.damaged") == Data("garbage\n".utf8))
  }

  @Test("easel runs copes with folders of pipes, links and rubbish")
  func runsAmongRubbish() throws {
    let program = try trained("good")
    let files = FileManager.default
    for name in ["status.json", "metrics.jsonl", "config.yaml", "step-00000001"] {
      let folder = program.path("Checkpoints/bad-\(name)")
      try files.copyItem(atPath: program.path("Checkpoints/good"), toPath: folder)
      try? files.removeItem(atPath: "\(folder)/\(name)")
      #expect(mkfifo("\(folder)/\(name)", 0o600) == 0)
    }
    let manifest = program.path("Checkpoints/bad-status.json/step-00000002/manifest.json")
    try files.removeItem(atPath: manifest)
    #expect(mkfifo(manifest, 0o600) == 0)
    let listing = try program.run("runs")
    #expect(listing.status == 0 && listing.output.contains("good "), "\(listing.errors)")
    let told = try program.run("runs", "--json")
    #expect(told.status == 0 && told.output.contains("found a pipe"), "\(told.output)")
    #expect(mkfifo(program.path("c.yaml"), 0o600) == 0)
    let refused = try program.run(Self.train + ["--config", "c.yaml"])
    #expect(
      refused.status == 65 && refused.errors.contains("c.yaml: expected a file, found a pipe"), "\(refused.errors)")
  }

  @Test("Names cannot control a terminal")
  func names() throws {
    let program = try trained()
    let escape = "a\u{1B}[31m\nrun b"
    try FileManager.default.createDirectory(atPath: program.path(escape), withIntermediateDirectories: true)
    try RunFolder(workspace: program.workspace, name: "r").write(RunStatus(.failed, message: escape))
    for arguments in [
      ["runs"], ["train", "vae", "--data", escape], ["sample", escape], ["inspect", escape + ".png"],
      ["data", "info", escape],
      [escape], ["train", "vae", "--\(escape)"],
    ] {
      let result = try program.run(arguments)
      #expect(!(result.output + result.errors).contains("\u{1B}"), "\(arguments): \(result.output)\(result.errors)")
      #expect(!(result.output + result.errors).contains("\nrun b"), "\(arguments): \(result.output)\(result.errors)")
    }
  }

  @Test("Results that cannot be written are an error; a closed pipe is not")
  func lostOutput() throws {
    let program = try trained()
    for verb in ["runs", "runs --json", "inspect r", "--help"] {
      let full = try shell(program, "\"$easel\" \(verb) > /dev/full")
      #expect(
        full.status == 74 && full.errors.contains("standard output: cannot be written (No space"), "\(full.errors)")
    }
    let closed = try shell(program, "\"$easel\" runs | true; exit ${PIPESTATUS[0]}")
    #expect(closed.errors.isEmpty, "\(closed.errors)")
  }

  @Test("A limit on the size of files gives a message and keeps the existing files")
  func fileSizes() throws {
    let program = try trained()
    let before = program.contents
    // In blocks of 1024 bytes; less than the weights need.
    let training = try shell(program, "ulimit -f 64; exec \"$easel\" resume r --steps 3")
    #expect([73, 74].contains(training.status) && training.errors.contains("File too large"), "\(training.errors)")
    let exported = try shell(program, "ulimit -f 16; exec \"$easel\" export r --output e")
    #expect([73, 74].contains(exported.status) && exported.errors.contains("File too large"), "\(exported.errors)")
    #expect(program.contents.filter { !$0.contains("/events/") } == before.filter { !$0.contains("/events/") })
    #expect(try program.run("verify", "r").output.contains("step-00000002: valid"))
  }

  @Test("Under a limit of addresses there is a result or a message", arguments: [200, 400, 700, 1500, 4000])
  func addresses(_ megabytes: Int) throws {
    let program = try trained()
    for verb in ["doctor", "reconstruct r --count 8 --output p.png", "resume r --steps 4"] {
      let result = try shell(program, "ulimit -v \(megabytes * 1000); exec \"$easel\" \(verb)")
      #expect([0, 64, 69].contains(result.status), "\(verb): \(result.status) \(result.errors)")
      #expect(megabytes > 200 || result.status == 69, "\(verb): \(result.errors)")
      #expect(result.status != 69 || result.errors.contains("addresses") || result.errors.contains("memory"))
    }
  }

  @Test("The same training gives the same model hash and picture, wherever it was done and however long it took")
  func modelHashes() throws {
    var pictures: Set<Data> = []
    var hashes: Set<String> = []
    let outside = try ScratchFolder()
    for steps in [["3"], ["2", "3"]] {
      let program = try program()
      // Data elsewhere are found by a path recorded for this machine, which is never passed on.
      let data = outside.file("photos-\(steps.count)/pets")
      try FileManager.default.createDirectory(
        atPath: (data as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      try FileManager.default.moveItem(atPath: program.path("images"), toPath: data)
      let train = [
        "train", "autoencoder", "--data", data, "--run", "r", "--batch-size", "4", "--seed", "3", "--set",
        "base-channels=8", "--set", "keep=\(steps.count)", "--set", "schedule-steps=9",
      ]
      let first = try program.run(train + ["--steps", steps[0]])
      #expect(first.status == 0, "\(first.errors)")
      for more in steps.dropFirst() {
        let resumed = try program.run("resume", "r", "--steps", more)
        #expect(resumed.status == 0, "\(resumed.errors)")
      }
      let made = try program.run("reconstruct", "r", "--output", "p.png")
      #expect(made.status == 0, "\(made.errors)")
      pictures.insert(try program.bytes("p.png"))
      hashes.insert(try RunFolder(workspace: program.workspace, name: "r").newestValid().checkpoint.modelHash)
      #expect(try program.run("export", "r", "--output", "given").status == 0)
      for name in program.contents where name.contains("step-") || name == "p.png" || name.hasSuffix("config.yaml") {
        guard let bytes = try? program.bytes(name) else { continue }
        for path in [outside.path, program.workspace] {
          #expect(bytes.range(of: Data(path.utf8)) == nil, "\(name) has \(path)")
        }
      }
    }
    #expect(pictures.count == 1 && hashes.count == 1)
  }
}
