import EaselKit
import Foundation
import Testing

extension CommandTests {
  @Test func anExportMakesThePicturesOfItsRun() throws {
    let program = try Program()
    try program.writeImages("images", channels: 3)
    let settings = ["--set", "ema-decay=0.9", "--set", "jitter-hue=0.1", "--set", "shift=1"]
    #expect(try program.trainTinyDiffusion(run: "tiny", steps: 6, settings).status == 0)
    let arguments = ["export", "tiny", "--workspace", ".", "--output"]
    for (name, type) in [("narrow", "bfloat16"), ("wide", "float32")] {
      let result = try program.run(arguments + ["given/\(name)", "--type", type])
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.output == program.path("given/\(name)/step-00000006") + "\n")
    }
    #expect(try program.run("export", "given/narrow", "--type", "float32", "--output", "given/rounded").status == 0)

    // Every number of the average, and nothing else, as the nearest bfloat16.
    let average = try SafetensorsReader(path: program.path("Checkpoints/tiny/step-00000006/ema.safetensors"))
    let narrow = try SafetensorsReader(path: program.path("given/narrow/step-00000006/ema.safetensors"))
    #expect(narrow.names == average.names && !narrow.names.isEmpty)
    for name in average.names {
      #expect(narrow.entries[name]?.type == .bfloat16 && narrow.entries[name]?.shape == average.entries[name]?.shape)
      let pairs = zip(try average.floats(name), try narrow.floats(name))
      #expect(pairs.allSatisfy { abs($0 - $1) <= abs($0) / 256 })
    }
    let files = try FileManager.default.contentsOfDirectory(atPath: program.path("given/narrow/step-00000006"))
    #expect(files.sorted() == ["config.yaml", "ema.safetensors", "manifest.json", "state.json"])

    var arrays: [String: [Float]] = [:]
    for subject in ["tiny", "given/narrow", "given/wide", "given/rounded"] {
      let result = try program.run(
        "sample", subject, "--count", "4", "--seed", "2", "--precision", "float32", "--array", "a.npy", "--output",
        "a.png")
      #expect(result.status == 0, "\(result.errors)")
      guard case .float32(let values) = try NPYArray(path: program.path("a.npy")).values else { continue }
      arrays[subject] = values
    }
    #expect(arrays["tiny"] == arrays["given/wide"])
    #expect(arrays["given/narrow"] == arrays["given/rounded"])
    let largest = zip(arrays["tiny"] ?? [], arrays["given/narrow"] ?? []).map { abs($0 - $1) }.max() ?? .infinity
    #expect(largest > 0 && largest < 0.05, "\(largest)")
  }

  @Test func aCheckpointWhoseDataAreElsewhereTakesOthersOfTheSameKind() throws {
    let program = try Program()
    try program.writeImages("Data/whole")
    try program.writeImages("Data/larger", side: 16)
    let trained = try program.run(
      "train", "autoencoder", "--data", "whole", "--run", "tiny", "--steps", "1", "--batch-size", "8", "--set",
      "base-channels=8")
    #expect(trained.status == 0, "\(trained.errors)")
    let own = try program.run("reconstruct", "tiny", "--output", "own.png")
    #expect(own.status == 0 && !own.errors.contains("is not here"), "\(own.errors)")

    func move(_ name: String, _ other: String) throws {
      try FileManager.default.moveItem(atPath: program.path(name), toPath: program.path(other))
    }
    try move("Data/whole", "Data/part")
    let other = try program.run("reconstruct", "tiny", "--output", "other.png")
    #expect(other.status == 0 && other.errors.contains("whole is not here: taking part, which has the same classes.\n"))
    #expect(try Image.read(program.path("own.png")) == Image.read(program.path("other.png")))
    // A requested data set is not replaced, and one with other classes is not accepted.
    #expect(try program.run("reconstruct", "tiny", "--data", "whole").status == 66)
    try move("Data/part/odd", "Data/part/uneven")
    #expect(try program.run("reconstruct", "tiny").status == 66)
  }

  @Test func anExportKeepsTheRecordOfTheTraining() throws {
    let program = try Program()
    try program.writeImages("Data/pet pictures")
    let typed = [
      "train", "autoencoder", "--data", "pet pictures", "--run", "pets", "--steps", "2", "--batch-size", "8",
      "--set", "base-channels=8",
    ]
    #expect(try program.run(typed + ["--workspace", program.workspace]).status == 0)
    #expect(try program.run("resume", "pets", "--steps", "3", "--workspace=.").status == 0)
    #expect(try program.run("export", "pets", "--output", "Checkpoints/given").status == 0)

    func state(_ subject: String) throws -> RunState {
      let inspection = try program.run("inspect", subject, "--json")
      let fields = try JSONSerialization.jsonObject(with: Data(inspection.output.utf8)) as? [String: Any]
      let data = try JSONSerialization.data(withJSONObject: try #require(fields?["state"]))
      return try JSONDecoder().decode(RunState.self, from: data)
    }
    let (run, given) = (try state("pets"), try state("given"))
    #expect(
      given.commands == [
        "easel train autoencoder --data 'pet pictures' --run pets --steps 2 --batch-size 8 --set base-channels=8",
        "easel resume pets --steps 3",
      ])
    #expect(given.preset == "autoencoder" && given.step == 3 && given.seconds == run.seconds && given.loss == run.loss)
    #expect(given.data.fingerprint == run.data.fingerprint && given.environment == run.environment)
    #expect(given.environment.processor?.isEmpty == false)
    #expect(given.data.source == "Data/pet pictures" && run.data.source == "Data/pet pictures")
    let text = try program.run("inspect", "given").output
    #expect(text.contains("command     easel resume pets --steps 3\n"))
    #expect(text.contains(given.environment.processor ?? "?"))
    // Without an average, the weights themselves.
    #expect(text.contains("weights.safetensors") && !text.contains("ema.safetensors"))
    #expect(try program.run("reconstruct", "given", "--count", "2", "--output", "a.png").status == 0)
    #expect(try program.run("resume", "given", "--steps", "9").status == 69)

    // A checkpoint without recorded commands and processors can still be read.
    let folder = program.path("Checkpoints/pets/step-00000003")
    let old = program.path("Checkpoints/old")
    var json = try #require(
      try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: folder + "/state.json")))
        as? [String: Any])
    json["commands"] = nil
    var environment = try #require(json["environment"] as? [String: Any])
    environment["processor"] = nil
    json["environment"] = environment
    let bytes = try JSONSerialization.data(withJSONObject: json)
    _ = try RunFolder(path: old).commit(step: 3, keep: 1) { temporary in
      for name in try FileManager.default.contentsOfDirectory(atPath: folder) where name != "manifest.json" {
        try FileManager.default.copyItem(atPath: "\(folder)/\(name)", toPath: "\(temporary)/\(name)")
      }
      try bytes.write(to: URL(fileURLWithPath: "\(temporary)/state.json"))
    }
    #expect(try state("old").commands == nil)
    #expect(try program.run("resume", "old", "--steps", "4").status == 0)
    #expect(try state("old").commands == ["easel resume old --steps 4"])
  }

  @Test func anExportIsVerifiedAndNotTrainedFurther() throws {
    let program = try Program()
    try program.writeImages("images")
    func train(_ run: String, steps: Int, data: String = "images", _ more: String...) throws -> Program.Result {
      try program.run(
        ["train", "autoencoder", "--data", data, "--run", run, "--steps", String(steps), "--batch-size", "8"]
          + ["--set", "base-channels=8", "--set", "ema-decay=0.9"] + more)
    }
    #expect(try train("tiny", steps: 2).status == 0)
    #expect(try program.run("export", "tiny", "--output", "Checkpoints/given", "--json").status == 0)
    #expect(try program.run("verify", "given").status == 0)

    // It is refused before the data are looked for.
    try FileManager.default.moveItem(atPath: program.path("images"), toPath: program.path("moved"))
    let resumed = try program.run("resume", "given", "--steps", "9")
    #expect(resumed.status == 69 && resumed.errors.contains("for pictures only"), "\(resumed.errors)")
    #expect(resumed.errors.contains("--from"))
    let built = try train("built", steps: 1, data: "moved", "--from", "given")
    #expect(built.status == 0, "\(built.errors)")

    // Existing files stay unless replacing is requested; the run's own folder is never replaced.
    let before = program.contents
    for (output, more, message) in [
      ("Checkpoints/given", [], "--overwrite"), ("moved", [], "--overwrite"),
      ("Checkpoints/tiny", ["--overwrite"], "own folder"), ("/proc/given", [], "/proc/given"),
    ] as [(String, [String], String)] {
      let result = try program.run(["export", "tiny", "--output", output] + more)
      #expect(result.status == 73 && result.errors.contains(message), "\(result.errors)")
    }
    #expect(try program.run("export", "tiny", "--output", "x", "--type", "float16").status == 64)
    #expect(try program.run("export", "nobody", "--output", "x").status == 66)
    #expect(program.contents == before)

    try FileManager.default.moveItem(atPath: program.path("moved"), toPath: program.path("images"))
    #expect(try train("tiny", steps: 1, "--overwrite").status == 0)
    try Data("About.\n".utf8).write(to: URL(fileURLWithPath: program.path("Checkpoints/given/README.md")))
    #expect(try program.run("export", "tiny", "--output", "Checkpoints/given", "--overwrite").status == 0)
    let left = try FileManager.default.contentsOfDirectory(atPath: program.path("Checkpoints/given"))
    #expect(left.sorted() == ["README.md", "step-00000001"])

    // One flipped bit is noticed.
    let file = program.path("Checkpoints/given/step-00000001/ema.safetensors")
    var bytes = try Data(contentsOf: URL(fileURLWithPath: file))
    bytes[bytes.count / 2] ^= 1
    try bytes.write(to: URL(fileURLWithPath: file))
    for arguments in [["verify", "given"], ["reconstruct", "given"], ["export", "given", "--output", "copy"]] {
      let result = try program.run(arguments)
      #expect(result.status == 65 && result.errors.contains("ema.safetensors"), "\(arguments): \(result.errors)")
    }
    #expect(!program.contents.contains("copy"))
  }

  @Test func anExportLeavesOutWhatOnlyTrainingNeeds() throws {
    let program = try Program()
    try program.writeImages("images", side: 16)
    let train = ["train", "gan", "--data", "images", "--batch-size", "4", "--steps", "1", "--set", "ema-decay=0"]
    #expect(try program.run(train + ["--run", "pair"]).status == 0)
    #expect(try program.run("export", "pair", "--output", "Checkpoints/one").status == 0)
    func networks(_ run: String) throws -> Set<String> {
      let file = try SafetensorsReader(path: program.path("Checkpoints/\(run)/step-00000001/weights.safetensors"))
      return Set(file.names.map { String($0.prefix { $0 != "." }) })
    }
    #expect(try networks("pair") == ["generator", "discriminator"])
    #expect(try networks("one") == ["generator"])
    let sample = try program.run("sample", "one", "--count", "2", "--output", "a.png")
    #expect(sample.status == 0, "\(sample.errors)")
    let built = try program.run(train + ["--run", "built", "--from", "one"])
    #expect(built.status == 0, "\(built.errors)")
  }

  /// Plain SGD keeps no moments: its checkpoints have no optimizer file, but are not exports.
  @Test func aRunWithoutMomentsIsResumed() throws {
    let program = try Program()
    try program.writeImages("images")
    let training = try program.run(
      "train", "autoencoder", "--data", "images", "--run", "plain", "--steps", "1", "--batch-size", "8", "--set",
      "base-channels=8", "--set", "optimizer=sgd")
    #expect(training.status == 0, "\(training.errors)")
    let resumed = try program.run("resume", "plain", "--steps", "2")
    #expect(resumed.status == 0, "\(resumed.errors)")
  }
}
