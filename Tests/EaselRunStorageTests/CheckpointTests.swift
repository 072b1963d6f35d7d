import EaselRunStorage
import EaselSupport
import EaselTensors
import EaselTestSupport
import Foundation
import Testing

/// Writes the files of a small checkpoint whose bytes depend on the step.
private func writeFiles(_ folder: String, step: Int) throws {
  try SafetensorsWriter.write(
    [.init(name: "w", shape: [4], floats: (0..<4).map { Float($0 + step) })], to: "\(folder)/weights.safetensors")
  try Data("{\"step\": \(step)}\n".utf8).write(to: URL(fileURLWithPath: "\(folder)/state.json"))
  try Data().write(to: URL(fileURLWithPath: "\(folder)/config.yaml"))
}

extension RunFolder {
  @discardableResult
  fileprivate func commit(_ step: Int, keep: Int = 10) throws -> CheckpointFolder {
    try commit(step: step, keep: keep) { try writeFiles($0, step: step) }
  }
}

@Suite struct CommitTests {
  private let scratch: ScratchFolder
  private let run: RunFolder

  init() throws {
    scratch = try ScratchFolder()
    run = try RunFolder(workspace: scratch.path, name: "first")
  }

  @Test func aCommittedCheckpointVerifies() throws {
    let checkpoint = try run.commit(12_000)
    #expect(checkpoint.path == "\(scratch.path)/Checkpoints/first/step-00012000")
    #expect(checkpoint.step == 12_000)
    #expect(checkpoint.fileNames == ["config.yaml", "state.json", "weights.safetensors"])
    #expect(checkpoint.verify(full: true).isEmpty)
    #expect(try SafetensorsReader(path: checkpoint.path(of: "weights.safetensors")).floats("w")[0] == 12_000)
    expectUserError(.missingInput, "expected ema.safetensors", "weights.safetensors") {
      try checkpoint.path(of: "ema.safetensors")
    }
    // No temporary files remain.
    #expect(
      try names(in: run.path) == [
        "step-00012000", "step-00012000/config.yaml", "step-00012000/manifest.json", "step-00012000/state.json",
        "step-00012000/weights.safetensors",
      ])
  }

  /// The manifest's hash can be computed from the file with a JSON library and SHA-256.
  @Test func theHashIsThatOfTheCanonicalManifest() throws {
    let checkpoint = try run.commit(7)
    let manifest = try contents("\(checkpoint.path)/manifest.json")
    var object = try #require(try JSONSerialization.jsonObject(with: manifest) as? [String: Any])
    #expect(object.removeValue(forKey: "hash") as? String == checkpoint.hash)
    let canonical = try JSONSerialization.data(withJSONObject: object, options: .sortedKeys)
    #expect(SHA256.hexadecimal(of: String(decoding: canonical, as: UTF8.self)) == checkpoint.hash)
    let files = try #require(object["files"] as? [String: [String: Any]])
    #expect(files["config.yaml"]?["size"] as? Int == 0)
    #expect(
      files["config.yaml"]?["sha256"] as? String == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(try run.commit(7).hash == checkpoint.hash)
    #expect(try run.commit(8).hash != checkpoint.hash)
  }

  @Test func anyFlippedByteIsFound() throws {
    let checkpoint = try run.commit(1)
    for name in checkpoint.fileNames + ["manifest.json"] {
      let url = URL(fileURLWithPath: "\(checkpoint.path)/\(name)")
      let original = try Data(contentsOf: url)
      for position in original.indices {
        var changed = original
        changed[position] ^= 1 << (position % 8)
        try changed.write(to: url)
        if name == "manifest.json" {
          expectUserError(.badData, url.path, "expected", "found") { try CheckpointFolder.open(checkpoint.path) }
        } else {
          let failures = try CheckpointFolder.open(checkpoint.path).verify(full: true)
          #expect(failures.map(\.kind) == [.badData])
          #expect(failures.first?.message.contains("\(url.path): expected SHA-256") == true, "\(failures)")
        }
      }
      try original.write(to: url)
    }
    #expect(try CheckpointFolder.open(checkpoint.path).verify(full: true).isEmpty)
  }

  @Test(arguments: ["weights.safetensors", "state.json", "manifest.json"]) func cutFilesAreFound(name: String) throws {
    let checkpoint = try run.commit(1)
    let url = URL(fileURLWithPath: "\(checkpoint.path)/\(name)")
    let original = try Data(contentsOf: url)
    for count in 0..<original.count {
      try original.prefix(count).write(to: url)
      if name == "manifest.json" {
        expectUserError(.badData, url.path) { try CheckpointFolder.open(checkpoint.path) }
      } else {
        let failures = try CheckpointFolder.open(checkpoint.path).verify(full: false)
        #expect(failures.first?.message == "\(url.path): expected \(original.count) bytes, found \(count)")
      }
    }
  }

  @Test func missingFilesAreFound() throws {
    let checkpoint = try run.commit(1)
    try FileManager.default.removeItem(atPath: "\(checkpoint.path)/weights.safetensors")
    try FileManager.default.removeItem(atPath: "\(checkpoint.path)/config.yaml")
    #expect(checkpoint.verify(full: false).map(\.message).map { $0.hasSuffix("found no file") } == [true, true])
    try FileManager.default.removeItem(atPath: "\(checkpoint.path)/manifest.json")
    expectUserError(.missingInput, "found no manifest.json") { try CheckpointFolder.open(checkpoint.path) }
    expectUserError(.missingInput, "found none") { try CheckpointFolder.open("\(run.path)/step-00000009") }
  }

  @Test func aManifestCannotNameFilesElsewhere() throws {
    let checkpoint = try run.commit(1)
    let path = "\(checkpoint.path)/manifest.json"
    let text = String(decoding: try contents(path), as: UTF8.self)
    try Data(text.replacing("state.json", with: "../x.json").utf8).write(to: URL(fileURLWithPath: path))
    expectUserError(.badData, path, "plain file names", "../x.json") { try CheckpointFolder.open(checkpoint.path) }
  }

  struct Stop: Error {}

  @Test func aFailedWriteKeepsThePreviousCheckpoint() throws {
    let previous = try run.commit(1)
    let before = try previous.fileNames.map { try contents(previous.path(of: $0)) }
    #expect(throws: Stop.self) {
      try run.commit(step: 2, keep: 1) { folder in
        try writeFiles(folder, step: 2)
        throw Stop()
      }
    }
    expectUserError(.inputOutput, "/dev/full", "No space left on device") {
      try run.commit(step: 2, keep: 1) { folder in
        try writeFiles(folder, step: 2)
        try SafetensorsWriter.write([.init(name: "w", shape: [1], floats: [1])], to: "/dev/full")
      }
    }
    expectUserError(.internalFailure, "plain files only") {
      try run.commit(step: 2, keep: 1) {
        try FileManager.default.createDirectory(atPath: "\($0)/folder", withIntermediateDirectories: true)
      }
    }
    #expect(try run.checkpointSteps == [1])
    #expect(try names(in: run.path).allSatisfy { !$0.hasPrefix(".") })
    #expect(try previous.fileNames.map { try contents(previous.path(of: $0)) } == before)
    #expect(previous.verify(full: true).isEmpty)
  }

  /// A process that dies in the middle of a commit leaves the previous checkpoint and remains to clean up.
  @Test(.endsAtAll) func aKilledCommitKeepsThePreviousCheckpoint() async throws {
    try run.commit(1)
    let before = try names(in: run.path)
    await #expect(processExitsWith: .signal(SIGKILL)) { [workspace = scratch.path as String] in
      try RunFolder(workspace: workspace, name: "first").commit(step: 2, keep: 1) { folder in
        try writeFiles(folder, step: 2)
        kill(getpid(), SIGKILL)
      }
    }
    #expect(try names(in: run.path).contains { $0.hasPrefix(".tmp-") })
    let (checkpoint, damaged) = try run.newestValid()
    #expect(checkpoint.step == 1 && damaged.isEmpty)
    try run.removeLeftovers()
    #expect(try names(in: run.path) == before)
  }

  @Test func aStepIsReplaced() throws {
    try run.commit(1)
    let damaged = try run.commit(2)
    try scratch.write("x", to: "Checkpoints/first/step-00000002/state.json")
    #expect(!damaged.verify(full: true).isEmpty)
    #expect(try run.commit(2).verify(full: true).isEmpty)
    #expect(try run.checkpointSteps == [1, 2])
    #expect(try names(in: run.path).allSatisfy { !$0.hasPrefix(".") })
  }

  @Test func theOldestAreRemoved() throws {
    for step in [100, 200, 1000, 300] { try run.commit(step, keep: 2) }
    // 1000 is after the step that was committed last, so it is the future of an abandoned run.
    #expect(try run.checkpointSteps == [200, 300, 1000])
    try run.commit(100_000_000, keep: 0)
    #expect(try run.checkpointSteps == [100_000_000])
    #expect(try names(in: run.path).allSatisfy { !$0.hasPrefix(".") })
  }

  @Test func damagedCheckpointsDoNotCountAsKept() throws {
    for step in 1...3 { try run.commit(step) }
    try scratch.write("x", to: "Checkpoints/first/step-00000002/state.json")
    try run.commit(4, keep: 3)
    #expect(try run.checkpointSteps == [1, 2, 3, 4])
    try run.commit(5, keep: 3)
    #expect(try run.checkpointSteps == [3, 4, 5])
  }

  @Test func theNewestValidIsFound() throws {
    expectUserError(.missingInput, "first has no checkpoint yet") { try run.newestValid() }
    for step in 1...3 { try run.commit(step) }
    try scratch.write("{\"step\": 4}\n", to: "Checkpoints/first/step-00000003/state.json")
    try FileManager.default.copyItem(
      atPath: run.checkpointPath(step: 1), toPath: run.checkpointPath(step: 4))
    let (checkpoint, damaged) = try run.newestValid()
    #expect(checkpoint.step == 2)
    #expect(damaged.map(\.path) == [run.checkpointPath(step: 4), run.checkpointPath(step: 3)])
    #expect(damaged.map { $0.error.message.contains("expected step 4 in its manifest, found 1") } == [true, false])
    #expect(damaged.last?.error.message.contains("state.json: expected SHA-256") == true)
    for step in 1...2 { try FileManager.default.removeItem(atPath: "\(run.checkpointPath(step: step))/state.json") }
    expectUserError(.badData, "4 damaged and no valid checkpoint", "expected step 4") { try run.newestValid() }
  }

  @Test func whatIsReadIsNotRemoved() throws {
    try run.commit(1, keep: 1)
    do {
      let held = try run.newestValid(isHeld: true).checkpoint
      try run.commit(2, keep: 1)
      #expect(try run.checkpointSteps == [1, 2] && held.verify(full: true).isEmpty)
    }
    try run.commit(3, keep: 1)
    #expect(try run.checkpointSteps == [3])
  }

  /// A reader that has listed the checkpoints repeatedly finds them gone.
  @Test func whatIsRemovedBeforeItIsReadIsNotDamaged() throws {
    try run.commit(1, keep: 1)
    var step = 1
    let (checkpoint, damaged) = try run.newestValid(before: .max, isHeld: true) {
      guard step < 20 else { return }
      step += 1
      try run.commit(step, keep: 1)
    }
    #expect(checkpoint.step == 20 && damaged.isEmpty)
    // An existing file that is wrong still counts as damaged.
    try Data().write(to: URL(fileURLWithPath: "\(checkpoint.path)/state.json"))
    #expect(throws: UserError.self) { try run.newestValid(isHeld: true) }
  }

  @Test func aRunThatWasMovedIsNotWrittenByItsName() throws {
    try run.commit(1)
    let lock = try run.lock()
    let moved = try RunFolder(workspace: scratch.path, name: "moved")
    try FileManager.default.moveItem(atPath: run.path, toPath: moved.path)
    #expect(!lock.isInPlace && lock.movedRun?.path == moved.path)
    // Another takes the name.
    let other = try RunFolder(workspace: scratch.path, name: "first")
    try other.commit(1)
    let before = try names(in: scratch.path)
    expectUserError(.inputOutput, run.path, "moved or deleted") {
      try run.commit(step: 2, keep: 1, holding: lock) { try writeFiles($0, step: 2) }
    }
    #expect(try names(in: scratch.path) == before)
    // It is moved while the files are written.
    let late = try other.lock()
    #expect(throws: UserError.self) {
      try other.commit(step: 2, keep: 1, holding: late) {
        try writeFiles($0, step: 2)
        try FileManager.default.moveItem(atPath: other.path, toPath: "\(scratch.path)/Checkpoints/late")
        try RunFolder(workspace: scratch.path, name: "first").commit(1)
      }
    }
    #expect(try other.checkpointSteps == [1])
    try FileManager.default.removeItem(atPath: moved.path)
    #expect(lock.movedRun == nil)
  }

  @Test func pipesInPlaceOfFilesAreRefused() throws {
    let checkpoint = try run.commit(1)
    for path in ["state.json", "manifest.json"].map({ "\(checkpoint.path)/\($0)" })
      + [run.metricsPath, "\(run.path)/status.json"]
    {
      try? FileManager.default.removeItem(atPath: path)
      #expect(mkfifo(path, 0o600) == 0)
    }
    expectUserError(.badData, "found a pipe") { try run.newestValid() }
    expectUserError(.badData, run.metricsPath, "expected a file, found a pipe") {
      try MetricsLog.lastRecord(at: run.metricsPath)
    }
    expectUserError(.badData, "found a pipe") { try MetricsLog(path: run.metricsPath) }
    #expect(run.status == nil)
    struct Settings: DeclaredFields {
      var a = 1
      static let fields: [Field<Settings>] = [Field("a", \.a, "")]
    }
    var document = try ConfigurationDocument(defaults: Settings())
    expectUserError(.badData, "found a pipe") { try document.overlay(yamlFile: run.metricsPath) }
    expectUserError(.badData, "found a device") { try document.overlay(yamlFile: "/dev/zero") }
    expectUserError(.badData, "found a pipe") { try SafetensorsReader(path: run.metricsPath) }
  }

  @Test func foldersWithOtherNamesAreNoCheckpoints() throws {
    try run.commit(3)
    for name in ["step-3", "step-000000004", "step--0000005", "step-", "step-0000000x", "samples"] {
      try FileManager.default.createDirectory(atPath: "\(run.path)/\(name)", withIntermediateDirectories: true)
    }
    #expect(try run.checkpointSteps == [3])
  }

  @Test func aCheckpointThatMadeWayForNothingIsPutBack() throws {
    for step in 1...3 { try run.commit(step) }
    for step in 2...3 {
      let name = (run.checkpointPath(step: step) as NSString).lastPathComponent
      try FileManager.default.moveItem(
        atPath: run.checkpointPath(step: step), toPath: scratch.file("Checkpoints/first/.trash-\(name)-1"))
    }
    // Already half removed.
    try FileManager.default.removeItem(atPath: scratch.file("Checkpoints/first/.trash-step-00000003-1/state.json"))
    try run.removeLeftovers()
    #expect(try run.checkpointSteps == [1, 2])
    #expect(try !names(in: run.path).contains { $0.hasPrefix(".") })
    #expect(try run.newestValid().checkpoint.step == 2)
  }

  @Test func aClearedRunHasNothingButItsFolder() throws {
    for step in 1...3 { try run.commit(step) }
    let lock = try run.lock()
    try run.clear()
    withExtendedLifetime(lock) {}
    #expect(try names(in: run.path) == [])
    try run.commit(1)
    #expect(try run.checkpointSteps == [1])
  }

  @Test func leftoversAreRemoved() throws {
    try run.removeLeftovers()
    #expect(!run.exists)
    try run.commit(1)
    let kept = try names(in: run.path)
    for name in [".tmp-step-00000002-1", ".trash-step-00000000-1"] {
      try FileManager.default.createDirectory(atPath: "\(run.path)/\(name)/sub", withIntermediateDirectories: true)
      try scratch.write("x", to: "Checkpoints/first/\(name)/sub/file")
    }
    try run.removeLeftovers()
    #expect(try names(in: run.path) == kept)
  }
}

@Suite struct RunFolderTests {
  private let scratch: ScratchFolder

  init() throws { scratch = try ScratchFolder() }

  @Test(arguments: [
    "", ".", "..", ".hidden", "../other", "a/b", "/etc", "a/../../b", "-x", "a\0b", "a\nb",
    String(repeating: "x", count: 200),
  ])
  func namesThatLeaveTheWorkspaceAreRefused(_ name: String) {
    expectUserError(.usage, "run name", "folder in Checkpoints") { try RunFolder(workspace: scratch.path, name: name) }
  }

  @Test(arguments: ["a", "diffusion-small-3", "größe 2", "a..b", "x.y_z"])
  func ordinaryNamesAreAccepted(_ name: String) throws {
    #expect(try RunFolder(workspace: scratch.path, name: name).path == "\(scratch.path)/Checkpoints/\(name)")
  }

  @Test func aLinkOutOfTheWorkspaceIsRefused() throws {
    let files = FileManager.default
    try files.createDirectory(atPath: scratch.file("elsewhere"), withIntermediateDirectories: true)
    try files.createDirectory(atPath: scratch.file("w/Checkpoints"), withIntermediateDirectories: true)
    try files.createSymbolicLink(
      atPath: scratch.file("w/Checkpoints/out"), withDestinationPath: scratch.file("elsewhere"))
    expectUserError(.usage, "found a link to", "elsewhere") { try RunFolder(workspace: scratch.file("w"), name: "out") }
    // A person may have chosen to put `Checkpoints` on another disk.
    try files.createDirectory(atPath: scratch.file("v"), withIntermediateDirectories: true)
    try files.createSymbolicLink(atPath: scratch.file("v/Checkpoints"), withDestinationPath: scratch.file("elsewhere"))
    let run = try RunFolder(workspace: scratch.file("v"), name: "run")
    try run.commit(1)
    #expect(try names(in: scratch.file("elsewhere")).contains("run/step-00000001"))
    _ = try RunFolder(workspace: scratch.file("v"), name: "run")
  }

  @Test func checkingLeavesNothingBehind() throws {
    let run = try RunFolder(workspace: scratch.file("new/workspace"), name: "run")
    try run.checkWritable(reserving: 1000)
    #expect(try names(in: scratch.path) == [])
    expectUserError(.cannotCreate, run.path, "bytes free") { try run.checkWritable(reserving: .max) }
    #expect(try names(in: scratch.path) == [])
    try run.create()
    try scratch.write("kept", to: "new/workspace/Checkpoints/run/notes")
    let before = try names(in: scratch.path)
    try run.checkWritable()
    #expect(try names(in: scratch.path) == before)
  }

  @Test func whatCannotBeCreatedIsFoundFirst() throws {
    try scratch.write("", to: "file")
    let run = try RunFolder(workspace: scratch.file("file"), name: "run")
    expectUserError(.cannotCreate, "\(scratch.path)/file", "Not a directory") { try run.checkWritable() }
    expectUserError(.cannotCreate, "\(scratch.path)/file", "Not a directory") { try run.commit(1) }
    // /proc takes no new folders, even from root.
    expectUserError(.cannotCreate, "/proc/") { try RunFolder(workspace: "/proc/easel", name: "run").checkWritable() }
  }

  @Test func aRunIsTrainedByOneProcess() throws {
    let run = try RunFolder(workspace: scratch.path, name: "run")
    do {
      let lock = try run.lock()
      expectUserError(.unavailable, "run run is being trained", "run") { try run.lock() }
      withExtendedLifetime(lock) {}
    }
    _ = try run.lock()
  }

  @Test func unusedNames() throws {
    #expect(RunFolder.unusedName(for: "vae", workspace: scratch.path) == "vae-1")
    for name in ["vae-1", "vae-2", "vae-4"] { try RunFolder(workspace: scratch.path, name: name).create() }
    #expect(RunFolder.unusedName(for: "vae", workspace: scratch.path) == "vae-3")
  }
}

@Suite struct CatalogTests {
  private let scratch: ScratchFolder
  private let catalog: CheckpointCatalog

  init() throws {
    scratch = try ScratchFolder()
    let (workspace, installed) = (scratch.file("workspace"), scratch.file("installed"))
    catalog = CheckpointCatalog(roots: ["\(workspace)/Checkpoints", scratch.file("none"), "\(installed)/Checkpoints"])
    for step in 1...2 { try RunFolder(workspace: workspace, name: "mine").commit(step) }
    try RunFolder(workspace: workspace, name: "both").commit(3)
    try RunFolder(workspace: workspace, name: "started").create()
    for (name, step) in [("both", 4), ("bundled", 5), ("started", 6)] {
      try RunFolder(workspace: installed, name: name).commit(step)
    }
  }

  @Test func namesAreSearchedInOrder() throws {
    #expect(try catalog.runs().map(\.name) == ["both", "bundled", "mine", "started"])
    #expect(try catalog.resolve("mine").checkpoint.step == 2)
    #expect(try catalog.resolve("both").checkpoint.step == 3)
    // A run that was begun and has no checkpoint hides no other.
    let begun = try RunFolder(workspace: scratch.file("workspace"), name: "bundled")
    try begun.create()
    try begun.write(RunStatus(.running))
    #expect(try catalog.resolve("bundled").checkpoint.path.hasPrefix(scratch.file("installed")))
    #expect(try catalog.resolve("bundled").checkpoint.step == 5)
    // A run without a checkpoint does not hide one that has one.
    #expect(try catalog.resolve("started").checkpoint.step == 6)
  }

  @Test func foldersAreResolved() throws {
    let mine = scratch.file("workspace/Checkpoints/mine")
    #expect(try catalog.resolve(mine).checkpoint.step == 2)
    #expect(try catalog.resolve("\(mine)/").checkpoint.step == 2)
    #expect(try catalog.resolve("\(mine)/step-00000001").checkpoint.step == 1)
    // A checkpoint may be copied anywhere under any name.
    try FileManager.default.copyItem(atPath: "\(mine)/step-00000001", toPath: scratch.file("best"))
    #expect(try catalog.resolve(scratch.file("best")).checkpoint.step == 1)
    try scratch.write("x", to: "best/state.json")
    expectUserError(.badData, "best/state.json", "found 1") { try catalog.resolve(scratch.file("best")) }
    expectUserError(.missingInput, "found no manifest.json", "step-") { try catalog.resolve(scratch.path) }
  }

  @Test func damagedOnesArePassedOver() throws {
    try scratch.write("x", to: "workspace/Checkpoints/mine/step-00000002/state.json")
    let (checkpoint, damaged) = try catalog.resolve("mine")
    #expect(checkpoint.step == 1)
    #expect(damaged.map(\.path) == [scratch.file("workspace/Checkpoints/mine/step-00000002")])
  }

  @Test func unknownNamesListTheKnownOnes() throws {
    expectUserError(
      .missingInput, "named bundeld", "Did you mean bundled?", "Known runs: both, bundled, mine, started.",
      "\(scratch.path)/installed/Checkpoints"
    ) { try catalog.resolve("bundeld") }
    expectUserError(.missingInput, "../x") { try catalog.resolve("../x") }
    expectUserError(.missingInput, "There are no runs yet.") { try CheckpointCatalog(roots: []).resolve("x") }
  }
}
