import EaselKit
import Foundation
import Testing

/// A diffusion model tuned by the built program to draw in few passes.
@Suite(.serialized) struct ConsistencyCommandTests {
  private static let edm = [
    "--set", "noise-schedule=edm", "--set", "prediction=velocity", "--set", "sampler=dpm++",
  ]

  private func tune(_ program: Program, run: String, _ more: String...) throws -> Program.Result {
    try program.run(
      ["train", "consistency", "--run", run, "--seed", "3", "--batch-size", "8", "--set", "warmup-steps=2"] + more)
  }

  @Test("Tuned from a checkpoint without settings of the network, it draws, resumes exactly, and is exported")
  func endToEnd() throws {
    let program = try Program()
    try program.writeImages("images", count: 200, channels: 3)
    #expect(
      try program.trainTinyDiffusion(
        run: "base", steps: 2, Self.edm + ["--image-size", "14x10", "--set", "augment=0.3", "--set", "dropout=0.2"]
      ).status == 0)
    // The stages follow the learning rate's schedule, which is the same for both.
    let exact = ["--from", "base", "--set", "schedule-steps=8"]
    for (run, steps) in [("whole", "6"), ("parts", "3")] {
      let tuning = try tune(program, run: run, exact[0], exact[1], exact[2], exact[3], "--steps", steps)
      #expect(tuning.status == 0, "\(tuning.errors)")
    }
    #expect(try program.run("resume", "parts", "--steps", "6").status == 0)
    for file in ["weights", "ema", "optimizer"] {
      let name = "step-00000006/\(file).safetensors"
      #expect(try program.bytes("Checkpoints/whole/\(name)") == program.bytes("Checkpoints/parts/\(name)"))
    }
    let log = try String(contentsOfFile: program.path("Checkpoints/whole/metrics.jsonl"), encoding: .utf8)
    #expect(log.contains("\"stage\""))
    let exported = try program.run("export", "whole", "--output", "given", "--type", "float32")
    #expect(exported.status == 0, "\(exported.errors)")

    for (arguments, images) in [
      (["sample", "whole", "--count", "6"], 6), (["sample", "given", "--count", "6"], 6),
      (["sample", "whole", "--count", "4", "--steps", "1"], 4),
      (["sample", "whole", "--count", "4", "--steps", "4", "--sampler", "consistency", "--animate", "film.png"], 4),
      (["interpolate", "whole", "--frames", "4", "--rows", "2"], 8),
      (["interpolate", "whole", "--frames", "4", "--rows", "2", "--steps", "4", "--data", "images"], 8),
      (["reconstruct", "whole", "--count", "4"], 8), (["denoise", "whole", "--count", "3"], 9),
      (["inpaint", "whole", "--count", "4", "--mask", "left"], 12), (["translate", "whole", "--count", "4"], 8),
    ] {
      let result = try program.run(arguments + ["--output", "picture.png"])
      #expect(result.status == 0, "\(arguments): \(result.errors)")
      let picture = try Image.read(program.path("picture.png"))
      let (columns, rows) = ((picture.width - 2) / 16, (picture.height - 2) / 12)
      #expect(picture.channels == 3 && columns * rows == images, "\(arguments): \(columns) by \(rows)")
    }
    let twice = try ["a.png", "b.png"].map { name in
      #expect(try program.run("sample", "whole", "--seed", "5", "--output", name).status == 0)
      return try Image.read(program.path(name)).pixels
    }
    #expect(twice[0] == twice[1])
    let again = try program.run("sample", "--recipe", "a.png", "--output", "again.png")
    #expect(again.status == 0, "\(again.errors)")
    #expect(try program.bytes("again.png") == program.bytes("a.png"))
    #expect(try program.run("inspect", "a.png").output.contains("Steps: 2, Sampler: consistency"))
    #expect(try program.run("inspect", "whole").output.contains("preset      consistency"))
    let judged = try program.run(
      "evaluate", "whole", "--features", "pixels", "--dimensions", "6", "--count", "40", "--resamples", "20",
      "--steps", "1")
    #expect(judged.status == 0, "\(judged.errors)")
    let refused = try program.run("evaluate", "whole", "--likelihood")
    #expect(refused.status == 69 && refused.errors.contains("bounds no likelihood"), "\(refused.errors)")
  }

  @Test("A conditional checkpoint's classes stay, and the same command can tune it further")
  func conditional() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "base", steps: 2, Self.edm + ["--set", "conditional=true"])
    for steps in ["2", "4"] {
      let tuning = try tune(
        program, run: "tuned", "--from", "base", "--steps", steps, "--set", "guidance=2", "--resume")
      #expect(tuning.status == 0, "\(tuning.errors)")
    }
    let sampled = try program.run(
      "sample", "tuned", "--label", "odd", "--guidance", "3", "--count", "2", "--output", "picture.png")
    #expect(sampled.status == 0, "\(sampled.errors)")
    #expect(try program.run("sample", "tuned", "--output", "picture.png").status == 0)
    #expect(try program.run("inspect", "picture.png").output.contains("Guidance: 2"))
    try FileManager.default.createDirectory(atPath: program.path("others"), withIntermediateDirectories: true)
    try FileManager.default.copyItem(atPath: program.path("images/odd"), toPath: program.path("others/strange"))
    let others = try tune(program, run: "others", "--from", "base", "--data", "others", "--steps", "1")
    #expect(others.status == 64 && others.errors.contains("expected the classes that base"), "\(others.errors)")
  }

  @Test("A checkpoint that does not fit is refused before anything is written")
  func refusals() throws {
    let program = try Program()
    try program.writeImages("images")
    try program.trainTinyDiffusion(run: "base", steps: 1, Self.edm)
    try program.trainTinyDiffusion(run: "epsilon", steps: 1)
    let plain = try program.run(
      "train", "autoencoder", "--data", "images", "--run", "plain", "--steps", "1", "--set", "base-channels=8",
      "--batch-size", "4")
    #expect(plain.status == 0, "\(plain.errors)")
    try program.writeImages("colour", channels: 3)
    for (arguments, status, message) in [
      ([], 64, "expected --from with a checkpoint of diffusion"), (["--from", "nobody"], 66, "nobody"),
      (["--from", "plain"], 64, "found plain of autoencoder"),
      (["--from", "epsilon"], 64, "prediction: expected velocity"),
      (["--from", "base", "--set", "channels=8,8"], 64, "channels: expected [8, 16], as the checkpoint base has it"),
      (["--from", "base", "--set", "guidance=2"], 64, "guidance: 2 would change nothing"),
      (["--from", "base", "--data", "colour"], 64, "images of 1 channels"),
      (["--from", "base", "--set", "stages=0"], 64, "stages"),
    ] as [([String], Int32, String)] {
      let result = try program.run(["train", "consistency", "--run", "none", "--steps", "1"] + arguments)
      #expect(result.status == status && result.errors.contains(message), "\(arguments): \(result.errors)")
    }
    #expect(!program.contents.contains { $0.hasPrefix("Checkpoints/none") })
    let printed = try program.run("train", "consistency", "--from", "base", "--print-config")
    #expect(printed.status == 0 && printed.output.contains("channels: [8, 16]"), "\(printed.errors)")
    #expect(try program.run("train", "consistency", "--print-config").output.contains("channels: [32, 64, 128]"))
  }
}
