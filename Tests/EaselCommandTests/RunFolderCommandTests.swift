import EaselKit
import EaselTestSupport
import Foundation
import Testing

/// What a training leaves in its run's folder, read by the built program and by other programs.
@Suite(.serialized) struct RunFolderCommandTests {
  private static let settings = [
    "--set", "base-channels=8", "--batch-size", "4", "--set", "checkpoint-every=10", "--set", "validate-every=10",
    "--set",
    "sample-every=10", "--set", "keep=100",
  ]

  @Test("train --resume begins a run or goes on with it, with the settings that it has")
  func trainOrResume() throws {
    let program = try Program()
    try program.writeImages("images")
    func train(_ more: String...) throws -> Program.Result {
      try program.run(
        ["train", "autoencoder", "--data", "images", "--run", "r", "--resume", "--set", "base-channels=8"] + more)
    }
    for step in [2, 4] {
      let result = try train("--steps", String(step), "--learning-rate", step == 2 ? "1e-3" : "0.001")
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.output.hasSuffix("r/step-0000000\(step)\n"))
    }
    let run = try RunFolder(workspace: program.workspace, name: "r")
    let state = try CheckpointSummary.state(of: run.newestValid().checkpoint)
    #expect(state.step == 4 && state.optimizerSteps == ["": 4] && state.commands?.count == 2)
    let refused = try train("--steps", "6", "--learning-rate", "0.002")
    #expect(refused.status == 64 && refused.errors.contains("learning-rate 0.001, not 0.002"), "\(refused.errors)")
    // The same data in another place are accepted, other data are not.
    try FileManager.default.moveItem(atPath: program.path("images"), toPath: program.path("moved"))
    try program.writeImages("images", count: 9)
    let moved = try train("--data", "moved", "--set", "steps=6")
    #expect(moved.status == 0 && moved.output.hasSuffix("r/step-00000006\n"), "\(moved.errors)")
    let other = try train("--steps", "8")
    #expect(other.status == 65 && other.errors.contains("are not those"), "\(other.errors)")
    let both = try train("--overwrite")
    #expect(both.status == 64 && both.errors.contains("--resume: expected no --overwrite"), "\(both.errors)")
    let nameless = try program.run("train", "autoencoder", "--data", "images", "--resume")
    #expect(nameless.status == 64 && nameless.errors.contains("--run with a name"), "\(nameless.errors)")
  }

  @Test("The learning rate is announced before a training, and a resumed run takes another one")
  func learningRate() throws {
    let program = try Program()
    try program.writeImages("images")
    let training = try program.run(
      ["train", "autoencoder", "--data", "images", "--run", "r", "--steps", "4", "--learning-rate", "0.01"]
        + Self.settings)
    #expect(training.errors.contains("learning rate 0.01, falls to 0 at step 4\n"), "\(training.errors)")
    let longer = try program.run("resume", "r", "--steps", "8")
    #expect(longer.errors.contains("learning rate 0.005, falls to 0 at step 8\n"), "\(longer.errors)")
    let changed = try program.run(
      "resume", "r", "--steps", "12", "--set", "schedule-steps=9", "--set", "learning-rate=0.02")
    #expect(changed.status == 0 && changed.errors.contains("falls to 0 at step 9\n"), "\(changed.errors)")
    #expect(changed.errors.contains("The last 3 steps have a learning rate of 0: schedule-steps is 9"))
    let dead = try program.run("resume", "r", "--steps", "13")
    #expect(dead.errors.contains("The learning rate is 0: schedule-steps is 9"), "\(dead.errors)")
    let refused = try program.run("resume", "r", "--steps", "20", "--set", "latent=3")
    #expect(refused.status == 64 && refused.errors.contains("a run cannot go on with another latent"))
    let minutes = try program.run("resume", "r", "--minutes", "0.02", "--set", "schedule-steps=null")
    #expect(minutes.status == 0 && minutes.errors.contains("falls to 0 as the time runs out"), "\(minutes.errors)")
  }

  @Test(
    "A training that diverges reports where and what, and keeps its last valid checkpoint",
    arguments: ["roll-back", "stop"])
  func divergence(_ policy: String) throws {
    let program = try Program()
    try program.writeImages("images")
    // With the weights after the first step, nothing is finite any more.
    let settings = ["base-channels=8", "checkpoint-every=1", "on-divergence=\(policy)"]
    let training = try program.run(
      ["train", "autoencoder", "--data", "images", "--run", "r", "--steps", "60", "--learning-rate", "1e30"]
        + settings.flatMap { ["--set", $0] })
    #expect(training.status == 65)
    let told = [
      "step 2: the gradient of encoder.stages.0.conv.weight is not finite, the step is left out\n",
      "easel: step 11: the gradient of encoder.stages.0.conv.weight is not finite; this step and the 9 before it are",
      "Lower the learning rate: easel train … --learning-rate",
    ]
    for part in told { #expect(training.errors.contains(part), "\(training.errors)") }
    let backs = ["0.5", "0.25", "0.125"].map {
      "step 1: back from step 11, 10 steps having been left out, with \($0) times the learning rate\n"
    }
    for part in backs { #expect(training.errors.contains(part) == (policy == "roll-back"), "\(training.errors)") }
    let run = try RunFolder(workspace: program.workspace, name: "r")
    #expect(try run.checkpointSteps == [1])
    let records = try MetricsLog.records(at: run.metricsPath)
    #expect(records.filter { $0.values["left-out"] == 1 }.map(\.step) == Array(2...11))
    #expect(records.filter { $0.values["roll-backs"] != nil }.count == (policy == "roll-back" ? 3 : 0))
    #expect(try program.run("verify", "r").status == 0)
    #expect(try program.run("runs").output.contains(#/r +autoencoder +failed/#))
  }

  @Test("A checkpoint with a NaN is refused by the tensor's name, for pictures and for training")
  func brokenCheckpoint() throws {
    let program = try Program()
    try program.writeImages("images")
    let training = try program.run(
      "train", "autoencoder", "--data", "images", "--run", "r", "--steps", "1", "--batch-size", "4", "--set",
      "base-channels=8", "--set", "ema-decay=0")
    #expect(training.status == 0, "\(training.errors)")
    let folder = program.path("Checkpoints/r/step-00000001")
    _ = try RunFolder(workspace: program.workspace, name: "broken").commit(step: 1, keep: 1) { temporary in
      for name in try FileManager.default.contentsOfDirectory(atPath: folder) where name != "manifest.json" {
        try FileManager.default.copyItem(atPath: "\(folder)/\(name)", toPath: "\(temporary)/\(name)")
      }
      // The last number of the last tensor.
      let file = URL(fileURLWithPath: "\(temporary)/weights.safetensors")
      var bytes = try Data(contentsOf: file)
      bytes.replaceSubrange(bytes.count - 4..<bytes.count, with: [0, 0, 0xC0, 0x7F])
      try bytes.write(to: file)
    }
    for arguments in [
      ["reconstruct", "broken"], ["resume", "broken", "--steps", "2"],
      ["train", "autoencoder", "--data", "images", "--run", "n", "--set", "base-channels=8", "--from", "broken"],
    ] {
      let refused = try program.run(arguments)
      #expect(refused.status == 65, "\(arguments): \(refused.errors)")
      for part in ["weights.safetensors: tensor ", "expected finite numbers, found nan"] {
        #expect(refused.errors.contains(part), "\(arguments): \(refused.errors)")
      }
    }
  }

  @Test(
    "Other programs can read Easel's files",
    .enabled(if: Python.has("safetensors.numpy, PIL"), "needs Python with safetensors and Pillow"))
  func otherReaders() throws {
    let program = try Program()
    try program.writeImages("images", channels: 3)
    let training = try program.run(
      ["train", "autoencoder", "--data", "images", "--run", "r", "--steps", "10"] + Self.settings)
    #expect(training.status == 0, "\(training.errors)")
    #expect(try program.run("reconstruct", "r", "--output", "p.png").status == 0)
    let script = """
      import sys
      from safetensors.numpy import load_file
      from PIL import Image
      weights = load_file(sys.argv[1])
      print(sum(v.size for v in weights.values()))
      for path in sys.argv[2:]:
          with Image.open(path) as image:
              image.load(); print(image.mode, *image.size, "easel" in image.text["parameters"])
      """
    let checkpoint = "Checkpoints/r/step-00000010"
    let read = try Python.output(
      script, program.path("\(checkpoint)/weights.safetensors"), program.path("p.png"),
      program.path("Checkpoints/r/samples/step-00000010.png"))
    let inspection = try program.run("inspect", "r", "--json")
    let fields = try JSONSerialization.jsonObject(with: Data(inspection.output.utf8)) as? [String: Any]
    let parameters = try #require(fields?["parameters"] as? Int)
    #expect(read == "\(parameters)\nRGB 58 30 True\nRGB 58 30 True\n")
  }

  @Test(
    "TensorBoard reads a run that was killed and resumed as a single run",
    .enabled(if: Python.has("tensorboard"), "needs Python with tensorboard"))
  func tensorBoard() throws {
    let program = try Program()
    try program.writeImages("images", channels: 3)
    let running = try program.start(
      ["train", "autoencoder", "--data", "images", "--run", "r", "--steps", "100000"] + Self.settings)
    let metrics = program.path("Checkpoints/r/metrics.jsonl")
    try program.wait(running, untilStep: 35, of: "r")
    kill(running.process.processIdentifier, SIGKILL)
    _ = try program.finish(running)
    let runs = try program.run("runs").output
    #expect(runs.contains(#/r +autoencoder +stopped/#), "\(runs)")
    // A resume from an older step makes everything after it void.
    let folder = try RunFolder(workspace: program.workspace, name: "r")
    for step in try folder.checkpointSteps where step > 20 {
      try FileManager.default.removeItem(atPath: folder.checkpointPath(step: step))
    }
    let resumed = try program.run("resume", "r", "--steps", "30")
    #expect(resumed.status == 0, "\(resumed.errors)")
    let script = """
      import sys, json
      from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
      events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0})
      events.Reload()
      print(json.dumps({"loss": [[e.step, e.value] for e in events.Scalars("loss")],
                        "samples": [[e.step, e.width, e.height] for e in events.Images("samples")]}))
      """
    let read = try Python.output(script, program.path("Checkpoints/r/events"))
    let found = try #require(
      try JSONSerialization.jsonObject(with: Data(read.utf8)) as? [String: [[Double]]])
    let records = try MetricsLog.records(at: metrics)
    #expect(found["loss"]?.map { Int($0[0]) } == records.map(\.step))
    #expect(records.map(\.step) == [1, 10, 20, 30])
    for (pair, record) in zip(found["loss"] ?? [], records) {
      #expect(Float(pair[1]) == Float((record.values["loss"] ?? nil) ?? .nan))
    }
    let width = Double(4 * 14 + 2)
    #expect(found["samples"] == [10, 20, 30].map { [$0, width, 2 * 14 + 2] })
  }
}
