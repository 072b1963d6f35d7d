import EaselKit
import EaselTestSupport
import Foundation
import Testing

/// What a run survives: calls that fail at any moment of a save, kills, and full disks.
@Suite(.serialized) struct FaultCommandTests {
  /// A program with a run `r` of two steps.
  private func trained(keep: Int) throws -> Program {
    let program = try Program()
    try program.writeImages("images")
    let settings = ["base-channels=8", "checkpoint-every=1", "sample-every=1", "keep=\(keep)"]
    let training = try program.run(
      ["train", "autoencoder", "--data", "images", "--run", "r", "--steps", "2", "--batch-size", "4"]
        + settings.flatMap { ["--set", $0] })
    #expect(training.status == 0, "\(training.errors)")
    return program
  }

  private func hiddenNames(_ program: Program) -> [String] {
    program.contents.filter { $0.hasPrefix("Checkpoints/r/") && ($0 as NSString).lastPathComponent.hasPrefix(".") }
  }

  @Test("Whichever call of a save fails, the run says so and its previous checkpoint is untouched")
  func failingCalls() throws {
    let program = try trained(keep: 100)
    let folder = try ScratchFolder()
    let library = try compiledHarness("faults.c", "-shared", "-fPIC", "-ldl", in: folder)
    let files = FileManager.default
    try files.moveItem(atPath: program.path("Checkpoints"), toPath: program.path("Kept"))

    func resume(failing call: Int, error: Int32 = ENOSPC, stays: Bool = false, log: String = "") throws
      -> Program.Result
    {
      try? files.removeItem(atPath: program.path("Checkpoints"))
      try files.copyItem(atPath: program.path("Kept"), toPath: program.path("Checkpoints"))
      return try program.run(
        ["resume", "r", "--steps", "3"],
        environment: [
          "LD_PRELOAD": library, "EASEL_FAULT_BELOW": program.path("Checkpoints/r"), "EASEL_FAULT_AT": String(call),
          "EASEL_FAULT_ERROR": String(error), "EASEL_FAULT_STAYS": stays ? "1" : "0", "EASEL_FAULT_LOG": log,
        ])
    }

    let log = folder.file("calls")
    let whole = try resume(failing: 0, log: log)
    #expect(whole.status == 0, "\(whole.errors)")
    let calls = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
    // At least three files of numbers, two of text, the manifest and their folder.
    #expect(calls.count { $0.hasPrefix("fsync ") } >= 7 && calls.count { $0.hasPrefix("write ") } >= 6)
    #expect(calls.contains { $0.hasPrefix("rename ") && $0.hasSuffix("/step-00000003") })

    let previous = "r/step-00000002"
    let names = try files.contentsOfDirectory(atPath: program.path("Kept/\(previous)"))
    let before = try names.map { try program.bytes("Kept/\(previous)/\($0)") }
    for call in 1...calls.count {
      // Once for lack of space, or permanently as on a broken disk.
      let isBroken = call.isMultiple(of: 2)
      let result = try resume(failing: call, error: isBroken ? EIO : ENOSPC, stays: isBroken)
      let place: Comment = "call \(call), \(calls[call - 1]): \(result.status), \(result.errors)"
      #expect([73, 74].contains(result.status), place)
      let message = isBroken ? "Input/output error" : "No space left on device"
      #expect(result.errors.contains(program.path("Checkpoints/r")) && result.errors.contains(message), place)
      #expect(try names.map { try program.bytes("Checkpoints/\(previous)/\($0)") } == before, place)
      if call.isMultiple(of: 8) {
        let next = try program.run("resume", "r", "--steps", "4")
        #expect(next.status == 0, "\(place): \(next.errors)")
        #expect(try program.run("verify", "r").status == 0 && hiddenNames(program).isEmpty, place)
      }
    }
  }

  /// EASEL_KILLS=100 makes it longer.
  @Test("A run that is killed at any moment goes on from its latest checkpoint, and remains are cleaned up")
  func kills() throws {
    let program = try trained(keep: 3)
    let run = try RunFolder(workspace: program.workspace, name: "r")
    var generator = StreamGenerator(seed: 1, stream: .sampling)
    var step = 2
    // The time from a run's start to a checkpoint depends on the machine: take the longest so far.
    var patience: UInt32 = 0
    for _ in 0..<(Int(ProcessInfo.processInfo.environment["EASEL_KILLS"] ?? "") ?? 8) {
      let running = try program.start(["resume", "r", "--steps", "1000000"])
      // Kill after at least one save, so that there is something new, or at any moment before.
      if patience == 0 {
        let start = ContinuousClock.now
        try wait(for: "a checkpoint after step \(step)", whileRunning: running.process) {
          try run.checkpointSteps.max() ?? 0 > step
        }
        patience = UInt32((ContinuousClock.now - start) / .microseconds(1))
      } else {
        usleep(UInt32(generator.uniform(below: 2 * Int(patience))))
      }
      kill(running.process.processIdentifier, SIGKILL)
      _ = try program.finish(running)
      let verified = try program.run("verify", "r")
      #expect(verified.status == 0, "\(verified.errors)")
      let (checkpoint, damaged) = try run.newestValid()
      #expect(checkpoint.step >= step && damaged.isEmpty)
      step = checkpoint.step
    }
    #expect(step > 2)
    let resumed = try program.run("resume", "r", "--steps", String(step + 1))
    #expect(resumed.status == 0, "\(resumed.errors)")
    #expect(hiddenNames(program).isEmpty)
    #expect(try MetricsLog.records(at: run.metricsPath).map(\.step).max() == step + 1)
  }

  @Test(
    "A checkpoint that is cut anywhere or has a flipped bit is refused by name, and the one before is used")
  func cutsAndFlips() throws {
    let program = try trained(keep: 100)
    let run = try RunFolder(workspace: program.workspace, name: "r")
    let newest = run.checkpointPath(step: 2)
    let names = try FileManager.default.contentsOfDirectory(atPath: newest).sorted()
    #expect(names.count >= 5 && names.contains("weights.safetensors") && names.contains("manifest.json"))

    /// The reason why the newest checkpoint is refused; no other may be.
    func refusal() throws -> String {
      let (checkpoint, damaged) = try run.newestValid()
      #expect(checkpoint.step == 1 && damaged.count == 1 && damaged.first?.error.kind == .badData)
      return damaged.first?.error.message ?? "none"
    }
    var generator = StreamGenerator(seed: 1, stream: .sampling)
    var cuts = 0
    for name in names {
      let url = URL(fileURLWithPath: "\(newest)/\(name)")
      let whole = try Data(contentsOf: url)
      for count in stride(from: 0, to: whole.count, by: 64) {
        try whole.prefix(count).write(to: url)
        #expect(try refusal().contains(url.path), "\(name) cut after \(count) bytes")
        cuts += 1
      }
      for _ in 0..<1000 / names.count + 1 {
        let (place, bit) = (generator.uniform(below: whole.count), generator.uniform(below: 8))
        var flipped = whole
        flipped[place] ^= 1 << UInt8(bit)
        try flipped.write(to: url)
        #expect(try refusal().contains(url.path), "\(name), bit \(bit) of byte \(place) flipped")
      }
      for verb in ["verify", "inspect", "reconstruct"].map({ [$0, newest] }) {
        let result = try program.run(verb)
        #expect(
          result.status == 65 && result.errors.contains(name), "\(verb) \(name): \(result.status), \(result.errors)")
      }
      try whole.write(to: url)
    }
    #expect(cuts > 1000)
    #expect(try run.newestValid().checkpoint.step == 2)
  }

  @Test("A message names a full or read-only disk, and nothing is lost", .enabled(if: Disk.canBeMade, "needs root"))
  func disks() throws {
    let program = try trained(keep: 2)
    let disk = try Disk(program.path("disk"), kilobytes: 4096)
    defer { withExtendedLifetime(program) { disk.unmount() } }
    try FileManager.default.copyItem(atPath: program.path("Checkpoints"), toPath: program.path("disk/Checkpoints"))
    let resume = ["resume", "r", "--steps", "1000000", "--workspace", program.path("disk")]

    // There is room at the start, but not later.
    let running = try program.start(resume)
    let run = try RunFolder(workspace: program.path("disk"), name: "r")
    try wait(for: "the checkpoint of step 5", whileRunning: running.process) {
      try run.checkpointSteps.max() ?? 0 >= 5
    }
    // Several times, since what the run removes makes room.
    try wait(for: "the end of a run without room") {
      disk.fill()
      return !running.process.isRunning
    }
    let stopped = try program.finish(running)
    #expect([73, 74].contains(stopped.status), "\(stopped.errors)")
    #expect(stopped.errors.contains(program.path("disk/Checkpoints/r")), "\(stopped.errors)")
    #expect(try program.run("verify", "r", "--workspace", program.path("disk")).status == 0)
    let (kept, damaged) = try run.newestValid()
    #expect(kept.step >= 5 && damaged.isEmpty)

    let refused = try program.run(resume)
    #expect(refused.status == 73 && refused.errors.contains(program.path("disk/Checkpoints/r")), "\(refused.errors)")

    try disk.makeReadOnly()
    let unwritable = try program.run(resume)
    #expect(unwritable.status == 73 && unwritable.errors.contains("Read-only file system"), "\(unwritable.errors)")
    #expect(try run.newestValid().checkpoint.hash == kept.hash)
  }
}

/// A small disk in memory.
struct Disk {
  let path: String

  static var canBeMade: Bool {
    guard geteuid() == 0, let folder = try? ScratchFolder(), let disk = try? Disk(folder.file("disk"), kilobytes: 64)
    else { return false }
    disk.unmount()
    return true
  }

  init(_ path: String, kilobytes: Int) throws {
    self.path = path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    guard Disk.run("mount", "-t", "tmpfs", "-o", "size=\(kilobytes)k", "tmpfs", path) else {
      throw CocoaError(.featureUnsupported)
    }
  }

  func unmount() { _ = Disk.run("umount", "-l", path) }
  func makeReadOnly() throws { try #require(Disk.run("mount", "-o", "remount,ro", path)) }

  /// Writes until there is no room left.
  func fill() { _ = Disk.run("dd", "if=/dev/zero", "of=\(path)/filler", "bs=4k", "oflag=append", "conv=notrunc") }

  private static func run(_ arguments: String...) -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }
}
